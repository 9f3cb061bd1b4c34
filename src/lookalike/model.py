"""The dataclasses and enums that all packages share. Imports nothing of ours.

Begin with `Document` (the item that gets labels), `Standing` and `Decision` (its label, and why),
`Taxonomy` (how a field is labelled), `Event` and `Operation` (the event log).
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib import import_module
from typing import Any

ANY: Any = object()
"""The default of a filter: accept every value. None accepts only what has no value."""

LABEL_SEPARATOR = " > "
"""The separator between the parts of a hierarchical label: `Shoes > Running > Red`."""

Progress = Callable[[int, int], None]
"""Called with the number of items done and their total."""


def quiet(_done: int, _total: int) -> None:
    """Show no progress."""


class Displayed:
    """Base class of what a notebook shows as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        notebook: Any = import_module(
            "lookalike.library.collection.notebook"
        )  # only where one asks for it
        html: str = notebook.html(self)
        return html


class Origin(StrEnum):
    """Who gave a label, strongest origin first. A weaker one never overwrites a stronger one."""

    HUMAN = "human"
    IMPORT = "import"
    PROMOTED = "promoted"
    AUTO = "auto"

    @property
    def strength(self) -> int:
        """Return the rank of the origin, from 4 (a person) down to 1 (automatic)."""
        return 4 - list(Origin).index(self)


class Verdict(StrEnum):
    """A reviewer's answer about an automatic label."""

    RIGHT = "right"
    WRONG = "wrong"
    CANNOT_TELL = "cannot_tell"


class Reason(StrEnum):
    """Why a document has no label."""

    NO_REFERENCES = "no_references"
    BELOW_THRESHOLD = "below_threshold"
    TOO_CLOSE = "too_close"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    LOW_QUALITY = "low_quality"
    EXTRACTION_FAILED = "extraction_failed"


class Status(StrEnum):
    """The state of an object's extraction in a collection."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class EventKind(StrEnum):
    """The type of an event in the ledger, about the label of a document or about a label itself."""

    LABELLED = "labelled"
    RETRACTED = "retracted"
    REJECTED = "rejected"
    PROMOTED = "promoted"
    SUGGESTED = "suggested"
    NEW_KIND = "new_kind"
    CANNOT_TELL = "cannot_tell"
    DECIDED = "decided"
    CONFIGURED = "configured"
    RENAMED = "renamed"
    RETIRED = "retired"
    DESCRIBED = "described"
    DECLARED = "declared"
    UNDONE = "undone"
    FORGOTTEN = "forgotten"


class Answer(StrEnum):
    """An answer about a document that is not a label."""

    NEW_KIND = "new_kind"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Member:
    """One extractor of a combined space: its name there, and the dimension of its vectors."""

    name: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Space:
    """An embedding space: vectors of one model, version and preprocessing, fixed for ever.

    `name` is `<extractor>.<version>/<model>@<digest>`; vectors of two spaces are never compared. A
    vector of a combined space has one block for each of its `members`, in their order; a block of
    zeros means that the item has nothing for that member.
    """

    name: str
    dimension: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of one property of an object: their address, and their expected type and digest."""

    property: str
    media_type: str
    uri: str
    sha256: str
    size_bytes: int

    @classmethod
    def of_text(cls, property: str, text: str) -> Blob:
        """Return a blob whose `uri` holds the text itself, as a data URL."""
        data = text.encode()
        inline = "data:text/plain;base64," + base64.b64encode(data).decode("ascii")
        digest = hashlib.sha256(data).hexdigest()
        return cls(property, "text/plain", inline, digest, len(data))


