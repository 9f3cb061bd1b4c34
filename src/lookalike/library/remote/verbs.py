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
    from lookalike.content.frames import Frame
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


class SharedVerbs(Caller):
    """Verbs that a collection and its past states share."""

    @abstractmethod
    def documents(self, *, label: str | None=ANY, origin: Origin | str | None=ANY, reason: Reason | str | None=None, ids: Iterable[str] | None=None, field: str | None=None, order_by: str='added', limit: int | None=None) -> Iterator[Document]:
        """Yield documents; filter them by `label` (None: unlabelled), `origin`, `reason` or `ids`."""

    @sent("ids")
    def ids(self, *, label: str | None=ANY, origin: Origin | str | None=ANY, reason: Reason | str | None=None, ids: Iterable[str] | None=None, field: str | None=None, order_by: str='added', limit: int | None=None) -> list[str]:
        """Return the ids of the documents that `documents` yields, in its order."""

    @sent("document")
    def document(self, id: str) -> Document:
        """Return one document. Raises NotFound."""

    @sent("curve")
    def curve(self, *, field: str | None=None) -> list[Point]:
        """Return coverage and expected precision at other thresholds.

        Under the policy `precision` the expected precision is the mean probability of being right;
        under `threshold` no probability is known.
        """

    @sent("report")
    def report(self, *, field: str | None=None) -> Report:
        """Return coverage, queue, counts per label and the confidence histogram."""

    @abstractmethod
    def rows(self, *, field: str | None=None) -> Iterator[dict[str, Any]]:
        """Yield the rows that `export` writes, one mapping per document."""

    @abstractmethod
    def to_pandas(self, *, field: str | None=None, vectors: bool=False) -> Any:
        """Return the exported rows as a DataFrame of pandas."""

    @abstractmethod
    def to_polars(self, *, field: str | None=None, vectors: bool=False) -> Any:
        """Return the exported rows as a DataFrame of polars; `vectors` as in `to_pandas`."""

    @abstractmethod
    def to_arrow(self, *, field: str | None=None, vectors: bool=False) -> Any:
        """Return the exported rows as a table of Arrow; `vectors` as in `to_pandas`."""

    @property
    @sent("fields")
    def fields(self) -> tuple[str, ...]:
        """Return the names of the label fields, the collection's first field first."""

    @property
    @sent("extractor")
    def extractor(self) -> str:
        """Return the full name of the extractor that makes the documents."""

    @sent("size")
    def __len__(self) -> int:
        """Return the number of documents."""


