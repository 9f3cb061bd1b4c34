"""A server of the Model Context Protocol over a store: what an assistant may read and answer.

It needs the extra `mcp`. Without an API key the assistant reads, and what it says of a label is
recorded as a suggestion, which a person confirms. A key of `lookalike keys create` decides instead:
with the scope `read` nothing is recorded, with `label` or `admin` the assistant's labels count as
those of the key's holder.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from lookalike.catalog.api_keys import Caller, Scope
from lookalike.catalog.reader import ids_of
from lookalike.catalog.resources import Kind, collection_from, named
from lookalike.catalog.retrievers import Query, Searching
from lookalike.content.boxes import can_show, view_of
from lookalike.errors import BadInput, LookalikeError, MissingExtra
from lookalike.library.collection.collection import Collection
from lookalike.library.library import Library
from lookalike.library.retrieve import retrieve
from lookalike.model import ANY, LABEL_SEPARATOR, Changed, Document, Question

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

ASSISTANT = "assistant"
"""The recorded actor of suggestions without a key."""

MAX_RESULTS, MAX_SHOWN = 50, 12
"""The most documents of a list, and of those that are shown with their content."""

_TEXT_LENGTH = 2000
_DIGITS = 3
_OPERATIONS = 1000
_ANY_LABEL = ""
_INSTRUCTIONS = """\
Lookalike labels a collection of pictures, texts or faces from a few examples that people label.
Begin with list_collections. What has no label waits for review: next_questions returns what is
worth asking about, show_documents shows the pictures and texts, search_documents finds what looks
like a text or a document, and explain_label shows the evidence. In a collection with several label
fields all tools are about its first. """
_SUGGESTS = "Your labels are suggestions: they change nothing until a person confirms them."
_LABELS = "Your labels count as a person's and decide look-alikes at once; undo takes them back."
_READS = "You can only read."

Count = Annotated[int, Field(ge=1, le=MAX_RESULTS)]


class CollectionState(BaseModel):
    """A collection's label field: how many documents, how many labelled by whom, and the labels.

    `labels` counts documents by label; `waiting` have none; `state` tells whether it labels
    automatically, and `missing` what it still needs.
    """

    collection: str
    field: str
    documents: int
    labelled: dict[str, int]
    waiting: int
    labels: dict[str, int]
    closed_set: bool
    state: str
    missing: list[str]


class DocumentState(BaseModel):
    """A document: its label, who gave it, how sure it is, or why it has none.

    `origin` is human, import, promoted or auto. `suggestions` are labels that it may have: of an
    import or an assistant, and the likeliest one. `similarity` is that to a search.
    """

    id: str
    file_name: str
    label: str | None
    origin: str | None
    confidence: float | None
    reason: str | None
    suggestions: list[str]
    rejected: list[str]
    metadata: dict[str, Any]
    similarity: float | None = None


class QuestionState(BaseModel):
    """A question of the review queue about documents, each with the label that it would get.

    An answer settles about `settles` documents. `kind` is why it is asked: `check` is a random
    sample that measures the precision, `suspect` shows labels that look wrong.
    """

    kind: str
    settles: float
    documents: list[DocumentState]
    labels: list[str | None]


class Evidence(BaseModel):
    """A reference that a label rests on: how similar it is, and who labelled it."""

    id: str
    file_name: str
    label: str
    similarity: float
    origin: str
    actor: str


class Explanation(BaseModel):
    """Why a document has its label, or none: `confidence` has to reach `threshold`."""

    document: DocumentState
    threshold: float | None
    runner_up: str | None
    references: list[Evidence]
    without_the_nearest: str | None


class Recorded(BaseModel):
    """What was recorded, under an `operation`, and how many automatic labels changed by it.

    `refused` has the reason for each document that nothing was recorded for.
    """

    operation: str
    recorded: int
    automatic_changes: int
    refused: dict[str, str]


def mcp_server(library: Library, caller: Caller | None = None) -> MCPServer[Any]:
    """Return the server of the Model Context Protocol over a library; `run()` serves it on stdio.

    The `caller` is the holder of the key, whose namespace it has; None without a key. Raises
    MissingExtra.
    """
    try:
        from mcp.server.mcpserver import MCPServer
    except ImportError as error:
        raise MissingExtra.named("an assistant's access (MCP)", "mcp") from error
    from lookalike import __version__

    if caller is not None and caller.namespace is not None:
        library = Library(library.runtime, caller.namespace)
    tools = _Tools(library, ASSISTANT if caller is None else caller.name)
    chosen: list[Callable[..., Any]] = [*tools.reading]
    may = _READS
    if caller is None:
        chosen, may = [*chosen, tools.suggest_labels], _SUGGESTS
    elif caller.scope.covers(Scope.LABEL):
        chosen, may = [*chosen, *tools.labelling], _LABELS
    server: MCPServer[Any] = MCPServer(
        "lookalike", instructions=_INSTRUCTIONS + may, version=__version__, log_level="WARNING"
    )
    for tool in chosen:
        server.add_tool(_answering(tool), structured_output=tool != tools.show_documents)
    return server


class _Tools:
    """The tools over a library. Their docstrings are what the assistant reads of them."""

    def __init__(self, library: Library, actor: str) -> None:
        self._library = library
        self._actor = actor

    @property
    def reading(self) -> tuple[Callable[..., Any], ...]:
        """Return the tools that record nothing."""
        return (
            self.list_collections,
            self.list_documents,
            self.search_documents,
            self.show_documents,
            self.next_questions,
            self.explain_label,
        )

    @property
    def labelling(self) -> tuple[Callable[..., Any], ...]:
        """Return the tools that record labels as those of a person."""
        return (self.label_documents, self.reject_labels, self.undo)

    def list_collections(self) -> list[CollectionState]:
        """List the collections with the state of each label field, and its labels with counts."""
        found = []
        for name in self._library.collections():
            collection = self._library.collection(name)
            for field in collection.fields:
                report = collection.report(field=field)
                counts = {one: sum(by.values()) for one, by in report.per_label.items()}
                state = CollectionState(
                    collection=name,
                    field=field,
                    documents=report.documents,
                    labelled=dict(report.labelled),
                    waiting=report.queue,
                    labels=counts,
                    closed_set=report.closed_set,
                    state=report.state,
                    missing=list(report.missing),
                )
                found.append(state)
        return found

    def list_documents(
        self,
        collection: str,
        label: str | None = _ANY_LABEL,
        origin: str = "",
        limit: Count = 10,
    ) -> list[DocumentState]:
        """List documents in the order they were added. `label` is one label (with those below it),
        or null for documents without any; `origin` is human, import, promoted or auto.
        """
        chosen = self._library.collection(collection)
        wanted = ANY if label == _ANY_LABEL else label
        found = chosen.documents(label=wanted, origin=origin or ANY, limit=limit)
        return [_state(one) for one in found]

    def search_documents(
        self,
        collection: str,
        text: str = "",
        like: str = "",
        label: str | None = _ANY_LABEL,
        limit: Count = 10,
    ) -> list[DocumentState]:
        """Find the documents most similar to a `text`, where texts can be compared with them, or
        to the document `like` (an id). `label` as in list_documents.
        """
        if bool(text) == bool(like):
            raise BadInput("give either a text or the id of a document to search for")
        chosen = self._library.collection(collection)
        value, mode = ({"document_id": like}, "document") if like else (text, "")
        query = Query(value, mode, top_k=limit)
        scores = self._scores(chosen, query, label, limit)
        documents = {one.id: one for one in chosen.documents(ids=scores)}
        return [_state(documents[id], score) for id, score in scores.items()]

    def show_documents(
        self,
        collection: str,
        ids: Annotated[list[str], Field(min_length=1, max_length=MAX_SHOWN)],
    ) -> list[Any]:
        """Show the content of documents by id: pictures as small images, texts in full or their
        beginning.
        """
        from mcp.server.mcpserver import Image

        chosen, runtime = self._library.collection(collection), self._library.runtime
        shown: list[str | Image] = []
        for id in ids:
            document = chosen.document(id)
            shown.append(f"{document.id} ({document.file_name}), label: {document.label}")
            blob = next((one for one in document.blobs if one.sha256 == document.sha256), None)
            if blob is not None and can_show(blob.media_type):
                jpeg = runtime.thumbnail(blob, view_of(document.attributes))
                shown.append(Image(data=jpeg, format="jpeg"))
            elif blob is not None and blob.media_type.startswith("text/"):
                shown.append(runtime.text(blob)[:_TEXT_LENGTH])
            else:
                shown.append("its content is neither a picture nor a text, and cannot be shown")
        return shown

    def next_questions(self, collection: str, limit: Count = 3) -> list[QuestionState]:
        """Return the questions whose answers settle most, best first, with the label that each
        document would get; show_documents shows them.
        """
        return [_question(one) for one in self._library.collection(collection).queue(limit=limit)]

    def explain_label(self, collection: str, id: str) -> Explanation:
        """Explain why a document has its label, or none: the references that it resembles."""
        why = self._library.collection(collection).why(id)
        decision, without = why.standing.decision, why.counterfactual
        return Explanation(
            document=_state(why.document),
            threshold=decision.threshold,
            runner_up=decision.runner_up,
            references=[
                Evidence(
                    id=one.match.document_id,
                    file_name=one.file_name,
                    label=one.match.label,
                    similarity=round(one.match.similarity, _DIGITS),
                    origin=one.origin.value,
                    actor=one.actor,
                )
                for one in why.witnesses
            ],
            without_the_nearest=None if without is None else without.label,
        )

    def suggest_labels(self, collection: str, labels: dict[str, str]) -> Recorded:
        """Suggest labels by document id. They change nothing until a person confirms them, and
        never replace the answer of a person.
        """
        rows = [{"id": id, "label": label} for id, label in labels.items()]
        chosen = self._library.collection(collection)
        return _recorded(chosen.import_labels(rows, trusted=False, actor=self._actor))

    def label_documents(self, collection: str, labels: dict[str, str]) -> Recorded:
        """Label documents by id; look-alikes are decided again at once. Show the documents first,
        and leave out what you are not sure of.
        """
        chosen = self._library.collection(collection)
        return _recorded(chosen.label(labels, asked=True, actor=self._actor))

    def reject_labels(self, collection: str, labels: dict[str, str]) -> Recorded:
        """Record labels, by document id, that a document does not have; none gets it again."""
        chosen = self._library.collection(collection)
        return _recorded(chosen.reject(labels, actor=self._actor))

    def undo(self, collection: str, operation: str) -> Recorded:
        """Undo an operation that you recorded, with all automatic labels that followed from it."""
        chosen = self._library.collection(collection)
        for one in chosen.operations(limit=_OPERATIONS):
            if one.id == operation and one.actor == self._actor:
                return _recorded(chosen.undo(operation, actor=self._actor))
        raise BadInput(
            f"{operation!r} is none of your latest operations; give one that you recorded"
        )

    def _scores(
        self, collection: Collection, query: Query, label: str | None, limit: int
    ) -> dict[str, float]:
        """Return the similarity of the documents most similar to a query, by id."""
        runtime, namespace = self._library.runtime, self._library.namespace
        filters = None if label == _ANY_LABEL else _within(collection.fields[0], label)
        with runtime.store.read() as snapshot:
            row = collection_from(named(snapshot, namespace, Kind.COLLECTION, collection.name))
            stages = [Searching((query,), limit)]
            found = retrieve(runtime, snapshot, namespace, [row], stages, {}, filters).found
            ids = ids_of(snapshot, [one.pk for one in found])
        return {ids[one.pk]: round(one.score or 0.0, _DIGITS) for one in found}


def _within(field: str, label: str | None) -> dict[str, Any]:
    """Return the filter for a label and those below it, or for documents without any."""
    if label is None:
        return {"field": field, "operator": "is_null", "value": True}
    below = {"field": field, "operator": "starts_with", "value": label + LABEL_SEPARATOR}
    return {"OR": [{"field": field, "operator": "eq", "value": label}, below]}


def _state(document: Document, similarity: float | None = None) -> DocumentState:
    standing = document.standing
    decision = standing.decision
    likely = [standing.suggestion, None if standing.label else decision.runner_up]
    confidence = decision.confidence
    return DocumentState(
        id=document.id,
        file_name=document.file_name,
        label=standing.label,
        origin=None if standing.origin is None else standing.origin.value,
        confidence=None if confidence is None else round(confidence, _DIGITS),
        reason=None if standing.label or standing.reason is None else standing.reason.value,
        suggestions=list(dict.fromkeys(one for one in likely if one)),
        rejected=list(standing.rejected),
        metadata=dict(document.metadata),
        similarity=similarity,
    )


def _question(question: Question) -> QuestionState:
    labels = question.suggestions or (question.suggestion,) * len(question.documents)
    return QuestionState(
        kind=question.kind,
        settles=question.worth,
        documents=[_state(one) for one in question.documents],
        labels=list(labels),
    )


def _recorded(changed: Changed) -> Recorded:
    return Recorded(
        operation=changed.operation,
        recorded=changed.by_person,
        automatic_changes=changed.by_itself,
        refused=dict(changed.refused),
    )


def _answering(tool: Callable[..., Any]) -> Callable[..., Any]:
    """Return a tool whose errors the assistant reads: each names the value and the cure."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    def answering(*args: Any, **values: Any) -> Any:
        try:
            return tool(*args, **values)
        except LookalikeError as error:
            raise ToolError(str(error)) from error

    vars(answering)["__doc__"] = inspect.getdoc(tool)
    return answering
