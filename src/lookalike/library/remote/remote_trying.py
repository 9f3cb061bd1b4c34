"""The verbs by which another rule is tried on a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lookalike.library.remote.remote_opened import RemoteOpened
from lookalike.model import Changed

if TYPE_CHECKING:
    from lookalike.quality.stats.paired_comparison import Trial
    from lookalike.quality.thresholds import Flips


class RemoteTrying(RemoteOpened):
    """What a person does to find a better rule."""

    def try_policy(
        self,
        *,
        confidence_threshold: float | None = None,
        target_precision: float | None = None,
        targets: Mapping[str, float] | None = None,
        top_k: int | None = None,
        extractor: str | None = None,
        references: str | None = None,
        wrong_costs: float = 20,
        field: str | None = None,
        actor: str = "",
        op_id: str = "",
    ) -> Trial:
        """Try another rule against the one in force; it labels nothing."""
        from lookalike.quality.stats.paired_comparison import Trial

        return self._ask(
            "try_policy",
            Trial,
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
            targets=None if targets is None else dict(targets),
            top_k=top_k,
            extractor=extractor,
            references=references,
            wrong_costs=wrong_costs,
            field=field,
            actor=actor,
            op_id=op_id,
        )

    def trials(self, *, field: str | None = None) -> list[Trial]:
        """Return the trials of a field, the newest first, with what they tell so far."""
        from lookalike.quality.stats.paired_comparison import Trial

        return self._ask("trials", list[Trial], field=field)

    def trial(self, trial: str) -> Trial:
        """Return a trial by its id, with what it tells so far."""
        from lookalike.quality.stats.paired_comparison import Trial

        return self._ask("trial", Trial, trial=trial)

    def disagreements(self, trial: str, *, limit: int = 20, actor: str = "") -> list[str]:
        """Return the documents to ask about next in a trial; more are drawn where fewer wait."""
        return self._ask("disagreements", list[str], trial=trial, limit=limit, actor=actor)

    def answer_trial(
        self,
        trial: str,
        labels: Mapping[str, str] | None = None,
        *,
        new_kind: Iterable[str] = (),
        cannot_tell: Iterable[str] = (),
        actor: str = "",
        op_id: str = "",
    ) -> Trial:
        """Answer what is waiting in a trial: what documents are, id → label."""
        from lookalike.quality.stats.paired_comparison import Trial

        return self._ask(
            "answer_trial",
            Trial,
            trial=trial,
            labels=None if labels is None else dict(labels),
            new_kind=list(new_kind),
            cannot_tell=list(cannot_tell),
            actor=actor,
            op_id=op_id,
        )

    def adopt_trial(
        self, trial: str, *, keep: bool = True, actor: str = "", op_id: str = ""
    ) -> Changed:
        """Let the challenger be the rule in force, decide all by it, and end the trial."""
        return self._ask("adopt_trial", Changed, trial=trial, keep=keep, actor=actor, op_id=op_id)

    def drop_trial(
        self, trial: str, *, keep: bool = True, actor: str = "", op_id: str = ""
    ) -> Changed:
        """End a trial and leave the rule as it is; with `keep` its answers become labels."""
        return self._ask("drop_trial", Changed, trial=trial, keep=keep, actor=actor, op_id=op_id)

    def flips(
        self,
        *,
        at: float | None = None,
        target_precision: float | None = None,
        limit: int = 20,
        offset: int = 0,
        field: str | None = None,
    ) -> Flips:
        """Return what would flip if the limit was `at`, or as a target precision makes it."""
        from lookalike.quality.thresholds import Flips

        return self._ask(
            "flips",
            Flips,
            at=at,
            target_precision=target_precision,
            limit=limit,
            offset=offset,
            field=field,
        )
