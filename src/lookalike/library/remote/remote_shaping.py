"""The verbs that shape the tree of labels of a collection on a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lookalike.library.remote.remote_opened import RemoteOpened
from lookalike.model import Changed

if TYPE_CHECKING:
    from lookalike.labels import LabelTree


class RemoteShaping(RemoteOpened):
    """What a person does with labels themselves; the labels are those of whose labels vote."""

    def label_tree(self, *, field: str | None = None) -> LabelTree:
        """Return the labels of a field as a tree, with their style guide and counts."""
        from lookalike.labels import LabelTree

        return self._ask("label_tree", LabelTree, field=field)

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
        """Say what belongs to a label, which documents show it, and its other names."""
        said = {
            "label": label,
            "description": description,
            "examples": None if examples is None else list(examples),
            "aliases": None if aliases is None else list(aliases),
            "field": field,
        }
        return self._ask("describe_label", Changed, **said, actor=actor, op_id=op_id)

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
        """Give a label, with all below it, another name, or another place in the tree: a path."""
        said = {"label": label, "to": to, "preview": preview, "field": field}
        return self._ask("rename_label", Changed, **said, actor=actor, op_id=op_id)

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
        """Let labels, each with all below it, be another one, there or new; then decide again."""
        said = {"labels": list(labels), "into": into, "preview": preview, "field": field}
        return self._ask("merge_labels", Changed, **said, actor=actor, op_id=op_id)

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
        """Split a label: new label → ids of the documents that have it, each in one part."""
        ids = {name: list(some) for name, some in parts.items()}
        said = {"label": label, "parts": ids, "preview": preview, "field": field}
        return self._ask("split_label", Changed, **said, actor=actor, op_id=op_id)

    def retire_label(
        self,
        label: str,
        *,
        preview: bool = False,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Changed:
        """Put a label, with all below it, out of use: no reference votes for it any more."""
        said = {"label": label, "preview": preview, "field": field}
        return self._ask("retire_label", Changed, **said, actor=actor, op_id=op_id)
