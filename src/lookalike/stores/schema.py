"""The tables of both stores, in SQLAlchemy Core.

They hold everything that must not be lost; derived data is elsewhere (`cache/`), and so are the
bytes of vectors (`vectors.py`). Times are UTC seconds. `pk` columns are the store's own integers;
`id` columns are shown to users.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA_VERSION = 8
"""The number of the newest migration in this code."""

metadata = MetaData()
_pk = BigInteger().with_variant(Integer, "sqlite")


def _numbered(name: str, *columns: Column[object] | Index | UniqueConstraint) -> Table:
    """Return a table whose pks are never reused, not even after a removal."""
    return Table(name, metadata, *columns, sqlite_autoincrement=True)


def _clustered(name: str, *columns: Column[object] | Index | UniqueConstraint) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def numbered() -> list[Table]:
    """Return the tables whose pks are never reused."""
    return [one for one in metadata.sorted_tables if one.kwargs.get("sqlite_autoincrement")]


meta = _clustered(
    "meta",
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

resource = _numbered(
    "resource",
    Column("pk", _pk, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("kind", Text, nullable=False),  # bucket, collection, retriever, taxonomy
    Column("name", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("namespace", "kind", "name"),
)

object_ = _numbered(
    "object",
    Column("pk", _pk, primary_key=True),
    Column("bucket_pk", _pk, nullable=False),
    Column("id", Text, nullable=False),
    Column("key", Text, nullable=False),  # its origin: a URL, an id, a digest
    Column("name", Text, nullable=False),  # for people: a file name
    Column("metadata", JSON, nullable=False),
    Column("blobs", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("size_bytes", _pk),  # of all its blobs
    Column("said_by", JSON),  # who set the values of its metadata, by key
    UniqueConstraint("bucket_pk", "id"),
    UniqueConstraint("bucket_pk", "key"),
    Index("object_by_bucket", "bucket_pk"),
    Index("object_by_size", "bucket_pk", "size_bytes"),
)

extraction = _clustered(
    "extraction",  # a row is work to do or a failure; no row means done
    Column("collection_pk", _pk, primary_key=True),
    Column("object_pk", _pk, primary_key=True),
    Column("status", Text, nullable=False),
    Column("owner", Text),
    Column("expires_at", Float),
    Column("error", Text),
    Index("extraction_by_status", "collection_pk", "status"),
    Index("extraction_by_object", "object_pk", "status"),
)

space = _numbered(
    "space",
    Column("pk", _pk, primary_key=True),
    Column("collection_pk", _pk, nullable=False),
    Column("name", Text, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("next_slot", _pk, nullable=False),  # never decreases: a reader may still map an old slot
    Column("members", JSON),  # name and dimension of each block of a combined space's vectors
    Column("beside", Boolean),  # whether it is a standby space; false or null: the current space
    Column("since", _pk),  # the operation that made it current, if it was a standby space
    Column("maker", JSON),  # the extractor's name and options, if it is a standby space
    Column("owner", Text),  # the lease holder that extracts into a standby space
    Column("expires_at", Float),
    UniqueConstraint("collection_pk", "name"),
)

finding = _clustered(
    "finding",  # parts of an object extracted for a standby space; no row: not extracted yet
    Column("space_pk", _pk, primary_key=True),
    Column("object_pk", _pk, primary_key=True),
    Column("error", Text),
    Column("sha256", LargeBinary),  # of the extracted content
    Column("parts", JSON, nullable=False),  # [document_pk or null, key, attributes] of each
    Column("vectors", LargeBinary),  # float16 rows, of the parts without a document
    Index("finding_by_object", "object_pk"),
)

document = _numbered(
    "document",
    Column("pk", _pk, primary_key=True),
    Column("collection_pk", _pk, nullable=False),
    Column("object_pk", _pk, nullable=False),
    Column("part", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("arrived_in", _pk),  # the operation that added it; null in older stores
    UniqueConstraint("collection_pk", "id"),
    UniqueConstraint("collection_pk", "object_pk", "part"),
    Index("document_by_collection", "collection_pk"),
    Index("document_by_object", "object_pk"),
    Index("document_by_content", "sha256"),
    Index("document_by_file", "collection_pk", "file_name"),
    Index("document_by_arrival", "collection_pk", "arrived_in"),
)

embedding = _clustered(
    "embedding",
    Column("space_pk", _pk, primary_key=True),
    Column("slot", _pk, primary_key=True),
    Column("document_pk", _pk, nullable=False),
    Index("embedding_by_document", "space_pk", "document_pk", unique=True),
)

field = _numbered(
    "field",
    Column("pk", _pk, primary_key=True),
    Column("collection_pk", _pk, nullable=False),
    Column("name", Text, nullable=False),
    Column("taxonomy", JSON, nullable=False),
    Column("reference_field_pk", _pk, nullable=False),  # the field of its references
    Column("standard", JSON),  # the current decision rule
    Column("epoch", Integer, nullable=False),  # changes when rows of `standing` are removed
    UniqueConstraint("collection_pk", "name"),
    Index("field_by_reference", "reference_field_pk"),
)

standing = _clustered(
    "standing",  # the label state (fold of the ledger) and the decision, per field and document
    Column("field_pk", _pk, primary_key=True),
    Column("document_pk", _pk, primary_key=True),
    Column("label", Text),
    Column("origin", Text),
    Column("votes", Boolean, nullable=False),
    Column("actor", Text),
    Column("suggestion", Text),
    Column("answer", Text),  # a person's answer other than a label
    Column("asked", Boolean),  # whether the person answered the queue
    Column("contested", Boolean),  # whether people disagree, unsettled
    Column("confirmed", Boolean),  # whether a person gave the same label again
    Column("confidence", Float),
    Column("margin", Float),
    Column("runner_up", Text),
    Column("reason", Text),
    Column("source_pk", _pk),  # the reference whose metadata is copied
    Column("revision", _pk, nullable=False),  # the operation that last wrote this row
    Index("standing_by_label", "field_pk", "label", "confidence"),
    # The index names the pk, so SQLite knows that the rows are in the order of arrival.
    Index("standing_by_label_and_arrival", "field_pk", "label", "document_pk"),
    Index("standing_by_origin", "field_pk", "origin", "document_pk"),
    Index("standing_by_confidence", "field_pk", "confidence"),
    Index("standing_by_revision", "field_pk", "revision"),
    # Only unlabelled documents have a reason; with the label in the index, a query for both needs
    # no row.
    Index(
        "standing_by_reason",
        "field_pk",
        "reason",
        "document_pk",
        "label",
        sqlite_where=text("reason IS NOT NULL"),
        postgresql_where=text("reason IS NOT NULL"),
    ),
    Index(
        "standing_contested",
        "field_pk",
        "revision",
        sqlite_where=text("contested = 1"),
        postgresql_where=text("contested"),
    ),
    Index(
        "standing_confirmed",
        "field_pk",
        "document_pk",
        sqlite_where=text("confirmed = 1"),
        postgresql_where=text("confirmed"),
    ),
)

draw = _clustered(
    "draw",  # random samples for the queue
    Column("field_pk", _pk, primary_key=True),
    Column("document_pk", _pk, primary_key=True),
    Column("probability", Float, nullable=False),  # of having been sampled so far
    Column("operation_pk", _pk, nullable=False),
)

sheet = _clustered(
    "sheet",  # check sheets: random documents that may be labelled
    Column("field_pk", _pk, primary_key=True),
    Column("operation_pk", _pk, primary_key=True),  # that drew it
    Column("document_pk", _pk, primary_key=True),
    Column("probability", Float, nullable=False),  # of being drawn
    Column("label", Text),  # that the document would get
    Column("confidence", Float),
    Index("sheet_by_document", "document_pk"),
)

decided = _numbered(
    "decided",  # automatic decisions of an operation, packed by `decision_log`
    Column("pk", _pk, primary_key=True),
    Column("field_pk", _pk, nullable=False),
    Column("operation_pk", _pk, nullable=False),
    Column("standard", JSON),  # [the decision rule from then on], if it changed
    Column("labels", JSON, nullable=False),  # the labels of the codes in `rows`
    Column("rows", LargeBinary, nullable=False),
    Index("decided_by_field", "field_pk", "operation_pk"),
)

version = _numbered(
    "version",  # a named position in the ledger of a field
    Column("pk", _pk, primary_key=True),
    Column("field_pk", _pk, nullable=False),
    Column("operation_pk", _pk, nullable=False),  # that named it; the position is just after it
    Column("name", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("retired_at", Float),
    UniqueConstraint("field_pk", "name"),
)

rejection = _clustered(
    "rejection",
    Column("field_pk", _pk, primary_key=True),
    Column("document_pk", _pk, primary_key=True),
    Column("label", Text, primary_key=True),
)

operation = _numbered(
    "operation",
    Column("pk", _pk, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("collection_pk", _pk, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("undone_by", _pk),
    Column("summary", JSON, nullable=False),
    Index("operation_by_collection", "collection_pk"),
)

event = _numbered(
    "event",
    Column("seq", _pk, primary_key=True),
    Column("operation_pk", _pk, nullable=False),
    Column("kind", Text, nullable=False),
    Column("field_pk", _pk, nullable=False),
    Column("document_pk", _pk),
    Column("label", Text),
    Column("origin", Text),
    Column("detail", JSON),
    Index("event_by_document", "document_pk", "field_pk"),
    Index("event_by_operation", "operation_pk"),
)

amendment = _numbered(
    "amendment",  # an edit of an object's metadata
    Column("pk", _pk, primary_key=True),
    Column("operation_pk", _pk, nullable=False),
    Column("object_pk", _pk, nullable=False),
    Column("before", JSON, nullable=False),  # earlier values of the same keys
    Column("after", JSON, nullable=False),
    Index("amendment_by_object", "object_pk"),
    Index("amendment_by_operation", "operation_pk"),
)

forgotten = _numbered(
    "forgotten",  # parts of an object's content that are never extracted again
    Column("pk", _pk, primary_key=True),
    Column("object_pk", _pk, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("part", Text, nullable=False),
    Column("place", JSON, nullable=False),  # box, page, time_ms; no content
    Index("forgotten_by_object", "object_pk"),
)

audit = _numbered(
    "audit",  # a fixed sample of automatic labels, which a person checks
    Column("pk", _pk, primary_key=True),
    Column("collection_pk", _pk, nullable=False),
    Column("field_pk", _pk, nullable=False),
    Column("operation_pk", _pk, nullable=False),  # that drew it
    Column(
        "strata", JSON, nullable=False
    ),  # [lowest, highest confidence, number of labels] of each
    Column("labels", JSON, nullable=False),  # number in each stratum, by label
    Column("closed_at", Float),
    Index("audit_by_collection", "collection_pk"),
    Index("audit_by_operation", "operation_pk"),
)

audit_item = _numbered(
    "audit_item",  # its state when sampled; after an erasure only the verdict is kept
    Column("pk", _pk, primary_key=True),
    Column("audit_pk", _pk, nullable=False),
    Column("document_pk", _pk),
    Column("stratum", Integer, nullable=False),
    Column("label", Text),
    Column("confidence", Float),
    Column("source_pk", _pk),  # the reference that had caused the label
    Column("probability", Float, nullable=False),  # of being drawn
    Column("verdict", Text),
    Column("truth", Text),  # the right label, if the person gave it
    Column("actor", Text),
    Index("audit_item_by_audit", "audit_pk"),
    Index("audit_item_by_document", "document_pk"),
)

trial = _numbered(
    "trial",  # an experiment: a candidate rule against the current one of a field
    Column("pk", _pk, primary_key=True),
    Column("collection_pk", _pk, nullable=False),
    Column("field_pk", _pk, nullable=False),
    Column("operation_pk", _pk, nullable=False),  # that began it
    Column("challenger", JSON, nullable=False),  # the changes of the candidate rule
    Column("champion", JSON, nullable=False),  # the current rule when it began
    Column("wrong_costs", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("ended_by", _pk),  # the operation that adopted or dropped it
    Column("result", JSON),  # figures, after it has ended
    Index("trial_by_collection", "collection_pk"),
    Index("trial_by_operation", "operation_pk"),
)

trial_item = _numbered(
    "trial_item",  # a sampled disagreement; erased with its document
    Column("pk", _pk, primary_key=True),
    Column("trial_pk", _pk, nullable=False),
    Column("document_pk", _pk, nullable=False),
    Column("champion", Text),
    Column("challenger", Text),
    Column("probability", Float, nullable=False),  # of having been sampled by then
    Column("answer", Text),
    Column("truth", Text),
    Column("actor", Text),
    Index("trial_item_by_trial", "trial_pk"),
    Index("trial_item_by_document", "document_pk"),
)

task = _numbered(
    "task",  # long work on request; extraction has a table of its own
    Column("pk", _pk, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("namespace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("owner", Text),
    Column("expires_at", Float),
    Column("error", Text),
    Column("result", JSON),
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    Index("task_by_status", "status"),
)

upload = _numbered(
    "upload",  # a file that is uploaded to a signed URL
    Column("pk", _pk, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("bucket_pk", _pk, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("blob", JSON),  # the uploaded file
    Column("object_id", Text),  # the object made of it
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

alarm = _clustered(
    "alarm",  # alerts: their rule, and the last notification
    Column("field_pk", _pk, primary_key=True),
    Column("spec", JSON, nullable=False),
    Column("state", JSON, nullable=False),
)

api_key = _numbered(
    "api_key",
    Column("pk", _pk, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),  # of the secret, which is not stored
    Column("scope", Text, nullable=False),
    Column("namespace", Text),  # null: all namespaces
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
)
