"""The pictures that the package ships, over HTTP: something to try the page and the API with."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter

from lookalike.content.sources import Item
from lookalike.ingest.items import Tally
from lookalike.library.collection.items import take_in
from lookalike.server.context import Here
from lookalike.server.routes.collection_replies import shown
from lookalike.server.routes.collection_shapes import CollectionReply
from lookalike.server.shapes import JsonRoute

router = APIRouter(prefix="/v1/samples", tags=["collections"], route_class=JsonRoute)

COLLECTION = "sample"


@router.post("")
def make_sample(here: Here) -> CollectionReply:
    """Make the collection `sample` of 533 pictures that the package ships; labels are up to you."""
    pictures = resources.files("lookalike.library.samples") / "pictures"
    collection = here.library.labeler(COLLECTION, extractor="image")
    with here.workshop.store.read() as snapshot:
        row = here.row(snapshot, collection.name)
    sent = (Item(one.name, one.name, data=one.read_bytes()) for one in pictures.iterdir())
    take_in(here.workshop, row, sorted(sent, key=lambda one: one.key), Tally(), copy=True)
    here.context.worker.wake()
    with here.workshop.store.read() as snapshot:
        return shown(snapshot, here.row(snapshot, collection.name))
