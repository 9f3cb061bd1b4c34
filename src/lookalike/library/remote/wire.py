"""The JSON messages between `lookalike.connect` and a server, apart from the verbs' arguments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Registered:
    """The result of registering a batch of items; the objects of `object_ids` wait for extraction.

    `accepts` are the kinds of content that the collection extracts; other files are skipped.
    """

    added: int
    changed: int
    unchanged: int
    skipped: list[str]
    failed: dict[str, str]
    object_ids: list[str]
    accepts: list[str]


@dataclass(frozen=True, slots=True)
class Failure:
    """The name of an item that failed, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """The progress of objects in a collection: the number waiting, and results of the others."""

    waiting: int
    documents: int
    failed: list[Failure]
    labelled: dict[str, int]


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """The address for the PUT of a large file, before a request of `add` names it."""

    upload_id: str
    presigned_url: str
