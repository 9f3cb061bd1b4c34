"""The routes that Label Studio calls on a machine-learning backend, for one collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from lookalike.errors import BadInput
from lookalike.library.transfer.label_studio import LabelStudioProject, version_of
from lookalike.model import Changed
from lookalike.server.context import Here
from lookalike.server.shapes import JsonRoute, Reply

router = APIRouter(
    prefix="/v1/label-studio/{collection}", tags=["label studio"], route_class=JsonRoute
)

_TAKEN = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED")
_DELETED = "ANNOTATIONS_DELETED"


class Sent(BaseModel):
    """A body of Label Studio, whose versions send more than is read here."""

    model_config = ConfigDict(extra="ignore")


class Setup(Sent):
    """A project is connected; `schema` is its labelling configuration."""

    config: str = Field(default="", alias="schema")


class Predict(Sent):
    """Tasks that want predictions."""

    tasks: list[dict[str, Any]]
    label_config: str


class Webhook(Sent):
    """An event of a project."""

    action: str
    project: dict[str, Any] = Field(default_factory=dict)
    task: Any = None
    annotation: Any = None
    annotations: Any = None


class Train(Sent):
    """The annotated tasks of a project, from versions that send them to be trained on."""

    annotations: list[dict[str, Any]] = Field(default_factory=list)
    label_config: str = ""
    project: str = ""


class HealthReply(Reply):
    """It runs."""

    status: str
    model_class: str


class SetupReply(Reply):
    """The version that predictions have now."""

    model_version: str


class PredictReply(Reply):
    """The predictions of each task, none where the evidence is too weak."""

    results: list[list[dict[str, Any]]]


class TakenReply(Reply):
    """How many labels people gave by what was sent, and how many others followed."""

    status: str = "ok"
    by_person: int = 0
    by_itself: int = 0


@router.get("/health")
def label_studio_health(collection: str, here: Here) -> HealthReply:
    """Tell Label Studio that the collection is there."""
    here.collection(collection)
    return HealthReply(status="UP", model_class="Lookalike")


@router.post("/setup")
def label_studio_setup(collection: str, here: Here, body: Setup) -> SetupReply:
    """Connect a project, if it asks what the collection can answer."""
    found = here.collection(collection)
    if body.config:
        LabelStudioProject(found, body.config)
    return SetupReply(model_version=version_of(found))


@router.post("/predict")
def label_studio_predict(collection: str, here: Here, body: Predict) -> PredictReply:
    """Predict the labels of tasks, where the collection gives or would give them."""
    project = LabelStudioProject(here.collection(collection), body.label_config)
    return PredictReply(results=project.predict(body.tasks))


@router.post("/webhook")
def label_studio_webhook(collection: str, here: Here, body: Webhook) -> TakenReply:
    """Take annotations that were made, changed or deleted as labels; other events are ignored."""
    if body.action not in (*_TAKEN, _DELETED):
        return TakenReply()
    project = _project(here, collection, body.project)
    if body.action == _DELETED:
        ids = [one.get("id") for one in _listed(body.annotations)]
        return _reply(one for id in ids for one in project.deleted(body.project, id))
    tasks, annotations = _listed(body.task), _listed(body.annotation)
    if len(tasks) != len(annotations):
        raise BadInput(f"there are {len(tasks)} tasks for {len(annotations)} annotations")
    pairs = zip(tasks, annotations, strict=True)
    return _reply(project.annotated(body.project, task, one) for task, one in pairs)


@router.post("/train")
def label_studio_train(collection: str, here: Here, body: Train) -> TakenReply:
    """Take the annotations of all tasks sent; labels are decided as they come, not by training."""
    about = {"id": body.project, "label_config": body.label_config}
    project = _project(here, collection, about)
    return _reply(
        project.annotated(about, task, one)
        for task in body.annotations
        for one in _listed(task.get("annotations"))
    )


def _project(here: Here, collection: str, about: Mapping[str, Any]) -> LabelStudioProject:
    config = about.get("label_config")
    if not isinstance(config, str):
        raise BadInput("the project has no label_config; switch on 'Send payload' of the webhook")
    return LabelStudioProject(here.collection(collection), config)


def _listed(given: Any) -> list[Mapping[str, Any]]:
    """Return the mappings in what is one or a list of them."""
    listed = given if isinstance(given, list) else [given]
    return [one for one in listed if isinstance(one, dict)]


def _reply(changes: Iterator[Changed | None]) -> TakenReply:
    done = [one for one in changes if one is not None]
    return TakenReply(
        by_person=sum(one.by_person for one in done),
        by_itself=sum(one.by_itself for one in done),
    )