@dataclass(frozen=True, slots=True)
class Object:
    """One source file of a bucket, in its current state.

    `status` is the least advanced one among the bucket's collections. `metadata` include the labels
    that a person or an import gave to the document made from the whole object.
    """

    id: str
    bucket: str
    key: str
    name: str
    metadata: Mapping[str, Any]
    blobs: tuple[Blob, ...]
    status: Status
    error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """One neighbour: a reference with its similarity, label and share of the evidence."""

    document_id: str
    similarity: float
    label: str
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What the classifier decided for a document: a label or None, and everything that caused it.

    `confidence` is the raw similarity of the nearest reference under the policy `threshold`, and
    the estimated probability that the label is right under `precision`. `threshold` is what the
    confidence had to reach. `taxonomy_version` is the version of the field's taxonomy that decided,
    from 1 on.
    """

    label: str | None
    confidence: float | None
    margin: float | None
    threshold: float | None
    runner_up: str | None
    reason: Reason | None
    matches: tuple[Match, ...]
    policy: str
    taxonomy_version: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The current state of a document's label in one field.

    `answer` is what a person answered instead of a label; after `new_kind` (none of the known
    labels) the document gets no automatic label. `actor` gave the current label or answer;
    `source` is the reference that an automatic label was taken from; `revision` rises with every
    change.
    """

    label: str | None
    origin: Origin | None
    is_reference: bool
    answer: Answer | None
    reviewed_by: str | None
    suggestion: str | None
    rejected: tuple[str, ...]
    enriched: Mapping[str, Any]
    decision: Decision
    actor: str | None = None
    source: str | None = None
    revision: int = 0

    @property
    def reason(self) -> Reason | None:
        """Return why there is no label: the decision's reason, or `rejected` by a person."""
        return Reason.REJECTED if self.origin is Origin.HUMAN else self.decision.reason


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The label that a new item would get. Nothing is stored.

    `name` is the item, `part` the part of it that this is about. `enriched` holds the metadata that
    the field copies from the reference `source_id`.
    """

    name: str
    part: str
    attributes: Mapping[str, Any]
    source_id: str | None
    enriched: Mapping[str, Any]
    decision: Decision

    @property
    def label(self) -> str | None:
        """Return the label, or None."""
        return self.decision.label


@dataclass(frozen=True, slots=True)
class Document(Displayed):
    """The item that gets labels, one `Standing` for each label field.

    `label`, `confidence` and the other properties are those of the collection's first label field.
    """

    id: str
    collection: str
    object_id: str
    part: str
    file_name: str
    sha256: str
    metadata: Mapping[str, Any]
    attributes: Mapping[str, Any]
    field: str
    standings: Mapping[str, Standing]
    created_at: datetime | None = None
    blobs: tuple[Blob, ...] = ()

    @property
    def standing(self) -> Standing:
        """Return the label state in the collection's first label field."""
        return self.standings[self.field]

    @property
    def label(self) -> str | None:
        """Return the current label, or None."""
        return self.standing.label

    @property
    def origin(self) -> Origin | None:
        """Return who gave the label."""
        return self.standing.origin

    @property
    def confidence(self) -> float | None:
        """Return the decision's confidence."""
        return self.standing.decision.confidence

    @property
    def margin(self) -> float | None:
        """Return the difference between the best label's score and the runner-up's."""
        return self.standing.decision.margin

    @property
    def reason(self) -> Reason | None:
        """Return why there is no label."""
        return None if self.label is not None else self.standing.reason

    @property
    def neighbors(self) -> tuple[Match, ...]:
        """Return the references that caused the decision, nearest first."""
        return self.standing.decision.matches


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """How one field of a collection is labelled.

    `reference` is the collection whose labels are references: the same one (unified) or a curated
    one (separate). With a `confidence_threshold` the policy is `threshold`, without one it is
    `precision` with `target_precision`; `targets` holds the target precision of single labels.
    `enrich` names metadata to copy from the matched reference. `taxonomy` is the resource that this
    was made from. `separator` stands between the parts of labels as users write them.
    `exclusive` "image": each label is given automatically at most once on an image. `low_quality`:
    documents of low quality are decided and serve as references, too. `hierarchical`: under
    `precision` a document gets a parent label where no leaf is sure enough. `references` is the id
    of an operation: documents with a statement after it are no references. `closed_set`: no other
    labels than the known ones can exist.
    """

    field: str
    reference: str
    reference_field: str
    confidence_threshold: float | None = None
    target_precision: float = 0.95
    top_k: int = 10
    enrich: tuple[str, ...] = ()
    version: int = 1
    targets: Mapping[str, float] = dataclasses.field(default_factory=dict)
    taxonomy: str = ""
    separator: str = ">"
    exclusive: str = ""
    low_quality: bool = False
    hierarchical: bool = True
    references: str = ""
    closed_set: bool = False


