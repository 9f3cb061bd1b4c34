"""The nouns: what every other module speaks about. Imports nothing of ours."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

ANY: Any = object()
"""A filter that lets everything through; None is a value."""

LABEL_SEPARATOR = " > "
"""Between the parts of a hierarchical label: `Shoes > Running > Red`."""

Progress = Callable[[int, int], None]
"""Called with the number of items done and their total."""


def quiet(_done: int, _total: int) -> None:
    """Show no progress."""


class Origin(StrEnum):
    """Who gave a label, strongest first. A weaker origin never overwrites a stronger one."""

    HUMAN = "human"
    IMPORT = "import"
    PROMOTED = "promoted"
    AUTO = "auto"

    @property
    def strength(self) -> int:
        """Return 4 for a person down to 1 for the machine."""
        return 4 - list(Origin).index(self)


class Verdict(StrEnum):
    """What a person says of an automatic label."""

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
    """How far an object has come in a collection."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class EventKind(StrEnum):
    """What one line of the ledger says about a document's label, or about a label itself."""

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
    """What a person can say of a document that is no label."""

    NEW_KIND = "new_kind"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Member:
    """One of the extractors of a combined space: what it is called there, and its dimension."""

    name: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Space:
    """Where vectors may be compared: model, version and preprocessing fixed for ever.

    `name` reads `<extractor>.<version>/<model>@<digest>`; two spaces never meet. A vector of a
    combined space is one block for each of its `members`, in their order; a block of zeros tells
    that an item has nothing for that member.
    """

    name: str
    dimension: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of one property of an object: where they are and what they must be."""

    property: str
    media_type: str
    uri: str
    sha256: str
    size_bytes: int

    @classmethod
    def of_text(cls, property: str, text: str) -> Blob:
        """Return a text as a blob that holds it itself."""
        data = text.encode()
        inline = "data:text/plain;base64," + base64.b64encode(data).decode("ascii")
        digest = hashlib.sha256(data).hexdigest()
        return cls(property, "text/plain", inline, digest, len(data))


@dataclass(frozen=True, slots=True)
class Object:
    """One raw item of a bucket, as it stands.

    `status` is that of the collection in which it is least far. Its `metadata` show the labels that
    a person or an import gave to the document that it is as a whole.
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
    """A label or null, and everything that caused it.

    `confidence` is a raw similarity under the `threshold` policy (as the workflow has it) and an
    estimated probability of being right under `precision`. `threshold` is the limit in force.
    `taxonomy_version` tells by which of the field's rules it was made, the first being 1.
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
    """What a document's label is now, in one field.

    `answer` is what a person said instead of a label; one whose answer is `new_kind` is of none of
    the known labels, and not decided. `actor` is who gave the label or answer that stands; `source`
    the reference that a label of the machine was taken from; `revision` rises with every change.
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
        """Return why there is no label: by the decision, or because a person said so."""
        return Reason.REJECTED if self.origin is Origin.HUMAN else self.decision.reason


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What something would be labelled; it is recorded nowhere.

    `name` is what was asked about, `part` which part of it. `enriched` was copied from the
    reference `source_id`.
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
class Document:
    """The unit that is labelled. Its first label field is also reachable as plain attributes."""

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
        """Return the standing in the collection's first label field."""
        return self.standings[self.field]

    @property
    def label(self) -> str | None:
        """Return the label in force, or None."""
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
        """Return how far the winner is ahead of the runner-up."""
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
    """The rule that labels one field of a collection.

    `reference` names the collection whose labels vote: itself (unified) or a curated one
    (separate). A `confidence_threshold` makes the policy `threshold`; without one it is `precision`
    with `target_precision`; `targets` are those of labels that have their own. `enrich` is copied
    from the matched reference. `taxonomy` names the resource that made it. Labels are paths, said
    with `separator`. With `exclusive` "image" the machine gives each label once an image; with
    `low_quality` all are decided and vote. If `hierarchical`, `precision` gives a parent where no
    leaf is sure enough. With `references`, the id of an operation, only those vote of which nobody
    has said anything after it. `closed_set` says that the labels there are, are all there can be.
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
    """What a person said last of a document: a `label`, or of what `kind` the answer is.

    It is `labelled`, `rejected` (not this), `new_kind` or `cannot_tell`.
    """

    actor: str
    kind: EventKind
    label: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """What the queue asks a person: about a strip of look-alikes, the seed first, or about one.

    With a `suggestion` it is whether all of them have that label; without one it is what they are.
    `suggestions` has a label, or None, for each of the documents. Answering settles about
    `worth` documents. `kind` tells why it is asked: `check` (a random sample of what may be
    labelled automatically: confirm it, but for what is wrong), `suspect` (a person's labels
    that look wrong: give them again, or the right ones), `names` (what the names of declared
    labels suggest, where they can be compared with the documents: they never vote), `value`,
    `limit` (it labelled itself, barely), `conflict` (of references, or of people: then
    `opinions` tell who said what), `second_opinion` (another person answered it; what, is
    hidden), or `new_kind`, which may belong at `place` in the tree of labels ("" for anywhere).
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
    """One line of the append-only ledger."""

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
    """One step that can be explained and undone as a whole."""

    id: str
    kind: str
    collection: str
    actor: str
    at: datetime
    undone_by: str | None
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """What an operation changed, by the person and, as a consequence, by itself.

    `labelled`, `relabelled` and `unlabelled` count documents that the machine changed, by label
    (the new one; for `unlabelled` the label that went). `revision` is that of all it wrote.
    `promoted` counts, by label, what votes from now on. `renamed` tells what labels are called now;
    `given` counts, by label, documents to which someone gave one that reads otherwise, or votes no
    more. `reopened` tells that a new kind was said in a closed set, which is open from then on. A
    preview has no `operation`.
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
        """Return how many documents changed their label as a consequence."""
        parts = (self.labelled, self.relabelled, self.unlabelled)
        return sum(sum(part.values()) for part in parts)


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` brought in, and what became of it.

    `added`, `changed` (same key, other content) and `unchanged` count objects; `documents` counts
    the documents made; `skipped` names files of a folder that the extractor does not read;
    `failed` gives the reason for each object that could not be extracted; `labelled` counts by
    label what labelled itself on arrival.
    """

    added: int
    changed: int
    unchanged: int
    documents: int
    skipped: tuple[str, ...]
    failed: Mapping[str, str]
    labelled: Mapping[str, int]
