"""The command that says what is wrong: with the store, or with how a collection labels itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from lookalike.cli.output import show_diagnosis
from lookalike.cli.session import Session, field_option, with_session
from lookalike.errors import BadInput, NotAStore

if TYPE_CHECKING:
    from lookalike.quality.diagnosis.findings import Checkup, Finding, Step

_QUESTIONS = {
    "too_many_without_a_label": "too many without a label",
    "wrong_labels": "wrong labels",
    "does_not_improve": "does not improve",
}
_EXPLAINED = {
    "too_many_without_a_label": "of the nulls",
    "wrong_labels": "of wrong or doubtful labels",
    "does_not_improve": "of the nulls or answers",
}


@click.command()
@with_session
@click.argument("collection", required=False)
@field_option
def doctor(session: Session, collection: str | None, field: str | None) -> None:
    """Say why a collection labels too little, or wrongly, or gets no better, and what to do.

    Without a collection: versions, spaces and the store's integrity.

    \b
    lookalike doctor
    lookalike doctor products
    lookalike --store shop doctor products --json
    """
    if collection is None:
        if field is not None:
            raise BadInput(f"--field {field} needs a collection: lookalike doctor COLLECTION")
        _check_store(session)
        return
    from lookalike.library.library import place_of

    with session.library() as library:
        found = library.collection(collection).diagnose(field=field)
    if session.store is not None:
        found = in_store(found, place_of(session.store).shown())
    session.print(found, show_checkup)


def _check_store(session: Session) -> None:
    from lookalike.library.diagnosis import diagnose

    try:
        with session.library() as library:
            diagnosis = diagnose(library)
    except NotAStore:
        diagnosis = diagnose(None)
    session.print(diagnosis, show_diagnosis)
    if diagnosis.problems:
        raise SystemExit(1)


def in_store(found: Checkup, store: str) -> Checkup:
    """Return what was found with commands that say where the store is, as this one was told."""
    placed = shlex.join(["lookalike", "--store", store])

    def here(step: Step) -> Step:
        bare = step.command.removeprefix("lookalike ")
        return step if bare == step.command else replace(step, command=f"{placed} {bare}")

    findings = tuple(
        replace(one, steps=tuple(here(step) for step in one.steps)) for one in found.findings
    )
    return replace(found, findings=findings)


def show_checkup(found: Checkup) -> str:
    """Return what was found, most telling first, with the commands to type next."""
    lines = [
        f"{found.collection}.{found.field}: {found.documents} documents, {found.nulls} without a "
        f"label, {found.automatic} labelled themselves"
    ]
    if not found.findings:
        return "\n".join([*lines, f"nothing found; looked for {len(found.checked)} causes"])
    for number, one in enumerate(found.findings, 1):
        lines += ["", *_told(number, one)]
    return "\n".join(lines)


def _told(number: int, one: Finding) -> Iterator[str]:
    explained = "" if one.share is None else f", {one.share:.0%} {_EXPLAINED[one.symptom]}"
    yield f"{number}. {_QUESTIONS[one.symptom]} ({one.severity}{explained}): {one.cause}"
    yield f"   {one.seen}"
    if one.labels:
        yield f"   labels: {', '.join(map(repr, one.labels))}"
    if one.ids:
        yield f"   such as: {', '.join(one.ids)}"
    yield f"   {one.why}"
    yield from (f"   → {step.command}" for step in one.steps)


COMMANDS = (doctor,)
