"""The result of a diagnosis: findings, with the steps that a person takes next. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote, urlencode


class Symptom(StrEnum):
    """The three problems that people report: too few labels, wrong labels, no progress."""

    NULLS = "too_many_without_a_label"
    WRONG = "wrong_labels"
    STUCK = "does_not_improve"


class Severity(StrEnum):
    """How much harm a cause does, the worst first."""

    STOPS = "stops"
    """Nothing is labelled automatically, or nothing improves, until it is solved."""

    COSTS = "costs"
    """Labels are missing or wrong because of it."""

    NOTE = "note"
    """It does no harm yet."""


@dataclass(frozen=True, slots=True)
class Step:
    """A suggested step: a command line, and the same as an HTTP request with its JSON body."""

    command: str
    route: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One `cause` of a `symptom`, by its name.

    `seen` describes it in numbers, `why` explains in a sentence why it matters. `labels` and `ids`
    (up to five, of documents or objects) are those concerned. `share` is how much it explains: the
    share of the unlabelled documents, of the wrong labels (or of the automatic ones that may be
    wrong), or of a person's answers, depending on the symptom; None where it cannot be counted.
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
    """The diagnosis of a label field: the names of the checks that ran (`checked`), and the
    findings, in the order of how much they explain.
    """

    collection: str
    field: str
    documents: int
    nulls: int
    automatic: int
    checked: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """Makes the steps for a collection, and for its label field if that is not the first one."""

    collection: str
    field: str | None = None

    def read(self, command: str, route: str, *arguments: str) -> Step:
        """Return a step that changes nothing; `route` follows the collection in the address."""
        query = "" if self.field is None else "?" + urlencode({"field": self.field})
        return Step(self._line(command, *arguments), f"GET {self._address}/{route}{query}")

    def change(self, verb: str, arguments: Sequence[str], body: Mapping[str, Any]) -> Step:
        """Return a step that changes something, by a verb of the library."""
        whole = dict(body) if self.field is None else {**body, "field": self.field}
        route = f"POST {self._address}/verbs/{verb.replace('-', '_')}"
        return Step(self._line(verb, *arguments), route, whole)

    def queue(self) -> Step:
        """Return the step "answer the questions of the queue"."""
        return self.read("queue", "queue")

    def inspect(self) -> Step:
        """Return the step "inspect the references"."""
        return self.read("inspect", "analytics/references")

    def extract(self, command: str) -> Step:
        """Return a step that extracts waiting or failed objects."""
        return Step(command, f"POST {self._address}/trigger", {})

    @property
    def _address(self) -> str:
        return f"/v1/collections/{quote(self.collection)}"

    def _line(self, command: str, *arguments: str) -> str:
        option = () if self.field is None else ("--field", self.field)
        return shell_line(command, self.collection, *arguments, *option)


def shell_line(*words: str) -> str:
    """Return a `lookalike` command, quoted for a shell.

    >>> shell_line("label", "products", "doc_a", "Shoes > Running")
    "lookalike label products doc_a 'Shoes > Running'"
    """
    return shlex.join(["lookalike", *words])


def most_telling_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings by falling share, then by severity, then in their order."""
    ranks = list(Severity)
    return tuple(sorted(findings, key=lambda one: (-(one.share or 0), ranks.index(one.severity))))
