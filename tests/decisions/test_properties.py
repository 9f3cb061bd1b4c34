"""What must always hold, whatever people do to a store, in whatever order, from several processes.

A model keeps only what was said, and by which operation. After each step the store must show what
the model says: who labelled what, and by brute force what the machine makes of it.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from numpy.typing import NDArray
from sqlalchemy import select

import lookalike
from hunting import HUNTING, times
from lookalike.catalog.reader import fields_of
from lookalike.decisions.ledger.fold import Line, Statement, decided_label, fold
from lookalike.decisions.ledger.statements import statements_of
from lookalike.errors import BadInput, Conflict
from lookalike.library.collection.collection import Collection
from lookalike.model import Answer, Changed, Document, EventKind, Origin, Reason
from lookalike.stores import schema

LABELS = ("A", "B", "B > C", "D")
LIMIT = 0.6
TOP_K = 3
POOL = np.random.default_rng(0).integers(-2, 3, (24, 4)).astype(np.float64) + 0.25
REFERENCE = {"unified": "unified", "learned": "learned", "curated": "curated", "stock": "curated"}
NAMES = tuple(REFERENCE)

names = st.sampled_from(NAMES)
labels = st.sampled_from(LABELS)
some = st.integers(0, 10_000)
"""A number that chooses a document or an operation, whichever there are."""
pool = st.integers(0, len(POOL) - 1)


@dataclass
class Said:
    """One operation of the model: its lines by collection and document, and what it undoes."""

    lines: list[tuple[str, str, Line]] = field(default_factory=list)
    undoes: str | None = None
    limit: tuple[str, float] | None = None
    gives_labels: bool = True


class Model:
    """What was said, and nothing that follows from it."""

    def __init__(self) -> None:
        self.vectors: dict[str, dict[str, NDArray[np.float16]]] = {name: {} for name in NAMES}
        self.said: dict[str, Said] = {}

    def in_force(self, operation: str) -> bool:
        undos = [id for id, said in self.said.items() if said.undoes == operation]
        return not any(self.in_force(undo) for undo in undos)

    def statements(self, name: str) -> dict[str, Statement]:
        lines: dict[str, list[Line]] = {id: [] for id in self.vectors[name]}
        for operation, said in self.said.items():
            if self.in_force(operation):
                for where, id, line in said.lines:
                    if where == name and id in lines:
                        lines[id].append(line)
        return {id: fold(said) for id, said in lines.items()}

    def limit(self, name: str) -> float:
        limits = [s.limit for id, s in self.said.items() if s.limit and self.in_force(id)]
        return [LIMIT, *(limit for where, limit in limits if where == name)][-1]

    def forget(self, name: str, id: str) -> None:
        del self.vectors[name][id]
        for said in self.said.values():
            said.lines = [line for line in said.lines if line[:2] != (name, id)]

    def copies(self, name: str, id: str) -> list[tuple[str, str]]:
        """The copy that promotion made of a document in the curated collection, if it did."""
        home = REFERENCE[name]
        if home == name:
            return []
        lines = [line for said in self.said.values() for line in said.lines]
        promoted = any((where, one) == (home, id) for where, one, _ in lines)
        return [(home, id)] if promoted else []

    def nearest(self, name: str, id: str, refused: Iterable[str]) -> list[tuple[str, float, str]]:
        """The k nearest references that may vote for a document: id, similarity and label."""
        home = self.vectors[REFERENCE[name]]
        found = []
        for other, statement in self.statements(REFERENCE[name]).items():
            itself = other == id and REFERENCE[name] == name
            if statement.label is not None and statement.label not in refused and not itself:
                query = self.vectors[name][id].astype(np.float64)
                similarity = np.float32(home[other].astype(np.float64) @ query)
                found.append((other, float(similarity), statement.label))
        return sorted(found, key=lambda one: -one[1])[:TOP_K]


def unit(vector: Any) -> NDArray[np.float16]:
    wide = np.asarray(vector, np.float64)
    return np.asarray((wide / np.linalg.norm(wide)).astype(np.float32).astype(np.float16))


State = dict[tuple[str, str], Document]


class Machine(RuleBasedStateMachine):
    """One process: everything goes through one library."""

    processes = 1

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.model = Model()
        self.seen: State = {}
        """All documents as they were after the step before."""
        self.count = 0
        self.turn = 0
        self.libraries = [self._open() for _ in range(self.processes)]

    def teardown(self) -> None:
        try:
            for name in NAMES:
                self._running_again_changes_nothing(name)
            assert self.libraries[0].check() == []
        finally:
            for library in self.libraries:
                library.close()
            shutil.rmtree(self.path)

    @initialize(count=st.integers(8, 24), said=st.lists(labels, min_size=6, max_size=14))
    def begin(self, count: int, said: list[str]) -> None:
        library = self.libraries[0]
        known: Any = {"extractor": "passthrough", "confidence_threshold": LIMIT, "top_k": TOP_K}
        library.labeler("unified", **known)
        library.labeler("learned", extractor="passthrough", target_precision=0.8, top_k=TOP_K)
        library.labeler("curated", **known)
        library.labeler("stock", reference="curated", **known)
        for name in NAMES:
            self._add(name, list(range(count)))
        for name in ("unified", "learned", "curated"):
            ids = list(self.model.vectors[name])
            self._label(name, dict(zip(ids, said, strict=False)))
            library.collection(name).run(labels=LABELS)
        self._check_all()

    # --- what people do -------------------------------------------------------------------------

    @rule(name=names, chosen=st.lists(pool, min_size=1, max_size=6))
    def add(self, name: str, chosen: list[int]) -> None:
        before = self.seen

        added = self._add(name, chosen)

        assert added == effects(before, self._check_all())[0]

    @rule(name=names, which=some, chosen=pool)
    def add_again_with_other_content(self, name: str, which: int, chosen: int) -> None:
        id = self._some(name, which)
        before = self.seen

        added = self._collection(name).add(vectors=POOL[[chosen]], ids=[id])

        same = np.array_equal(self.model.vectors[name][id], unit(POOL[chosen]))
        self.model.vectors[name][id] = unit(POOL[chosen])
        assert (added.changed, added.unchanged) in ([(0, 1), (1, 0)] if same else [(1, 0)])
        assert added.labelled == effects(before, self._check_all())[0]

    @rule(name=names, said=st.lists(st.tuples(some, st.none() | labels), min_size=1, max_size=5))
    def label(self, name: str, said: list[tuple[int, str | None]]) -> None:
        wanted = {self._some(name, which): label for which, label in said}
        before = self.seen

        changed = self._label(name, wanted)

        self._effects_are_the_difference(changed, before)

    @rule(name=names, which=some, label=labels)
    def reject(self, name: str, which: int, label: str) -> None:
        id = self._some(name, which)
        before = self.seen

        changed = self._collection(name).reject({id: label})

        line = Line(EventKind.REJECTED, label, Origin.HUMAN, "ann")
        self.model.said[changed.operation] = Said([(name, id, line)])
        self._effects_are_the_difference(changed, before)

    @rule(name=names, which=some)
    def reject_what_is_shown(self, name: str, which: int) -> None:
        id = self._some(name, which)
        before = self.seen
        shown = before[name, id].standing
        refused = shown.label or shown.suggestion or shown.decision.runner_up
        if refused is None:
            with pytest.raises(BadInput, match="no label and no suggestion"):
                self._collection(name).reject({id: None})
            return

        changed = self._collection(name).reject({id: None})

        line = Line(EventKind.REJECTED, refused, Origin.HUMAN, "ann")
        self.model.said[changed.operation] = Said([(name, id, line)])
        self._effects_are_the_difference(changed, before)

    @rule(name=names, which=some, kind=st.sampled_from([EventKind.NEW_KIND, EventKind.CANNOT_TELL]))
    def answer_without_a_label(self, name: str, which: int, kind: EventKind) -> None:
        id = self._some(name, which)
        before, collection = self.seen, self._collection(name)

        say = collection.new_kind if kind is EventKind.NEW_KIND else collection.cannot_tell
        changed = say([id])

        self.model.said[changed.operation] = Said(
            [(name, id, Line(kind, None, Origin.HUMAN, "ann"))]
        )
        self._effects_are_the_difference(changed, before)

    @rule(
        name=names,
        said=st.lists(st.tuples(some, labels), min_size=1, max_size=5),
        trusted=st.booleans(),
        origin=st.sampled_from([Origin.IMPORT, Origin.IMPORT, Origin.HUMAN]),
    )
    def import_labels(
        self, name: str, said: list[tuple[int, str]], trusted: bool, origin: Origin
    ) -> None:
        wanted = {self._some(name, which): label for which, label in said}
        kind = EventKind.LABELLED if trusted else EventKind.SUGGESTED
        before = self.seen

        changed = self._collection(name).import_labels(
            [{"id": id, "label": label} for id, label in wanted.items()],
            trusted=trusted,
            origin=origin,
        )

        lines = [
            (name, id, Line(kind, label, origin, "ann"))
            for id, label in wanted.items()
            if not self._is_no_news(before[name, id], label, origin, trusted)
        ]
        self.model.said[changed.operation] = Said(lines)
        self._effects_are_the_difference(changed, before)

    def _is_no_news(self, document: Document, label: str, origin: Origin, trusted: bool) -> bool:
        """Whether a row of an import is left out: it is said already, or a person spoke."""
        if not trusted:
            return document.standing.suggestion == label
        if document.origin is Origin.HUMAN and origin is not Origin.HUMAN:
            return True
        return (document.label, document.origin) == (label, origin)

    @rule(name=names, label=labels)
    def promote(self, name: str, label: str) -> None:
        before = self.seen
        home = REFERENCE[name]

        changed = self._collection(name).promote(label=label, gated=False)

        lines = []
        for (where, id), document in before.items():
            if where == name and (document.label, document.origin) == (label, Origin.AUTO):
                self.model.vectors[home][id] = self.model.vectors[name][id]
                line = Line(EventKind.PROMOTED, label, Origin.PROMOTED, "ann")
                lines.append((home, id, line))
        self.model.said[changed.operation] = Said(lines)
        assert changed.by_person == len(lines)
        self._effects_are_the_difference(changed, before)

    @rule(which=some)
    def undo(self, which: int) -> None:
        operation = list(self.model.said)[-1 - which % len(self.model.said)]
        self._undo(operation)

    @rule()
    def undo_the_latest(self) -> None:
        self._undo(list(self.model.said)[-1])

    @rule(name=names, which=some)
    def forget(self, name: str, which: int) -> None:
        if len(self.model.vectors[name]) < 4:
            return
        id = self._some(name, which)
        before = self.seen

        receipt = self._collection(name).forget([id])

        erased = [(name, id), *self.model.copies(name, id)]
        for where, one in erased:
            self.model.forget(where, one)
        assert (receipt.documents, receipt.vectors) == (len(erased), len(erased))
        assert receipt.labels == sum(before[one].label is not None for one in erased)
        self._effects_are_the_difference(receipt.effects, before)

    @rule(name=st.sampled_from(["unified", "curated", "stock"]), limit=st.floats(0.3, 0.999))
    def run_with_another_limit(self, name: str, limit: float) -> None:
        before = self.seen

        changed = self._collection(name).run(confidence_threshold=limit)

        self.model.said[changed.operation] = Said(limit=(name, limit))
        self._effects_are_the_difference(changed, before)

    @rule(aim=st.sampled_from([0.5, 0.8, 0.99]))
    def run_with_another_target(self, aim: float) -> None:
        before = self.seen

        changed = self._collection("learned").run(target_precision=aim)

        self.model.said[changed.operation] = Said()
        self._effects_are_the_difference(changed, before)

    @rule(name=names, closes=st.booleans())
    def close_or_open_the_set_of_labels(self, name: str, closes: bool) -> None:
        before = self.seen
        if closes and self._has_new_kinds(name):
            with pytest.raises(BadInput, match="a new category"):
                self._collection(name).run(closed_set=True)
            return

        changed = self._collection(name).run(closed_set=closes)

        self.model.said[changed.operation] = Said()
        self._effects_are_the_difference(changed, before)
        assert self._collection(name).label_tree().closed_set == closes

    @rule(which=some, label=st.none() | labels)
    def answer_a_check_sheet(self, which: int, label: str | None) -> None:
        """Confirm the sheet that waits, if any does; with a label, but for one that has that."""
        collection = self._collection("learned")
        sheet = collection.check()
        if sheet is None:
            return
        pairs = zip(sheet.documents, sheet.suggestions, strict=True)
        wanted = {one.id: suggested for one, suggested in pairs}
        if label is not None:
            wanted[list(wanted)[which % len(wanted)]] = label
        before = self.seen

        changed = self._label("learned", wanted, asked=True)

        self._effects_are_the_difference(changed, before)
        after = collection.check()
        assert after is None or not {one.id for one in after.documents} & set(wanted)

    @rule(name=names)
    def run_again(self, name: str) -> None:
        self._running_again_changes_nothing(name)

    @rule(which=some)
    def reopen(self, which: int) -> None:
        place = which % self.processes
        self.libraries[place].close()
        self.libraries[place] = self._open()

        self._check_all()

    # --- steps of steps -------------------------------------------------------------------------

    def _open(self) -> lookalike.Library:
        return lookalike.open(self.path / "store", actor="ann")

    def _collection(self, name: str) -> Collection:
        self.turn += 1
        return self.libraries[self.turn % self.processes].collection(name)

    def _some(self, name: str, which: int) -> str:
        ids = list(self.model.vectors[name])
        return ids[which % len(ids)]

    def _add(self, name: str, chosen: list[int]) -> Mapping[str, int]:
        ids = [f"{name[0]}{self.count + place}" for place in range(len(chosen))]
        self.count += len(chosen)
        self.model.vectors[name] |= {
            id: unit(POOL[one]) for id, one in zip(ids, chosen, strict=True)
        }
        return self._collection(name).add(vectors=POOL[chosen], ids=ids).labelled

    def _label(self, name: str, wanted: dict[str, str | None], *, asked: bool = False) -> Changed:
        now = self.model.statements(name)
        changed = self._collection(name).label(wanted, asked=asked)
        lines = []
        for id, label in wanted.items():
            kind = EventKind.RETRACTED if label is None else EventKind.LABELLED
            if label is None or (now[id].label, now[id].origin) != (label, Origin.HUMAN):
                lines.append((name, id, Line(kind, label, Origin.HUMAN, "ann", asked)))
        self.model.said[changed.operation] = Said(lines)
        assert changed.by_person == len(lines)
        return changed

    def _undo(self, operation: str) -> None:
        before = self.seen
        home = self._home_of(operation)
        if not self.model.in_force(operation):
            with pytest.raises(Conflict, match="undone already"):
                home.undo(operation)
            return

        changed = home.undo(operation)

        self.model.said[changed.operation] = Said(undoes=operation)
        self._effects_are_the_difference(changed, before)

    def _home_of(self, operation: str) -> Collection:
        for name in NAMES:
            collection = self._collection(name)
            if operation in {one.id for one in collection.operations(limit=1000)}:
                return collection
        raise AssertionError(f"no collection has the operation {operation}")

    # --- what must hold -------------------------------------------------------------------------

    def _state(self) -> State:
        return {(name, one.id): one for name in NAMES for one in self._collection(name).documents()}

    def _effects_are_the_difference(self, changed: Changed, before: State) -> None:
        after = self._check_all()
        told = (changed.labelled, changed.relabelled, changed.unlabelled)
        assert told == effects(before, after)

    def _running_again_changes_nothing(self, name: str) -> None:
        before, limit = self.seen, self._collection(name).report().limit

        changed = self._collection(name).run()

        assert changed.by_itself == 0
        assert self._state() == before
        assert self._collection(name).report().limit == limit

    def _check_all(self) -> State:
        state = self._state()
        assert set(state) == {(n, id) for n in NAMES for id in self.model.vectors[n]}
        for name in NAMES:
            self._check_collection(name, state)
            self._ledger_folds_to_the_table(name)
        self.seen = state
        return state

    def _has_new_kinds(self, name: str) -> bool:
        said = self.model.statements(name).values()
        return any(one.label is None and one.answer is Answer.NEW_KIND for one in said)

    def _check_collection(self, name: str, state: State) -> None:
        assert not (self._collection(name).label_tree().closed_set and self._has_new_kinds(name))
        for id, said in self.model.statements(name).items():
            now = state[name, id].standing
            assert now.rejected == tuple(sorted(said.rejected))
            assert (now.is_reference, now.suggestion) == (said.votes, said.suggestion)
            assert now.answer is said.answer
            if said.is_settled:
                assert (now.label, now.origin) == (said.label, said.origin)
            else:
                assert now.label not in said.rejected
                assert now.origin is (None if now.label is None else Origin.AUTO)
            near = self.model.nearest(name, id, said.rejected)
            found = [(one.document_id, one.similarity, one.label) for one in now.decision.matches]
            assert found == near
            if not said.is_settled and name != "learned":
                self._follows_the_known_rule(name, id, near, state[name, id])

    def _follows_the_known_rule(
        self, name: str, id: str, near: list[tuple[str, float, str]], shown: Document
    ) -> None:
        limit = np.float32(self.model.limit(name))
        everyone = self.model.nearest(name, id, ())
        seen = near[0][1] if near and near[0][1] >= limit / 2 else None
        expected: tuple[Any, ...]
        if near and near[0][1] >= limit:
            expected = (near[0][2], near[0][1], None)
        elif everyone and everyone[0][1] >= limit:
            expected = (None, seen, Reason.REJECTED)
        elif near:
            expected = (None, seen, Reason.BELOW_THRESHOLD)
        else:
            expected = (None, None, Reason.NO_REFERENCES)
        assert (shown.label, shown.confidence, shown.reason) == expected

    def _ledger_folds_to_the_table(self, name: str) -> None:
        collection = self._collection(name)
        table, event = schema.standing, schema.event
        with collection._runtime.store.read() as snapshot:
            pk = fields_of(snapshot, collection._row.pk)[0].pk
            rows = snapshot.rows(select(table).where(table.c.field_pk == pk))
            folded = statements_of(snapshot, pk, [row.document_pk for row in rows])
            decided: dict[int, list[Line]] = {}
            chosen = (event.c.field_pk == pk) & (event.c.kind == EventKind.DECIDED)
            for one in snapshot.rows(select(event).where(chosen).order_by(event.c.seq)):
                line = Line(EventKind.DECIDED, one.label, Origin.AUTO, "")
                decided.setdefault(one.document_pk, []).append(line)
        for row in rows:
            said = folded[row.document_pk]
            assert (row.votes, row.actor, row.suggestion) == (
                said.votes,
                said.actor,
                said.suggestion,
            )
            own = decided_label(decided.get(row.document_pk, []))
            assert row.label == (said.label if said.is_settled else own)


def effects(before: State, after: State) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """What the machine labelled, relabelled and unlabelled between two states, by label."""
    labelled: Counter[str] = Counter()
    relabelled: Counter[str] = Counter()
    unlabelled: Counter[str] = Counter()
    for key, now in after.items():
        old = before.get(key)
        was = old.label if old is not None and old.origin is Origin.AUTO else None
        if now.origin not in (None, Origin.AUTO) or now.label == was:
            continue
        if now.label is None:
            unlabelled[str(was)] += 1
        else:
            (labelled if was is None else relabelled)[now.label] += 1
    return dict(labelled), dict(relabelled), dict(unlabelled)


class Processes(Machine):
    """Two processes take turns on one store; each must catch up with what the other did."""

    processes = 2


def settings_of(examples: int, *, steps: int = 12) -> settings:
    """The same examples each time, as found: a red build is never chance, and comes soon.

    Who hunts tries others, and is told the shortest that fails.
    """
    return settings(
        max_examples=times(examples),
        stateful_step_count=steps,
        deadline=None,
        derandomize=not HUNTING,
        phases=list(Phase) if HUNTING else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


TestOneProcess: Callable[[], Any] = Machine.TestCase
TestTwoProcesses: Callable[[], Any] = Processes.TestCase
Machine.TestCase.settings = settings_of(6)
Processes.TestCase.settings = settings_of(6)


# --- what the machines found, told plainly ------------------------------------------------------


EYE = np.eye(4)


def unified(library: lookalike.Library, **more: Any) -> Collection:
    options = {"confidence_threshold": LIMIT} | more
    collection = library.labeler("unified", extractor="passthrough", **options)
    collection.add(vectors=EYE, ids=["north", "east", "up", "past"])
    return collection


def test_a_reference_with_new_content_is_seen_by_the_other_process(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as one, lookalike.open(tmp_path / "s") as other:
        here = unified(one)
        there = other.collection("unified")
        here.label({"north": "A"})
        there.label({"up": "B"})

        here.add(vectors=EYE[[1]] * 2, ids=["north"])
        there.add(vectors=EYE[[0]] * 3, ids=["new"])

        assert {d.id: d.label for d in there.documents(origin="auto")} == {"east": "A"}
        assert there.document("new").reason is Reason.BELOW_THRESHOLD


def test_a_document_with_new_content_is_found_by_the_other_process(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as one, lookalike.open(tmp_path / "s") as other:
        here = unified(one)
        there = other.collection("unified")
        there.label({"up": "B"})

        here.add(vectors=EYE[[0]] * 2, ids=["past"])
        there.label({"north": "A"})

        assert there.document("past").label == "A"


def test_what_another_process_decided_is_decided_again_when_it_is_undone(tmp_path: Path) -> None:
    """The process that undoes it knows the same references as before it was said."""
    chance = np.random.default_rng(1)
    rows = chance.normal(size=(4, 8))[np.arange(64) % 4] + 0.35 * chance.normal(size=(64, 8))
    with lookalike.open(tmp_path / "s") as one, lookalike.open(tmp_path / "s") as other:
        here = one.labeler("learned", extractor="passthrough", target_precision=0.9)
        here.add(vectors=rows, ids=[f"v{place}" for place in range(64)])
        here.label({f"v{place}": f"Kind {place % 4}" for place in range(42)})
        before = {one.id: one.confidence for one in here.documents()}

        said = other.collection("learned").label({"v46": "Kind 3"})
        moved = {one.id: one.confidence for one in here.documents()}
        here.undo(said.operation)

        assert moved != before
        assert {one.id: one.confidence for one in here.documents()} == before


def test_an_operation_is_undone_while_any_undo_of_it_is_in_force(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as library:
        collection = unified(library)
        said = collection.label({"north": "A"})
        first = collection.undo(said.operation)
        redone = collection.undo(first.operation)
        second = collection.undo(said.operation)

        collection.undo(redone.operation)
        collection.undo(second.operation)

        assert collection.document("north").label is None
        assert collection.operations()[-2].undone_by == first.operation


def test_what_is_forgotten_counts_as_no_change_by_itself(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as library:
        collection = unified(library)
        collection.add(vectors=EYE[[0, 0]] * 2, ids=["same", "again"])
        collection.label({"north": "A", "same": "A"})

        receipt = collection.forget(["same"])

        assert receipt.effects.by_itself == 0
        assert collection.document("again").neighbors[0].document_id == "north"


def test_a_label_given_and_one_taken_back_at_once_leave_each_match_once(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as library:
        collection = unified(library)
        collection.label({"north": "A", "east": "A"})

        collection.label({"north": None, "up": "B"})

        assert [m.document_id for m in collection.document("past").neighbors] == ["east", "up"]


def test_the_source_of_a_label_is_shown_though_nearer_ones_were_rejected(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as library:
        collection = unified(library, top_k=2, enrich=("key",))
        ids = [f"near{number}" for number in range(3)]
        collection.add(vectors=EYE[[3, 3, 3]] * 2, ids=ids)
        collection.add(vectors=[[0, 0, 1, 1.2]], ids=["far"], metadata={"key": 7})
        collection.label(dict.fromkeys(ids, "A") | {"far": "B"})

        collection.reject({"past": "A"})

        past = collection.document("past")
        assert (past.label, past.standing.enriched) == ("B", {"key": 7})
        assert [match.document_id for match in past.neighbors] == ["far"]


def test_the_witness_is_who_gave_the_label_that_stands(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as library:
        collection = unified(library)
        collection.add(vectors=EYE[[0]] * 2, ids=["same"])
        collection.label({"north": "A"}, actor="ann")

        collection.import_labels([{"id": "north", "label": "B"}], actor="tool")

        witness = collection.why("same").witnesses[0]
        assert (witness.actor, witness.origin, witness.match.label) == ("ann", Origin.HUMAN, "A")


def test_promotion_counts_no_copy_as_labelled_by_itself(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as library:
        rule: Any = {"extractor": "passthrough", "confidence_threshold": LIMIT}
        curated = library.labeler("curated", **rule)
        curated.add(vectors=EYE[[0]], ids=["c"])
        stock = library.labeler("stock", reference="curated", **rule)
        stock.add(vectors=EYE[[0, 1]] * 2, ids=["s", "t"])
        curated.label({"c": "A"})

        promoted = stock.promote(["s"])

        assert (promoted.by_person, promoted.by_itself) == (1, 0)
