"""The verbs, from labelling to undo, on vectors that a test can read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookalike
from lookalike.errors import BadInput, Conflict, NotFound
from lookalike.library.collection.collection import Collection
from lookalike.model import Origin, Reason


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def blobs(count: int, *, seed: int = 0, kinds: int = 4, width: float = 0.6) -> tuple[Any, Any]:
    """Vectors (count, 32) around a few centres, and which centre each is of."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((kinds, 32))
    kind = chance.integers(0, kinds, count)
    return centres[kind] + width * chance.standard_normal((count, 32)), kind


@pytest.fixture
def filled(library: lookalike.Library) -> Collection:
    """200 vectors `v0` … of four kinds, decided by the known rule at 0.5."""
    vectors, _ = blobs(200)
    collection = library.labeler("things", extractor="passthrough", confidence_threshold=0.5)
    collection.add(vectors=vectors, ids=[f"v{number}" for number in range(200)])
    return collection


def labels(collection: Collection) -> dict[str, tuple[str | None, str | None]]:
    return {one.id: (one.label, one.origin) for one in collection.documents()}


def test_without_references_everything_is_null_with_its_reason(filled: Collection) -> None:
    reasons = {one.reason for one in filled.documents()}

    assert reasons == {Reason.NO_REFERENCES}


def test_a_label_spreads_to_what_looks_like_it(filled: Collection) -> None:
    _, kind = blobs(200)

    changed = filled.label({f"v{number}": f"Kind > {kind[number]}" for number in range(20)})

    alike = list(filled.documents(origin="auto"))
    assert changed.by_person == 20
    assert changed.by_itself == len(alike) > 100
    assert all(one.label == f"Kind > {kind[int(one.id[1:])]}" for one in alike)


def test_undo_takes_back_the_label_and_what_it_caused(filled: Collection) -> None:
    before = labels(filled)
    changed = filled.label({"v0": "A"})

    filled.undo(changed.operation)

    assert labels(filled) == before


def test_undoing_an_undo_brings_everything_back(filled: Collection) -> None:
    changed = filled.label({"v0": "A", "v1": "B"})
    after = labels(filled)
    undone = filled.undo(changed.operation)

    filled.undo(undone.operation)

    assert labels(filled) == after


def test_an_operation_cannot_be_undone_twice(filled: Collection) -> None:
    changed = filled.label({"v0": "A"})
    filled.undo(changed.operation)

    with pytest.raises(Conflict, match="undone already"):
        filled.undo(changed.operation)


def test_a_persons_label_survives_everything(filled: Collection) -> None:
    filled.label({"v0": "Mine"})
    other = filled.label({"v1": "Other", "v2": "Other"})

    filled.run()
    filled.import_labels([{"id": "v0", "label": "Imported"}, {"id": "v9", "label": "Other"}])
    filled.undo(other.operation)
    filled.promote(min_confidence=0.0)

    mine = filled.document("v0")
    assert (mine.label, mine.origin, mine.standing.reviewed_by) == ("Mine", Origin.HUMAN, "ann")


def test_not_this_is_remembered_by_later_runs(filled: Collection) -> None:
    filled.label({"v0": "A"})
    guessed = next(one for one in filled.documents(origin="auto") if one.label == "A")

    filled.reject({guessed.id: None})
    filled.run()

    now = filled.document(guessed.id)
    assert (now.label, now.reason, now.standing.rejected) == (None, Reason.REJECTED, ("A",))


def test_what_labelled_itself_does_not_vote_until_promoted(filled: Collection) -> None:
    filled.label({"v0": "A"})
    chosen = next(iter(filled.documents(origin="auto")))
    references = filled.report().references

    promoted = filled.promote([chosen.id])

    assert references == 1
    assert filled.report().references == 2
    assert filled.document(chosen.id).origin is Origin.PROMOTED
    filled.undo(promoted.operation)
    assert filled.document(chosen.id).origin is Origin.AUTO


def test_suggestions_and_exported_automatic_labels_do_not_vote(filled: Collection) -> None:
    filled.import_labels([{"id": "v0", "label": "A"}], trusted=False)
    filled.import_labels([{"id": "v1", "label": "B", "label_source": "auto"}])

    assert filled.report().references == 0
    assert filled.document("v0").standing.suggestion == "A"


