"""The tree of labels: described, renamed, merged, split, retired, and all of it undone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from test_levels import filled as parents_filled

import lookalike
import patient
from folded import assert_folded
from goods import ok, refused
from lookalike import Collection
from lookalike.catalog.resources import Kind, named
from lookalike.cli.group import cli
from lookalike.errors import BadInput, Conflict, LookalikeError, NotFound
from lookalike.library.bucket import Bucket, bucket_from
from lookalike.model import Changed, Origin
from lookalike.stores import schema
from serving import Served

GROUPS = ("Shoes > Running", "Shoes > Hiking", "Bags", "Hats")
A_GROUP = 10
LIMIT = 0.6
RULE: dict[str, Any] = {"extractor": "passthrough", "confidence_threshold": LIMIT}

State = dict[str, tuple[Any, ...]]


def vectors(groups: int, each: int, *, seed: int = 0) -> Any:
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(groups, 24))
    return np.repeat(centres, each, 0) + 0.3 * chance.normal(size=(groups * each, 24))


def ids_of(group: int, *, each: int = A_GROUP) -> list[str]:
    return [f"{'abcdefghijkl'[group]}{number}" for number in range(each)]


def filled(library: lookalike.Library, name: str = "shop", **more: Any) -> Collection:
    made = library.labeler(name, **(RULE | more))
    ids = [id for group in range(len(GROUPS)) for id in ids_of(group)]
    made.add(vectors=vectors(len(GROUPS), A_GROUP), ids=ids)
    return made


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


@pytest.fixture
def shop(library: lookalike.Library) -> Collection:
    made = filled(library)
    made.label({id: GROUPS[group] for group in range(4) for id in ids_of(group)[:3]})
    return made


def state(collection: Collection) -> State:
    """Everything that a document says, but when."""
    return {
        one.id: (
            one.label,
            one.origin,
            one.standing.is_reference,
            one.standing.actor,
            one.standing.suggestion,
            one.standing.rejected,
            one.standing.answer,
            one.confidence,
            one.margin,
            one.reason,
            one.standing.source,
            one.standing.decision.runner_up,
            [(match.document_id, match.label) for match in one.neighbors],
        )
        for one in collection.documents()
    }


def with_names(before: State, name: Callable[[str | None], str | None]) -> State:
    def read(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(sorted(str(name(one)) for one in value))
        if isinstance(value, list):
            return [(id, name(label)) for id, label in value]
        return name(value) if isinstance(value, str) and not isinstance(value, Origin) else value

    return {id: tuple(map(read, said)) for id, said in before.items()}


def footwear(label: str | None) -> str | None:
    return label and label.replace("Shoes", "Footwear")


def labels(collection: Collection, **which: Any) -> Counter[str | None]:
    return Counter(one.label for one in collection.documents(**which))


def bucket_of(library: lookalike.Library, name: str) -> Bucket:
    runtime = library.runtime
    with runtime.store.read() as snapshot:
        return Bucket(runtime, bucket_from(named(snapshot, "default", Kind.BUCKET, name)))


def folds(collection: Collection) -> None:
    with collection._runtime.store.read() as snapshot:
        assert_folded(snapshot)


# --- renaming -----------------------------------------------------------------------------------


def test_a_rename_changes_names_and_nothing_else(shop: Collection) -> None:
    shop.reject({"c9": "Shoes > Hiking"})
    shop.import_labels([{"id": "d8", "label": "Shoes > Hiking"}], trusted=False)
    before = state(shop)

    changed = shop.rename_label("Shoes", "Footwear")

    assert state(shop) == with_names(before, footwear)
    assert shop.run().by_itself == 0
    assert changed.given == {"Footwear > Hiking": 3, "Footwear > Running": 3}
    assert changed.relabelled == {"Footwear > Hiking": 7, "Footwear > Running": 7}
    assert changed.renamed["Shoes > Running"] == "Footwear > Running"
    folds(shop)


def test_a_rename_is_undone_as_a_whole_and_done_again(shop: Collection) -> None:
    before = state(shop)
    renamed = shop.rename_label("Shoes", "Footwear")
    after = state(shop)

    undone = shop.undo(renamed.operation)

    assert state(shop) == before
    shop.undo(undone.operation)
    assert state(shop) == after
    folds(shop)


def test_another_process_and_a_new_one_see_the_new_names(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "s") as one, lookalike.open(tmp_path / "s") as other:
        here = filled(one)
        there = other.collection("shop")
        there.label({"a0": "Shoes > Running", "c0": "Bags"})
        here.rename_label("Shoes", "Footwear")

        there.label({"b0": "Footwear > Hiking"})

        assert there.document("a5").label == "Footwear > Running"
        expected = state(here)
    with lookalike.open(tmp_path / "s") as again:
        assert state(again.collection("shop")) == expected


def test_under_a_rule_that_learns_a_rename_keeps_what_was_learned(
    library: lookalike.Library,
) -> None:
    groups, each = 12, 30
    learned = library.labeler("learned", extractor="passthrough", target_precision=0.8)
    ids = [id for group in range(groups) for id in ids_of(group, each=each)]
    learned.add(vectors=vectors(groups, each), ids=ids)
    learned.label(
        {
            id: f"Kind > {group:02}" if group % 2 else f"Sort > {group:02}"
            for group in range(groups)
            for id in ids_of(group, each=each)[:6]
        }
    )
    before, limit = state(learned), learned.report().limit
    assert labels(learned, origin="auto").total() > 100

    moved = learned.rename_label("Sort", "A kind")

    assert state(learned) == with_names(before, lambda one: one and one.replace("Sort", "A kind"))
    assert learned.report().limit == limit
    assert learned.run().by_itself == 0
    learned.undo(moved.operation)
    assert state(learned) == before
    merged = learned.merge_labels(["Kind > 01", "Kind > 03"], "Sort > 00")
    assert learned.document("b20").label in ("Sort > 00", None)
    learned.undo(merged.operation)
    assert state(learned) == before
    folds(learned)


def test_what_has_a_parent_by_itself_has_it_under_its_new_name(
    library: lookalike.Library,
) -> None:
    learned = parents_filled(library)
    before = state(learned)
    assert labels(learned, origin="auto")["P01"] > 3

    renamed = learned.rename_label("P01", "Z")

    assert state(learned) == with_names(before, lambda one: one and one.replace("P01", "Z"))
    assert learned.run().by_itself == 0
    learned.undo(renamed.operation)
    assert state(learned) == before
    moved = learned.rename_label("P01 > L03", "P02 > L03")
    assert "P01 > L03" not in labels(learned)
    learned.undo(moved.operation)
    assert state(learned) == before
    folds(learned)


def test_targets_of_labels_follow_them(library: lookalike.Library) -> None:
    shop = library.labeler("learned", extractor="passthrough", targets={"Shoes": 0.99})
    shop.add(vectors=vectors(4, A_GROUP), ids=[id for group in range(4) for id in ids_of(group)])
    shop.label({"a0": "Shoes", "b0": "Bags"})

    shop.rename_label("Shoes", "Footwear")

    with shop._runtime.operations.operate(shop._row.pk, "run", "ann") as running:
        decider = running.decider(shop._field(running.txn, None).pk)
        assert decider.field.taxonomy.targets == {"Footwear": 0.99}


def test_a_label_that_is_given_by_its_old_name_lands_at_the_new_one(shop: Collection) -> None:
    shop.rename_label("Shoes", "Footwear")

    said = shop.label({"c8": "Shoes > Running"})
    amended = shop.amend({"c9": {"label": "Shoes > Hiking"}})
    imported = shop.import_labels([{"id": "d8", "label": "Shoes > Running"}])
    again = shop.import_labels([{"id": "a0", "label": "Shoes > Running"}])

    assert said.renamed == {"Shoes > Running": "Footwear > Running"}
    assert amended.renamed == {"Shoes > Hiking": "Footwear > Hiking"}
    assert imported.renamed == {"Shoes > Running": "Footwear > Running"}
    assert shop.document("c8").label == shop.document("d8").label == "Footwear > Running"
    assert again.refused == {}
    assert "Shoes" not in {one.label for one in shop.label_tree().nodes}


def test_an_object_that_names_a_label_by_its_old_name_says_the_new_one(
    library: lookalike.Library,
) -> None:
    photos = library.labeler("photos", extractor="region")
    regions = [{"id": "r1", "box": [1, 1, 20, 20]}, {"id": "r2", "box": [9, 9, 30, 30]}]
    picture = np.zeros((60, 80, 3), np.uint8)
    photos.add(picture, ids=["photo"], metadata=[{"regions": regions, "label": "Shoes"}])
    photos.rename_label("Shoes", "Footwear")
    bucket = bucket_of(library, "photos")

    changed = bucket.amend({"photo": {"label": "Shoes"}})

    assert changed.renamed == {"Shoes": "Footwear"}
    assert labels(photos) == {"Footwear": 2}
    shown = bucket.object("photo")
    assert shown.metadata["label"] == "Footwear"


def test_not_this_is_remembered_under_the_new_name(shop: Collection) -> None:
    shop.reject({"a9": None})

    shop.rename_label("Shoes > Running", "Sport")

    assert shop.document("a9").standing.rejected == ("Sport",)
    shop.label({"a8": "Sport"})
    assert shop.document("a9").label != "Sport"


def test_what_was_refused_of_one_label_is_not_given_by_the_one_it_is_merged_into(
    shop: Collection,
) -> None:
    shop.label({"a9": None})
    shop.reject({"a9": "Trainers"})
    assert shop.document("a9").label == "Shoes > Running"
    shop.describe_label("Trainers", description="The same.")

    changed = shop.merge_labels(["Trainers"], "Shoes > Running")

    assert shop.document("a9").label is None
    assert changed.unlabelled == {"Shoes > Running": 1}
    folds(shop)


def test_the_metadata_of_objects_follow_in_the_form_in_which_they_were_written(
    library: lookalike.Library,
) -> None:
    shop = library.labeler("shop", **RULE)
    given: list[dict[str, Any]] = [
        {"label": "Shoes > Running"},
        {"label": ["Shoes", "Hiking"]},
        {"label": "Bags"},
    ]
    shop.add(vectors=vectors(3, 1), ids=["a", "b", "c"], metadata=given)

    def said() -> list[Any]:
        with shop._runtime.store.read() as snapshot:
            rows = snapshot.rows(select(schema.object_).order_by(schema.object_.c.pk))
        return [row.metadata["label"] for row in rows]

    renamed = shop.rename_label("Shoes", "Footwear")

    assert said() == ["Footwear > Running", ["Footwear", "Hiking"], "Bags"]
    assert shop.document("a").origin is Origin.IMPORT
    shop.undo(renamed.operation)
    assert said() == [one["label"] for one in given]
    assert shop.document("b").label == "Shoes > Hiking"


def test_the_history_of_a_document_tells_the_renames_of_its_labels(shop: Collection) -> None:
    shop.rename_label("Shoes", "Footwear", actor="bob")
    shop.merge_labels(["Footwear > Running"], "Sport")
    undone = shop.rename_label("Sport", "Games")
    shop.undo(undone.operation)

    told = [(one.kind, one.label, one.actor, dict(one.detail)) for one in shop.history("a0")]

    assert told == [
        ("labelled", "Shoes > Running", "ann", {}),
        ("renamed", "Footwear > Running", "bob", {"was": "Shoes > Running"}),
        ("renamed", "Sport", "ann", {"was": "Footwear > Running"}),
    ]
    assert [one.kind for one in shop.history("c0")] == ["labelled"]


def test_a_verdict_stays_although_labels_are_merged_since(shop: Collection) -> None:
    drawn = shop.audit(30)
    id = next(one for one in drawn.waiting if one[0] == "a")
    shop.answer_audit(drawn.id, {id: "Shoes > Hiking"})

    shop.merge_labels(["Shoes > Hiking"], "Shoes > Running")

    (told,) = shop.audits()
    assert told.answered[0].label == told.answered[0].truth == "Shoes > Running"
    assert (told.answered[0].verdict, told.estimate.wrong) == ("wrong", 1)


def test_audits_tell_the_names_of_today(shop: Collection) -> None:
    drawn = shop.audit(20)
    shop.rename_label("Shoes", "Footwear")
    waiting = [id for id in drawn.waiting if id[0] in "ab"][:2]

    answered = shop.answer_audit(
        drawn.id, {waiting[0]: "Shoes > Running", waiting[1]: "Footwear > Hiking"}
    )

    assert all(not str(one.label).startswith("Shoes") for one in answered.answered)
    assert {"Footwear > Running", "Footwear > Hiking"} <= answered.labels.keys()
    assert sum(one.size for one in answered.labels.values()) == drawn.estimate.size
    right = {one.document: one.verdict for one in answered.answered}
    assert right[waiting[0]] == ("right" if waiting[0][0] == "a" else "wrong")


def test_a_trial_tells_the_names_of_today(shop: Collection) -> None:
    trial = shop.try_policy(confidence_threshold=0.99)
    first, second = [id for id in trial.waiting if id[0] == "a"][:2]
    shop.answer_trial(trial.id, {first: "Shoes > Running"})

    shop.rename_label("Shoes", "Footwear")
    told = shop.answer_trial(trial.id, {second: "Shoes > Running"})

    assert {one.truth for one in told.answered} == {"Footwear > Running"}
    assert {one.champion for one in told.answered} == {"Footwear > Running"}


def test_several_people_agree_who_said_the_same_under_two_names(shop: Collection) -> None:
    shop.rename_label("Hats", "Caps")

    shop.label({"d0": "Caps"}, actor="bob")

    assert not [one for one in shop.queue() if one.kind == "conflict"]
    assert {one.label for one in shop.opinions("d0")} == {"Caps"}
    assert shop.why("d9").witnesses[0].match.label == "Caps"


# --- merging, splitting, retiring ---------------------------------------------------------------


def test_merged_labels_are_one_with_all_below_them_and_undo_parts_them(shop: Collection) -> None:
    shop.label({"d9": "Hats > Straw"})
    before = state(shop)

    merged = shop.merge_labels(["Hats", "Shoes > Hiking"], "Bags")

    assert labels(shop).keys() == {"Bags", "Bags > Straw", "Shoes > Running"}
    assert merged.given["Bags"] == 6
    shop.undo(merged.operation)
    assert state(shop) == before
    folds(shop)


def test_a_split_gives_every_reference_its_part_and_decides_the_rest_again(
    shop: Collection,
) -> None:
    shop.label(dict.fromkeys(ids_of(0)[:3], "Shoes > Hiking"))
    shop.reject({"c9": "Shoes > Hiking"})
    before = state(shop)
    parts = {"Trail": ids_of(0)[:3], "Shoes > Walking": ids_of(1)[:3]}

    done = shop.split_label("Shoes > Hiking", parts)

    assert shop.document("a9").label == "Trail"
    assert shop.document("b9").label == "Shoes > Walking"
    assert shop.document("c9").standing.rejected == ("Shoes > Walking", "Trail")
    assert shop.document("a0").origin is Origin.HUMAN
    with pytest.raises(BadInput, match="was split into 'Trail' and 'Shoes > Walking'"):
        shop.label({"c8": "Shoes > Hiking"})
    shop.undo(done.operation)
    assert state(shop) == before
    folds(shop)


def test_a_split_into_labels_below_it_leaves_the_label_in_use(shop: Collection) -> None:
    shop.split_label("Hats", {"Hats > Caps": ["d0", "d1"], "Hats > Hoods": ["d2"]})

    shop.label({"d9": "Hats"})

    assert shop.document("d9").label == "Hats"


def test_a_retired_label_is_given_to_nothing_and_stays_where_a_person_gave_it(
    shop: Collection,
) -> None:
    before = state(shop)

    done = shop.retire_label("Shoes")

    assert done.unlabelled == {"Shoes > Hiking": 7, "Shoes > Running": 7}
    assert labels(shop, origin="auto").keys() == {"Bags", "Hats"}
    assert (shop.document("a0").label, shop.document("a0").standing.is_reference) == (
        "Shoes > Running",
        False,
    )
    node = shop.label_tree().node("Shoes")
    assert (node.retired, node.all.references, node.all.recorded) == (True, 0, 6)
    with pytest.raises(BadInput, match=f"is retired; undo {done.operation}"):
        shop.label({"c8": "Shoes > Running"})
    with pytest.raises(BadInput, match="is retired"):
        shop.amend({"c8": {"label": "Shoes > New"}})
    rows = [{"id": "c8", "label": "Shoes > Running"}, {"id": "c0", "label": "Hats"}]
    imported = shop.import_labels(rows)
    assert "is retired" in imported.refused["row 1 (c8)"]
    shop.undo(imported.operation)
    shop.undo(done.operation)
    assert state(shop) == before


def test_what_comes_with_a_retired_label_is_recorded_and_does_not_vote(shop: Collection) -> None:
    shop.retire_label("Hats")

    shop.add(vectors=vectors(4, 1)[[3]], ids=["new"], metadata=[{"label": "Hats"}])

    new = shop.document("new")
    assert (new.label, new.origin, new.standing.is_reference) == ("Hats", Origin.IMPORT, False)
    assert shop.document("d9").label is None
    folds(shop)


# --- showing and describing ---------------------------------------------------------------------


def test_the_tree_shows_the_style_guide_and_counts(shop: Collection) -> None:
    shop.describe_label("Shoes", description=" On feet. ", examples=["a0", "b0"], aliases=["Shoe"])
    shop.describe_label("Gloves", description="On hands.")

    tree = shop.label_tree()

    assert [one.label for one in tree.nodes] == [
        *("Bags", "Gloves", "Hats"),
        *("Shoes", "Shoes > Hiking", "Shoes > Running"),
    ]
    shoes = tree.node("Shoes")
    assert (shoes.description, shoes.examples, shoes.aliases) == (
        "On feet.",
        ("a0", "b0"),
        ("Shoe",),
    )
    assert (shoes.own.references, shoes.all.human, shoes.all.automatic) == (0, 6, 14)
    assert (tree.collection, tree.field, tree.owner) == ("shop", "label", "shop")
    assert shop.label({"c9": "Shoe > Running"}).renamed == {"Shoe > Running": "Shoes > Running"}
    with pytest.raises(NotFound, match="did you mean 'Shoes'"):
        tree.node("Shos")


def test_a_description_is_taken_back_by_undo_and_examples_go_with_their_documents(
    shop: Collection,
) -> None:
    shop.describe_label("Hats", description="Worn on the head.", examples=["d0", "d1"])
    second = shop.describe_label("Hats", description="No hoods.")

    shop.undo(second.operation)
    shop.forget(["d0"])

    node = shop.label_tree().node("Hats")
    assert (node.description, node.examples) == ("Worn on the head.", ("d1",))


def test_a_preview_tells_what_would_change_and_writes_nothing(shop: Collection) -> None:
    before, operations = state(shop), shop.operations()
    asked: list[Callable[[bool], Changed]] = [
        lambda preview: shop.rename_label("Shoes", "Footwear", preview=preview),
        lambda preview: shop.merge_labels(["Hats"], "Bags", preview=preview),
        lambda preview: shop.split_label("Hats", {"A": ["d0", "d1"], "B": ["d2"]}, preview=preview),
        lambda preview: shop.retire_label("Bags", preview=preview),
    ]

    for ask in asked:
        seen = ask(True)
        assert (seen.operation, seen.revision) == ("", 0)
        assert state(shop) == before
        assert shop.operations() == operations
        done = ask(False)
        told = (done.by_person, done.labelled, done.relabelled, done.unlabelled, done.given)
        assert told == (
            *(seen.by_person, seen.labelled, seen.relabelled, seen.unlabelled, seen.given),
        )
        shop.undo(done.operation)
        operations = shop.operations()


def test_the_same_request_is_done_once(shop: Collection) -> None:
    first = shop.rename_label("Shoes", "Footwear", op_id="r1")

    assert shop.rename_label("Shoes", "Footwear", op_id="r1") == first
    with pytest.raises(Conflict, match="had other arguments"):
        shop.rename_label("Bags", "Sacks", op_id="r1")


def test_a_label_that_is_forgotten_leaves_no_name_of_it(shop: Collection) -> None:
    shop.rename_label("Hats", "Caps")
    shop.describe_label("Caps", description="Secret")

    shop.forget(label="Caps")

    with shop._runtime.store.read() as snapshot:
        for table in (schema.event, schema.operation, schema.standing, schema.rejection):
            text = repr([tuple(row) for row in snapshot.rows(select(table))])
            assert "Caps" not in text
            assert "Hats" not in text
            assert "Secret" not in text


@pytest.mark.parametrize(
    ("ask", "kind", "said"),
    [
        (lambda shop: shop.rename_label("Shos", "X"), NotFound, "mean 'Shoes'"),
        (lambda shop: shop.rename_label("Shoes", "Shoes > A"), BadInput, "which is below it"),
        (lambda shop: shop.rename_label("Bags", "Hats"), Conflict, "merge 'Bags' into it"),
        (lambda shop: shop.rename_label("Bags", " > A"), BadInput, "empty part"),
        (lambda shop: shop.merge_labels(["Bags"], "Bags"), BadInput, "into itself"),
        (lambda shop: shop.merge_labels([], "Bags"), BadInput, "give the labels to merge"),
        (
            lambda shop: shop.split_label("Bags", {"A": ["c0"]}),
            BadInput,
            "2 documents of 'Bags' are in no part: 'c1', 'c2'",
        ),
        (lambda shop: shop.split_label("Bags", {"A": ["c9"]}), NotFound, "nobody gave 'c9'"),
        (lambda shop: shop.retire_label("Nothing"), NotFound, "no label is named"),
        (
            lambda shop: shop.describe_label("Bags", examples=["nowhere"]),
            NotFound,
            "no document 'nowhere'",
        ),
        (lambda shop: shop.describe_label("Bags", aliases=["Hats"]), Conflict, "a label itself"),
        (
            lambda shop: shop.describe_label("Bags", description="x" * 10_001),
            BadInput,
            "10,001 characters",
        ),
        (
            lambda shop: shop.describe_label("Bags", description="a\x00b"),
            BadInput,
            "control character",
        ),
        (lambda shop: shop.label_tree(field="nothing"), NotFound, "no label field"),
    ],
)
def test_bad_input_is_told_and_changes_nothing(
    shop: Collection, ask: Callable[[Collection], Any], kind: type[Exception], said: str
) -> None:
    before = state(shop)

    with pytest.raises(kind, match=said):
        ask(shop)

    assert state(shop) == before


# --- separate mode ------------------------------------------------------------------------------


@pytest.fixture
def stock(library: lookalike.Library, shop: Collection) -> Collection:
    made = library.labeler("stock", reference="shop", **RULE)
    ids = [f"s{id}" for group in range(4) for id in ids_of(group)]
    made.add(vectors=vectors(4, A_GROUP, seed=1), ids=ids)
    made.label({"sa0": "Shoes > Hiking"})
    return made


def test_the_labels_of_production_are_those_of_the_curated_collection(
    shop: Collection, stock: Collection
) -> None:
    before, curated = state(stock), state(shop)

    renamed = stock.rename_label("Shoes", "Footwear")

    assert state(stock) == with_names(before, footwear)
    assert state(shop) == with_names(curated, footwear)
    tree = stock.label_tree()
    assert (tree.owner, tree.node("Footwear").all.human) == ("shop", 6)
    assert tree.node("Footwear").all.recorded == 1
    stock.undo(renamed.operation)
    assert (state(stock), state(shop)) == (before, curated)


def test_what_is_retired_in_the_curated_collection_is_not_given_in_production(
    shop: Collection, stock: Collection
) -> None:
    done = shop.retire_label("Shoes > Running")

    assert "Shoes > Running" not in labels(stock, origin="auto")
    assert done.unlabelled["Shoes > Running"] == 7 + 9
    shop.merge_labels(["Hats"], "Bags")
    assert labels(stock, origin="auto")["Bags"] == 20
    folds(stock)


def test_a_collection_that_refers_to_it_later_gets_the_names_and_follows_an_undo(
    library: lookalike.Library, shop: Collection
) -> None:
    renamed = shop.rename_label("Bags", "Sacks")
    stock = library.labeler("stock", reference="shop", **RULE)
    stock.add(vectors=vectors(4, 2, seed=1), ids=[f"s{n}" for n in range(8)])
    assert stock.document("s4").label == "Sacks"

    shop.undo(renamed.operation)

    assert stock.document("s4").label == "Bags"
    folds(stock)


# --- any order ----------------------------------------------------------------------------------

NAMES = ("A", "B", "A > x", "B > x", "C")
STEPS = st.one_of(
    st.tuples(st.just("label"), st.integers(0, 11), st.sampled_from(NAMES)),
    st.tuples(st.just("reject"), st.integers(0, 11), st.sampled_from(NAMES)),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from((*NAMES, "D > A"))),
    st.tuples(st.just("merge"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("split"), st.sampled_from(NAMES), st.integers(1, 5)),
    st.tuples(st.just("retire"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("undo"), st.integers(0, 20), st.none()),
)


def take(collection: Collection, step: tuple[Any, ...]) -> Changed:
    match step:
        case ("label", number, name):
            return collection.label({f"d{number}": name})
        case ("reject", number, name):
            return collection.reject({f"d{number}": name})
        case ("rename", old, new):
            return collection.rename_label(old, new)
        case ("merge", old, new):
            return collection.merge_labels([old], new)
        case ("split", name, count):
            given_ = [one.id for one in collection.documents(label=name) if one.origin != "auto"]
            return collection.split_label(name, {"E": given_[:count], "F": given_[count:]})
        case ("retire", name, _):
            return collection.retire_label(name)
    done = [one.id for one in collection.operations() if one.kind not in ("add", "create")]
    return collection.undo(done[step[1] % max(len(done), 1)])


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(STEPS, min_size=6, max_size=9))
def test_any_steps_fold_to_the_tables_and_undone_one_by_one_give_each_state_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    with lookalike.open(tmp_path_factory.mktemp("any") / "store", actor="ann") as library:
        collection = library.labeler("shop", **RULE)
        collection.add(vectors=vectors(4, 3), ids=[f"d{number}" for number in range(12)])
        collection.label({"d0": "A", "d3": "A > x", "d6": "B", "d9": "C"})
        states = [(state(collection), collection.label_tree())]
        taken: list[str] = []
        for step in steps:
            try:
                taken.append(take(collection, step).operation)
            except LookalikeError:
                continue
            states.append((state(collection), collection.label_tree()))
            folds(collection)
        assert collection.run().by_itself == 0

        for operation in reversed(taken):
            states.pop()
            collection.undo(operation)
            assert (state(collection), collection.label_tree()) == states[-1]
            folds(collection)


# --- the other doors ----------------------------------------------------------------------------


def test_the_command_line_shows_describes_and_shapes(
    shop: Collection, library: lookalike.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_STORE", str(library.path))

    def run(*words: str, code: int = 0, text: str | None = None) -> str:
        done = CliRunner().invoke(cli, ["labels", *words], input=text)
        assert (done.exit_code == 0) == (code == 0), done.output
        return done.output if code == 0 else str(done.exception)

    run("describe", "shop", "Shoes", "--description", "On feet.", "--alias", "Shoe")
    run("describe", "shop", "Hats", "--example", "d0", "--example", "d1")
    shown = run("tree", "shop")
    assert "labels of shop.label (references + automatic):" in shown
    assert "\n  Shoes  6 + 14  (also Shoe)\n    On feet.\n    Hiking  3 + 7\n" in shown
    assert "\n  Hats  3 + 7\n    such as d0, d1\n" in shown
    seen = run("rename", "shop", "Shoes", "Footwear", "--preview")
    assert "'Shoes > Running' is now 'Footwear > Running'" in seen
    assert "nothing was written" in seen
    assert "undo with: op_" in run("rename", "shop", "Shoes", "Footwear")
    assert "relabelled     10  Bags" not in run("merge", "shop", "Hats", "Bags")
    rows = "id,label\n" + "".join(f"{id},{'AB'[n % 2]}\n" for n, id in enumerate(ids_of(0)[:3]))
    assert "given" in run("split", "shop", "Footwear > Running", "-", text=rows)
    assert "unlabelled      7  Footwear > Hiking" in run("retire", "shop", "Footwear")
    assert "retired" in run("tree", "shop")
    run("describe", "shop", "Bags", "--no-aliases", "--no-examples")
    assert "also Hats" not in run("tree", "shop")
    assert json.loads(run("tree", "shop", "--json"))["nodes"][0]["label"] == "A"
    assert "alone cannot be merged" in run("merge", "shop", "Bags", code=1)
    assert "row 1 has no id" in run("split", "shop", "Bags", "-", text="x\n1\n", code=1)


def test_a_collection_without_a_label_says_how_to_begin(
    library: lookalike.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_STORE", str(library.path))
    filled(library, "empty")

    done = CliRunner().invoke(cli, ["labels", "tree", "empty"])

    assert "no label yet" in done.output


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("label_trees") / "store"
    with Served(store, environment={"LOOKALIKE_ACTOR": "ann"}) as served:
        yield served


def filled_there(server: Served, name: str, **more: Any) -> None:
    with lookalike.connect(server.url) as remote:
        there = remote.labeler(name, **(RULE | more))
        ids = [id for group in range(4) for id in ids_of(group)]
        there.add(vectors=vectors(4, A_GROUP), ids=ids)
        if "reference" not in more:
            there.label({id: GROUPS[group] for group in range(4) for id in ids_of(group)[:3]})


def test_the_routes_show_describe_and_shape_and_undo(server: Served) -> None:
    filled_there(server, "routes")
    place = f"{server.url}/v1/taxonomies/routes_label/labels"

    said = {"label": "Shoes", "description": "On feet.", "examples": ["a0"], "aliases": ["Shoe"]}
    ok(patient.patch(place, json=said))
    shown = ok(patient.get(place))
    shoes = next(one for one in shown["labels"] if one["label"] == "Shoes")
    assert (shown["collection_id"], shown["owner_id"], shown["field"]) == (
        *("col_routes", "col_routes"),
        "label",
    )
    assert {name: shoes[name] for name in ("description", "examples", "aliases", "level")} == {
        **{name: said[name] for name in ("description", "examples", "aliases")},
        "level": 0,
    }
    assert (shoes["all"]["human"], shoes["all"]["automatic"], shoes["retired"]) == (6, 14, False)
    rename = {"label": "Shoes", "to": "Footwear"}
    seen = ok(patient.post(f"{place}/rename", json={**rename, "preview": True}))
    assert (seen["operation_id"], seen["changed"]["relabelled"]["Footwear > Running"]) == ("", 7)
    done = ok(patient.post(f"{place}/rename", json=rename, headers={"Idempotency-Key": "r1"}))
    assert ok(patient.post(f"{place}/rename", json={**rename, "op_id": "r1"})) == done
    document = f"{server.url}/v1/collections/routes/documents/c9"
    landed = ok(patient.patch(document, json={"metadata": {"label": "Shoes > Running"}}))
    assert landed["metadata"]["label"] == "Footwear > Running"
    assert landed["changed"]["renamed"] == {"Shoes > Running": "Footwear > Running"}
    merged = ok(patient.post(f"{place}/merge", json={"labels": ["Hats"], "into": "Bags"}))
    assert merged["ripple"] >= 6
    split = {"label": "Footwear > Hiking", "parts": {"A": ["b0", "b1"], "B": ["b2"]}}
    assert ok(patient.post(f"{place}/split", json=split))["changed"]["given"] == {"A": 2, "B": 1}
    retired = ok(patient.post(f"{place}/retire", json={"label": "Footwear"}))
    again = patient.patch(document, json={"metadata": {"label": "Footwear > Running"}})
    assert "is retired" in refused(again, 422)["message"]
    undo = f"{server.url}/v1/operations/{retired['operation_id']}/undo"
    ok(patient.post(undo))
    assert not any(one["retired"] for one in ok(patient.get(place))["labels"])


def test_the_routes_refuse_what_cannot_be(server: Served) -> None:
    filled_there(server, "refusing")
    place = f"{server.url}/v1/taxonomies/tax_refusing_label/labels"

    def post(verb: str, **body: Any) -> httpx2.Response:
        return patient.post(f"{place}/{verb}", json=body)

    assert refused(post("rename", label="Shos", to="X"), 404)["code"] == "not_found"
    assert refused(post("rename", label="Bags", to="Hats"), 409)["code"] == "conflict"
    assert refused(post("rename", label="Bags", to="Bags > A"), 422)["code"] == "bad_input"
    assert refused(post("merge", labels=["Bags"], into="Bags"), 422)["code"] == "bad_input"
    assert (
        "2 documents" in refused(post("split", label="Bags", parts={"A": ["c0"]}), 422)["message"]
    )
    assert "known" in refused(post("retire", label="Bags", why="x"), 422)["message"]
    nowhere = patient.get(f"{server.url}/v1/taxonomies/nowhere/labels")
    assert refused(nowhere, 404)["code"] == "not_found"


def test_a_named_taxonomy_has_the_labels_of_its_curated_collection(server: Served) -> None:
    filled_there(server, "curated")
    config = {
        "taxonomy_type": "flat",
        "source_collection": {
            "collection_id": "curated",
            "enrichment_fields": [{"field_path": "label", "target_field": "label"}],
        },
    }
    made = {"taxonomy_name": "goods", "config": config}
    ok(patient.post(f"{server.url}/v1/taxonomies", json=made))
    place = f"{server.url}/v1/taxonomies/goods/labels"
    assert "attached to no collection" in refused(patient.get(place), 409)["message"]
    with lookalike.connect(server.url) as remote:
        remote.create_collection("stock", bucket="curated", extractor="passthrough")
    applied = {"taxonomy_applications": [{"taxonomy_id": "goods", "confidence_threshold": LIMIT}]}
    ok(patient.patch(f"{server.url}/v1/collections/stock", json=applied))

    ok(patient.post(f"{place}/rename", json={"label": "Shoes", "to": "Footwear"}))

    shown = ok(patient.get(place, params={"field": "label"}))
    assert (shown["collection_id"], shown["owner_id"]) == ("col_stock", "col_curated")
    there = ok(patient.get(f"{server.url}/v1/collections/curated/documents/a9"))
    assert there["metadata"]["label"] == "Footwear > Running"
    unknown = patient.get(place, params={"field": "colour"})
    assert refused(unknown, 404)["code"] == "not_found"
