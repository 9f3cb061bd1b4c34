"""What `lookalike.connect` and a server say to each other beside the arguments of verbs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Registered:
    """What became of a batch of items: objects, of which those of `object_ids` wait.

    `accepts` is what the collection extracts; files of a folder that are nothing of it are skipped.
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
    """What could not be taken in, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """How far objects have come in a collection: how many wait, and what became of the others."""

    waiting: int
    documents: int
    failed: list[Failure]
    labelled: dict[str, int]


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """Where a large file is sent to, by PUT, before `add` names it."""

    upload_id: str
    presigned_url: str
