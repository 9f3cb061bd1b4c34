"""The verbs that shape the tree of labels: its style guide, other names, fewer labels and more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lookalike.catalog.idempotency import Previewed, once
from lookalike.catalog.reader import FieldRow
from lookalike.decisions.operations import Running
from lookalike.labels import LabelTree
from lookalike.library.collection import label_tree as relabelling
from lookalike.library.collection.base import Opened
from lookalike.model import Changed


class Shaping(Opened):
    """What a person does with labels themselves; the labels are those of whose labels vote."""

    def label_tree(self, *, field: str | None = None) -> LabelTree:
        """Return the labels of a field as a tree, with their style guide and counts."""
        with self._workshop.store.read() as snapshot:
            return relabelling.tree(snapshot, self._row, self._field(snapshot, field))

    def describe_label(
        self,
        label: str,
        *,
        description: str | None = None,
        examples: Iterable[str] | None = None,
        aliases: Iterable[str] | None = None,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Say what belongs to a label, which documents show it, and its other names.

        What is not said stays; a label that is not there yet is there from now on. `examples` are
        ids of documents in the collection whose labels vote; a label that is given by one of its
        `aliases` is the label. Raises Conflict for a name that means another label, NotFound,
        BadInput.
        """
        named = None if examples is None else list(examples)
        others = None if aliases is None else list(aliases)

        def act(running: Running, chosen: FieldRow) -> None:
            relabelling.describe(
                self._workshop.operations,
                running,
                chosen,
                label,
                description=description,
                examples=named,
                aliases=others,
            )

        asked = (label, description, named, others)
        return self._shape("describe_label", field, actor, op_id, asked, act)

    def rename_label(
        self,
        label: str,
        to: str,
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Give a label, with all below it, another name, or another place in the tree: a path.

        It reads so wherever it was said, and nothing else changes; the old name means the new one
        from now on. With `preview` nothing is written. Raises Conflict for a name that is taken,
        NotFound, BadInput for a place below itself.
        """

        def act(running: Running, chosen: FieldRow) -> None:
            relabelling.rename(self._workshop.operations, running, chosen, label, to)

        return self._shape("rename_label", field, actor, op_id, (label, to), act, preview)

    def merge_labels(
        self,
        labels: Iterable[str],
        into: str,
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Let labels, each with all below it, be another one, there or new; then decide again.

        Their names mean that one from now on. With `preview` nothing is written. Raises NotFound,
        BadInput for a label that is merged into itself or into what is below it.
        """
        names = list(labels)

        def act(running: Running, chosen: FieldRow) -> None:
            relabelling.merge(self._workshop.operations, running, chosen, names, into)

        return self._shape("merge_labels", field, actor, op_id, (names, into), act, preview)

    def split_label(
        self,
        label: str,
        parts: Mapping[str, Iterable[str]],
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Split a label: new label → ids of the documents that have it, each in one part.

        Named are all to which someone gave the label; what the machine labelled is decided again.
        What is below the label stays. With `preview` nothing is written. Raises BadInput for
        documents that are left over, NotFound for those that nobody labelled so.
        """
        ids = {name: list(some) for name, some in parts.items()}

        def act(running: Running, chosen: FieldRow) -> None:
            relabelling.split(self._workshop.operations, running, chosen, label, ids)

        return self._shape("split_label", field, actor, op_id, (label, ids), act, preview)

    def retire_label(
        self,
        label: str,
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Put a label, with all below it, out of use: no reference votes for it any more.

        What people said stays as it is; to use the label again, undo the operation. With `preview`
        nothing is written. Raises Conflict for one that is retired already, NotFound.
        """

        def act(running: Running, chosen: FieldRow) -> None:
            relabelling.retire(self._workshop.operations, running, chosen, label)

        return self._shape("retire_label", field, actor, op_id, (label,), act, preview)

    @once
    def _shape(
        self,
        verb: str,
        field: str | None,
        actor: str,
        op_id: str,
        asked: tuple[object, ...],
        act: Callable[[Running, FieldRow], None],
        preview: bool = False,
    ) -> Changed:
        with self._operate(verb, actor, "" if preview else op_id, field, *asked) as running:
            act(running, self._field(running.txn, field))
            if preview:
                raise Previewed(running.changed())
        return running.changed()
