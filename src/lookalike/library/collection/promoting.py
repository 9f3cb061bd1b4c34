"""The verb that lets what labelled itself vote: documents by hand or by filter, through a gate."""

from __future__ import annotations

from collections.abc import Iterable

from lookalike.catalog.idempotency import Previewed, once
from lookalike.errors import BadInput
from lookalike.library.collection import promotion
from lookalike.library.collection.base import Opened
from lookalike.model import Changed
from lookalike.stores import schema
from lookalike.stores.selection import one_of


class Promoting(Opened):
    """How documents become references without a person labelling each."""

    @once
    def promote(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str | None = None,
        min_confidence: float | None = None,
        gated: bool = True,
        audited_only: bool = False,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Let auto-labelled documents vote: those of `ids`, or those that the filters choose.

        Under `precision` a gate holds back what is not surer than labelling asks for, says nothing
        new, contradicts a reference, or would outnumber what people said. In separate mode they are
        copied into the curated collection. With `audited_only` an audit must have found the label
        right, too. `refused` in the answer says which stayed out, and why; undoing the operation
        takes all of it back. With `preview` the answer is the same, and nothing is written.
        """
        if ids is None and label is None and min_confidence is None:
            raise BadInput("say what to promote: ids, label=… or min_confidence=…")
        named = None if ids is None else list(ids)
        asked_for = (field, named, label, min_confidence, gated, *([True] if audited_only else []))
        with self._operate("promote", actor, "" if preview else op_id, *asked_for) as running:
            chosen = self._field(running.txn, field)
            query = promotion.promotable(self._row.pk, chosen.pk, label, min_confidence)
            if named is not None:
                pks = self._pks(running.txn, named)
                query = query.where(one_of(schema.document.c.pk, pks.values()))
                running.refused |= promotion.not_automatic(running.txn, chosen.pk, pks)
            gated = gated and chosen.taxonomy.confidence_threshold is None
            how = {"gated": gated, "audited_only": audited_only}
            promotion.promote(self._workshop, running, self._row, chosen, query, **how)
            if preview:
                raise Previewed(running.changed())
        return running.changed()
