"""The verbs that tell how far a collection on a server can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lookalike.library.remote.remote_opened import RemoteOpened
from lookalike.model import Changed, Opinion

if TYPE_CHECKING:
    from lookalike.quality.alerts import Alarm
    from lookalike.quality.diagnosis.findings import Checkup
    from lookalike.quality.monitoring import Monitoring
    from lookalike.quality.reference_health import Inspection
    from lookalike.quality.stats.agreement import Agreement
    from lookalike.quality.stats.audit_estimate import Audit
    from lookalike.quality.stats.cost_curve import CostCurve


class RemoteTrusting(RemoteOpened):
    """What a person asks and sets before relying on labels."""

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
        from lookalike.quality.stats.audit_estimate import Audit

        given = {"size": size, "strata": strata, "label": label, "field": field}
        return self._ask("audit", Audit, **given, actor=actor, op_id=op_id)

    def audits(self, *, field: str | None = None) -> list[Audit]:
        """Return the audits of a field, the newest first, with what they tell so far."""
        from lookalike.quality.stats.audit_estimate import Audit

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
        from lookalike.quality.stats.audit_estimate import Audit

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

    def cost(self, wrong_costs: float = 20, *, field: str | None = None) -> CostCurve:
        """Return what limits cost where a wrong label costs as much as `wrong_costs` reviews."""
        from lookalike.quality.stats.cost_curve import CostCurve

        return self._ask("cost", CostCurve, wrong_costs=wrong_costs, field=field)

    def monitor(self, *, days: int = 30, field: str | None = None) -> Monitoring:
        """Return how a label field does, with its last days, forecast, precision and alarm."""
        from lookalike.quality.monitoring import Monitoring

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
        from lookalike.quality.alerts import Alarm

        bands = {"coverage": coverage, "error_rate": error_rate}
        return self._ask("watch", Alarm, **bands, webhook=webhook, field=field, actor=actor)

    def unwatch(self, *, field: str | None = None) -> bool:
        """Take the alarm of a field away; return whether it had one."""
        return self._ask("unwatch", bool, field=field)

    def inspect(self, *, field: str | None = None) -> Inspection:
        """Return what may be wrong with the references, the worst first."""
        from lookalike.quality.reference_health import Inspection

        return self._ask("inspect", Inspection, field=field)

    def diagnose(self, *, field: str | None = None) -> Checkup:
        """Return why too much has no label, labels are wrong, or nothing improves; what to do."""
        from lookalike.quality.diagnosis.findings import Checkup

        return self._ask("diagnose", Checkup, field=field)

    def opinions(self, id: str, *, field: str | None = None) -> tuple[Opinion, ...]:
        """Return each person's latest answer about a document, the earliest first."""
        return self._ask("opinions", tuple[Opinion, ...], id=id, field=field)

    def agreement(self, *, field: str | None = None, blind: bool = False) -> Agreement:
        """Return how far people agree on what several of them answered, by their latest answers."""
        from lookalike.quality.stats.agreement import Agreement

        return self._ask("agreement", Agreement, field=field, blind=blind)
