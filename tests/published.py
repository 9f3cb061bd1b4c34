"""The published client of the hosted system, pointed at a server of ours: both of its doors."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lookalike.library import samples

if TYPE_CHECKING:
    import mixpeek as mixpeek
else:

    class _Later:
        """The package, imported when it is asked for: that takes 7 s, and every worker collects."""

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module("mixpeek"), name)

    mixpeek = _Later()

PICTURES = Path(samples.__file__).parent / "pictures"
WAIT_S = 60.0
SCHEMA = {
    "photo": {"type": "image"},
    "title": {"type": "string"},
    "kind": {"type": "string"},
    "price": {"type": "number"},
}
_T = TypeVar("_T")


class Published:
    """The generated classes by what they are about, and the short client as `short`."""

    def __init__(self, url: str) -> None:
        api = mixpeek.ApiClient(mixpeek.Configuration(host=url))
        self.url = url
        self.short = mixpeek.Mixpeek("some-key", base_url=f"{url}/v1")
        self.buckets = mixpeek.BucketsApi(api)
        self.objects = mixpeek.BucketObjectsApi(api)
        self.uploads = mixpeek.BucketUploadsApi(api)
        self.collections = mixpeek.CollectionsApi(api)
        self.applying = mixpeek.CollectionTaxonomiesApi(api)
        self.documents = mixpeek.CollectionDocumentsApi(api)
        self.retrievers = mixpeek.RetrieversApi(api)
        self.ad_hoc = mixpeek.AdhocRetrieversApi(api)
        self.taxonomies = mixpeek.TaxonomiesApi(api)
        self.tasks = mixpeek.TasksApi(api)

    def make_bucket(self, name: str) -> Any:
        body = {"bucket_name": name, "bucket_schema": {"properties": SCHEMA}}
        return self.buckets.create_bucket(mixpeek.BucketCreateRequest.from_dict(body))

    def put(self, bucket: str, objects: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Put objects in, in one request; none of them may fail."""
        body = mixpeek.CreateObjectsBatchRequest.from_dict({"objects": list(objects)})
        made = self.objects.create_objects_batch_buckets(bucket, body)
        assert made.failed == []
        return list(made.succeeded)

    def make_collection(self, name: str, bucket: str, **more: Any) -> Any:
        body = {
            "collection_name": name,
            "source": {"type": "bucket", "bucket_ids": [bucket]},
            "feature_extractor": {
                "feature_extractor_name": "image_extractor",
                "version": "v1",
                "input_mappings": {"image": "photo"},
                "field_passthrough": [{"source_path": one} for one in ("title", "kind", "price")],
            },
            **more,
        }
        return self.collections.create_collection(mixpeek.CreateCollectionRequest.from_dict(body))

    def make_taxonomy(self, name: str, collection: str) -> Any:
        """Make a rule by which the labelled `kind` of a collection's own documents votes."""
        body = {
            "taxonomy_name": name,
            "config": {
                "taxonomy_type": "flat",
                "retriever_id": self.make_retriever(f"{name}_near", collection).retriever_id,
                "input_mappings": [{"input_key": "image", "source_type": "blob", "path": "photo"}],
                "source_collection": {
                    "collection_id": collection,
                    "enrichment_fields": [{"field_path": "kind", "merge_mode": "replace"}],
                },
            },
        }
        asked = mixpeek.CreateTaxonomyRequest.from_dict(body)
        return self.taxonomies.create_taxonomy_taxonomies(asked)

    def make_retriever(self, name: str, *collections: str) -> Any:
        """Store a search for the five nearest to a picture."""
        near = {
            "feature_uri": "mixpeek://image_extractor@v1/embedding",
            "query": {"input_mode": "content", "value": "{{INPUT.image}}"},
            "top_k": 5,
        }
        parameters = {"searches": [near], "final_top_k": 5}
        body = {
            "retriever_name": name,
            "collection_identifiers": list(collections),
            "stages": [
                {
                    "stage_name": "near",
                    "config": {"stage_id": "feature_search", "parameters": parameters},
                }
            ],
            "input_schema": {"image": {"type": "image", "required": True}},
        }
        return self.retrievers.create_retriever(mixpeek.CreateRetrieverRequest.from_dict(body))

    def make_labelled(self, name: str, *extra: Mapping[str, Any]) -> dict[str, str]:
        """Make a bucket, a rule with a limit of 0.6 and a collection of apples, balloons and a car.

        Return the document ids by title. Two of each kind are labelled; an apple, a balloon and the
        car are not.
        """
        self.make_bucket(name)
        things = [
            thing("apple", "apple", price=1),
            thing("applf", "apple", price=2),
            thing("balloon-red-aj", "balloon", price=3),
            thing("balloon-blue-aj", "balloon", price=4),
            thing("another-apple-01", price=5),
            thing("balloon-green-aj", price=6),
            thing("car", price=7),
            *extra,
        ]
        self.put(name, things)
        self.make_taxonomy(f"{name}_kinds", f"col_{name}")
        applied = {"taxonomy_id": f"tax_{name}_kinds", "confidence_threshold": 0.6}
        self.make_collection(name, name, taxonomy_applications=[applied])
        self.await_documents(name, len(things))
        found = self.short.documents.list(name).results
        return {one.metadata.title: one.document_id for one in found}

    def await_documents(self, collection: str, count: int) -> None:
        """Wait until everything is extracted."""

        def is_done() -> bool:
            found = self.short.collections.get(collection)
            return bool(found.document_count == count and found.waiting_count == 0)

        until(is_done)

    def await_task(self, task: str) -> Any:
        """Wait for the end of a task, and return it."""
        until(lambda: self.tasks.get_task(task).status.value in ("COMPLETED", "FAILED"))
        return self.tasks.get_task(task)

    def list_documents(self, collection: str, **asked: Any) -> Any:
        body = mixpeek.ListDocumentsRequest.from_dict(asked)
        return self.documents.list_documents(collection, list_documents_request=body)


def until(is_done: Callable[[], bool]) -> None:
    """Wait, and fail when that takes too long."""
    deadline = time.monotonic() + WAIT_S
    while not is_done():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def picture(name: str) -> bytes:
    return (PICTURES / f"{name}.png").read_bytes()


def inline(name: str) -> str:
    """Return a picture as a data: URL."""
    return "data:image/png;base64," + base64.b64encode(picture(name)).decode()


def thing(name: str, kind: str | None = None, **metadata: Any) -> dict[str, Any]:
    """Return the body of an object: a picture with its name as its title."""
    blob = {"property": "photo", "type": "image", "data": inline(name)}
    return {"blobs": [blob], "title": name, **({"kind": kind} if kind else {}), **metadata}


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Return status and message of the answer to a request that is refused."""
    try:
        call()
    except mixpeek.ApiException as error:
        message = json.loads(str(error.body))["error"]["message"] if error.body else ""
        return int(error.status), str(message)
    except mixpeek._client.client.MixpeekAPIError as error:
        return int(error.status), str(error.detail["error"]["message"])
    raise AssertionError("it was taken")
