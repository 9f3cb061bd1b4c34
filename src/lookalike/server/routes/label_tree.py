"""The tree of labels of a taxonomy over HTTP: shown, described, renamed, merged, split, retired."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from lookalike.catalog.reader import fields_of
from lookalike.catalog.resources import Kind, collection_from, find, listed, names
from lookalike.catalog.taxonomies import attached_to
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.labels import LabelCounts, LabelTree
from lookalike.library.collection.collection import Collection
from lookalike.model import Changed
from lookalike.server.context import Asked, Here
from lookalike.server.replies import ChangedReply, operation_reply
from lookalike.server.routes.taxonomy_shapes import node_id
from lookalike.server.shapes import Body, IdempotencyKey, JsonRoute, Reply

router = APIRouter(
    prefix="/v1/taxonomies/{taxonomy}/labels", tags=["taxonomies"], route_class=JsonRoute
)


class LabelDescription(Body):
    """What belongs to a label: what is left out stays. `examples` are document ids."""

    label: str
    description: str | None = None
    examples: list[str] | None = None
    aliases: list[str] | None = None
    field: str | None = None
    op_id: str = ""


class LabelRename(Body):
    """A label and the path that it is to be, with all below it."""

    label: str
    to: str
    preview: bool = False
    field: str | None = None
    op_id: str = ""


class LabelMerge(Body):
    """Labels that are to be one, with all below them."""

    labels: list[str] = Field(min_length=1)
    into: str
    preview: bool = False
    field: str | None = None
    op_id: str = ""


class LabelSplit(Body):
    """A label and its parts: new label → ids of the documents that someone labelled so."""

    label: str
    parts: dict[str, list[str]] = Field(min_length=1)
    preview: bool = False
    field: str | None = None
    op_id: str = ""


class LabelRetirement(Body):
    """A label that is to be out of use, with all below it."""

    label: str
    preview: bool = False
    field: str | None = None
    op_id: str = ""


class LabelNodeReply(Reply):
    """A label: a path, its style guide, and who has it: `own`, and with what is below it `all`."""

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
    """The labels of a taxonomy, each after the one above it.

    They belong to the collection and field whose labels vote: `owner_id` and `owner_field`.
    `closed_set` says that these are all the labels there can be.
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
    return _shown(collection.label_tree(field=name))


@router.patch("")
def describe_label(
    taxonomy: str, body: LabelDescription, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Say what belongs to a label, which documents show it, and its other names."""
    collection, name = _filled(here, taxonomy, body.field)
    changed = collection.describe_label(
        body.label,
        description=body.description,
        examples=body.examples,
        aliases=body.aliases,
        field=name,
        op_id=body.op_id or idempotency_key,
    )
    return operation_reply(changed)


@router.post("/rename")
def rename_label(
    taxonomy: str, body: LabelRename, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Give a label, with all below it, another name, or another place in the tree."""
    collection, name = _filled(here, taxonomy, body.field)
    changed = collection.rename_label(
        body.label,
        body.to,
        preview=body.preview,
        field=name,
        op_id=body.op_id or idempotency_key,
    )
    return operation_reply(changed)


@router.post("/merge")
def merge_labels(
    taxonomy: str, body: LabelMerge, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Let labels, each with all below it, be another one, there or new."""
    collection, name = _filled(here, taxonomy, body.field)
    changed = collection.merge_labels(
        body.labels,
        body.into,
        preview=body.preview,
        field=name,
        op_id=body.op_id or idempotency_key,
    )
    return operation_reply(changed)


@router.post("/split")
def split_label(
    taxonomy: str, body: LabelSplit, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Split a label: each document to which someone gave it has one part from now on."""
    collection, name = _filled(here, taxonomy, body.field)
    changed = collection.split_label(
        body.label,
        body.parts,
        preview=body.preview,
        field=name,
        op_id=body.op_id or idempotency_key,
    )
    return operation_reply(changed)


@router.post("/retire")
def retire_label(
    taxonomy: str, body: LabelRetirement, here: Here, idempotency_key: IdempotencyKey = ""
) -> ChangedReply:
    """Put a label, with all below it, out of use; undo the operation to use it again."""
    collection, name = _filled(here, taxonomy, body.field)
    changed: Changed = collection.retire_label(
        body.label, preview=body.preview, field=name, op_id=body.op_id or idempotency_key
    )
    return operation_reply(changed)


def _filled(here: Asked, taxonomy: str, field: str | None) -> tuple[Collection, str]:
    """Return the collection and the label field that a taxonomy fills.

    A field that no taxonomy resource made answers to `<collection>_<field>`. Raises NotFound,
    Conflict for a taxonomy that is attached nowhere, BadInput where it fills several fields.
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
        raise BadInput(f"the taxonomy {taxonomy!r} fills {listing}: say which as `field`")
    for home, one in found:
        if field in (None, one.name):
            return here.collection(home.name), one.name
    raise NotFound.named("label field", str(field), known_fields)


def _shown(tree: LabelTree) -> LabelTreeReply:
    return LabelTreeReply(
        collection_id=Kind.COLLECTION.prefix + tree.collection,
        field=tree.field,
        owner_id=Kind.COLLECTION.prefix + tree.owner,
        owner_field=tree.owner_field,
        closed_set=tree.closed_set,
        labels=[
            LabelNodeReply(
                node_id=node_id(one.label),
                label=one.label,
                name=one.name,
                level=one.depth,
                description=one.description,
                examples=list(one.examples),
                aliases=list(one.aliases),
                retired=one.retired,
                own=one.own,
                all=one.all,
            )
            for one in tree.nodes
        ],
    )
