"""What is wrong with how a collection labels itself, and what a person does next. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode


class Symptom(StrEnum):
    """The three things that people who label a collection ask about."""

    NULLS = "too_many_without_a_label"
    WRONG = "wrong_labels"
    STUCK = "does_not_improve"


class Severity(StrEnum):
    """How much a cause does, the most first."""

    STOPS = "stops"
    """Nothing labels itself, or nothing gets better, until it is dealt with."""

    COSTS = "costs"
    """Labels are missing or wrong because of it."""

    NOTE = "note"
    """Nothing is lost by it yet."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a person does next: a command line, and the same as a request with its JSON body."""

    command: str
    route: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause, named, of what a `symptom` asks about.

    `seen` tells it in numbers, `why` in a sentence why it matters. `labels` and `ids` (of up to
    five documents or objects) are those concerned. `share` is how much the cause explains: of the
    documents without a label, of the wrong labels (or of the automatic ones that may be wrong), or
    of a person's answers, by the symptom; None where that cannot be counted.
    """

    cause: str
    symptom: Symptom
    severity: Severity
    seen: str
    why: str
    steps: tuple[Step, ...]
    labels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was looked for in a label field (`checked`), and what was found, most telling first."""

    collection: str
    field: str
    documents: int
    nulls: int
    automatic: int
    checked: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where steps are taken: a collection, and its label field where that is not the first one."""

    collection: str
    field: str | None = None

    def look(self, verb: str, route: str, *arguments: str) -> Step:
        """Return a step that changes nothing; `route` is the rest of the address behind it."""
        asked = "" if self.field is None else "?" + urlencode({"field": self.field})
        return Step(self._line(verb, *arguments), f"GET {self._address}/{route}{asked}")

    def act(self, verb: str, arguments: Sequence[str], body: Mapping[str, Any]) -> Step:
        """Return a step that changes something, by the verb of the library."""
        said = dict(body) if self.field is None else {**body, "field": self.field}
        route = f"POST {self._address}/verbs/{verb.replace('-', '_')}"
        return Step(self._line(verb, *arguments), route, said)

    def ask(self) -> Step:
        """Return the step of answering what the queue asks."""
        return self.look("queue", "queue")

    def inspect(self) -> Step:
        """Return the step of looking at the references."""
        return self.look("inspect", "analytics/references")

    def extract(self, command: str) -> Step:
        """Return a step by which what waits or failed is extracted."""
        return Step(command, f"POST {self._address}/trigger", {})

    @property
    def _address(self) -> str:
        return f"/v1/collections/{quote(self.collection)}"

    def _line(self, verb: str, *arguments: str) -> str:
        own = () if self.field is None else ("--field", self.field)
        return shell_line(verb, self.collection, *arguments, *own)


def shell_line(*words: str) -> str:
    """Return a line for a shell.

    >>> shell_line("label", "products", "doc_a", "Shoes > Running")
    "lookalike label products doc_a 'Shoes > Running'"
    """
    return shlex.join(["lookalike", *words])


def most_telling_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings by how much they explain, then how much they do, then as they were."""
    ranks = list(Severity)
    return tuple(sorted(findings, key=lambda one: (-(one.share or 0), ranks.index(one.severity))))