@dataclass(frozen=True, slots=True)
class Opinion:
    """The last answer of one person about a document.

    `kind` is `labelled` or `rejected` (both with a `label`), `new_kind` or `cannot_tell`.
    """

    actor: str
    kind: EventKind
    label: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Question(Displayed):
    """One question of the review queue, about a document or a group of similar ones, seed first.

    With a `suggestion` the question is whether all of them have that label, without one what they
    are. `suggestions` has a label or None for each document. An answer settles about `worth`
    documents. `kind` is the reason for the question:

    - `check`: a random sample of what may be labelled automatically. Correct what is wrong, and
      confirm the rest.
    - `suspect`: labels of people that look wrong. Give them again, or the right ones.
    - `names`: what the names of declared labels suggest, where a model can compare names with
      documents. Names are never references.
    - `value`: the answer settles many documents.
    - `limit`: labelled automatically, with a confidence just above the threshold.
    - `conflict`: references disagree, or people do; `opinions` then holds their answers.
    - `second_opinion`: another person has answered; that answer is hidden.
    - `new_kind`: may be a new category, at `place` in the label tree ("" for anywhere).
    """

    documents: tuple[Document, ...]
    suggestion: str | None
    worth: float
    kind: str
    place: str = ""
    opinions: tuple[Opinion, ...] = ()
    suggestions: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the append-only ledger; `seq` is its number there."""

    seq: int
    operation: str
    kind: EventKind
    collection: str | None
    document_id: str | None
    field: str | None
    label: str | None
    origin: Origin | None
    actor: str
    at: datetime
    detail: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """A group of events that were written together, and can be explained and undone as a whole."""

    id: str
    kind: str
    collection: str
    actor: str
    at: datetime
    undone_by: str | None
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """What an operation changed: labels that the person gave, and automatic ones that followed.

    `labelled`, `relabelled` and `unlabelled` count automatic changes of documents by label (the new
    label; for `unlabelled` the lost one). All rows that it wrote have this `revision`. `promoted`
    counts new references by label. `renamed` maps labels to their new names. `given` counts, by
    label, documents whose label was given by someone and now has another name or is no reference
    any more. `reopened`: an answer `new_kind` opened a closed set. The `operation` of a preview is
    empty.
    """

    operation: str
    by_person: int
    labelled: Mapping[str, int]
    relabelled: Mapping[str, int]
    unlabelled: Mapping[str, int]
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    revision: int = 0
    promoted: Mapping[str, int] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    given: Mapping[str, int] = dataclasses.field(default_factory=dict)
    reopened: bool = False

    @property
    def by_itself(self) -> int:
        """Return how many documents changed their label automatically."""
        parts = (self.labelled, self.relabelled, self.unlabelled)
        return sum(sum(part.values()) for part in parts)


@dataclass(frozen=True, slots=True)
class Added:
    """The result of `add`.

    `added`, `changed` (same key, other content) and `unchanged` count objects; `documents` counts
    the documents made; `skipped` names files of a folder that the extractor does not read;
    `failed` gives the reason for each object that could not be extracted; `labelled` counts, by
    label, new documents that were labelled automatically.
    """

    added: int
    changed: int
    unchanged: int
    documents: int
    skipped: tuple[str, ...]
    failed: Mapping[str, str]
    labelled: Mapping[str, int]
