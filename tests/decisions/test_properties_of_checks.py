"""What must hold, whatever people answer and undo of what the system asks them.

They answer check sheets, confirm labels that look wrong, close the set of labels and open it, and
find new kinds, in two processes that take turns. A model keeps only what was said. After each step
the store shows what the model says, both processes show the same, and deciding all anew changes
nothing.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from test_properties import Model, Said, effects, settings_of, unit

import lookalike
from folded import assert_folded
from lookalike.catalog.reader import fields_of, ids_of, suspects_of
from lookalike.decisions.ledger.fold import Line
from lookalike.errors import BadInput, Conflict
from lookalike.library.collection.collection import Collection
from lookalike.model import Answer, Changed, Document, EventKind, Origin, Question

NAME = "learned"
KINDS = ("A", "B", "B > C", "D")
COUNT, KNOWN = 64, 20
PEOPLE = ("ann", "ben")

some = st.integers(0, 10_000)
"""A number that chooses a document or an operation, whichever there are."""
kinds = st.sampled_from(KINDS)

State = dict[tuple[str, str], Document]


def world() -> Any:
    """Vectors of as many kinds as there are labels, one after another in turn."""
    chance = np.random.default_rng(1)
    centres = chance.normal(size=(len(KINDS), 8))
    return centres[np.arange(COUNT) % len(KINDS)] + 0.35 * chance.normal(size=(COUNT, 8))


class Asked(RuleBasedStateMachine):
    """Two people, each in a process of their own, answer what the system asks."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.model = Model()
        self.closed = False
        self.seen: State = {}
        """All documents as they were after the step before."""
        self.turn = 0
        self.libraries = [self._open(actor) for actor in PEOPLE]

    def teardown(self) -> None:
        try:
            self._deciding_anew_changes_nothing()
            for library in self.libraries:
                assert library.check() == []
        finally:
            for library in self.libraries:
                library.close()
            shutil.rmtree(self.path)

    @initialize(wrong=st.lists(st.sampled_from([3, 7, 10]), min_size=1, max_size=2, unique=True))
    def begin(self, wrong: list[int]) -> None:
        """Label some of each kind, a few of them with the label of another."""
        things = self.libraries[0].labeler(NAME, extractor="passthrough", target_precision=0.9)
        rows, ids = world(), [f"v{place}" for place in range(COUNT)]
        things.add(vectors=rows, ids=ids)
        self.model.vectors[NAME] = dict(zip(ids, map(unit, rows), strict=True))
        said = {ids[n]: KINDS[(n + (n in wrong)) % len(KINDS)] for n in range(KNOWN)}
        self._say("ann", things, said)
        things.run(labels=KINDS)
        self._check_all()

    # --- what people do -------------------------------------------------------------------------

    @rule(part=st.sampled_from([1, 1, 2]))
    def confirm_a_sheet(self, part: int) -> None:
        """Confirm all of a sheet, or half of it."""
        actor, things = self._next()
        sheet = things.check()
        if sheet is None:
            return
        items = list(_shown(sheet).items())
        items = items[: -(-len(items) // part)]

        self._taken_back_and_said_again(self._say(actor, things, dict(items)))

        left = things.check()
        assert left is None or not set(_shown(left)) & {id for id, _ in items}
        assert part == 1 or len(items) == len(sheet.documents) or left is not None

    @rule(which=some, label=kinds)
    def correct_one_of_a_sheet(self, which: int, label: str) -> None:
        actor, things = self._next()
        sheet = things.check()
        if sheet is None:
            return
        items = _shown(sheet)
        items[list(items)[which % len(items)]] = label

        self._taken_back_and_said_again(self._say(actor, things, items))

    @rule(which=some)
    def drop_one_of_a_sheet(self, which: int) -> None:
        """Give a sheet back as a table in which one label is refused."""
        actor, things = self._next()
        sheet = things.check()
        if sheet is None:
            return
        before, items = self.seen, _shown(sheet)
        dropped = list(items)[which % len(items)]
        rows = [
            {"id": id, "shown": label, "label": "" if id == dropped else label}
            for id, label in items.items()
        ]

        changed = things.import_labels(rows, origin=Origin.HUMAN, asked=True, actor=actor)

        assert (changed.by_person, changed.refused) == (len(items), {})
        lines = [
            Line(EventKind.LABELLED, label, Origin.HUMAN, actor, asked=True)
            if id != dropped
            else Line(EventKind.REJECTED, label, Origin.HUMAN, actor)
            for id, label in items.items()
        ]
        self._said(changed, dict(zip(items, lines, strict=True)), before)
        after = {} if (sheet := things.check()) is None else _shown(sheet)
        assert set(after) & set(items) <= {dropped}  # which another label may be suggested for
        assert after.get(dropped) != items[dropped]
        self._taken_back_and_said_again(changed)

    @rule(which=some)
    def confirm_a_suspect(self, which: int) -> None:
        actor, things = self._next()
        suspects = [one for one in things.queue(limit=30) if one.kind == "suspect"]
        if not suspects:
            return
        shown = _shown(suspects[0])
        id = list(shown)[which % len(shown)]

        changed = self._say(actor, things, {id: shown[id]})

        assert changed.by_person == 1
        again = [one for one in things.queue(limit=30) if one.kind == "suspect"]
        assert all(id not in _shown(one) for one in again)
        self._taken_back_and_said_again(changed)

    @rule(which=some, label=kinds)
    def label(self, which: int, label: str) -> None:
        self._taken_back_and_said_again(self._say(*self._next(), {self._some(which): label}))

    @rule(which=some)
    def find_a_new_kind(self, which: int) -> None:
        """In a closed set this opens it."""
        (actor, things), id, before = self._next(), self._some(which), self.seen
        was_closed = self.closed

        changed = things.new_kind([id], actor=actor)

        self.closed = False
        assert changed.reopened == was_closed
        self._said(changed, {id: Line(EventKind.NEW_KIND, None, Origin.HUMAN, actor)}, before)
        self._taken_back_and_said_again(changed)

    @rule(closes=st.booleans())
    def close_or_open_the_set(self, closes: bool) -> None:
        (actor, things), before = self._next(), self.seen
        if closes and self._new_kinds():
            with pytest.raises(BadInput, match="a new category"):
                things.run(closed_set=True, actor=actor)
            return

        changed = things.run(closed_set=closes, actor=actor)

        self.closed = closes
        self._said(changed, {}, before)
        self._taken_back_and_said_again(changed)

    @rule(which=some)
    def give_a_label_of_no_set(self, which: int) -> None:
        """A closed set refuses it, and nothing is said; an open one would take it."""
        actor, things = self._next()
        if self.closed:
            with pytest.raises(BadInput, match="not in the closed set"):
                things.label({self._some(which): "Dd"}, actor=actor)
            self._check_all()

    @rule(which=some)
    def undo(self, which: int) -> None:
        operation = list(self.model.said)[-1 - which % len(self.model.said)]
        if self.model.in_force(operation):
            self._undo(operation)
        else:
            with pytest.raises(Conflict, match="undone already"):
                self._next()[1].undo(operation)

    @rule(which=some)
    def reopen(self, which: int) -> None:
        place = which % len(PEOPLE)
        self.libraries[place].close()
        self.libraries[place] = self._open(PEOPLE[place])
        self._check_all()

    # --- steps of steps -------------------------------------------------------------------------

    def _open(self, actor: str) -> lookalike.Library:
        return lookalike.open(self.path / "store", actor=actor)

    def _next(self) -> tuple[str, Collection]:
        """Return whose turn it is, and the collection in their process."""
        self.turn += 1
        place = self.turn % len(PEOPLE)
        return PEOPLE[place], self.libraries[place].collection(NAME)

    def _some(self, which: int) -> str:
        return f"v{which % COUNT}"

    def _say(self, actor: str, things: Collection, labels: Mapping[str, str]) -> Changed:
        before, now = self.seen, self.model.statements(NAME)
        suspects = _suspects(things)

        changed = things.label(labels, asked=True, actor=actor)

        lines = {}
        for id, label in labels.items():
            stance = (now[id].label, now[id].origin, now[id].actor)
            if (
                stance != (label, Origin.HUMAN, actor)
                or now[id].contested
                or (id, label) in suspects
            ):
                lines[id] = Line(EventKind.LABELLED, label, Origin.HUMAN, actor, asked=True)
        assert changed.by_person == len(lines)
        self._said(changed, lines, before)
        return changed

    def _said(self, changed: Changed, lines: Mapping[str, Line], before: State) -> None:
        self.model.said[changed.operation] = Said([(NAME, id, one) for id, one in lines.items()])
        self._effects_are_the_difference(changed, before)

    def _taken_back_and_said_again(self, changed: Changed) -> None:
        """Undo what was just said, and undo that: all is as it was, and as it is."""
        closed, words = self.closed, self._words()

        undone = self._undo(changed.operation)
        assert self._words() != words or self.closed != closed or not self._moves(changed)
        self._undo(undone.operation)

        assert (self.closed, self._words()) == (closed, words)

    def _moves(self, changed: Changed) -> bool:
        return bool(self.model.said[changed.operation].lines)

    def _undo(self, operation: str) -> Changed:
        before, (actor, things) = self.seen, self._next()

        changed = things.undo(operation, actor=actor)

        self.model.said[changed.operation] = Said(undoes=operation)
        self.closed = bool(things.label_tree().closed_set)
        self._effects_are_the_difference(changed, before)
        return changed

    # --- what must hold -------------------------------------------------------------------------

    def _words(self) -> dict[str, tuple[Any, ...]]:
        """What people said of each document, as the model has it."""
        said = self.model.statements(NAME).items()
        return {id: (one.label, one.answer, one.rejected, one.confirmed) for id, one in said}

    def _new_kinds(self) -> bool:
        said = self.model.statements(NAME).values()
        return any(one.answer is Answer.NEW_KIND for one in said)

    def _effects_are_the_difference(self, changed: Changed, before: State) -> None:
        after = self._check_all()
        told = (changed.labelled, changed.relabelled, changed.unlabelled)
        assert told == effects(before, after)

    def _check_all(self) -> State:
        here, there = (library.collection(NAME) for library in self.libraries)
        state, other = _state(here), _state(there)
        assert state == other
        assert here.label_tree().closed_set == there.label_tree().closed_set == self.closed
        assert not (self.closed and self._new_kinds())
        for id, said in self.model.statements(NAME).items():
            now = state[NAME, id].standing
            assert now.rejected == tuple(sorted(said.rejected))
            assert (now.is_reference, now.answer) == (said.votes, said.answer)
            if said.is_settled:
                assert (now.label, now.origin, now.actor) == (said.label, said.origin, said.actor)
            else:
                assert now.label not in said.rejected
                assert now.origin is (None if now.label is None else Origin.AUTO)
        self._check_the_sheet(here, there, state)
        with here._runtime.store.read() as snapshot:
            assert_folded(snapshot)
        self.seen = state
        return state

    def _check_the_sheet(self, here: Collection, there: Collection, state: State) -> None:
        """Both are asked the same, of documents only that no person has answered."""
        sheet = here.check()
        assert sheet == there.check()
        if sheet is not None:
            assert 0 < len(sheet.documents) <= 24
            for id, label in zip(
                (one.id for one in sheet.documents), sheet.suggestions, strict=True
            ):
                standing = state[NAME, id].standing
                assert standing.origin in (None, Origin.AUTO)
                assert label is not None
                assert label not in standing.rejected
                assert standing.label in (None, label)

    def _deciding_anew_changes_nothing(self) -> None:
        """Only a sheet may be drawn, where none waited or nobody had begun it; once."""
        first = self._next()[1].run()
        here, there = (library.collection(NAME) for library in self.libraries)
        assert (first.by_itself, _state(here)) == (0, self.seen)
        sheet = here.check()

        again = there.run()

        assert (again.by_itself, _state(here)) == (0, self.seen)
        assert here.check() == there.check() == sheet


def _state(things: Collection) -> State:
    return {(NAME, one.id): one for one in things.documents()}


def _shown(question: Question) -> dict[str, str]:
    """The label that is shown for each document of a question."""
    pairs = zip(question.documents, question.suggestions, strict=True)
    return {one.id: str(label) for one, label in pairs}


def _suspects(things: Collection) -> set[tuple[str, str]]:
    """Which references look wrong, and the label of each."""
    with things._runtime.store.read() as snapshot:
        found = suspects_of(snapshot, fields_of(snapshot, things._row.pk)[0].pk)
        ids = ids_of(snapshot, [pk for pk, _ in found])
    return {(ids[pk], label) for pk, label in found}


TestAsked: Callable[[], Any] = Asked.TestCase
Asked.TestCase.settings = settings_of(6, steps=6)


def test_all_that_people_do_holds_one_after_another() -> None:
    """Whatever chance leaves out above is done here once."""
    machine = Asked()
    things = machine.libraries[0].collection
    try:
        machine.begin(wrong=[3])
        assert _suspects(things(NAME)) == {("v3", "A")}
        machine.confirm_a_suspect(0)
        assert _suspects(things(NAME)) == set()
        machine.confirm_a_sheet(2)
        machine.close_or_open_the_set(closes=True)
        assert machine.closed
        machine.give_a_label_of_no_set(40)
        assert things(NAME).check() is not None, "half a sheet waits, or another one"
        machine.drop_one_of_a_sheet(0)
        machine.find_a_new_kind(63)
        assert not machine.closed
        machine.close_or_open_the_set(closes=True)
        machine.label(63, "D")
        machine.close_or_open_the_set(closes=True)
        machine.reopen(0)
        machine.correct_one_of_a_sheet(1, "A")
        for _ in range(6):
            machine.undo(3)
        machine.close_or_open_the_set(closes=False)
    finally:
        machine.teardown()