def test_an_import_says_which_rows_it_did_not_take(filled: Collection) -> None:
    filled.label({"v2": "Mine"})

    changed = filled.import_labels(
        [
            {"id": "v1", "label": "A"},
            {"id": "v2", "label": "A"},
            {"id": "nobody", "label": "A"},
            {"id": "v3", "label": ""},
        ]
    )

    assert filled.document("v1").origin is Origin.IMPORT
    assert len(changed.refused) == 3
    assert any("a person answered 'Mine'" in reason for reason in changed.refused.values())


def test_a_new_collection_extracts_what_its_bucket_holds(library: lookalike.Library) -> None:
    library.labeler("notes", [{"text": "good morning"}, {"text": "good night"}], extractor="text")

    second = library.create_collection("second", bucket="notes", extractor="text")

    assert len(second) == 2
    with pytest.raises(Conflict, match="no label field yet"):
        second.report()
    library.add_taxonomy("second", "label", reference="notes")
    assert second.report().documents == 2


def test_importing_the_same_again_changes_nothing(filled: Collection) -> None:
    filled.label({"v2": "Mine"})
    rows = [{"id": "v1", "label": "A"}, {"id": "v2", "label": "A"}]
    guess = [{"id": "v3", "label": "B"}]
    filled.import_labels(rows)
    filled.import_labels(guess, trusted=False)
    events = [len(filled.history(f"v{number}")) for number in range(1, 4)]

    again = filled.import_labels(rows), filled.import_labels(guess, trusted=False)

    assert [one.by_person for one in again] == [0, 0]
    assert [len(filled.history(f"v{number}")) for number in range(1, 4)] == events


def test_run_with_another_limit_is_recorded_and_can_be_undone(filled: Collection) -> None:
    filled.label({"v0": "A"})
    before = labels(filled)

    strict = filled.run(confidence_threshold=0.99)

    assert sum(strict.unlabelled.values()) > 0
    assert filled.report().limit == 0.99
    filled.undo(strict.operation)
    assert filled.report().limit == 0.5
    assert labels(filled) == before


def test_forget_erases_and_decides_again_what_depended_on_it(filled: Collection) -> None:
    filled.label({"v0": "A"})

    receipt = filled.forget(["v0"])

    assert (receipt.documents, receipt.labels, len(filled)) == (1, 1, 199)
    assert list(filled.documents(origin="auto")) == []
    with pytest.raises(NotFound):
        filled.document("v0")


def test_two_label_fields_are_decided_apart(library: lookalike.Library, filled: Collection) -> None:
    library.add_taxonomy("things", "colour", confidence_threshold=0.5)

    filled.label({"v0": "A"})
    filled.label({"v1": "Red"}, field="colour")

    one = filled.document("v0")
    assert one.label == "A"
    assert one.standings["colour"].origin is not Origin.HUMAN
    assert filled.fields == ("label", "colour")


def test_further_fields_are_copied_from_the_matched_reference(library: lookalike.Library) -> None:
    vectors, _ = blobs(30, kinds=1, width=0.1)
    people = library.labeler(
        "people", extractor="passthrough", confidence_threshold=0.5, enrich=("employee_id",)
    )
    people.add(
        vectors=vectors,
        ids=[f"p{number}" for number in range(30)],
        metadata=[{"employee_id": number} for number in range(30)],
    )

    people.label({"p7": "Ada"})

    assert people.document("p8").standing.enriched == {"employee_id": 7}


def test_in_separate_mode_a_curated_collection_labels_another(library: lookalike.Library) -> None:
    vectors, kind = blobs(60)
    curated = library.labeler("curated", extractor="passthrough", confidence_threshold=0.5)
    curated.add(vectors=vectors[:20], ids=[f"c{number}" for number in range(20)])
    stock = library.labeler(
        "stock", extractor="passthrough", reference="curated", confidence_threshold=0.5
    )
    stock.add(vectors=vectors[20:], ids=[f"s{number}" for number in range(40)])

    changed = curated.label({f"c{number}": f"K{kind[number]}" for number in range(20)})

    assert changed.by_itself > 30
    assert stock.report().labelled["auto"] == changed.by_itself
    assert all(
        one.label == f"K{kind[20 + int(one.id[1:])]}" for one in stock.documents(origin="auto")
    )


