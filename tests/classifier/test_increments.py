"""What is kept up to date equals what is made from scratch, to the last digit."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.classifier.calibration.confidence import Predictions, predict
from lookalike.classifier.calibration.incremental import CachedPredictions
from lookalike.classifier.calibration.training_data import fit_confidence
from lookalike.classifier.graph.arrays import (
    largest_digit,
    product,
    products,
    to_fixed_point,
    to_int8,
)
from lookalike.classifier.graph.graph import NeighbourGraph, attach, build_neighbour_graph
from lookalike.classifier.graph.neighbours import neighbour_lists, neighbours
from lookalike.classifier.graph.propagation import Places
from lookalike.classifier.scores.scores import BACKGROUND, ClassSimilarity, Scores
from lookalike.content.files import read_cache, write_cache
from lookalike.decisions.field.classifier import GraphClassifier
from lookalike.decisions.field.rejections import Rejections

ITEMS, KINDS, KNOWN, DIMENSION = 700, 12, 8, 24

References = dict[str, Places]


def vectors(count: int, seed: int, dimension: int = DIMENSION) -> NDArray[np.float16]:
    """Unit vectors around KINDS centres, which overlap; the n-th is of kind n modulo KINDS."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((KINDS, dimension))
    rows = centres[np.arange(count) % KINDS] + chance.standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


@pytest.fixture(scope="module")
def land() -> NeighbourGraph:
    return build_neighbour_graph(np.arange(ITEMS), vectors(ITEMS, 0))


def first_references() -> References:
    return {f"{kind}": np.arange(kind, ITEMS, KINDS)[:5] for kind in range(KNOWN)}


def walk(references: References, chance: np.random.Generator, steps: int) -> References:
    """Give some labels a reference more, or take one away; every label keeps one."""
    changed = dict(references)
    for _ in range(steps):
        label = str(chance.integers(0, KNOWN))
        taken = np.concatenate(list(changed.values()))
        free = np.setdiff1d(np.arange(ITEMS), taken)
        if len(changed[label]) > 1 and chance.random() < 0.5:
            changed[label] = np.delete(changed[label], chance.integers(0, len(changed[label])))
        else:
            changed[label] = np.sort(np.append(changed[label], chance.choice(free)))
    return changed


def assert_same(one: Predictions, other: Predictions) -> None:
    for part in fields(Predictions):
        assert np.array_equal(getattr(one, part.name), getattr(other, part.name)), part.name


# --- products -----------------------------------------------------------------------------------


def test_products_on_the_grid_are_exact_whichever_way_they_are_added() -> None:
    rows = to_fixed_point(np.random.default_rng(0).standard_normal((5000, 300)).astype(np.float32))
    others = rows[:70]
    expected = rows.astype(np.int64) @ others.T.astype(np.int64)

    whole = np.concatenate([table for _, table in products(rows, others.astype(np.float32))])
    alone = rows[4321].astype(np.float32) @ others[69].astype(np.float32)

    assert np.array_equal(whole, expected)
    assert alone == expected[4321, 69]
    assert np.linalg.norm(rows.astype(np.float64), axis=1).max() <= 4096


def test_a_pass_over_bytes_and_a_product_with_a_digit_are_exact() -> None:
    rows = to_int8(np.random.default_rng(0).standard_normal((5000, 1280)).astype(np.float32))
    digit = np.where(rows[1] < 0, -1, 1).astype(np.int64) * largest_digit(1280)

    table = np.concatenate([part for _, part in products(rows, digit[None].astype(np.float32))])

    assert np.array_equal(product(rows, rows[0]), rows.astype(np.int64) @ rows[0].astype(np.int64))
    assert np.array_equal(table[:, 0], rows.astype(np.int64) @ digit)


PRODUCTS = """
import hashlib, numpy as np
from lookalike.classifier.graph.arrays import to_fixed_point, products
from lookalike.classifier.graph.neighbours import neighbour_lists
rows = to_fixed_point(np.random.default_rng(0).standard_normal((5000, 300)).astype(np.float32))
found = [table for _, table in products(rows, rows[:700].astype(np.float32))]
found += neighbour_lists(rows[:2000], 20)
print(hashlib.sha256(b"".join(one.tobytes() for one in found)).hexdigest())
"""


