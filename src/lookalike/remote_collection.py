"""A collection on a server, with the verbs of `Collection`: what they say there holds here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lookalike.connection import Connection, place
from lookalike.errors import BadInput, NotFound
from lookalike.model import (
    ANY,
    Added,
    Changed,
    Document,
    Event,
    Operation,
    Opinion,
    Origin,
    Question,
    Reason,
    Suggestion,
)
from lookalike.sending import Progress, Sender, content, described, encoded
from lookalike.sources import items, json_values

if TYPE_CHECKING:
    from lookalike.agreement import Agreement
    from lookalike.alarms import Alarm
    from lookalike.auditing import Audit
    from lookalike.costs import CostCurve
    from lookalike.explaining import Why
    from lookalike.findings import Checkup
    from lookalike.forgetting import Receipt
    from lookalike.inspecting import Inspection
    from lookalike.metrics import Point, Report
    from lookalike.monitoring import Monitoring

PAGE = 1000
"""So many documents, questions or operations are in one answer of a server."""

_T = TypeVar("_T")


def quiet(_done: int, _total: int) -> None:
    """Show no progress."""


class RemoteCollection:
    """One collection on a server. `lookalike.connect(…).labeler(…)` gives one.

    Whose key it is speaks; an `actor` may be named with a key of the scope `admin`. What is sent
    again because no answer came is done once, as if each call had an `op_id` of its own.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    @property
    def name(self) -> str:
        """Return the collection's name."""
        return self._name

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the label fields, the first one first."""
        return self._ask("fields", tuple[str, ...])

    @property
    def extractor(self) -> str:
        """Return the full name of what makes its documents."""
        return self._ask("extractor", str)

    def __repr__(self) -> str:
        return f"<RemoteCollection {self.name!r} at {self._connection.url}>"

    def __len__(self) -> int:
        return self._ask("size", int)

    # --- bring in -------------------------------------------------------------------------------

    def add(
        self,
        source: Any = None,
        *,
        vectors: Any = None,
        ids: Sequence[Any] | None = None,
        metadata: Any = None,
        copy: bool = False,
        progress: Progress = quiet,
    ) -> Added:
        """Bring items in, as `Collection.add` does: the bytes of local files are sent and kept.

        A URL is read by the server, which may refuse it (FetchRefused). `copy` keeps what is at a
        URL, too. Interrupted, the same call resumes; what an answer that was lost had counted as
        added then counts as unchanged.
        """
        from lookalike.ingest import Tally

        tally, sender = Tally(), Sender(self._connection, self.name)
        if vectors is not None:
            sender.add_vectors(vectors, ids, metadata, tally, progress)
        elif source is None:
            raise BadInput("nothing to add: give a source, or vectors=…")
        else:
            stream = items(source, ids=ids, metadata=metadata)
            sender.add(stream, tally, copy=copy, progress=progress)
        return Added(
            added=tally.added,
            changed=tally.changed,
            unchanged=tally.unchanged,
            documents=tally.documents,
            skipped=tuple(tally.skipped),
            failed=dict(tally.failed),
            labelled=dict(sorted(tally.labelled.items())),
        )

    def extract(self, *, progress: Progress = quiet) -> None:
        """Wait until the server has extracted what waits in this collection."""
        Sender(self._connection, self.name).wait(progress)

    # --- say ------------------------------------------------------------------------------------

    def label(
        self,
        labels: Mapping[str, str | None],
        *,
        field: str | None = None,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
        revisions: Mapping[str, int] | None = None,
    ) -> Changed:
        """Label documents, as a person: id → label. None takes back what the person said."""
        given = {"labels": labels, "field": field, "asked": asked, "revisions": revisions}
        return self._ask("label", Changed, **given, actor=actor, op_id=op_id)

    def amend(
        self,
        changes: Mapping[str, Mapping[str, Any]],
        *,
        actor: str = "",
        op_id: str = "",
        revisions: Mapping[str, int] | None = None,
    ) -> Changed:
        """Change metadata of documents, by id; a label field's value is a person's label."""
        values = {id: json_values(one) for id, one in changes.items()}
        given = {"changes": values, "revisions": revisions}
        return self._ask("amend", Changed, **given, actor=actor, op_id=op_id)

    def draw(
        self,
        regions: Mapping[str, Mapping[str, Sequence[float] | None]],
        *,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Draw, move or take away regions of objects, by the object's id and the region's."""
        boxes = {id: dict(one) for id, one in regions.items()}
        return self._ask("draw", Changed, regions=boxes, actor=actor, op_id=op_id)

    def reject(
        self,
        rejections: Mapping[str, str | None],
        *,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Say "not this": id → label, or None for the label in force or, without one, suggested."""
        given = {"rejections": rejections, "field": field}
        return self._ask("reject", Changed, **given, actor=actor, op_id=op_id)

    def new_kind(
        self,
        ids: Iterable[str],
        *,
        field: str | None = None,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Say that documents belong to none of the labels there are."""
        return self._answer("new_kind", ids, field, asked, actor, op_id)

    def cannot_tell(
        self,
        ids: Iterable[str],
        *,
        field: str | None = None,
        asked: bool = False,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Say that a person cannot tell what documents are: the queue asks no more about them."""
        return self._answer("cannot_tell", ids, field, asked, actor, op_id)

    def import_labels(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        field: str | None = None,
        label_column: str = "label",
        origin: Origin = Origin.IMPORT,
        trusted: bool = True,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Take labels from rows that name documents by `id`, `sha256` or `file_name`."""
        return self._ask(
            "import_labels",
            Changed,
            rows=[json_values(row) for row in rows],
            field=field,
            label_column=label_column,
            origin=origin,
            trusted=trusted,
            actor=actor,
            op_id=op_id,
        )

    def promote(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str | None = None,
        min_confidence: float | None = None,
        gated: bool = True,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Let auto-labelled documents vote: those of `ids`, or those that the filters choose."""
        return self._ask(
            "promote",
            Changed,
            ids=None if ids is None else list(ids),
            label=label,
            min_confidence=min_confidence,
            gated=gated,
            field=field,
            actor=actor,
            op_id=op_id,
        )

    # --- decide ---------------------------------------------------------------------------------

    def run(
        self,
        *,
        field: str | None = None,
        confidence_threshold: float | None = None,
        target_precision: float | None = None,
        targets: Mapping[str, float] | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Decide everything again, by another policy if one is given."""
        return self._ask(
            "run",
            Changed,
            field=field,
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
            targets=targets,
            actor=actor,
            op_id=op_id,
        )

    def undo(self, operation: str, *, actor: str = "", op_id: str = "") -> Changed:
        """Take back an operation and everything that labelled itself because of it."""
        return self._ask("undo", Changed, operation=operation, actor=actor, op_id=op_id)

    def forget(
        self,
        ids: Iterable[str] | None = None,
        *,
        label: str | None = None,
        only_parts: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Receipt:
        """Erase documents with their objects, vectors, labels, copies and thumbnails, for good.

        With `only_parts`, and for all that has a `label`, an object of which something is left
        stays.
        """
        from lookalike.forgetting import Receipt

        named = None if ids is None else list(ids)
        return self._ask(
            "forget",
            Receipt,
            ids=named,
            label=label,
            only_parts=only_parts,
            field=field,
            actor=actor,
            op_id=op_id,
        )

    # --- audit ----------------------------------------------------------------------------------

    def audit(
        self,
        size: int = 50,
        *,
        strata: int = 1,
        label: str | None = None,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Audit:
        """Draw a frozen sample of automatic labels, or of those of one `label`, to be checked."""
        from lookalike.auditing import Audit

        given = {"size": size, "strata": strata, "label": label, "field": field}
        return self._ask("audit", Audit, **given, actor=actor, op_id=op_id)

    def audits(self, *, field: str | None = None) -> list[Audit]:
        """Return the audits of a field, the newest first, with what they tell so far."""
        from lookalike.auditing import Audit

        return self._ask("audits", list[Audit], field=field)

    def answer_audit(
        self,
        audit: str,
        labels: Mapping[str, str] | None = None,
        *,
        right: Iterable[str] = (),
        wrong: Iterable[str] = (),
        cannot_tell: Iterable[str] = (),
        actor: str = "",
        op_id: str = "",
    ) -> Audit:
        """Answer what is waiting in an audit, by its id: what documents are, id → label."""
        from lookalike.auditing import Audit

        return self._ask(
            "answer_audit",
            Audit,
            audit=audit,
            labels=None if labels is None else dict(labels),
            right=list(right),
            wrong=list(wrong),
            cannot_tell=list(cannot_tell),
            actor=actor,
            op_id=op_id,
        )

    def close_audit(
        self, audit: str, *, keep: bool = False, actor: str = "", op_id: str = ""
    ) -> Changed:
        """Close an audit. With `keep` its answers become the person's labels, and rejections."""
        return self._ask("close_audit", Changed, audit=audit, keep=keep, actor=actor, op_id=op_id)

    # --- look -----------------------------------------------------------------------------------

    def suggest(
        self,
        source: Any = None,
        *,
        text: str | None = None,
        vectors: Any = None,
        ids: Iterable[str] | None = None,
        field: str | None = None,
        top_k: int | None = None,
    ) -> list[Suggestion]:
        """Return what things would be labelled if they were added now; record nothing.

        A source is sent whole, in one request: its files may have a few megabytes together.
        """
        import numpy as np

        sent = None
        if source is not None:
            sent = [described(item, content(item)) for item in items(source)]
        return self._ask(
            "suggest",
            list[Suggestion],
            items=sent,
            text=text,
            vectors=None if vectors is None else encoded(np.atleast_2d(np.asarray(vectors))),
            ids=None if ids is None else list(ids),
            field=field,
            top_k=top_k,
        )

    def documents(
        self,
        *,
        label: str | None = ANY,
        origin: Origin | str | None = ANY,
        reason: Reason | str | None = None,
        ids: Iterable[str] | None = None,
        field: str | None = None,
        order_by: str = "added",
        limit: int | None = None,
    ) -> Iterator[Document]:
        """Yield documents, as `Collection.documents` does, some hundred in a request.

        What changes meanwhile is yielded as it is by then, or not any more.
        """
        asked = _given(label=label, origin=origin, reason=reason, field=field, order_by=order_by)
        named = None if ids is None else list(ids)
        if limit is not None and limit <= PAGE:
            yield from self._ask("documents", list[Document], **asked, ids=named, limit=limit)
            return
        order = self._ask("ids", list[str], **asked, ids=named, limit=limit)
        for start in range(0, len(order), PAGE):
            yield from self._page(order[start : start + PAGE], asked)

    def ids(
        self,
        *,
        label: str | None = ANY,
        origin: Origin | str | None = ANY,
        reason: Reason | str | None = None,
        ids: Iterable[str] | None = None,
        field: str | None = None,
        order_by: str = "added",
        limit: int | None = None,
    ) -> list[str]:
        """Return the ids of the documents that `documents` yields, in its order."""
        asked = _given(label=label, origin=origin, reason=reason, field=field, order_by=order_by)
        named = None if ids is None else list(ids)
        return self._ask("ids", list[str], **asked, ids=named, limit=limit)

    def document(self, id: str) -> Document:
        """Return one document. Raises NotFound."""
        return self._ask("document", Document, id=id)

    def queue(
        self,
        *,
        limit: int = 20,
        field: str | None = None,
        second_opinion: float = 0,
        actor: str = "",
    ) -> list[Question]:
        """Return what is worth asking a person, up to 1,000 questions, the best one first."""
        given = {"limit": limit, "field": field, "second_opinion": second_opinion}
        return self._ask("queue", list[Question], **given, actor=actor)

    def why(self, id: str, *, field: str | None = None) -> Why:
        """Return what caused a document's label or null, and what would be without the nearest."""
        from lookalike.explaining import Why

        return self._ask("why", Why, id=id, field=field)

    def inspect(self, *, field: str | None = None) -> Inspection:
        """Return what may be wrong with the references, the worst first."""
        from lookalike.inspecting import Inspection

        return self._ask("inspect", Inspection, field=field)

    def diagnose(self, *, field: str | None = None) -> Checkup:
        """Return why too much has no label, labels are wrong, or nothing improves; what to do."""
        from lookalike.findings import Checkup

        return self._ask("diagnose", Checkup, field=field)

    def opinions(self, id: str, *, field: str | None = None) -> tuple[Opinion, ...]:
        """Return each person's latest answer about a document, the earliest first."""
        return self._ask("opinions", tuple[Opinion, ...], id=id, field=field)

    def agreement(self, *, field: str | None = None, blind: bool = False) -> Agreement:
        """Return how far people agree on what several of them answered, by their latest answers."""
        from lookalike.agreement import Agreement

        return self._ask("agreement", Agreement, field=field, blind=blind)

    def curve(self, *, field: str | None = None) -> list[Point]:
        """Return what other limits would give: coverage, and the precision to be expected."""
        from lookalike.metrics import Point

        return self._ask("curve", list[Point], field=field)

    def cost(self, wrong_costs: float = 20, *, field: str | None = None) -> CostCurve:
        """Return what limits cost where a wrong label costs as much as `wrong_costs` reviews."""
        from lookalike.costs import CostCurve

        return self._ask("cost", CostCurve, wrong_costs=wrong_costs, field=field)

    def report(self, *, field: str | None = None) -> Report:
        """Return coverage, queue, counts per label and the confidence histogram."""
        from lookalike.metrics import Report

        return self._ask("report", Report, field=field)

    def monitor(self, *, days: int = 30, field: str | None = None) -> Monitoring:
        """Return how a label field does, with its last days, forecast, precision and alarm."""
        from lookalike.monitoring import Monitoring

        return self._ask("monitor", Monitoring, days=days, field=field)

    def watch(
        self,
        *,
        coverage: tuple[float | None, float | None] | None = None,
        error_rate: tuple[float | None, float | None] | None = None,
        webhook: str = "",
        field: str | None = None,
        actor: str = "",
    ) -> Alarm:
        """Set the alarm of a field: the bands of its coverage and error rate, lowest first."""
        from lookalike.alarms import Alarm

        bands = {"coverage": coverage, "error_rate": error_rate}
        return self._ask("watch", Alarm, **bands, webhook=webhook, field=field, actor=actor)

    def unwatch(self, *, field: str | None = None) -> bool:
        """Take the alarm of a field away; return whether it had one."""
        return self._ask("unwatch", bool, field=field)

    def rows(self, *, field: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield what `export` writes, one mapping a document."""
        from lookalike.reporting import export_row

        for document in self.documents(field=field):
            yield export_row(document, document.field)

    def to_pandas(self, *, field: str | None = None) -> Any:
        """Return the exported rows as a DataFrame. Raises MissingExtra without pandas."""
        from lookalike.reporting import data_frame

        return data_frame(self.rows(field=field))

    def operations(self, *, limit: int = 100) -> list[Operation]:
        """Return the latest operations, up to 1,000, the newest first."""
        return self._ask("operations", list[Operation], limit=limit)

    def history(self, id: str) -> list[Event]:
        """Return every event of a document, oldest first."""
        return self._ask("history", list[Event], id=id)

    # --- inside ---------------------------------------------------------------------------------

    def _answer(
        self, verb: str, ids: Iterable[str], field: str | None, asked: bool, actor: str, op_id: str
    ) -> Changed:
        given = {"ids": list(ids), "field": field, "asked": asked}
        return self._ask(verb, Changed, **given, actor=actor, op_id=op_id)

    def _page(self, ids: Sequence[str], asked: Mapping[str, Any]) -> list[Document]:
        """Return documents that were there a moment ago; what was forgotten since is left out."""
        try:
            return self._ask("documents", list[Document], **asked, ids=list(ids))
        except NotFound:
            known = set(self._ask("ids", list[str], **asked))
            left = [id for id in ids if id in known]
            return self._ask("documents", list[Document], **asked, ids=left)

    def _ask(self, verb: str, reply: type[_T], **said: Any) -> _T:
        path = place("collections", self.name, "verbs", verb)
        return self._connection.ask(path, reply, said)


def _given(**said: Any) -> dict[str, Any]:
    """Return what was said; ANY says nothing."""
    return {name: value for name, value in said.items() if value is not ANY}
