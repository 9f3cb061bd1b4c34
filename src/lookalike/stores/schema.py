"""The tables of both stores, in SQLAlchemy Core.

Everything that must never be lost is here; what can be computed again lives beside it (`vectors.py`
for the bytes of vectors, `cache/` for derived state). Times are UTC seconds. `pk` columns are the
store's own integers; `id` columns are what users see.
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
"""The number of the newest migration that this code knows."""

metadata = MetaData()
_pk = BigInteger().with_variant(Integer, "sqlite")


def _numbered(name: str, *columns: Column[object] | Index | UniqueConstraint) -> Table:
    """Return a table whose pks are never given twice, not even after a removal."""
    return Table(name, metadata, *columns, sqlite_autoincrement=True)


def _clustered(name: str, *columns: Column[object] | Index | UniqueConstraint) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def numbered() -> list[Table]:
    """Return the tables whose pks are never given twice."""
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
    Column("key", Text, nullable=False),  # where it comes from: a URL, an id, a digest
    Column("name", Text, nullable=False),  # what a person calls it: a file name
    Column("metadata", JSON, nullable=False),
    Column("blobs", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("size_bytes", _pk),  # of all its blobs
    Column("said_by", JSON),  # who said what stands in its metadata, by key
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
    Column("next_slot", _pk, nullable=False),  # never goes back: a reader may still map an old slot
    Column("members", JSON),  # name and dimension of each block of a combined space's vectors
    Column("beside", Boolean),  # kept beside the space in force, which is the one that is not
    Column("since", _pk),  # the operation that put it in force, where it was beside before
    Column("maker", JSON),  # the extractor's name and options, where it is beside
    Column("owner", Text),  # who extracts into it, while it is beside
    Column("expires_at", Float),
    UniqueConstraint("collection_pk", "name"),
)

finding = _clustered(
    "finding",  # what was found in an object for a space that is beside; no row means to be done
    Column("space_pk", _pk, primary_key=True),
    Column("object_pk", _pk, primary_key=True),
    Column("error", Text),
    Column("sha256", LargeBinary),  # of the content that it was found in
    Column("parts", JSON, nullable=False),  # [document_pk or null, key, attributes] of each
    Column("vectors", LargeBinary),  # float16 rows, of the parts that are no document yet
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
    Column("arrived_in", _pk),  # the operation that made it, where that was written down
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
    Column("reference_field_pk", _pk, nullable=False),  # whose labels vote: its own in unified mode
    Column("standard", JSON),  # what the precision policy decided with, last time
    Column("epoch", Integer, nullable=False),  # moves when rows of `standing` were removed
    UniqueConstraint("collection_pk", "name"),
    Index("field_by_reference", "reference_field_pk"),
)

standing = _clustered(
    "standing",  # the fold of the ledger, and the decision, per field and document
    Column("field_pk", _pk, primary_key=True),
    Column("document_pk", _pk, primary_key=True),
    Column("label", Text),
    Column("origin", Text),
    Column("votes", Boolean, nullable=False),
    Column("actor", Text),
    Column("suggestion", Text),
    Column("answer", Text),  # what a person said that is no label
    Column("asked", Boolean),  # whether the queue had asked for what the person said
    Column("contested", Boolean),  # whether people contradict each other, and it is not settled
    Column("confirmed", Boolean),  # whether a person said again what somebody had said
    Column("confidence", Float),
    Column("margin", Float),
    Column("runner_up", Text),
    Column("reason", Text),
    Column("source_pk", _pk),  # the reference whose further fields are copied
    Column("revision", _pk, nullable=False),  # the operation that last wrote this row
    Index("standing_by_label", "field_pk", "label", "confidence"),
    # With the pk named, SQLite knows that these are in the order of arrival.
    Index("standing_by_label_and_arrival", "field_pk", "label", "document_pk"),
    Index("standing_by_origin", "field_pk", "origin", "document_pk"),
    Index("standing_by_confidence", "field_pk", "confidence"),
    Index("standing_by_revision", "field_pk", "revision"),
    # Only what has no label has a reason; with the label, who asks for both needs no row.
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
    "draw",  # which documents chance chose to be asked about, among all that were there
    Column("field_pk", _pk, primary_key=True),
    Column("document_pk", _pk, primary_key=True),
    Column("probability", Float, nullable=False),  # of being among those drawn so far
    Column("operation_pk", _pk, nullable=False),
)

sheet = _clustered(
    "sheet",  # documents drawn at random from what may be labelled, to be checked together
    Column("field_pk", _pk, primary_key=True),
    Column("operation_pk", _pk, primary_key=True),  # that drew it
    Column("document_pk", _pk, primary_key=True),
    Column("probability", Float, nullable=False),  # of being drawn
    Column("label", Text),  # that the document would get
    Column("confidence", Float),
    Index("sheet_by_document", "document_pk"),
)

decided = _numbered(
    "decided",  # what the machine decided in an operation: `decision_log` packs and unpacks it
    Column("pk", _pk, primary_key=True),
    Column("field_pk", _pk, nullable=False),
    Column("operation_pk", _pk, nullable=False),
    Column("standard", JSON),  # [what was decided by from then on], where that is another one
    Column("labels", JSON, nullable=False),  # what the codes in `rows` stand for
    Column("rows", LargeBinary, nullable=False),
    Index("decided_by_field", "field_pk", "operation_pk"),
)

version = _numbered(
    "version",  # a point in the ledger of a field that someone named
    Column("pk", _pk, primary_key=True),
    Column("field_pk", _pk, nullable=False),
    Column("operation_pk", _pk, nullable=False),  # that named it: the point is just there
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
    "amendment",  # what an operation said of an object's metadata
    Column("pk", _pk, primary_key=True),
    Column("operation_pk", _pk, nullable=False),
    Column("object_pk", _pk, nullable=False),
    Column("before", JSON, nullable=False),  # of the same keys, those that were there
    Column("after", JSON, nullable=False),
    Index("amendment_by_object", "object_pk"),
    Index("amendment_by_operation", "operation_pk"),
)

forgotten = _numbered(
    "forgotten",  # parts of an object's content that no extraction may bring back
    Column("pk", _pk, primary_key=True),
    Column("object_pk", _pk, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("part", Text, nullable=False),
    Column("place", JSON, nullable=False),  # box, page, time_ms: nothing of what was there
    Index("forgotten_by_object", "object_pk"),
)

audit = _numbered(
    "audit",  # a frozen sample of automatic labels, which a person checks
    Column("pk", _pk, primary_key=True),
    Column("collection_pk", _pk, nullable=False),
    Column("field_pk", _pk, nullable=False),
    Column("operation_pk", _pk, nullable=False),  # that drew it
    Column("strata", JSON, nullable=False),  # [lowest, highest confidence, how many labels] of each
    Column("labels", JSON, nullable=False),  # how many in each stratum, by label
    Column("closed_at", Float),
    Index("audit_by_collection", "collection_pk"),
    Index("audit_by_operation", "operation_pk"),
)

audit_item = _numbered(
    "audit_item",  # as it was when it was drawn; what is forgotten leaves its verdict only
    Column("pk", _pk, primary_key=True),
    Column("audit_pk", _pk, nullable=False),
    Column("document_pk", _pk),
    Column("stratum", Integer, nullable=False),
    Column("label", Text),
    Column("confidence", Float),
    Column("source_pk", _pk),  # the reference that had caused the label
    Column("probability", Float, nullable=False),  # of being drawn
    Column("verdict", Text),
    Column("truth", Text),  # the right label, where the person named it
    Column("actor", Text),
    Index("audit_item_by_audit", "audit_pk"),
    Index("audit_item_by_document", "document_pk"),
)

trial = _numbered(
    "trial",  # another rule that is tried against the one of a field
    Column("pk", _pk, primary_key=True),
    Column("collection_pk", _pk, nullable=False),
    Column("field_pk", _pk, nullable=False),
    Column("operation_pk", _pk, nullable=False),  # that began it
    Column("challenger", JSON, nullable=False),  # what it changes of the rule
    Column("champion", JSON, nullable=False),  # the rule in force when it began
    Column("wrong_costs", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("ended_by", _pk),  # the operation that adopted or dropped it
    Column("result", JSON),  # numbers alone, once it has ended
    Index("trial_by_collection", "collection_pk"),
    Index("trial_by_operation", "operation_pk"),
)

trial_item = _numbered(
    "trial_item",  # a disagreement as it was drawn; it goes with its document
    Column("pk", _pk, primary_key=True),
    Column("trial_pk", _pk, nullable=False),
    Column("document_pk", _pk, nullable=False),
    Column("champion", Text),
    Column("challenger", Text),
    Column("probability", Float, nullable=False),  # of being drawn by then
    Column("answer", Text),
    Column("truth", Text),
    Column("actor", Text),
    Index("trial_item_by_trial", "trial_pk"),
    Index("trial_item_by_document", "document_pk"),
)

task = _numbered(
    "task",  # long work that someone asked for; extraction is not here: objects say what waits
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
    "upload",  # a file that is being sent through a signed address
    Column("pk", _pk, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("bucket_pk", _pk, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("blob", JSON),  # what was sent
    Column("object_id", Text),  # what became of it
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

alarm = _clustered(
    "alarm",  # when someone wants to be told how a field does, and what they were told
    Column("field_pk", _pk, primary_key=True),
    Column("spec", JSON, nullable=False),
    Column("state", JSON, nullable=False),
)

api_key = _numbered(
    "api_key",
    Column("pk", _pk, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),  # of the secret, which is stored nowhere
    Column("scope", Text, nullable=False),
    Column("namespace", Text),  # none: all of them
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
)