def test_promotion_in_separate_mode_copies_into_the_curated_one(
    library: lookalike.Library,
) -> None:
    vectors, _ = blobs(20, kinds=1, width=0.3)
    curated = library.labeler("curated", extractor="passthrough", confidence_threshold=0.5)
    curated.add(vectors=vectors[:1], ids=["c0"])
    stock = library.labeler(
        "stock", extractor="passthrough", reference="curated", confidence_threshold=0.5
    )
    stock.add(vectors=vectors[1:], ids=[f"s{number}" for number in range(19)])
    curated.label({"c0": "A"})

    promoted = stock.promote(["s3"])

    assert curated.document("s3").origin is Origin.PROMOTED
    assert curated.report().references == 2
    stock.undo(promoted.operation)
    assert curated.report().references == 1


def test_forgetting_erases_the_promoted_copy_too(library: lookalike.Library) -> None:
    vectors, _ = blobs(20, kinds=1, width=0.3)
    curated = library.labeler("curated", extractor="passthrough", confidence_threshold=0.5)
    curated.add(vectors=vectors[:2], ids=["c0", "s4"])
    stock = library.labeler(
        "stock", extractor="passthrough", reference="curated", confidence_threshold=0.5
    )
    stock.add(vectors=vectors[2:], ids=[f"s{number}" for number in range(18)])
    curated.label({"c0": "A"})
    stock.promote(["s3"])

    receipt = stock.forget(["s3", "s4"])

    assert (receipt.objects, len(stock)) == (3, 16)
    assert [one.id for one in curated.documents()] == ["c0", "s4"]


def test_a_curated_collection_is_labelled_before_anything_refers_to_it(
    library: lookalike.Library,
) -> None:
    vectors, _ = blobs(20, kinds=1, width=0.3)
    curated = library.labeler("curated", extractor="passthrough", confidence_threshold=0.5)
    stock = library.labeler(
        "stock", extractor="passthrough", reference="curated", confidence_threshold=0.5
    )
    curated.add(vectors=vectors[:1], ids=["c0"])

    curated.label({"c0": "A"})
    added = stock.add(vectors=vectors[1:], ids=[f"s{number}" for number in range(19)])

    assert added.labelled == {"A": 19}


def test_a_rule_can_change_before_there_is_anything_to_decide(library: lookalike.Library) -> None:
    empty = library.labeler("empty", extractor="passthrough", confidence_threshold=0.5)

    changed = empty.run(confidence_threshold=0.7)

    assert (changed.by_itself, empty.report().limit) == (0, 0.7)
    assert empty.label({}).by_person == 0
    assert library.labeler("empty", extractor="passthrough", confidence_threshold=0.8).name


def test_an_arrival_is_decided_at_once(filled: Collection) -> None:
    filled.label({"v0": "A"})
    vectors, _ = blobs(200)

    added = filled.add(vectors=vectors[:1] * 1.5, ids=["new"])

    assert added.labelled == {"A": 1}
    assert filled.document("new").neighbors[0].document_id == "v0"


@pytest.mark.parametrize("label", ["", " > ", "A > ", "> A"])
def test_a_label_with_an_empty_part_is_refused(filled: Collection, label: str) -> None:
    with pytest.raises(BadInput, match="empty part"):
        filled.label({"v0": label})


def test_an_unknown_document_is_named(filled: Collection) -> None:
    with pytest.raises(NotFound, match="nobody"):
        filled.label({"nobody": "A"})


def test_why_shows_witnesses_and_what_would_be_without_the_nearest(filled: Collection) -> None:
    filled.label({"v0": "A"})
    guessed = next(iter(filled.documents(origin="auto")))

    why = filled.why(guessed.id)

    assert [one.match.document_id for one in why.witnesses] == ["v0"]
    assert (why.witnesses[0].actor, why.witnesses[0].origin) == ("ann", Origin.HUMAN)
    assert why.counterfactual is not None
    assert (why.counterfactual.without, why.counterfactual.label) == ("v0", None)
