"""A collection on a server, with the verbs of `Collection`: what they say there holds here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lookalike.content.sources import items, json_values
from lookalike.errors import BadInput, BadSetting
from lookalike.library.remote.remote_opened import label_values
from lookalike.library.remote.remote_promoting import RemotePromoting
from lookalike.library.remote.remote_shaping import RemoteShaping
from lookalike.library.remote.remote_telling import RemoteTelling
from lookalike.library.remote.remote_travelling import RemoteTravelling
from lookalike.library.remote.remote_trusting import RemoteTrusting
from lookalike.library.remote.remote_trying import RemoteTrying
from lookalike.library.remote.upload import Sender
from lookalike.model import Added, Changed, Origin, Progress, quiet

if TYPE_CHECKING:
    from lookalike.catalog.vocabulary import Labels
    from lookalike.library.forget import Receipt

_HERE = "threads"


class RemoteCollection(
    RemotePromoting, RemoteShaping, RemoteTravelling, RemoteTrying, RemoteTrusting, RemoteTelling
):
    """One collection on a server. `lookalike.connect(…).labeler(…)` gives one.

    Whose key it is speaks; an `actor` may be named with a key of the scope `admin`. What is sent
    again because no answer came is done once, as if each call had an `op_id` of its own.
    """

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
        engine: str = _HERE,
        address: str | None = None,
    ) -> Added:
        """Bring items in, as `Collection.add` does: the bytes of local files are sent and kept.

        A URL is read by the server, which may refuse it (FetchRefused). `copy` keeps what is at a
        URL, too. Interrupted, the same call resumes; what an answer that was lost had counted as
        added then counts as unchanged.
        """
        from lookalike.ingest.items import Tally

        self._refuse_engine(engine, address)
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

    def extract(
        self, *, progress: Progress = quiet, engine: str = _HERE, address: str | None = None
    ) -> None:
        """Wait until the server has extracted what waits in this collection."""
        self._refuse_engine(engine, address)
        Sender(self._connection, self.name).wait(progress)

    # --- say ------------------------------------------------------------------------------------

    def label(
        self,
        labels: Mapping[str, str | None],
        *,
        field: str | None = None,
        asked: bool = False,
        new_labels: bool = False,
        actor: str = "",
        op_id: str = "",
        revisions: Mapping[str, int] | None = None,
    ) -> Changed:
        """Label documents, as a person: id → label. None takes back what the person said.

        In a closed set `new_labels` adds labels that are not in it.
        """
        given = {"labels": labels, "field": field, "asked": asked, "revisions": revisions}
        given |= {"new_labels": new_labels} if new_labels else {}
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
        asked: bool = False,
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
            asked=asked,
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
        hierarchical: bool | None = None,
        closed_set: bool | None = None,
        labels: Labels | None = None,
        version: str | None = None,
        engine: str = _HERE,
        address: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Decide everything again, by another policy if one is given, with labels declared."""
        self._refuse_engine(engine, address)
        return self._ask(
            "run",
            Changed,
            field=field,
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
            targets=targets,
            hierarchical=hierarchical,
            version=version,
            **label_values(closed_set, labels),
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
        from lookalike.library.forget import Receipt

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

    # --- inside ---------------------------------------------------------------------------------

    def _refuse_engine(self, engine: str, address: str | None) -> None:
        if engine != _HERE or address is not None:
            raise BadSetting(
                f"a client cannot choose the server's engine ({engine!r}): run `lookalike run "
                f"{self.name} --engine {engine}` on a machine that opens the store itself"
            )

    def _answer(
        self, verb: str, ids: Iterable[str], field: str | None, asked: bool, actor: str, op_id: str
    ) -> Changed:
        given = {"ids": list(ids), "field": field, "asked": asked}
        return self._ask(verb, Changed, **given, actor=actor, op_id=op_id)
