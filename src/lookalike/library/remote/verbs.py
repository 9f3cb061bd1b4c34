"""The verbs of the client, with the signatures of `Library`, `Collection` and `Past`.

Made by `make client` from the methods that have `@verb`: change these, not this. What is abstract
here is written by hand in `client.py` and `collection.py`.
"""

# ruff: noqa
# fmt: off
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TYPE_CHECKING
from lookalike.library.remote.calls import Caller, sent
from lookalike.model import ANY, Added, Changed, Document, Event, Operation, Opinion, Origin, Progress, Question, Reason, Suggestion, quiet

if TYPE_CHECKING:
    from lookalike.catalog.embedding_map import Map
    from lookalike.catalog.vocabulary import Labels
    from lookalike.decisions.as_of import At
    from lookalike.labels import LabelTree
    from lookalike.library.collection.explanations import Why
    from lookalike.library.collection.history import Redecided
    from lookalike.library.forget import Receipt
    from lookalike.library.migration import DroppedSpaces, Migration
    from lookalike.library.remove import Removed
    from lookalike.library.versions import Comparison, Version
    from lookalike.quality.alerts import Alarm
    from lookalike.quality.diagnosis.findings import Checkup
    from lookalike.quality.monitoring import Monitoring
    from lookalike.quality.reference_health import Inspection
    from lookalike.quality.stats.agreement import Agreement
    from lookalike.quality.stats.audit_estimate import Audit
    from lookalike.quality.stats.cost_curve import CostCurve
    from lookalike.quality.stats.metrics import Point, Report
    from lookalike.quality.stats.paired_comparison import Trial
    from lookalike.quality.thresholds import Flips

HOMES = {
    "Agreement": "lookalike.quality.stats.agreement",
    "Alarm": "lookalike.quality.alerts",
    "Audit": "lookalike.quality.stats.audit_estimate",
    "Checkup": "lookalike.quality.diagnosis.findings",
    "Comparison": "lookalike.library.versions",
    "CostCurve": "lookalike.quality.stats.cost_curve",
    "DroppedSpaces": "lookalike.library.migration",
    "Flips": "lookalike.quality.thresholds",
    "Inspection": "lookalike.quality.reference_health",
    "LabelTree": "lookalike.labels",
    "Monitoring": "lookalike.quality.monitoring",
    "Point": "lookalike.quality.stats.metrics",
    "Receipt": "lookalike.library.forget",
    "Redecided": "lookalike.library.collection.history",
    "Report": "lookalike.quality.stats.metrics",
    "Trial": "lookalike.quality.stats.paired_comparison",
    "Version": "lookalike.library.versions",
    "Why": "lookalike.library.collection.explanations",
}
"""Where the types of answers are, which are loaded when an answer comes."""


class ShownVerbs(Caller):
    """What a client shows of a collection's documents and labels."""

    @abstractmethod
    def documents(self, *, label: str | None=ANY, origin: Origin | str | None=ANY, reason: Reason | str | None=None, ids: Iterable[str] | None=None, field: str | None=None, order_by: str='added', limit: int | None=None) -> Iterator[Document]:
        """Yield documents: `label=None` those without one, `origin="auto"` and so on."""

    @sent("ids")
    def ids(self, *, label: str | None=ANY, origin: Origin | str | None=ANY, reason: Reason | str | None=None, ids: Iterable[str] | None=None, field: str | None=None, order_by: str='added', limit: int | None=None) -> list[str]:
        """Return the ids of the documents that `documents` yields, in its order."""

    @sent("document")
    def document(self, id: str) -> Document:
        """Return one document. Raises NotFound."""

    @sent("curve")
    def curve(self, *, field: str | None=None) -> list[Point]:
        """Return what other limits would give: coverage, and the precision to be expected.

        Under `precision` a document is counted by its probability of being right; under `threshold`
        nothing is known of that.
        """

    @sent("report")
    def report(self, *, field: str | None=None) -> Report:
        """Return coverage, queue, counts per label and the confidence histogram."""

    @abstractmethod
    def rows(self, *, field: str | None=None) -> Iterator[dict[str, Any]]:
        """Yield what `export` writes, one mapping a document."""

    @abstractmethod
    def to_pandas(self, *, field: str | None=None) -> Any:
        """Return the exported rows as a DataFrame. Raises MissingExtra without pandas."""

    @property
    @sent("fields")
    def fields(self) -> tuple[str, ...]:
        """Return the names of the label fields, the first one first."""

    @property
    @sent("extractor")
    def extractor(self) -> str:
        """Return the full name of what makes its documents."""

    @sent("size")
    def __len__(self) -> int:
        """Return how many documents there are."""