def test_products_and_lists_are_the_same_on_any_number_of_threads() -> None:
    """`make test` gives BLAS one thread; users have as many as processors."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRODUCTS],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "5")
    }

    assert len(printed) == 1


@pytest.mark.parametrize("references", [1, 20, 3000])
def test_products_with_sums_of_references_are_exact_whatever_came_and_went(references: int) -> None:
    whitened = to_int8(np.random.default_rng(0).standard_normal((6000, 300)).astype(np.float32))
    whitened[:3000] = np.abs(whitened[:3000])  # so that sums are large
    first, others = np.arange(references), np.arange(5, 5 + references // 2)
    expected = whitened.astype(np.int64) @ whitened[first].sum(axis=0, dtype=np.int64)
    likeness = ClassSimilarity(whitened)
    likeness.set_labels(["a", "b"])
    likeness.update("a", others, others[:0])

    likeness.update("a", first, others)

    every = np.arange(6000)
    assert np.array_equal(likeness.at("a", every[::-1]), expected[::-1])
    assert not likeness.at("b", every).any()
    wider = likeness.extended_to(np.concatenate([whitened, whitened]))
    assert np.array_equal(wider.at("a", 6000 + every), expected)
    assert likeness.square("a") == (whitened[first].sum(axis=0, dtype=np.int64) ** 2).sum()


# --- lists --------------------------------------------------------------------------------------


def test_lists_by_cells_are_almost_the_exact_ones_and_always_the_same() -> None:
    rows = to_fixed_point(vectors(4000, 3, 64).astype(np.float32))
    exact, _ = neighbour_lists(rows, 20)

    near, cosines = neighbour_lists(rows, 20, exact_items=100)
    again, _ = neighbour_lists(rows, 20, exact_items=100)

    found = [len(np.intersect1d(one, other)) for one, other in zip(near, exact, strict=True)]
    assert np.mean(found) / 20 >= 0.95
    assert np.array_equal(near, again)
    assert (near != np.arange(4000)[:, None]).all()
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_lists_by_cells_are_full_among_rows_that_are_the_same() -> None:
    rows = np.repeat(to_fixed_point(vectors(3, 0).astype(np.float32)), [300, 2, 1], axis=0)

    near, _ = neighbour_lists(rows, 20, exact_items=100)

    assert near.shape == (303, 20)
    assert all(len(np.unique(one)) == 20 for one in near)
    assert near.min() >= 0


def test_ties_go_to_the_lower_place() -> None:
    rows = np.repeat(to_fixed_point(vectors(1, 0).astype(np.float32)), 200, axis=0)

    near, _ = neighbours(rows[:2], rows, 20)

    assert np.array_equal(near, np.tile(np.arange(20), (2, 1)))


# --- the direct metric ---------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "neighbours"), [(700, 3), (60, 4), (30, 5)])
def test_the_direct_metric_takes_more_neighbours_where_items_are_few(
    items: int, neighbours: int
) -> None:
    """Three of few items do not tell all directions apart."""
    made = vectors(items, 0)
    land = build_neighbour_graph(np.arange(items), made)
    centred = land.frame.centred(made)

    expected = land.frame.matrix_for(centred.__getitem__, land.near[:, :neighbours])

    assert np.array_equal(land.whitening_matrix, expected)


# --- leaves -------------------------------------------------------------------------------------


def test_leaves_that_come_one_by_one_are_those_that_come_together(land: NeighbourGraph) -> None:
    more, pks = vectors(30, 9), np.arange(1000, 1030)
    together = attach(land, pks, more)

    one_by_one = land
    for place in range(30):
        one_by_one = attach(one_by_one, pks[place : place + 1], more[place : place + 1])

    for part in ("centred", "whitened", "near", "near_cosines", "near_weights"):
        assert np.array_equal(getattr(one_by_one, part), getattr(together, part)), part


def test_scores_over_more_leaves_are_those_made_from_scratch(land: NeighbourGraph) -> None:
    some = attach(land, np.arange(1000, 1010), vectors(10, 5))
    all_ = attach(some, np.arange(1010, 1030), vectors(20, 6))
    references = first_references() | {"0": np.array([0, ITEMS + 3])}
    scores, fresh = Scores(some), Scores(all_)
    scores.set_references(references)
    fresh.set_references(references)

    wider = scores.extended_to(all_)

    every = np.arange(len(all_))
    assert np.array_equal(wider.table(every), fresh.table(every))
    assert np.array_equal(wider.evidence(every), fresh.evidence(every))


# --- cached predictions ---------------------------------------------------------------------------


def test_judgements_after_any_history_are_those_from_scratch(land: NeighbourGraph) -> None:
    grown = attach(land, np.arange(1000, 1050), vectors(50, 7))
    scores, chance = Scores(grown), np.random.default_rng(4)
    references = first_references()
    scores.set_references(references)
    waiting = np.setdiff1d(np.arange(len(grown)), np.concatenate(list(references.values())))
    confidence = fit_confidence(scores, waiting, 0.9)
    kept = CachedPredictions(confidence, scores)
    again = []

    for whitening_matrix in range(60):
        references = walk(
            references, chance, 1 if whitening_matrix % 3 else int(chance.integers(2, 30))
        )
        again.append(len(kept.update(references)))
        fresh = Scores(grown)
        fresh.set_references(references)
        every = np.arange(len(grown))
        assert_same(kept.at(every), predict(confidence, fresh, every))

    assert min(again) < len(grown) / 2


def test_judgements_follow_what_people_called_none_of_these(land: NeighbourGraph) -> None:
    """The background rivals the labels and never wins, by itself or when it changes."""
    scores, chance = Scores(land), np.random.default_rng(8)
    nothing = np.concatenate([np.arange(kind, ITEMS, KINDS)[:4] for kind in range(KNOWN, KINDS)])
    references = first_references() | {BACKGROUND: np.sort(nothing)}
    scores.set_references(references)
    every = np.arange(ITEMS)
    confidence = fit_confidence(scores, every, 0.9)
    kept = CachedPredictions(confidence, scores)
    ahead = 0

    for whitening_matrix in range(30):
        named = {name: places for name, places in references.items() if name != BACKGROUND}
        named = walk(named, chance, 1 + whitening_matrix % 2)
        taken = np.concatenate(list(named.values()))
        free = np.setdiff1d(every, taken)
        nothing = np.union1d(
            np.setdiff1d(nothing, taken)[whitening_matrix % 2 :], chance.choice(free, 1)
        )
        references = named | {BACKGROUND: nothing}
        kept.update(references)
        fresh = Scores(land)
        fresh.set_references(references)
        predictions = kept.at(every)
        assert_same(predictions, predict(confidence, fresh, every))
        ahead += int((predictions.margin < 0).sum())

    assert ahead > 0


def test_only_items_that_were_judged_again_have_another_judgement(land: NeighbourGraph) -> None:
    scores, chance = Scores(land), np.random.default_rng(5)
    references = first_references()
    scores.set_references(references)
    every = np.arange(ITEMS)
    confidence = fit_confidence(scores, every, 0.9)
    kept = CachedPredictions(confidence, scores)

    for _ in range(20):
        before = kept.at(every)
        references = walk(references, chance, 1)
        still = np.setdiff1d(every, kept.update(references))
        for part in fields(Predictions):
            old, new = getattr(before, part.name), getattr(kept.at(every), part.name)
            assert np.array_equal(old[still], new[still]), part.name


def a_classifier(folder: Path, references: References) -> GraphClassifier:
    every, made = np.arange(ITEMS), vectors(ITEMS, 0)
    classifier = GraphClassifier(folder / "lists.npz")
    classifier.set_items(every, every, lambda pks: made[pks], 0)
    classifier.fit(first_references(), every, 0.9)
    classifier.update_references(references)
    return classifier


def test_what_was_found_out_about_items_is_taken_over_as_it_was(tmp_path: Path) -> None:
    """A process with other threads might find another last digit: it takes what is remembered."""
    every, made = np.arange(ITEMS), vectors(ITEMS, 0)
    a_classifier(tmp_path, first_references())
    kept = read_cache(tmp_path / "lists.npz")
    assert kept is not None
    mark, arrays = kept
    other = np.roll(arrays["turn"], 1, axis=1)
    write_cache(tmp_path / "lists.npz", mark, arrays | {"turn": other})

    again = GraphClassifier(tmp_path / "lists.npz")
    again.set_items(every, every, lambda pks: made[pks], 0)

    assert np.array_equal(again.neighbour_graph.whitening_matrix, other)


def test_an_item_whose_vector_is_another_makes_another_landscape(tmp_path: Path) -> None:
    """Also where its slot is changed in the very array that was given before."""
    every, made = np.arange(ITEMS), vectors(ITEMS, 0)
    slots = every.copy()
    classifier = GraphClassifier(tmp_path / "lists.npz")
    classifier.set_items(every, slots, lambda pks: made[pks], 0)

    slots[3], made[3] = ITEMS, made[4]
    classifier.set_items(every, slots, lambda pks: made[pks], 0)

    fresh = build_neighbour_graph(every, made)
    assert np.array_equal(classifier.neighbour_graph.near, fresh.near)
    assert classifier.neighbour_graph.near[3, 0] == 4


def test_a_judge_that_followed_decides_as_one_that_was_just_made(tmp_path: Path) -> None:
    every, references = np.arange(ITEMS), first_references()
    walked, chance = a_classifier(tmp_path, references), np.random.default_rng(6)
    for _ in range(10):
        references = walk(references, chance, 2)
        walked.update_references(references)
        walked.label_without(3, int(references["0"][0]))

    fresh = a_classifier(tmp_path, references)

    rejected = Rejections(0)
    rejected.set_taken(5, {"5"})
    rejected.set_taken(9, {str(kind) for kind in range(KNOWN)})
    one, other = (classifier.decide(every, int, rejected) for classifier in (walked, fresh))
    for part in fields(type(one)):
        same = np.array_equal(getattr(one, part.name), getattr(other, part.name))
        assert same, part.name
    assert (one.confidence > 0).any()


def test_confidence_is_told_to_hundredths_where_no_label_is_given(tmp_path: Path) -> None:
    classifier = a_classifier(tmp_path, first_references())

    decisions = classifier.decide(np.arange(ITEMS), int)

    told = decisions.confidence.astype(np.float64)
    for low, high, steps in ((0, 0.495, 100), (0.5, 1.1, 1000)):
        some = told[(told >= low) & (told < high)]
        assert len(np.unique(some)) > 10
        assert np.allclose(some * steps, np.round(some * steps), atol=1e-3)
    assert (decisions.codes[told < 0.5] == -1).all()


def test_a_label_that_was_not_learned_cannot_be_followed(tmp_path: Path) -> None:
    classifier = a_classifier(tmp_path, first_references())

    with pytest.raises(AssertionError, match="fit again"):
        classifier.update_references(first_references() | {"new": np.array([699])})