class CollectionVerbs(SharedVerbs):
    """The other verbs of a collection."""

    @abstractmethod
    def add(self, source: Any=None, *, vectors: Any=None, ids: Sequence[Any] | None=None, metadata: Any=None, copy: bool=False, progress: Progress=quiet, engine: str='threads', address: str | None=None) -> Added:
        """Add items: extract them and decide their labels. Items that exist already do not change."""

    @abstractmethod
    def extract(self, *, progress: Progress=quiet, engine: str='threads', address: str | None=None) -> None:
        """Extract the objects that wait in this collection, also those an interrupted run left."""

    @abstractmethod
    def label(self, labels: Mapping[str, str | None] | Frame, *, field: str | None=None, asked: bool=False, new_labels: bool=False, actor: str='', op_id: str='', revisions: Mapping[str, int] | None=None) -> Changed:
        """Label documents, as a person: id → label. None removes the person's label or answer."""

    @abstractmethod
    def amend(self, changes: Mapping[str, Mapping[str, Any]], *, actor: str='', op_id: str='', revisions: Mapping[str, int] | None=None) -> Changed:
        """Change metadata of documents, by id; a label field takes a person's label, or None."""

    @sent("draw")
    def draw(self, regions: Mapping[str, Mapping[str, Sequence[float] | None]], *, actor: str='', op_id: str='') -> Changed:
        """Draw, move or remove regions of objects, by the object's id and the region's.

        A box is [left, top, width, height] in pixels of the upright picture; None removes a region
        with its document and label. The other regions of the picture keep their labels; those that
        the detector proposed count as the person's from then on. Raises BadInput for an invalid box
        or a collection without regions; NotFound.
        """

    @sent("reject")
    def reject(self, rejections: Mapping[str, str | None], *, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Reject labels: id → label, or None for the document's label or else its suggestion.

        No later run gives or suggests a rejected label for that document again.
        """

    @sent("new_kind")
    def new_kind(self, ids: Iterable[str], *, field: str | None=None, asked: bool=False, actor: str='', op_id: str='') -> Changed:
        """Mark documents as a new category: no existing label fits them.

        They are not decided again until a person labels them, and calibration learns from them how
        items of new categories score. This opens a closed set; `reopened` in the result is then
        True.
        """

    @sent("cannot_tell")
    def cannot_tell(self, ids: Iterable[str], *, field: str | None=None, asked: bool=False, actor: str='', op_id: str='') -> Changed:
        """Record that a person cannot tell the label of documents; the queue skips them."""

    @abstractmethod
    def import_labels(self, rows: Iterable[Mapping[str, Any]], *, field: str | None=None, label_column: str='label', origin: Origin=Origin.IMPORT, trusted: bool=True, asked: bool=False, actor: str='', op_id: str='') -> Changed:
        """Import labels from rows that name documents by `id`, `sha256` or `file_name`."""

    @abstractmethod
    def run(self, *, field: str | None=None, confidence_threshold: float | None=None, target_precision: float | None=None, targets: Mapping[str, float] | None=None, hierarchical: bool | None=None, closed_set: bool | None=None, labels: Labels | None=None, version: str | None=None, engine: str='threads', address: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Decide all documents again, with another policy if one is given; keep people's labels."""

    @sent("undo")
    def undo(self, operation: str, *, actor: str='', op_id: str='') -> Changed:
        """Undo an operation, with all automatic labels that depend on it."""

    @sent("forget")
    def forget(self, ids: Iterable[str] | None=None, *, label: str | None=None, only_parts: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Receipt:
        """Erase documents with their objects, vectors, labels, copies and thumbnails, for good.

        The user's own files stay. Documents that depended on the erased labels are decided again.
        With `only_parts` an object stays that has other parts, such as a photo with other faces;
        extracting the same content later does not recreate the erased parts. `label` instead of
        `ids` erases in this way every document with the label, whoever gave it, and the rejections
        of the label.
        """

    @sent("promote")
    def promote(self, ids: Iterable[str] | None=None, *, label: str | None=None, min_confidence: float | None=None, gated: bool=True, audited_only: bool=False, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Make automatically labelled documents references: those of `ids` or of the filters.

        Under the policy `precision` a gate holds back documents with a confidence below 0.99,
        near-duplicates of references, and documents of labels that would get more promoted
        references than people gave. In separate mode the documents are copied into the reference
        collection. With `audited_only` an audit must also have found the label right. `refused` in
        the result has the reason for each document held back; undoing the operation removes the
        promoted references. With `preview` the result is the same and nothing is written.
        """

    @sent("label_tree")
    def label_tree(self, *, field: str | None=None) -> LabelTree:
        """Return the labels of a field as a tree, with descriptions, examples and counts."""

    @sent("describe_label")
    def describe_label(self, label: str, *, description: str | None=None, examples: Iterable[str] | None=None, aliases: Iterable[str] | None=None, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Set a label's description, example documents and aliases; None keeps the value.

        It declares a label that does not exist yet. `examples` are ids of documents in the
        collection that has the references; where a label is given, an alias means the label. Raises
        Conflict for a name that means another label, NotFound, BadInput.
        """

    @sent("rename_label")
    def rename_label(self, label: str, to: str, *, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Rename a label with its children, or move it to another path in the tree.

        The new name replaces the old one everywhere, and no decision changes; the old name becomes
        an alias. With `preview` nothing is written. Raises Conflict for a name in use, NotFound,
        BadInput for a place below itself.
        """

    @sent("merge_labels")
    def merge_labels(self, labels: Iterable[str], into: str, *, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Merge labels with their children into one label, existing or new; then decide again.

        Their names become aliases of it. With `preview` nothing is written. Raises NotFound,
        BadInput for a label merged into itself or into its own child.
        """

    @sent("split_label")
    def split_label(self, label: str, parts: Mapping[str, Iterable[str]], *, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Split a label into `parts`: new label → ids of its documents, each in one part.

        Give all documents with the label from a person, import or promotion; automatic labels are
        decided again. The label's children stay. With `preview` nothing is written. Raises BadInput
        for documents in no part, NotFound for documents without the label.
        """

    @sent("retire_label")
    def retire_label(self, label: str, *, preview: bool=False, field: str | None=None, actor: str='', op_id: str='') -> Changed:
        """Retire a label with its children: its documents are references no more.

        People's labels stay stored; undo the operation to use the label again. With `preview`
        nothing is written. Raises Conflict for a label that is already retired, NotFound.
        """

    @abstractmethod
    def as_of(self, at: At) -> PastVerbs:
        """Return the collection as it was at a version, operation, event or time, read-only."""

    @sent("keep_version")
    def keep_version(self, name: str, *, note: str='', field: str | None=None, actor: str='', op_id: str='') -> Version:
        """Name the current state of a label field, so that `as_of` finds it by this name.

        Raises Conflict for a name that the collection already has, BadInput for an invalid one.
        """

    @sent("versions")
    def versions(self, *, field: str | None=None, retired: bool=False) -> list[Version]:
        """Return the versions of all label fields or of one, newest first.

        With `retired` also the retired ones.
        """

    @sent("compare_versions")
    def compare_versions(self, before: str, after: str | None=None, *, field: str | None=None) -> Comparison:
        """Return how a label field differs between two points; `after` is now by default.

        Give points as for `as_of`; a version selects its own label field. Raises NotFound.
        """

    @sent("retire_version")
    def retire_version(self, name: str, *, actor: str='', op_id: str='') -> Changed:
        """Hide a version from lists; `as_of` still returns the same state for its name.

        Raises NotFound, and Conflict for a version that is already retired.
        """

    @sent("try_policy")
    def try_policy(self, *, confidence_threshold: float | None=None, target_precision: float | None=None, targets: Mapping[str, float] | None=None, top_k: int | None=None, extractor: str | None=None, references: str | None=None, wrong_costs: float=20, field: str | None=None, actor: str='', op_id: str='') -> Trial:
        """Begin an experiment: compare a candidate policy with the current one; it labels nothing.

        It replays the candidate on the answers to random samples, and decides all other documents
        in the background, also new ones; answers to the `waiting` documents show which policy is
        better. A wrong label costs as much as `wrong_costs` reviews. `extractor` must have been
        prepared by `prepare_migration`. `references`, an operation, limits the references to those
        that nobody has labelled or answered since.

        Raises Conflict if an experiment is open, BadInput for the current policy and impossible
        values, NotFound for an unknown operation.
        """

    @sent("trials")
    def trials(self, *, field: str | None=None) -> list[Trial]:
        """Return the experiments of a field with their results so far, newest first."""

    @sent("trial")
    def trial(self, trial: str) -> Trial:
        """Return an experiment by its id, with its result so far. Raises NotFound."""

    @sent("disagreements")
    def disagreements(self, trial: str, *, limit: int=20, actor: str='') -> list[str]:
        """Return the next documents of an experiment to answer; sample more if fewer wait.
        A server answers up to 1,000 at once.

        They are a random sample of the documents, also new ones, that the two policies decide
        differently. Raises NotFound, and Conflict for an experiment that has ended or cannot
        continue.
        """

    @sent("answer_trial")
    def answer_trial(self, trial: str, labels: Mapping[str, str] | None=None, *, new_kind: Iterable[str]=(), cannot_tell: Iterable[str]=(), actor: str='', op_id: str='') -> Trial:
        """Answer waiting documents of an experiment: id → the correct label.

        `new_kind` are documents of a new category, `cannot_tell` those a person cannot judge. It
        records all answers or none. Answers count in the order of `waiting`: a skipped document
        delays those after it. Raises Conflict for a document answered before or an experiment that
        has ended, NotFound, BadInput.
        """

    @sent("adopt_trial")
    def adopt_trial(self, trial: str, *, keep: bool=True, actor: str='', op_id: str='') -> Changed:
        """Adopt the candidate policy: end the experiment and decide all documents with it.

        With `keep` its answers become the person's labels. Undo restores the old policy; for
        another extractor, migrate back. Raises Conflict if the policy changed since, the experiment
        has ended, or a migration or re-decision is running.
        """

    @sent("drop_trial")
    def drop_trial(self, trial: str, *, keep: bool=True, actor: str='', op_id: str='') -> Changed:
        """End an experiment and keep the current policy; with `keep` its answers become labels.

        Raises Conflict if it has ended, NotFound.
        """

    @sent("flips")
    def flips(self, *, at: float | None=None, target_precision: float | None=None, limit: int=20, offset: int=0, field: str | None=None) -> Flips:
        """Return the documents whose label would change at a threshold `at` or `target_precision`.
        A server answers up to 1,000 at once.

        `limit` and `offset` select the documents shown. It changes nothing. Raises BadInput unless
        exactly one of both is given, Conflict for a target under the policy `threshold`.
        """

    @sent("audit")
    def audit(self, size: int=50, *, strata: int=1, label: str | None=None, field: str | None=None, actor: str='', op_id: str='') -> Audit:
        """Draw a fixed random sample of automatic labels, or of those of one `label`, to check.

        With several `strata` it is stratified by confidence: the estimate has a smaller error and a
        wider interval. Documents of the sample become references only after the audit is closed.
        Raises Conflict if there is nothing to audit, BadInput for an impossible size.
        """

    @sent("audits")
    def audits(self, *, field: str | None=None) -> list[Audit]:
        """Return the audits of a field with their current estimates, newest first."""

    @sent("answer_audit")
    def answer_audit(self, audit: str, labels: Mapping[str, str] | None=None, *, right: Iterable[str]=(), wrong: Iterable[str]=(), cannot_tell: Iterable[str]=(), actor: str='', op_id: str='') -> Audit:
        """Answer waiting documents of an audit, by its id: id → the correct label.

        A person who has seen the label may answer `right` or `wrong` instead, and `cannot_tell` for
        documents they cannot judge. It records all answers or none. Raises Conflict for a document
        answered before or a closed audit, NotFound for a document outside the audit, BadInput.
        """

    @sent("close_audit")
    def close_audit(self, audit: str, *, keep: bool=False, actor: str='', op_id: str='') -> Changed:
        """Close an audit. With `keep` its answers become the person's labels and rejections.

        Answers that people gave outside the audit stay. Raises Conflict for a closed audit.
        """

    @sent("cost")
    def cost(self, wrong_costs: float=20, *, field: str | None=None) -> CostCurve:
        """Return the cost of each threshold; a wrong label costs as much as `wrong_costs` reviews.

        Raises Conflict without probabilities of being right, as under the policy `threshold`.
        """

    @sent("monitor")
    def monitor(self, *, days: int=30, field: str | None=None) -> Monitoring:
        """Return the state of a label field: report, recent days, forecast of the queue, precision
        by label, references that caused corrections, and the alert.

        Raises BadInput unless `days` is 1 to 366.
        """

    @sent("watch")
    def watch(self, *, coverage: tuple[float | None, float | None] | None=None, error_rate: tuple[float | None, float | None] | None=None, webhook: str='', field: str | None=None, actor: str='') -> Alarm:
        """Set the alert of a field: (lowest, highest) for its coverage and error rate.

        The worker raises the alert when a value leaves its band, clears it when all are back, and
        sends both as signed requests to `webhook`, an http or https address. Raises BadInput for an
        impossible band, BadSetting without a secret, FetchRefused for a forbidden address.
        """

    @sent("unwatch")
    def unwatch(self, *, field: str | None=None) -> bool:
        """Remove the alert of a field; return whether it had one."""

    @sent("inspect")
    def inspect(self, *, field: str | None=None) -> Inspection:
        """Return problems of the references: probably wrong, contradictory, and weak ones.

        It tests each label by leave-one-out: it leaves out one reference at a time.
        """

    @sent("diagnose")
    def diagnose(self, *, field: str | None=None) -> Checkup:
        """Return why coverage is low, labels are wrong or nothing improves, and what to do next.

        The findings that explain most come first; each names a command and an HTTP request.
        """

    @sent("opinions")
    def opinions(self, id: str, *, field: str | None=None) -> tuple[Opinion, ...]:
        """Return each person's latest answer about a document, earliest first."""

    @sent("agreement")
    def agreement(self, *, field: str | None=None, blind: bool=False) -> Agreement:
        """Return the annotator agreement on documents that several people answered.

        It compares latest answers, without those to contested documents, whose annotators saw each
        other's answers. `blind` also leaves out corrections; the coefficients are valid only then.
        Raises Conflict if no two people answered the same document; MissingExtra.
        """

    @abstractmethod
    def suggest(self, source: Any=None, *, text: str | None=None, vectors: Any=None, ids: Iterable[str] | None=None, field: str | None=None, top_k: int | None=None) -> list[Suggestion]:
        """Return the decisions that items would get if all were added now; record nothing."""

    @sent("queue")
    def queue(self, *, limit: int=20, field: str | None=None, second_opinion: float=0, actor: str='') -> list[Question]:
        """Return the questions to ask a person, the most valuable first; it works without labels.
        A server answers up to 1,000 at once.

        Some documents are a random sample, which calibration needs; they look like any other. The
        documents on which people disagree come first. `second_opinion` is the share (0 to 1) of
        duplicate annotations: documents that others than the `actor` answered, label hidden. Raises
        BadInput for another share.

        Answer with `label({id: label, …}, asked=True)`: give `suggestions` that are right, and the
        right labels of the others. `reject({id: label})` only rejects a suggestion;
        `new_kind(ids, asked=True)` says that no label fits. So one call for all its documents
        confirms a `check`, and giving a `suspect` label again confirms it.
        """

    @sent("check_sheet")
    def check(self, *, field: str | None=None) -> Question | None:
        """Return the check sheet that waits for an answer, or None; the queue asks it as `check`.

        It is a random sample of the documents that may be labelled automatically, grouped by label;
        everybody gets the same sheet until somebody answers it (see `queue`). There is no sheet
        under the policy `threshold`, nor before some labels have three references.
        """

    @sent("why")
    def why(self, id: str, *, field: str | None=None) -> Why:
        """Explain a document's label, or why it has none: its references, and what they decide."""

    @abstractmethod
    def map(self, *, field: str | None=None, progress: Progress=quiet) -> Map:
        """Return the embedding map: each document as a point on a plane, similar ones close."""

    @sent("operations")
    def operations(self, *, limit: int=100) -> list[Operation]:
        """Return the latest operations, newest first.
        A server answers up to 1,000 at once.
        """

    @sent("history")
    def history(self, id: str) -> list[Event]:
        """Return every event of a document, oldest first."""


class PastVerbs(SharedVerbs):
    """The other verbs of a past state of a collection."""

    @sent("decide")
    def decide(self, *, field: str | None=None) -> Redecided:
        """Decide the current documents with the earlier references, policy and calibration.

        If no document was added or removed since, the decisions equal the earlier ones to the last
        digit; otherwise calibration is refitted from the same references. It records nothing.
        Raises Conflict if the collection had another extractor then.
        """


class LibraryVerbs(Caller):
    """The verbs of a library."""

    @sent("check")
    def check(self) -> list[str]:
        """Return the inconsistencies of the store; an empty list if it is sound."""

    @sent("engine_version")
    def engine_version(self) -> str:
        """Return the version of the database engine."""

    @sent("spaces")
    def spaces(self) -> dict[str, str]:
        """Return the embedding space of each collection that has documents, by its name."""

    @abstractmethod
    def labeler(self, name: str, /, source: Any=None, *, extractor: str | Sequence[str | Mapping[str, Any]] | None=None, inputs: Mapping[str, str] | None=None, field: str | None=None, reference: str | None=None, confidence_threshold: float | None=None, target_precision: float | None=None, targets: Mapping[str, float] | None=None, top_k: int=10, enrich: tuple[str, ...]=(), exclusive: str | None=None, low_quality: bool | None=None, hierarchical: bool | None=None, closed_set: bool | None=None, labels: Labels | None=None, **options: Any) -> CollectionVerbs:
        """Create or return a collection with a label field that is labelled automatically."""

    @abstractmethod
    def create_bucket(self, name: str, properties: Mapping[str, str] | None=None) -> None:
        """Create a bucket; `properties` gives the type of each field of its objects."""

    @abstractmethod
    def create_collection(self, name: str, /, *, bucket: str | Sequence[str]=(), source: str | None=None, extractor: str | Sequence[str | Mapping[str, Any]]='image', inputs: Mapping[str, str] | None=None, passthrough: Mapping[str, str] | None=None, **options: Any) -> CollectionVerbs:
        """Create a collection without a label field, and extract the existing objects."""

    @sent("add_taxonomy")
    def add_taxonomy(self, collection: str, field: str, *, reference: str | None=None, reference_field: str | None=None, confidence_threshold: float | None=None, target_precision: float | None=None, targets: Mapping[str, float] | None=None, top_k: int=10, enrich: tuple[str, ...]=(), separator: str='>', exclusive: str | None=None, low_quality: bool | None=None, hierarchical: bool | None=None, closed_set: bool | None=None, labels: Labels | None=None, op_id: str='') -> None:
        """Add a label field with its policy to a collection.

        Another `separator`, such as "/", means that "Shoes/Running" is `Shoes > Running`. The other
        arguments are as in `labeler`; `run` can change its own later, but `exclusive` and
        `low_quality` are fixed. A repeated call with the same `op_id` changes nothing. Raises
        NotFound for an unknown collection, Conflict if the field exists.
        """

    @abstractmethod
    def prepare_migration(self, *collections: str, extractor: str, options: Mapping[str, Any] | None=None, confidence_threshold: float | None=None, progress: Progress=quiet) -> Migration:
        """Extract collections with another extractor into a new space, and compare the decisions."""

    @abstractmethod
    def migrate(self, *collections: str, extractor: str, options: Mapping[str, Any] | None=None, confidence_threshold: float | None=None, op_id: str='', progress: Progress=quiet) -> Changed:
        """Switch collections to another extractor, in one step, and decide all documents again."""

    @sent("drop_spaces")
    def drop_spaces(self, *collections: str) -> DroppedSpaces:
        """Erase the vectors of collections in embedding spaces other than the current, for good."""

    @abstractmethod
    def remove_collection(self, *doomed: str) -> Removed:
        """Remove collections with documents, labels and history; bucket and objects stay."""

    @abstractmethod
    def remove_bucket(self, name: str, *, cascade: bool=False) -> Removed:
        """Remove a bucket with its objects, and with `cascade` the collections that use it."""

    @sent("forget_objects")
    def forget_objects(self, bucket: str, ids: Sequence[str], *, op_id: str='') -> Receipt:
        """Erase objects of a bucket with their documents in every collection, for good.

        Also objects that failed or wait. The user's own files stay. A repeated call with the same
        `op_id` changes nothing; with an `op_id`, and so on a server, the limit is 5,000 objects.
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
