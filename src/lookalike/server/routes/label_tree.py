"""Label tree routes of a taxonomy: read the tree; describe, rename, merge, split, retire labels."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import Kind, collection_from, find, listed, names
from lookalike.catalog.taxonomies import attached_to
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.labels import LabelCounts, LabelTree
from lookalike.library.collection.collection import Collection
from lookalike.model import Changed
from lookalike.server.context import Context, Here
from lookalike.server.replies import ChangedReply, operation_reply
from lookalike.server.routes.taxonomy_shapes import node_id
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute, Reply

router = APIRouter(
    prefix="/v1/taxonomies/{taxonomy}/labels", tags=["taxonomies"], route_class=JsonRoute
)


class LabelDescription(Body):
    """The description of a label; keys that are left out stay. `examples` are document ids."""

    label: str
    description: str | None = None
    examples: list[str] | None = None
    aliases: list[str] | None = None
    field: str | None = None
    op_id: str = ""


class LabelRename(Body):
    """A label, and the path to which it is renamed with all labels below it."""

    label: str
    to: str
    preview: bool = False
    field: str | None = None
    op_id: str = ""


class LabelMerge(Body):
    """Labels to merge, with all labels below them."""

    labels: list[str] = Field(min_length=1)
    into: str
    preview: bool = False
    field: str | None = None
    op_id: str = ""


class LabelSplit(Body):
    """A label and its parts: new label → ids of documents that a person gave the old one."""

    label: str
    parts: dict[str, list[str]] = Field(min_length=1)
    preview: bool = False
    field: str | None = None
    op_id: str = ""


class LabelRetirement(Body):
    """A label to retire, with all labels below it."""

    label: str
    preview: bool = False
    field: str | None = None
    op_id: str = ""


_Edit = LabelDescription | LabelRename | LabelMerge | LabelSplit | LabelRetirement


class LabelNodeReply(Reply):
    """A label with its style guide and counts: its `own`, and `all` with the labels below it."""

    node_id: str
    label: str
    name: str
    level: int
    description: str
    examples: list[str]
    aliases: list[str]
    retired: bool
    own: LabelCounts
    all: LabelCounts


class LabelTreeReply(Reply):
    """The labels of a taxonomy, each after its parent.

    They belong to the collection and field with the references: `owner_id` and `owner_field`.
    With `closed_set` there can be no other labels.
    """

    collection_id: str
    field: str
    owner_id: str
    owner_field: str
    closed_set: bool
    labels: list[LabelNodeReply]


@router.get("")
def label_tree(taxonomy: str, here: Here, field: str | None = None) -> LabelTreeReply:
    """Return the labels of a taxonomy as a tree, with their style guide and counts."""
    collection, name = _filled(here, taxonomy, field)
    return _reply(collection.label_tree(field=name))


@router.patch("")
def describe_label(
    taxonomy: str, body: LabelDescription, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Set a label's description, example documents and other names."""
    return _edit(here, taxonomy, body, idempotency_key, Collection.describe_label)


@router.post("/rename")
def rename_label(
    taxonomy: str, body: LabelRename, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Rename a label and all labels below it, or move them to another place in the tree."""
    return _edit(here, taxonomy, body, idempotency_key, Collection.rename_label)


@router.post("/merge")
def merge_labels(
    taxonomy: str, body: LabelMerge, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Merge labels, each with all labels below it, into an existing or a new one."""
    return _edit(here, taxonomy, body, idempotency_key, Collection.merge_labels)


@router.post("/split")
def split_label(
    taxonomy: str, body: LabelSplit, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Split a label: each document that a person gave it gets the label of its part."""
    return _edit(here, taxonomy, body, idempotency_key, Collection.split_label)


@router.post("/retire")
def retire_label(
    taxonomy: str, body: LabelRetirement, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Retire a label and all labels below it; undo the operation to use it again."""
    return _edit(here, taxonomy, body, idempotency_key, Collection.retire_label)


def _edit(
    here: Context, taxonomy: str, body: _Edit, key: str, edit: Callable[..., Changed]
) -> ChangedReply:
    """Call a verb of the label tree with the arguments in a body."""
    collection, field = _filled(here, taxonomy, body.field)
    return operation_reply(edit(collection, **body.arguments(key) | {"field": field}))


def _filled(here: Context, taxonomy: str, field: str | None) -> tuple[Collection, str]:
    """Return the collection and the label field that a taxonomy fills.

    A field without a taxonomy resource has the name `<collection>_<field>`. Raises NotFound,
    Conflict for a taxonomy that is attached nowhere, BadInput if it fills several fields.
    """
    with here.runtime.store.read() as snapshot:
        row = find(snapshot, here.namespace, Kind.TAXONOMY, taxonomy)
        if row is None:
            homes = map(collection_from, listed(snapshot, here.namespace, Kind.COLLECTION))
            found = [
                (home, one)
                for home in homes
                for one in fields_of(snapshot, home.pk)
                if f"{home.name}_{one.name}" == taxonomy.removeprefix(Kind.TAXONOMY.prefix)
            ]
            if not found:
                known = names(snapshot, here.namespace, Kind.TAXONOMY)
                raise NotFound.named(Kind.TAXONOMY.value, taxonomy, known)
        else:
            found = attached_to(snapshot, here.namespace, row.name)
    if not found:
        raise Conflict(f"the taxonomy {taxonomy!r} is attached to no collection yet; attach it")
    known_fields = sorted({one.name for _, one in found})
    if field is None and len(known_fields) > 1:
        listing = ", ".join(known_fields)
        raise BadInput(f"the taxonomy {taxonomy!r} fills {listing}; name one as `field`")
    for home, one in found:
        if field in (None, one.name):
            return here.collection(home.name), one.name
    raise NotFound.named("label field", str(field), known_fields)


def _reply(tree: LabelTree) -> LabelTreeReply:
    return LabelTreeReply.of(
        tree,
        collection_id=Kind.COLLECTION.prefix + tree.collection,
        owner_id=Kind.COLLECTION.prefix + tree.owner,
        labels=[
            LabelNodeReply.of(one, node_id=node_id(one.label), level=one.depth)
            for one in tree.nodes
        ],
    )
