"""The verb that lets what labelled itself vote, of a collection on a server."""

from __future__ import annotations

from collections.abc import Iterable

from lookalike.library.remote.remote_opened import RemoteOpened
from lookalike.model import Changed


class RemotePromoting(RemoteOpened):
    """How documents become references without a person labelling each."""

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
        """Let auto-labelled documents vote: those of `ids`, or those that the filters choose."""
        return self._ask(
            "promote",
            Changed,
            ids=None if ids is None else list(ids),
            label=label,
            min_confidence=min_confidence,
            gated=gated,
            audited_only=audited_only,
            preview=preview,
            field=field,
            actor=actor,
            op_id=op_id,
        )
