"""The law that tests of durability and of threads end with: the tables are what the ledger says."""

from dataclasses import replace

from sqlalchemy import select

from lookalike.decisions.ledger.fold import Statement
from lookalike.decisions.ledger.statements import statements_of
from lookalike.model import Answer, Origin
from lookalike.stores import schema
from lookalike.stores.base import Snapshot


def assert_folded(snapshot: Snapshot) -> None:
    """Assert that the tables say what the ledger folds to."""
    rejected: dict[tuple[int, int], set[str]] = {}
    for row in snapshot.rows(select(schema.rejection)):
        rejected.setdefault((row.field_pk, row.document_pk), set()).add(row.label)
    for stored in snapshot.rows(select(schema.field)):
        here = schema.standing.c.field_pk == stored.pk
        rows = snapshot.rows(select(schema.standing).where(here))
        statements = statements_of(snapshot, stored.pk, [row.document_pk for row in rows])
        for row in rows:
            stands = row.origin is not None and row.origin != Origin.AUTO
            statement = statements[row.document_pk]
            assert row.votes == (stands and row.label is not None and not statement.retired)
            asked = statement.asked and statement.is_settled
            assert replace(statement, asked=asked) == Statement(
                label=row.label if stands else None,
                origin=Origin(row.origin) if stands else None,
                actor=row.actor,
                suggestion=row.suggestion,
                rejected=frozenset(rejected.pop((stored.pk, row.document_pk), set())),
                answer=None if row.answer is None else Answer(row.answer),
                asked=bool(row.asked),
                contested=bool(row.contested),
                confirmed=bool(row.confirmed),
                retired=statement.retired,
            )
    assert rejected == {}
