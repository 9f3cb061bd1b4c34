"""The verbs that tell how far a collection can be trusted: audits, alarms, costs, diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from lookalike.catalog.idempotency import Replayed, idempotent
from lookalike.catalog.reader import fields_of
from lookalike.library.collection.base import CollectionBase
from lookalike.library.verb import verb
from lookalike.model import Changed, Opinion
from lookalike.quality import annotators, audits, reference_health, thresholds
from lookalike.quality.alerts import Alarm, alarm_of, drop_alarm, set_alarm
from lookalike.quality.diagnosis import diagnose
from lookalike.quality.diagnosis.findings import Checkup
from lookalike.quality.monitoring import Monitoring, monitor
from lookalike.quality.reference_health import Inspection
from lookalike.quality.stats.agreement import Agreement
from lookalike.quality.stats.audit_estimate import Audit
from lookalike.quality.stats.cost_curve import CostCurve


class Trusting(CollectionBase):
    """What a person asks and sets before relying on labels."""

    @verb("label")
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
        """Draw a frozen sample of automatic labels, or of those of one `label`, to be checked.

        More than one of the `strata` share it out by confidence: the estimate errs less, and its
        interval is wider. What is drawn votes only when the audit is closed. Raises Conflict where
        there is nothing to audit, BadInput for a size that cannot be drawn.
        """
        try:
            with self._operate("audit", actor, op_id, field, size, strata, label) as running:
                chosen, name = self._field(running.txn, field), running.id
                audits.draw(running, self._row, chosen, size=size, strata=strata, label=label)
        except Replayed as done:
            name = done.changed.operation
        with self._runtime.store.read() as snapshot:
            return audits.audit_of(snapshot, self._row, name)

    @verb("read")
    def audits(self, *, field: str | None = None) -> list[Audit]:
        """Return the audits of a field, the newest first, with what they tell so far."""
        with self._runtime.store.read() as snapshot:
            return audits.audits_of(snapshot, self._row, self._field(snapshot, field))

    @verb("label")
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
        """Answer what is waiting in an audit, by its id: what documents are, id → label.

        Who has seen the label may say instead which are `right` or `wrong`; of some one
        `cannot_tell`. All are recorded, or none. Raises Conflict for what was answered before and
        for a closed audit, NotFound for what is not in it, BadInput.
        """
        said = audits.answers(labels, right, wrong, cannot_tell)
        with (
            suppress(Replayed),
            self._operate("audit_answer", actor, op_id, audit, said) as running,
        ):
            audits.answer(running, self._row, audit, said)
        with self._runtime.store.read() as snapshot:
            return audits.audit_of(snapshot, self._row, audit)

    @verb("label")
    @idempotent
    def close_audit(
        self, audit: str, *, keep: bool = False, actor: str = "", op_id: str = ""
    ) -> Changed:
        """Close an audit. With `keep` its answers become the person's labels, and rejections.

        What a person has said of a document otherwise stands. Raises Conflict for a closed audit.
        """
        with self._operate("audit_close", actor, op_id, audit, keep) as running:
            audits.close(self._runtime.operations, running, self._row, audit, keep=keep)
        return running.changed()

    @verb("read")
    def cost(self, wrong_costs: float = 20, *, field: str | None = None) -> CostCurve:
        """Return what limits cost where a wrong label costs as much as `wrong_costs` reviews.

        Raises Conflict where nothing has a probability of being right, as under `threshold`.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return thresholds.cost_curve(snapshot, self.name, chosen, wrong_costs)

    @verb("read")
    def monitor(self, *, days: int = 30, field: str | None = None) -> Monitoring:
        """Return how a label field does: its report, its last days, the queue's forecast, precision
        by label, references that caused corrections, and its alarm.

        Raises BadInput unless `days` is 1 to 366.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return monitor(snapshot, self._row, chosen, self._runtime.clock(), days)

    @verb("admin")
    def watch(
        self,
        *,
        coverage: tuple[float | None, float | None] | None = None,
        error_rate: tuple[float | None, float | None] | None = None,
        webhook: str = "",
        field: str | None = None,
        actor: str = "",
    ) -> Alarm:
        """Set the alarm of a field: what its coverage and error rate shall be, lowest and highest.

        The worker raises it when one leaves its band, clears it when all are back, and sends both
        to `webhook`, an http or https address, signed. Raises BadInput for an impossible band,
        BadSetting without a secret, FetchRefused for an address that must not be reached.
        """
        with self._runtime.store.write() as txn:
            chosen = self._field(txn, field)
            actor, now = actor or self._runtime.actor, self._runtime.clock()
            bands = {"coverage": coverage, "error_rate": error_rate}
            set_alarm(txn, self._runtime.settings, chosen.pk, bands, webhook, actor=actor, at=now)
            alarm = alarm_of(txn, chosen.pk, chosen.name)
        assert alarm is not None
        return alarm

    @verb("admin")
    def unwatch(self, *, field: str | None = None) -> bool:
        """Take the alarm of a field away; return whether it had one."""
        with self._runtime.store.write() as txn:
            return drop_alarm(txn, self._field(txn, field).pk)

    @verb("read")
    def inspect(self, *, field: str | None = None) -> Inspection:
        """Return what may be wrong with the references: wrong and contradictory labels, weak ones.

        Each label is tried by leaving its references out, one by one.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
        return reference_health.inspect(self._runtime.operations.deciders, chosen)

    @verb("read")
    def diagnose(self, *, field: str | None = None) -> Checkup:
        """Return why too much has no label, labels are wrong, or nothing improves; what to do next.

        The findings that explain most come first; each names a command and a request.
        """
        with self._runtime.store.read() as snapshot:
            fields, chosen = fields_of(snapshot, self._row.pk), self._field(snapshot, field)
        first = chosen.pk == fields[0].pk
        return diagnose.diagnose(
            self._runtime.store, self._runtime.operations.deciders, self._row, chosen, first=first
        )

    @verb("read")
    def opinions(self, id: str, *, field: str | None = None) -> tuple[Opinion, ...]:
        """Return each person's latest answer about a document, the earliest first."""
        with self._runtime.store.read() as snapshot:
            pk = self._pks(snapshot, [id])[id]
            return annotators.opinions_of(snapshot, self._field(snapshot, field), pk)

    @verb("read")
    def agreement(self, *, field: str | None = None, blind: bool = False) -> Agreement:
        """Return how far people agree on what several of them answered, by their latest answers.

        What was said of a contested document is left out: it was said in sight of the others' word.
        So are corrections with `blind`, for which alone the coefficients mean what they say. Raises
        Conflict where no two people answered the same document; MissingExtra.
        """
        with self._runtime.store.read() as snapshot:
            return annotators.agreement_of(
                snapshot, self.name, self._field(snapshot, field), blind=blind
            )