class CollectionVerbs(ShownVerbs):
    """What a client does with a collection."""

    @abstractmethod
    def add(self, source: Any=None, *, vectors: Any=None, ids: Sequence[Any] | None=None, metadata: Any=None, copy: bool=False, progress: Progress=quiet, engine: str='threads', address: str | None=None) -> Added:
        """Bring items in: extract them and decide them. What is here already stays as it is."""

    @abstractmethod
    def extract(self, *, progress: Progress=quiet, engine: str='threads', address: str | None=None) -> None:
        """Extract what waits in this collection, also what an interrupted run left."""

    @sent("label")
    def label(self, labels: Mapping[str, str | None], *, field: str | None=None, asked: bool=False, new_labels: bool=False, actor: str='', op_id: str='', revisions: Mapping[str, int] | None=None) -> Changed:
        """Label documents, as a person: id → label. None takes back what the person said.

        All decisions that this changes are made in the same transaction; the answer tells them.
        An operation that was given an `op_id` is done once, however often it is asked for. Raises
        Stale where another person said something else of a document since the revision that
        `revisions` gives, by id; what the machine decided since then does not matter.
        `asked` tells that the queue had asked: what a clever queue chose is no random sample, so
        such labels vote, but only a whole check tells from them how sure to be. Another name of a
        label means that label, as `renamed` tells. Raises BadInput for one that is retired, and for
        one that is not in a closed set, unless `new_labels` adds it.
        """

    @abstractmethod
    def amend(self, changes: Mapping[str, Mapping[str, Any]], *, actor: str='', op_id: str='', revisions: Mapping[str, int] | None=None) -> Changed:
        """Change metadata of documents, by id; a label field's value is a person's label, or None."""

    @sent("draw")
    def draw(self, regions: Mapping[str, Mapping[str, Sequence[float] | None]], *, actor: str='', op_id: str='') -> Changed:
        """Draw, move or take away regions of objects, by the object's id and the region's.

        A box is [left, top, width, height] in pixels of the upright picture; None takes a region
        away, with its document and label. The other regions stay as they are, labels too; what the
        detector had proposed becomes the person's own. Raises BadInput for a box that is none, or a
        collection without regions; NotFound.
        """

    @sent("reject")
    def reject(self, rejections: Mapping[str, str | None], *, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Say "not this": id → label, or None for the label in force or, without one, suggested.

        It is remembered: no later run proposes that label for that document again.
        """

    @sent("new_kind")
    def new_kind(self, ids: Iterable[str], *, field: str | None=None, asked: bool=False, actor: str='', op_id: str='') -> Changed:
        """Say that documents belong to none of the labels there are.

        They are not decided any more, until they are labelled, and teach what new things look like.
        A closed set is open from then on, as `reopened` tells.
        """

    @sent("cannot_tell")
    def cannot_tell(self, ids: Iterable[str], *, field: str | None=None, asked: bool=False, actor: str='', op_id: str='') -> Changed:
        """Say that a person cannot tell what documents are: the queue asks no more about them."""

    @abstractmethod
    def import_labels(self, rows: Iterable[Mapping[str, Any]], *, field: str | None=None, label_column: str='label', origin: Origin=Origin.IMPORT, trusted: bool=True, asked: bool=False, actor: str='', op_id: str='') -> Changed:
        """Take labels from rows that name documents by `id`, `sha256` or `file_name`."""

    @abstractmethod
    def run(self, *, field: str | None=None, confidence_threshold: float | None=None, target_precision: float | None=None, targets: Mapping[str, float] | None=None, hierarchical: bool | None=None, closed_set: bool | None=None, labels: Labels | None=None, version: str | None=None, engine: str='threads', address: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Decide everything again; change nothing that a person said."""

    @sent("undo")
    def undo(self, operation: str, *, actor: str='', op_id: str='') -> Changed:
        """Take back an operation and everything that labelled itself because of it."""

    @sent("forget")
    def forget(self, ids: Iterable[str] | None=None, *, label: str | None=None, only_parts: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Receipt:
        """Erase documents with their objects, vectors, labels, copies and thumbnails, for good.

        The user's own files stay. What their labels had caused is decided again. With `only_parts`
        an object of which something else is left stays, such as a photo with other faces; no later
        extraction of the same content brings back what was forgotten. `label` instead of `ids`
        forgets in this way all that has the label, whoever gave it, and who was said not to be it.
        """

    @sent("promote")
    def promote(self, ids: Iterable[str] | None=None, *, label: str | None=None, min_confidence: float | None=None, gated: bool=True, audited_only: bool=False, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Let auto-labelled documents vote: those of `ids`, or those that the filters choose.

        Under `precision` a gate holds back what is not surer than labelling asks for, says nothing
        new, contradicts a reference, or would outnumber what people said. In separate mode they are
        copied into the curated collection. With `audited_only` an audit must have found the label
        right, too. `refused` in the answer says which stayed out, and why; undoing the operation
        takes all of it back. With `preview` the answer is the same, and nothing is written.
        """

    @sent("label_tree")
    def label_tree(self, *, field: str | None=None) -> LabelTree:
        """Return the labels of a field as a tree, with their style guide and counts."""

    @sent("describe_label")
    def describe_label(self, label: str, *, description: str | None=None, examples: Iterable[str] | None=None, aliases: Iterable[str] | None=None, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Say what belongs to a label, which documents show it, and its other names.

        What is not said stays; a label that is not there yet is there from now on. `examples` are
        ids of documents in the collection whose labels vote; a label that is given by one of its
        `aliases` is the label. Raises Conflict for a name that means another label, NotFound,
        BadInput.
        """

    @sent("rename_label")
    def rename_label(self, label: str, to: str, *, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Give a label, with all below it, another name, or another place in the tree: a path.

        It reads so wherever it was said, and nothing else changes; the old name means the new one
        from now on. With `preview` nothing is written. Raises Conflict for a name that is taken,
        NotFound, BadInput for a place below itself.
        """

    @sent("merge_labels")
    def merge_labels(self, labels: Iterable[str], into: str, *, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Let labels, each with all below it, be another one, there or new; then decide again.

        Their names mean that one from now on. With `preview` nothing is written. Raises NotFound,
        BadInput for a label that is merged into itself or into what is below it.
        """

    @sent("split_label")
    def split_label(self, label: str, parts: Mapping[str, Iterable[str]], *, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Split a label: new label → ids of the documents that have it, each in one part.

        Named are all to which someone gave the label; what the machine labelled is decided again.
        What is below the label stays. With `preview` nothing is written. Raises BadInput for
        documents that are left over, NotFound for those that nobody labelled so.
        """

    @sent("retire_label")
    def retire_label(self, label: str, *, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Put a label, with all below it, out of use: no reference votes for it any more.

        What people said stays as it is; to use the label again, undo the operation. With `preview`
        nothing is written. Raises Conflict for one that is retired already, NotFound.
        """

    @abstractmethod
    def as_of(self, at: At) -> PastVerbs:
        """Return the collection as it was at a version, operation, event or time, to be read."""

    @sent("keep_version")
    def keep_version(self, name: str, *, note: str='', field: str | None=None, actor: str='', op_id: str='') -> Version:
        """Name the point where a label field is now; it can be asked for as of then, for ever.

        Raises Conflict for a name that the collection has given, BadInput for one that is none.
        """

    @sent("versions")
    def versions(self, *, field: str | None=None, retired: bool=False) -> list[Version]:
        """Return the versions, the newest first, of all label fields or of one.

        Those that are `retired` only on request.
        """

    @sent("compare_versions")
    def compare_versions(self, before: str, after: str | None=None, *, field: str | None=None) -> Comparison:
        """Return how a label field differs between two points; without `after`, from now.

        Points are told as in `as_of`; a version chooses its own label field. Raises NotFound.
        """

    @sent("retire_version")
    def retire_version(self, name: str, *, actor: str='', op_id: str='') -> Changed:
        """Offer a version no more. Who asks for it still gets what it gave, to the digit.

        Raises NotFound, and Conflict for one that is retired.
        """

    @sent("try_policy")
    def try_policy(self, *, confidence_threshold: float | None=None, target_precision: float | None=None, targets: Mapping[str, float] | None=None, top_k: int | None=None, extractor: str | None=None, references: str | None=None, wrong_costs: float=20, field: str | None=None, actor: str='', op_id: str='') -> Trial:
        """Try another rule against the one in force; it labels nothing.

        It is replayed on the answers that chance had drawn, and decides all else in the background,
        new documents too; answers to what is `waiting` tell who is better. A wrong label costs as
        much as `wrong_costs` reviews. `extractor` is one that a migration has prepared; with
        `references` only those vote of which nobody has said anything after that operation.

        Raises Conflict where a trial is open, BadInput for the rule in force and impossible values,
        NotFound for an operation that is none.
        """

    @sent("trials")
    def trials(self, *, field: str | None=None) -> list[Trial]:
        """Return the trials of a field, the newest first, with what they tell so far."""

    @sent("trial")
    def trial(self, trial: str) -> Trial:
        """Return a trial by its id, with what it tells so far. Raises NotFound."""

    @sent("disagreements")
    def disagreements(self, trial: str, *, limit: int=20, actor: str='') -> list[str]:
        """Return the documents to ask about next in a trial; more are drawn where fewer wait.
        A server answers up to 1,000 at once.

        They are a random sample of those on which the two rules decide otherwise, new ones too.
        Raises NotFound, and Conflict for a trial that has ended or cannot go on.
        """

    @sent("answer_trial")
    def answer_trial(self, trial: str, labels: Mapping[str, str] | None=None, *, new_kind: Iterable[str]=(), cannot_tell: Iterable[str]=(), actor: str='', op_id: str='') -> Trial:
        """Answer what is waiting in a trial: what documents are, id → label.

        Of some they are a `new_kind`, or one `cannot_tell`. All are recorded, or none. Answers
        count in the order of asking: one that is passed over holds up those after it. Raises
        Conflict for what was answered before and for a trial that has ended, NotFound, BadInput.
        """

    @sent("adopt_trial")
    def adopt_trial(self, trial: str, *, keep: bool=True, actor: str='', op_id: str='') -> Changed:
        """Let the challenger be the rule in force, decide all by it, and end the trial.

        With `keep` its answers become the person's labels. Undoing it brings the old rule back; of
        another extractor, migrating back does. Raises Conflict where the rule was changed since,
        where the trial has ended, or while a migration or re-decision is under way.
        """

    @sent("drop_trial")
    def drop_trial(self, trial: str, *, keep: bool=True, actor: str='', op_id: str='') -> Changed:
        """End a trial and leave the rule as it is; with `keep` its answers become labels.

        Raises Conflict where it has ended, NotFound.
        """

    @sent("flips")
    def flips(self, *, at: float | None=None, target_precision: float | None=None, limit: int=20, offset: int=0, field: str | None=None) -> Flips:
        """Return what would flip if the limit was `at`, or as a target precision makes it.
        A server answers up to 1,000 at once.

        `limit` and `offset` bound the documents that are shown. Nothing is changed. Raises BadInput
        unless one of both is given, Conflict for a target where similarities decide.
        """

    @sent("audit")
    def audit(self, size: int=50, *, strata: int=1, label: str | None=None, field: str | None=None, actor: str='', op_id: str='') -> Audit:
        """Draw a frozen sample of automatic labels, or of those of one `label`, to be checked.

        More than one of the `strata` share it out by confidence: the estimate errs less, and its
        interval is wider. What is drawn votes only when the audit is closed. Raises Conflict where
        there is nothing to audit, BadInput for a size that cannot be drawn.
        """

    @sent("audits")
    def audits(self, *, field: str | None=None) -> list[Audit]:
        """Return the audits of a field, the newest first, with what they tell so far."""

    @sent("answer_audit")
    def answer_audit(self, audit: str, labels: Mapping[str, str] | None=None, *, right: Iterable[str]=(), wrong: Iterable[str]=(), cannot_tell: Iterable[str]=(), actor: str='', op_id: str='') -> Audit:
        """Answer what is waiting in an audit, by its id: what documents are, id → label.

        Who has seen the label may say instead which are `right` or `wrong`; of some one
        `cannot_tell`. All are recorded, or none. Raises Conflict for what was answered before and
        for a closed audit, NotFound for what is not in it, BadInput.
        """

    @sent("close_audit")
    def close_audit(self, audit: str, *, keep: bool=False, actor: str='', op_id: str='') -> Changed:
        """Close an audit. With `keep` its answers become the person's labels, and rejections.

        What a person has said of a document otherwise stands. Raises Conflict for a closed audit.
        """

    @sent("cost")
    def cost(self, wrong_costs: float=20, *, field: str | None=None) -> CostCurve:
        """Return what limits cost where a wrong label costs as much as `wrong_costs` reviews.

        Raises Conflict where nothing has a probability of being right, as under `threshold`.
        """

    @sent("monitor")
    def monitor(self, *, days: int=30, field: str | None=None) -> Monitoring:
        """Return how a label field does: its report, its last days, the queue's forecast, precision
        by label, references that caused corrections, and its alarm.

        Raises BadInput unless `days` is 1 to 366.
        """

    @sent("watch")
    def watch(self, *, coverage: tuple[float | None, float | None] | None=None, error_rate: tuple[float | None, float | None] | None=None, webhook: str='', field: str | None=None, actor: str='') -> Alarm:
        """Set the alarm of a field: what its coverage and error rate shall be, lowest and highest.

        The worker raises it when one leaves its band, clears it when all are back, and sends both
        to `webhook`, an http or https address, signed. Raises BadInput for an impossible band,
        BadSetting without a secret, FetchRefused for an address that must not be reached.
        """

    @sent("unwatch")
    def unwatch(self, *, field: str | None=None) -> bool:
        """Take the alarm of a field away; return whether it had one."""

    @sent("inspect")
    def inspect(self, *, field: str | None=None) -> Inspection:
        """Return what may be wrong with the references: wrong and contradictory labels, weak ones.

        Each label is tried by leaving its references out, one by one.
        """

    @sent("diagnose")
    def diagnose(self, *, field: str | None=None) -> Checkup:
        """Return why too much has no label, labels are wrong, or nothing improves; what to do next.

        The findings that explain most come first; each names a command and a request.
        """

    @sent("opinions")
    def opinions(self, id: str, *, field: str | None=None) -> tuple[Opinion, ...]:
        """Return each person's latest answer about a document, the earliest first."""

    @sent("agreement")
    def agreement(self, *, field: str | None=None, blind: bool=False) -> Agreement:
        """Return how far people agree on what several of them answered, by their latest answers.

        What was said of a contested document is left out: it was said in sight of the others' word.
        So are corrections with `blind`, for which alone the coefficients mean what they say. Raises
        Conflict where no two people answered the same document; MissingExtra.
        """

    @abstractmethod
    def suggest(self, source: Any=None, *, text: str | None=None, vectors: Any=None, ids: Iterable[str] | None=None, field: str | None=None, top_k: int | None=None) -> list[Suggestion]:
        """Return what things would be labelled if they were added now, together; record nothing."""

    @sent("queue")
    def queue(self, *, limit: int=20, field: str | None=None, second_opinion: float=0, actor: str='') -> list[Question]:
        """Return what is worth asking a person, best question first; it needs no label to begin.
        A server answers up to 1,000 at once.

        Some of it was drawn by chance, and looks like any other: what is learned from the answers
        needs that. What people contradict each other on comes first. With a share as
        `second_opinion`, so much is asked of what others than the `actor` answered, with the label
        hidden. Raises BadInput for a share beyond 0 to 1.

        Answer with `label({id: label, …}, asked=True)`: the `suggestions` that are right, and the
        right labels of the others. `reject({id: label})` says only that a suggestion is wrong,
        `new_kind(ids, asked=True)` that no label fits. So a `check` is confirmed by one call for
        all its documents, and a label that looks wrong (`suspect`) by giving it again.
        """

    @sent("check_sheet")
    def check(self, *, field: str | None=None) -> Question | None:
        """Return the check sheet that waits for an answer, or None: the queue has it as `check`.

        It shows documents that were drawn at random from those that may be labelled automatically,
        grouped by label, and stays the same for everybody until it is answered (see `queue`).
        There is none under the policy `threshold`, nor before some labels have three references.
        """

    @sent("why")
    def why(self, id: str, *, field: str | None=None) -> Why:
        """Return what caused a document's label or null, and what would be without the nearest."""

    @abstractmethod
    def map(self, *, field: str | None=None, progress: Progress=quiet) -> Map:
        """Return every document as a point on a plane, look-alikes together."""

    @sent("operations")
    def operations(self, *, limit: int=100) -> list[Operation]:
        """Return the latest operations, the newest first.
        A server answers up to 1,000 at once.
        """

    @sent("history")
    def history(self, id: str) -> list[Event]:
        """Return every event of a document, oldest first."""


class PastVerbs(ShownVerbs):
    """What a client asks of a collection as it was."""

    @sent("decide")
    def decide(self, *, field: str | None=None) -> Redecided:
        """Return what the references, policy and calibration of then say of the documents of now.

        Where no document came or went since, that is what was decided then, to the digit; else what
        was learned is learned again from the same references. Nothing is recorded. Raises Conflict
        where the collection was in another space then.
        """


class LibraryVerbs(Caller):
    """What a client does with a library."""

    @sent("check")
    def check(self) -> list[str]:
        """Return what contradicts itself in the store; empty when it is sound."""

    @sent("engine_version")
    def engine_version(self) -> str:
        """Return the version of the database engine."""

    @sent("spaces")
    def spaces(self) -> dict[str, str]:
        """Return the space of each collection that has documents, by the collection's name."""

    @abstractmethod
    def labeler(self, name: str, /, source: Any=None, *, extractor: str | Sequence[str | Mapping[str, Any]] | None=None, inputs: Mapping[str, str] | None=None, field: str | None=None, reference: str | None=None, confidence_threshold: float | None=None, target_precision: float | None=None, targets: Mapping[str, float] | None=None, top_k: int=10, enrich: tuple[str, ...]=(), exclusive: str | None=None, low_quality: bool | None=None, hierarchical: bool | None=None, closed_set: bool | None=None, labels: Labels | None=None, **options: Any) -> CollectionVerbs:
        """Return a collection that labels itself, made in one call: bucket, collection, taxonomy."""

    @abstractmethod
    def create_bucket(self, name: str, properties: Mapping[str, str] | None=None) -> None:
        """Make a bucket; `properties` gives the type of each field of its objects."""

    @abstractmethod
    def create_collection(self, name: str, /, *, bucket: str | Sequence[str]=(), source: str | None=None, extractor: str | Sequence[str | Mapping[str, Any]]='image', inputs: Mapping[str, str] | None=None, passthrough: Mapping[str, str] | None=None, **options: Any) -> CollectionVerbs:
        """Make a collection without a label field; it extracts what is there."""

    @sent("add_taxonomy")
    def add_taxonomy(self, collection: str, field: str, *, reference: str | None=None, reference_field: str | None=None, confidence_threshold: float | None=None, target_precision: float | None=None, targets: Mapping[str, float] | None=None, top_k: int=10, enrich: tuple[str, ...]=(), separator: str='>', exclusive: str | None=None, low_quality: bool | None=None, hierarchical: bool | None=None, closed_set: bool | None=None, labels: Labels | None=None, op_id: str='') -> None:
        """Give a collection one more label field, with the rule that labels it.

        With another `separator`, "/" for one, "Shoes/Running" is said for `Shoes > Running`.
        The rest is as in `labeler`; `exclusive` and `low_quality` cannot change later, what `run`
        takes can.
        What was given an `op_id` is done once, however often it is asked for. Raises NotFound for
        an unknown collection, Conflict when the field is there.
        """

    @abstractmethod
    def prepare_migration(self, *collections: str, extractor: str, options: Mapping[str, Any] | None=None, confidence_threshold: float | None=None, progress: Progress=quiet) -> Migration:
        """Extract collections with another extractor, beside what is in force, and compare."""

    @abstractmethod
    def migrate(self, *collections: str, extractor: str, options: Mapping[str, Any] | None=None, confidence_threshold: float | None=None, op_id: str='', progress: Progress=quiet) -> Changed:
        """Change collections to another extractor, in one step, and decide everything again."""

    @sent("drop_spaces")
    def drop_spaces(self, *collections: str) -> DroppedSpaces:
        """Erase the vectors of collections in the spaces that are not in force, for good."""

    @abstractmethod
    def remove_collection(self, *doomed: str) -> Removed:
        """Remove collections with documents, labels and history; bucket and objects stay."""

    @abstractmethod
    def remove_bucket(self, name: str, *, cascade: bool=False) -> Removed:
        """Remove a bucket with its objects, and with `cascade` the collections drawing on it."""

    @sent("forget_objects")
    def forget_objects(self, bucket: str, ids: Sequence[str], *, op_id: str='') -> Receipt:
        """Erase objects of a bucket with their documents in every collection, for good.

        Also those that failed or wait. The user's own files stay. What was given an `op_id` is done
        once, however often it is asked for, and has up to 5,000 objects; a server always gives one.
        Raises NotFound.
        """

    @abstractmethod
    def collection(self, name: str) -> CollectionVerbs:
        """Return a collection. Raises NotFound, listing the known ones."""

    @sent("collections")
    def collections(self) -> list[str]:
        """Return the names of all collections, sorted."""

    @sent("buckets")
    def buckets(self) -> list[str]:
        """Return the names of all buckets, sorted."""
