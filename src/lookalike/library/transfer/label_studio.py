"""A collection as the machine-learning backend of a project in Label Studio.

It predicts what has a label here, or would get one, and nothing else: so its predictions are right
as often as the target precision asks. An annotation becomes the label of the person who made it.

A task is a document if it names its id, its content, its address or its file. Label Studio's own
uploads are known by their names only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from lookalike.catalog.objects import reads_regions
from lookalike.content.boxes import read_box
from lookalike.errors import BadContent, BadInput, Conflict, FetchRefused
from lookalike.formats.base import Example, Label, Region
from lookalike.formats.label_studio import read_annotation, shown_in
from lookalike.formats.label_studio_config import Control, read_config
from lookalike.formats.label_studio_tasks import choice_result, rectangle_result
from lookalike.library.collection.collection import Collection
from lookalike.library.transfer.exported import label_of
from lookalike.library.transfer.imported import KnownDocuments
from lookalike.library.transfer.imported_regions import regions_stated
from lookalike.model import LABEL_SEPARATOR, Changed, Document, Origin
from lookalike.stores import schema

_ACTOR = "label-studio"


class LabelStudioProject:
    """One project over one collection; `config` is its labelling configuration.

    Raises BadInput if the project asks nothing that the collection can answer.
    """

    def __init__(self, collection: Collection, config: str) -> None:
        self._collection = collection
        self._has_regions = reads_regions(collection.extractor)
        self._control = self._chosen(read_config(config))
        fields = collection.fields
        if not fields:
            raise Conflict(f"{collection.name!r} has no label field; add one with add_taxonomy")
        self._field = self._control.name if self._control.name in fields else fields[0]

    def _chosen(self, controls: Sequence[Control]) -> Control:
        """Return the control that asks for labels; the one named as a field comes first."""
        fitting = [one for one in controls if one.is_whole != self._has_regions]
        if not fitting:
            wanted = "<RectangleLabels>" if self._has_regions else "<Choices> or <Taxonomy>"
            raise BadInput(
                f"the project has no {wanted}, and {self._collection.name!r} labels "
                f"{'regions' if self._has_regions else 'whole files'}; add it to the labelling "
                "interface"
            )
        fields = self._collection.fields
        return next((one for one in fitting if one.name in fields), fitting[0])

    # --- predictions -----------------------------------------------------------------------------

    def predict(self, tasks: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
        """Return the predictions of each task: one, or none where the evidence is too weak."""
        examples = [shown_in(task) for task in tasks]
        known = KnownDocuments(self._collection, [one for one in examples if one is not None])
        version = version_of(self._collection)
        found = []
        for one in examples:
            results = [] if one is None else self._results(known, one)
            score = min((result.get("score", 1.0) for result in results), default=None)
            prediction = {"model_version": version, "result": results, "score": score}
            found.append([prediction] if results else [])
        return found

    def _results(self, known: KnownDocuments, example: Example) -> list[dict[str, Any]]:
        try:
            if self._has_regions:
                there = known.find_object(example)
                return [] if there is None else list(self._rectangles(there[1]))
            ids = known.find(example)
        except LookupError:
            return []
        if ids:
            document = next(iter(self._collection.documents(ids=ids[:1], field=self._field)))
            return self._choice(label_of(document.standings[self._field]))
        return self._choice(self._suggested(example))

    def _choice(self, said: Label) -> list[dict[str, Any]]:
        value = None if said.label is None else self._control.value_of(said.label)
        return [] if value is None else [choice_result(self._control, value, said)]

    def _rectangles(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        documents = self._collection.documents(ids=ids, field=self._field)
        for count, one in enumerate(documents, 1):
            said = label_of(one.standings[self._field])
            value = None if said.label is None else self._control.value_of(said.label)
            size = one.attributes.get("picture_size")
            if value is not None and size and "box" in one.attributes:
                box = read_box(one.attributes["box"])
                region = Region(box, value, one.part, said.score, said.origin)
                yield rectangle_result(self._control, region, size, count)

    def _suggested(self, example: Example) -> Label:
        """Return the decision about content that is not in the collection, if it can be read."""
        source = _source(example)
        if source is None:
            return Label()
        try:
            made = self._collection.suggest(source, field=self._field)
        except (BadContent, FetchRefused):
            return Label()
        decision = made[0].decision if len(made) == 1 else None
        if decision is None or decision.label is None:
            return Label()
        return Label(decision.label, decision.confidence, Origin.AUTO.value, policy=decision.policy)

    # --- annotations -----------------------------------------------------------------------------

    def annotated(
        self, project: Mapping[str, Any], task: Mapping[str, Any], annotation: Mapping[str, Any]
    ) -> Changed | None:
        """Take an annotation, new or changed, as the label of its person; None for a skipped one.

        Content that is not in the collection and can be read is added. Raises BadInput for a task
        that is no document, and for an annotation that says nothing that can be taken.
        """
        if annotation.get("was_cancelled"):
            return None
        shown = shown_in(task)
        if shown is None:
            raise BadInput("the task's data name no picture and have no text")
        said, refused = read_annotation(task, annotation)
        actor = _actor(annotation)
        op_id = f"{_prefix(project, annotation.get('id'))}{_digest(annotation)}"
        if self._has_regions:
            return self._draw_and_label(said, actor, op_id)
        chosen = Label() if said is None else said.labels.get(self._control.name, Label())
        if chosen.label is None and annotation.get("result"):
            name = self._control.name
            raise BadInput(next(iter(refused.values()), f"the annotation has no {name!r}"))
        label = None if chosen.label is None else self._meant(chosen.label)
        ids = self._documents_of(shown, is_added=label is not None)
        given = dict.fromkeys(ids, label)
        return self._collection.label(given, field=self._field, actor=actor, op_id=op_id)

    def deleted(self, project: Mapping[str, Any], annotation_id: Any) -> list[Changed]:
        """Undo what an annotation said, newest first, with all that depends on it."""
        table = schema.operation
        prefix = _prefix(project, annotation_id)
        query = (
            select(table.c.id)
            .where(table.c.collection_pk == self._collection._row.pk)
            .where(table.c.id.startswith(prefix, autoescape=True), table.c.undone_by.is_(None))
            .order_by(table.c.pk.desc())
        )
        with self._collection._runtime.store.read() as snapshot:
            ids = [row.id for row in snapshot.rows(query)]
        return [self._collection.undo(id, actor=_ACTOR) for id in ids]

    def _documents_of(self, example: Example, *, is_added: bool) -> list[str]:
        """Return the ids of the documents that a task is; add its content if that is wanted."""
        source = _source(example)
        known = self._find(example)
        if not known and is_added and source is not None:
            self._collection.add(source)
            known = self._find(example)
        if not known:
            raise BadInput(
                f"{example.file_name or 'the text'!r} is no document of "
                f"{self._collection.name!r}; add it, or import tasks that "
                "`lookalike export --format label-studio` wrote"
            )
        return known

    def _find(self, example: Example) -> list[str]:
        try:
            return KnownDocuments(self._collection, [example]).find(example)
        except LookupError as error:
            raise BadInput(f"{example.file_name!r} {error.args[0]}") from error

    def _draw_and_label(self, said: Example | None, actor: str, op_id: str) -> Changed | None:
        """Draw the regions of an annotation that are new or moved, and label them."""
        if said is None:
            return None
        try:
            there = KnownDocuments(self._collection, [said]).find_object(said)
        except LookupError as error:
            raise BadInput(f"{said.file_name!r} {error.args[0]}") from error
        if there is None:
            raise BadInput(f"{said.file_name!r} is not in {self._collection.name!r}; add it")
        object_id, ids = there
        boxes, labelled = regions_stated(said, object_id, self._listed(ids))
        changed = None
        if boxes:
            changed = self._collection.draw({object_id: boxes}, actor=actor, op_id=f"{op_id}.drawn")
            ids = (KnownDocuments(self._collection, [said]).find_object(said) or there)[1]
        labels = {
            one.id: self._meant(str(labelled[one.part].label))
            for one in self._listed(ids)
            if one.part in labelled
        }
        if not labels:
            return changed
        return self._collection.label(labels, field=self._field, actor=actor, op_id=op_id)

    def _listed(self, ids: Sequence[str]) -> list[Document]:
        return list(self._collection.documents(ids=ids)) if ids else []

    def _meant(self, value: str) -> str:
        """Return the label that a value means: the same, or the only one that ends with it."""
        labels = self._collection.report(field=self._field).per_label
        ends = [one for one in labels if one.rpartition(LABEL_SEPARATOR)[2] == value]
        return ends[0] if value not in labels and len(ends) == 1 else value


def version_of(collection: Collection) -> str:
    """Return the version of the predictions, another one after each operation.

    Label Studio asks again about a task only under another version.
    """
    latest = collection.operations(limit=1)
    return f"lookalike-{latest[0].id}" if latest else "lookalike"


def _source(example: Example) -> Any:
    """Return the content of a task, as `add` takes it; None where it cannot be read from here."""
    if example.text is not None:
        return {"text": example.text}
    return example.uri or None


def _actor(annotation: Mapping[str, Any]) -> str:
    """Return who made an annotation: never the name of somebody who has a key here."""
    person = annotation.get("completed_by")
    if isinstance(person, Mapping):
        person = person.get("email") or person.get("id")
    return _ACTOR if person is None else f"{_ACTOR}-{person}"


def _prefix(project: Mapping[str, Any], annotation_id: Any) -> str:
    """Return how the ids of operations of one annotation begin, in one project of one server."""
    created = hashlib.sha256(str(project.get("created_at")).encode()).hexdigest()[:8]
    return f"{_ACTOR}.{project.get('id')}-{created}.{annotation_id}."


def _digest(annotation: Mapping[str, Any]) -> str:
    """Return what tells two states of an annotation apart."""
    state = repr((annotation.get("updated_at"), annotation.get("result")))
    return hashlib.sha256(state.encode()).hexdigest()[:12]
