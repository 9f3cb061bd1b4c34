"""The verbs that measure quality: audits, cost curve, monitoring, alerts, checks, agreement."""

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


class QualityVerbs(CollectionBase):
    """Measure and monitor how reliable the labels of a field are."""

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
        """Draw a fixed random sample of automatic labels, or of those of one `label`, to check.

        With several `strata` it is stratified by confidence: the estimate has a smaller error and a
        wider interval. Documents of the sample become references only after the audit is closed.
        Raises Conflict if there is nothing to audit, BadInput for an impossible size.
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
        """Return the audits of a field with their current estimates, newest first."""
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
        """Answer waiting documents of an audit, by its id: id → the correct label.

        A person who has seen the label may answer `right` or `wrong` instead, and `cannot_tell` for
        documents they cannot judge. It records all answers or none. Raises Conflict for a document
        answered before or a closed audit, NotFound for a document outside the audit, BadInput.
        """
        answers = audits.answers(labels, right, wrong, cannot_tell)
        with (
            suppress(Replayed),
            self._operate("audit_answer", actor, op_id, audit, answers) as running,
        ):
            audits.answer(running, self._row, audit, answers)
        with self._runtime.store.read() as snapshot:
            return audits.audit_of(snapshot, self._row, audit)

    @verb("label")
    @idempotent
    def close_audit(
        self, audit: str, *, keep: bool = False, actor: str = "", op_id: str = ""
    ) -> Changed:
        """Close an audit. With `keep` its answers become the person's labels and rejections.

        Answers that people gave outside the audit stay. Raises Conflict for a closed audit.
        """
        with self._operate("audit_close", actor, op_id, audit, keep) as running:
            audits.close(self._runtime.operations, running, self._row, audit, keep=keep)
        return running.changed()

    @verb("read")
    def cost(self, wrong_costs: float = 20, *, field: str | None = None) -> CostCurve:
        """Return the cost of each threshold; a wrong label costs as much as `wrong_costs` reviews.

        Raises Conflict without probabilities of being right, as under the policy `threshold`.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
            return thresholds.cost_curve(snapshot, self.name, chosen, wrong_costs)

    @verb("read")
    def monitor(self, *, days: int = 30, field: str | None = None) -> Monitoring:
        """Return the state of a label field: report, recent days, forecast of the queue, precision
        by label, references that caused corrections, and the alert.

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
        """Set the alert of a field: (lowest, highest) for its coverage and error rate.

        The worker raises the alert when a value leaves its band, clears it when all are back, and
        sends both as signed requests to `webhook`, an http or https address. Raises BadInput for an
        impossible band, BadSetting without a secret, FetchRefused for a forbidden address.
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
        """Remove the alert of a field; return whether it had one."""
        with self._runtime.store.write() as txn:
            return drop_alarm(txn, self._field(txn, field).pk)

    @verb("read")
    def inspect(self, *, field: str | None = None) -> Inspection:
        """Return problems of the references: probably wrong, contradictory, and weak ones.

        It tests each label by leave-one-out: it leaves out one reference at a time.
        """
        with self._runtime.store.read() as snapshot:
            chosen = self._field(snapshot, field)
        return reference_health.inspect(self._runtime.operations.deciders, chosen)

    @verb("read")
    def diagnose(self, *, field: str | None = None) -> Checkup:
        """Return why coverage is low, labels are wrong or nothing improves, and what to do next.

        The findings that explain most come first; each names a command and an HTTP request.
        """
        with self._runtime.store.read() as snapshot:
            fields, chosen = fields_of(snapshot, self._row.pk), self._field(snapshot, field)
        first = chosen.pk == fields[0].pk
        return diagnose.diagnose(
            self._runtime.store, self._runtime.operations.deciders, self._row, chosen, first=first
        )

    @verb("read")
    def opinions(self, id: str, *, field: str | None = None) -> tuple[Opinion, ...]:
        """Return each person's latest answer about a document, earliest first."""
        with self._runtime.store.read() as snapshot:
            pk = self._pks(snapshot, [id])[id]
            return annotators.opinions_of(snapshot, self._field(snapshot, field), pk)

    @verb("read")
    def agreement(self, *, field: str | None = None, blind: bool = False) -> Agreement:
        """Return the annotator agreement on documents that several people answered.

        It compares latest answers, without those to contested documents, whose annotators saw each
        other's answers. `blind` also leaves out corrections; the coefficients are valid only then.
        Raises Conflict if no two people answered the same document; MissingExtra.
        """
        with self._runtime.store.read() as snapshot:
            return annotators.agreement_of(
                snapshot, self.name, self._field(snapshot, field), blind=blind
            )
