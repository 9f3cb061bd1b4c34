"""Several extractors, one decision: the extractor that joins others, and how they are weighed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lookalike
from goods import BALLOON, JIGSAW, Shop, asking, bytes_of, ok, pictures
from lookalike.classifier.graph.graph import NeighbourGraph, attach, build_neighbour_graph
from lookalike.classifier.graph.metric import Blend, blend, unit_blocks, weigh
from lookalike.cli.output import show_why
from lookalike.errors import BadContent, BadSetting, Conflict
from lookalike.extractors.base import VECTOR_TYPE, Content, Extractor, Part
from lookalike.extractors.combined import CombinedExtractor, combined
from lookalike.extractors.registry import build_extractor
from lookalike.extractors.vectors import passthrough
from lookalike.library.collection.collection import Collection
from lookalike.testing.extractors import ExtractorContract
from lookalike.testing.fakes import parts_listed, word_lengths
from processes import finished
from serving import Served

LOOK, WORDS = 6, 16
BOTH = (LOOK, 10)
MEMBERS = [
    {"extractor": "vectors", "name": "look", "dimension": BOTH[0]},
    {"extractor": "vectors", "name": "words", "dimension": BOTH[1]},
]

Vectors = NDArray[np.float32]


# --- the extractor ------------------------------------------------------------------------------


def made() -> CombinedExtractor:
    return combined({"look": passthrough(LOOK), "words": word_lengths()})


def look(*numbers: float, beside: Any = None, name: str = "a") -> Content:
    row = np.array([*numbers, *[0] * (LOOK - len(numbers))], "<f4")
    return Content(row.tobytes(), VECTOR_TYPE, name=name, beside=beside)


def words(text: str, name: str = "a.txt") -> Content:
    return Content(text.encode(), "text/plain", name=name)


def only(extractor: Extractor, content: Content) -> Part:
    (parts,) = extractor.extract([content])
    assert not isinstance(parts, BadContent), parts
    return parts[0]


class TestCombinedExtractor(ExtractorContract):
    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        return made

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        return [
            look(1, 2, beside={"words": words("one three")}),
            look(2, -1, beside={"words": None}),
            words("nothing but words"),
        ]

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        return [look(name="zero"), Content(b"\0\1", "text/plain", name="broken.txt")]


def test_a_vector_has_a_block_of_equal_length_for_each_member() -> None:
    part = only(made(), look(3, 4, beside={"words": words("one three")}))

    assert part.vector[:2] * 2**0.5 == pytest.approx([0.6, 0.8], abs=1e-6)
    assert np.linalg.norm(part.vector[LOOK:]) == pytest.approx(0.5**0.5, abs=1e-6)
    assert "missing" not in part.attributes


@pytest.mark.parametrize(
    ("content", "missing", "block"),
    [
        (look(3, 4, beside={"words": None}), ["words"], slice(LOOK, None)),
        (words("one three"), ["look"], slice(LOOK)),
    ],
)
def test_what_is_missing_is_zero_and_told(
    content: Content, missing: list[str], block: slice
) -> None:
    part = only(made(), content)

    assert part.attributes["missing"] == missing
    assert not part.vector[block].any()
    assert np.linalg.norm(part.vector) == pytest.approx(1, abs=1e-6)


def test_one_input_that_is_broken_fails_with_its_name() -> None:
    content = look(3, 4, beside={"words": Content(b"\0\1", "text/plain", name="a: story")})

    (outcome,) = made().extract([content])

    assert isinstance(outcome, BadContent)
    assert "a: story" in str(outcome)


def test_an_input_of_another_kind_is_refused_and_not_taken_for_missing() -> None:
    content = look(3, 4, beside={"words": Content(b"%PDF", "application/pdf", name="a: story")})

    (outcome,) = made().extract([content])

    assert isinstance(outcome, BadContent)
    assert "'a: story' is application/pdf, and 'words' reads text" in str(outcome)


def test_only_vectors_of_whole_items_are_combined() -> None:
    joined = combined({"look": passthrough(LOOK), "faces": parts_listed(2)})
    listed = words('[{"key": "face-0", "vector": [3, 4]}]')

    (outcome,) = joined.extract([listed])

    assert isinstance(outcome, BadContent)
    assert "only vectors of whole items" in str(outcome)


def test_the_space_names_all_members_and_has_their_blocks() -> None:
    image_and_text = build_extractor("combined_extractor", {"members": ["image", "text"]})
    others = combined({"look": passthrough(LOOK), "words": passthrough(LOOK)})

    space = image_and_text.space

    assert "/efficientnet-lite2+bge-small-en-v1.5@" in space.name
    assert [(one.name, one.dimension) for one in space.members] == [("image", 1280), ("text", 384)]
    assert space.dimension == 1664
    renamed = combined({"words": passthrough(LOOK), "look": passthrough(LOOK)})
    assert others.space.name != renamed.space.name


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (["image"], "joins two or more"),
        ("image", "is a list such as"),
        (["image", "image"], "two members have the name 'image'"),
        (["image", "combined_extractor"], "cannot be a member of itself"),
        (["image", {"extractor": "text", "name": "a b"}], "cannot be named 'a b'"),
        (["image", {"extractor": "text", "colour": 1}], "does not take"),
    ],
)
def test_members_that_cannot_be_combined_are_refused_with_the_cure(members: Any, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        build_extractor("combined_extractor", {"members": members})


# --- weights ------------------------------------------------------------------------------------


def around(labels: NDArray[np.int64], dimension: int, noise: float, seed: int) -> Vectors:
    """Unit vectors around a centre for each label."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((int(labels.max()) + 1, dimension))
    rows = centres[labels] + noise * chance.standard_normal((len(labels), dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def side_by_side(*blocks: Vectors) -> NDArray[np.float16]:
    rows = np.concatenate(blocks, axis=1)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float16)


OWN = np.arange(120) % 12
NOISE = np.random.default_rng(8).permutation(OWN)
"""Labels that say nothing of the own ones."""


def test_a_member_that_is_noise_gets_little_weight() -> None:
    good, noise = around(OWN, 12, 0.8, 1), around(NOISE, 12, 0.8, 2)

    assert weigh([good, noise], OWN, (0.5, 0.5))[0] >= 0.9
    assert weigh([noise, good], OWN, (0.5, 0.5))[1] >= 0.9
    both = weigh([good, noise, around(OWN, 12, 0.8, 3)], OWN, (1 / 3,) * 3)
    assert both[1] <= 0.1
    assert min(both[0], both[2]) >= 0.3


def test_members_that_each_tell_a_half_are_both_needed() -> None:
    """The one tells the row of a table of labels, the other the column."""
    rows, columns = around(OWN // 4, 12, 0.8, 1), around(OWN % 4, 12, 0.8, 2)

    assert weigh([rows, columns], OWN, (0.9, 0.1)) == pytest.approx((0.5, 0.5), abs=0.16)


def test_weights_in_force_stay_while_others_are_hardly_better() -> None:
    members = [around(OWN, 12, 0.8, 1), around(OWN, 12, 0.8, 2)]

    chosen = weigh(members, OWN, (0.9, 0.1))

    assert weigh(members, OWN, chosen) == chosen
    nearly = (chosen[0] + 0.05, chosen[1] - 0.05)
    assert weigh(members, OWN, nearly) == nearly


def test_nothing_is_learned_from_one_label_or_single_references() -> None:
    members = [around(OWN, 12, 0.8, 1), around(OWN, 12, 0.8, 2)]
    some = [rows[:12] for rows in members]

    assert weigh(some, np.zeros(12, np.int64), (0.7, 0.3)) == (0.7, 0.3)
    assert weigh(some, np.arange(12), (0.7, 0.3)) == (0.7, 0.3)


def test_references_that_have_everything_tell_how_members_compare() -> None:
    """Many with one input alone, which it alone explains, do not make it count for more."""
    members = [around(OWN, 12, 0.8, 1), around(OWN, 12, 0.8, 2)]
    complete = [rows[:60] for rows in members]
    members[1][60:] = 0

    assert weigh(members, OWN, (0.9, 0.1)) == weigh(complete, OWN[:60], (0.9, 0.1))


def test_items_that_share_no_member_tell_nothing() -> None:
    good, noise = around(OWN, 12, 0.8, 1), around(NOISE, 12, 0.8, 2)
    good[:60], noise[60:] = 0, 0

    assert weigh([good, noise], OWN, (0.5, 0.5)) == (0.5, 0.5)


def test_among_three_members_those_that_meet_are_compared() -> None:
    members = [around(label, 12, 0.8, seed) for seed, label in enumerate((OWN, NOISE, OWN))]
    members[2][:] = 0

    found = weigh(members, OWN, (1 / 3,) * 3)

    assert found[0] > 5 * found[1]


# --- directions and landscape -------------------------------------------------------------------

ITEMS, KINDS = 600, 12
BLEND = Blend(BOTH, (0.7, 0.3))


def product_vectors(count: int, seed: int) -> NDArray[np.float16]:
    """The n-th is of kind n modulo 12: `look` tells its row, `words` its column; some lack one."""
    kinds = np.arange(count) % KINDS
    centres = np.random.default_rng(1)
    blocks = []
    for dimension, told in zip(BOTH, (kinds // 4, kinds % 4), strict=True):
        middle = centres.standard_normal((4, dimension))[told]
        noise = np.random.default_rng(seed + dimension).standard_normal((count, dimension))
        rows = middle + 0.5 * noise
        blocks.append(np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32))
    blocks[1][::50] = 0
    blocks[0][25::50] = 0
    return side_by_side(*blocks)


@pytest.fixture(scope="module")
def land() -> NeighbourGraph:
    return build_neighbour_graph(np.arange(ITEMS), product_vectors(ITEMS, 0), blend=BLEND)


def test_the_cosine_of_directions_is_the_weighted_mean_of_the_members(land: NeighbourGraph) -> None:
    rows = product_vectors(ITEMS, 0).astype(np.float32)
    units = unit_blocks(rows, BLEND.blocks)
    places = np.array([1, 2, 3])  # these have both
    expected = np.zeros((3, 3))
    for block, weight in zip(BLEND.blocks, BLEND.weights, strict=True):
        there = units[units[:, block].any(axis=1), block]
        centred = units[places, block] - there.mean(axis=0)
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
        expected += weight * (centred @ centred.T)

    assert land.cosines(places, places) == pytest.approx(expected, abs=2e-3)


def test_what_an_item_has_makes_up_its_direction_alone(land: NeighbourGraph) -> None:
    lengths = np.linalg.norm(land.centred.astype(np.float64), axis=1)

    assert lengths == pytest.approx(lengths[0], rel=1e-3)
    assert not land.centred[0, BLEND.blocks[1]].any()
    assert not land.centred[25, BLEND.blocks[0]].any()


def test_leaves_of_members_that_come_one_by_one_are_those_that_come_together(
    land: NeighbourGraph,
) -> None:
    more, pks = product_vectors(60, 9), np.arange(1000, 1060)
    together = attach(land, pks, more)

    one_by_one = land
    for place in range(60):
        one_by_one = attach(one_by_one, pks[place : place + 1], more[place : place + 1])

    for part in ("centred", "whitened", "near", "near_cosines", "near_weights"):
        assert np.array_equal(getattr(one_by_one, part), getattr(together, part)), part


def test_without_members_nothing_is_blended() -> None:
    assert blend((), ()) is None
    assert blend((3, 5), ()) == Blend((3, 5), (0.5, 0.5))


# --- decisions in a store -----------------------------------------------------------------------


def labelled(library: lookalike.Library, name: str, vectors: Any, upto: int, **rule: Any) -> Any:
    collection = library.labeler(name, extractor=MEMBERS, **rule)
    ids = [f"{place:04}" for place in range(len(vectors))]
    collection.add(vectors=vectors, ids=ids)
    collection.label({id: f"kind {int(id) % KINDS}" for id in ids[:upto]})
    return collection


def told(collection: Collection) -> dict[str, Any]:
    return {
        one.id: (one.label, one.standing.decision.confidence, one.standing.decision.margin)
        for one in collection.documents(limit=10_000)
    }


def one_noisy(count: int) -> NDArray[np.float16]:
    kinds = np.arange(count) % KINDS
    other = np.random.default_rng(3).permutation(kinds)
    return side_by_side(around(kinds, BOTH[0], 0.3, 1), around(other, BOTH[1], 0.3, 2))


def test_a_decision_weighs_both_and_why_shows_both(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        collection = labelled(library, "made", product_vectors(ITEMS, 0), 120)
        before = told(collection)

        why = collection.why("0130")

        right = [id for id, (label, *_) in before.items() if label == f"kind {int(id) % KINDS}"]
        assert len(right) > 0.6 * ITEMS
        assert why.weights.keys() == {"look", "words"}
        assert sum(why.weights.values()) == pytest.approx(1)
        witness, cause = why.witnesses[0], why.causes[0]
        assert witness.match.similarity == pytest.approx(
            sum(witness.by_member.values()) / 2, abs=2e-3
        )
        assert cause.by_member.keys() == {"look", "words"}
        lines = show_why(why)
        assert f"[look {witness.by_member['look']:.3f}, words " in lines
        assert "weights: look " in lines
        lone = collection.why("0150")  # it has no words
        assert all(one.by_member.keys() <= {"look"} for one in lone.witnesses)


def test_weights_adapt_and_are_those_of_the_next_process(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        collection = labelled(library, "made", one_noisy(ITEMS), 24)
        collection.label({f"{place:04}": f"kind {place % KINDS}" for place in range(24, 240)})
        weights, before = collection.why("0300").weights, told(collection)

    with lookalike.open(tmp_path / "store") as library:
        collection = library.labeler("made", extractor=MEMBERS)

        assert weights["words"] <= 0.1
        assert collection.why("0300").weights == weights
        assert told(collection) == before
        assert collection.run().by_itself == 0
        assert told(collection) == before


def test_one_answer_more_gives_what_deciding_everything_again_gives(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        collection = labelled(library, "made", product_vectors(ITEMS, 0), 200)
        more = product_vectors(40, 5)
        collection.add(vectors=more, ids=[f"more{place}" for place in range(40)])
        collection.label({"0300": "kind 0", "more1": "kind 1"})
        collection.reject({"0301": "kind 1"})
        before = told(collection)

        collection.run()

        assert told(collection) == before


def test_two_processes_decide_alike_whatever_is_said_and_weighed(tmp_path: Path) -> None:
    chance = np.random.default_rng(4)
    with lookalike.open(tmp_path / "store") as one, lookalike.open(tmp_path / "store") as two:
        first = labelled(one, "made", one_noisy(300), 14)
        second = two.labeler("made", extractor=MEMBERS)
        weights = [first.why("0299").weights]
        for step in range(7):
            speaker, other = (first, second) if step % 2 else (second, first)
            said = chance.choice(300, 6 * (step + 1), replace=False).tolist()
            done = speaker.label({f"{place:04}": f"kind {place % KINDS}" for place in said})
            if step == 3:
                other.undo(done.operation)
            if step == 5:
                more = one_noisy(310)[300:]
                other.add(vectors=more, ids=[f"more{place}" for place in range(10)])
            assert told(first) == told(second)
            weights.append(other.why("0299").weights)
        before = told(first)

        second.run()

        assert told(first) == told(second) == before
        assert weights[-1]["words"] <= 0.1
        assert weights[0] != weights[-1]


def test_the_known_rule_and_few_labels_weigh_all_alike(tmp_path: Path) -> None:
    vectors = one_noisy(100)
    with lookalike.open(tmp_path / "store") as library:
        known = labelled(library, "known", vectors, 50, confidence_threshold=0.2)
        wide = vectors.astype(np.float64)
        nearest = (wide[50:] @ wide[:50].T).argmax(axis=1)

        found = told(known)

        assert known.why("0060").weights == {"look": 0.5, "words": 0.5}
        for place, reference in enumerate(nearest.tolist(), 50):
            assert found[f"{place:04}"][0] == f"kind {reference % KINDS}"
        few = labelled(library, "few", vectors, 1)
        assert few.why("0060").weights == {"look": 0.5, "words": 0.5}


def test_a_collection_of_one_extractor_has_no_weights(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        collection = library.labeler("plain", extractor="vectors", dimension=4)
        collection.add(vectors=np.eye(4), ids=list("abcd"))
        collection.label({"a": "x", "b": "y"})

        why = collection.why("c")

        assert (why.weights, why.witnesses[0].by_member) == ({}, {})
        assert "weights:" not in show_why(why)


def test_others_labels_vote_by_weights_too(tmp_path: Path) -> None:
    with lookalike.open(tmp_path / "store") as library:
        labelled(library, "curated", one_noisy(240), 240)
        stock = library.labeler("stock", extractor=MEMBERS, reference="curated")
        stock.add(vectors=one_noisy(ITEMS)[300:], ids=[f"s{place}" for place in range(300)])

        why = stock.why("s7")

        assert why.weights["words"] <= 0.1
        assert why.witnesses[0].by_member.keys() == {"look", "words"}


# --- pictures and texts -------------------------------------------------------------------------

BALLOONS, JIGSAWS = pictures(BALLOON), pictures(JIGSAW)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*BALLOONS[:3], *JIGSAWS[:2]):
        (tmp_path / name).write_bytes(bytes_of(name))
    return tmp_path


def test_rows_with_a_picture_and_a_text_come_in(folder: Path) -> None:
    rows = [
        {"image": folder / BALLOONS[0], "text": "a red toy for parties", "id": "both"},
        {"file": folder / BALLOONS[1], "description": "a toy for parties", "id": "described"},
        {"image": folder / BALLOONS[2], "text": None, "id": "picture"},
        {"image": None, "text": "only words", "id": "words"},
    ]
    with lookalike.open(folder / "store") as library:
        products = library.labeler("products", extractor=["image", "text"])

        added = products.add(rows)

        assert (added.documents, added.failed) == (4, {})
        missing = {one.id: one.attributes.get("missing") for one in products.documents(limit=10)}
        assert missing == {
            "both": None,
            "described": None,
            "picture": ["text"],
            "words": ["image"],
        }
        with pytest.raises(Conflict, match="choose another name"):
            library.labeler("products", extractor=["text", "image"])


def test_items_are_alike_only_if_all_inputs_are(folder: Path) -> None:
    picture = bytes_of(BALLOONS[0])
    rows = [
        {"image": picture, "story": "a red toy", "id": "a"},
        {"image": picture, "story": "a red toy", "id": "b"},
        {"image": picture, "story": "ten nails", "id": "c"},
        {"image": picture, "id": "d"},
    ]
    with lookalike.open(folder / "store") as library:
        products = library.labeler(
            "products", extractor=["image", "text"], inputs={"text": "story"}
        )
        products.add(rows)
        products.add([{"image": picture, "story": "a red toy", "id": "e"}])
        products.label({"a": "Toy"})

        by_member = {id: products.why(id).witnesses[0].by_member for id in "bcde"}

        assert by_member["b"] == by_member["e"] == pytest.approx({"image": 1, "text": 1}, abs=1e-3)
        assert by_member["c"]["image"] == pytest.approx(1, abs=1e-3)
        assert by_member["c"]["text"] < 0.7
        assert by_member["d"].keys() == {"image"}
        with pytest.raises(Conflict, match="inputs"):
            library.labeler("products", inputs={"text": "title"})


def test_a_text_that_is_amended_is_read_again(folder: Path) -> None:
    rows = [
        {"image": folder / name, "text": "a red toy", "id": id}
        for id, name in zip("ab", BALLOONS, strict=False)
    ]
    with lookalike.open(folder / "store") as library:
        products = library.labeler("products", extractor=["image", "text"])
        products.add(rows)
        products.label({"a": "Toy"})
        before = products.why("b").witnesses[0].by_member

        products.amend({"b": {"text": "ten nails of steel"}})
        products.extract()

        after = products.why("b").witnesses[0].by_member
        assert after["image"] == before["image"]
        assert before["text"] == pytest.approx(1, abs=1e-3)
        assert after["text"] < 0.7


def test_what_is_asked_about_is_read_as_what_is_kept(folder: Path) -> None:
    with lookalike.open(folder / "store") as library:
        products = library.labeler(
            "products", extractor=["image", "text"], confidence_threshold=0.99
        )
        products.add([{"image": folder / BALLOONS[0], "text": "a red toy", "id": "a"}])
        products.label({"a": "Toy"})

        (same,) = products.suggest({"image": folder / BALLOONS[0], "text": "a red toy"})
        (other,) = products.suggest({"image": folder / BALLOONS[0], "text": "ten nails"})

        assert (same.label, other.label) == ("Toy", None)


def test_a_picture_is_what_is_shown_whichever_member_is_named_first(folder: Path) -> None:
    with lookalike.open(folder / "store") as library:
        products = library.labeler("products", extractor=["text", "image"])
        products.add([{"image": folder / BALLOONS[0], "text": "a red toy", "id": "a"}])

        document = products.document("a")

        assert document.sha256 == hashlib.sha256(bytes_of(BALLOONS[0])).hexdigest()
        assert library.runtime.thumbnails.read(document.sha256) is not None


def test_a_command_line_and_a_client_make_the_same_collection(tmp_path: Path) -> None:
    command = ["--store", str(tmp_path / "store"), "create"]
    options = ["--extractor", "image", "--extractor", "text", "--input", "text=story"]
    created = finished(*command, "made", *options, environment=os.environ)

    assert created.returncode == 0, created.stderr
    with Served(tmp_path / "store") as server, lookalike.connect(server.url) as client:
        same = client.labeler("made", extractor=["image", "text"], inputs={"text": "story"})
        other = client.labeler("other", extractor=["image", {"extractor": "text", "name": "said"}])
        assert (len(same), len(other)) == (0, 0)
        with pytest.raises(Conflict, match="choose another name"):
            client.labeler("other", extractor=["image", "text"])


def test_a_collection_of_pictures_gets_the_texts_beside_and_keeps_its_labels(
    folder: Path,
) -> None:
    rows = [
        {"image": folder / name, "text": "a red toy", "id": id}
        for id, name in zip("ab", BALLOONS, strict=False)
    ]
    with lookalike.open(folder / "store") as library:
        products = library.labeler("products", extractor="image")
        products.add(rows)
        products.label({"a": "Toy"})
    command = ["--store", str(folder / "store"), "migrate"]
    options = ["products", "--extractor", "image", "--extractor", "text", "--yes"]

    done = finished(*command, *options, environment=os.environ)

    assert done.returncode == 0, done.stderr
    with lookalike.open(folder / "store") as library:
        products = library.labeler("products", extractor=["image", "text"])
        assert products.document("a").label == "Toy"
        assert products.why("b").witnesses[0].by_member.keys() == {"image", "text"}


def test_pictures_and_texts_are_combined_over_http(tmp_path: Path) -> None:
    with Served(tmp_path / "store") as server, asking(server.url) as client:
        shop = Shop(client, "catalogue")
        shop.open(description="text")
        extractor = {
            "feature_extractor_name": "combined_extractor",
            "version": "v1",
            "parameters": {"members": ["image", "text"]},
            "input_mappings": {"image": "image", "text": "description"},
        }
        shop.collect(
            "products",
            feature_extractor=extractor,
            taxonomy={"field_to_enrich": "category", "confidence_threshold": 0.3},
        )
        shop.put(BALLOONS[0], description="a balloon for parties")
        shop.put(BALLOONS[1], description="a balloon for children")
        shop.put(JIGSAWS[0])
        shop.say(BALLOONS[0], category="Toy")

        before = ok(client.get(f"/v1/collections/products/documents/{BALLOONS[1]}/why"))
        path = f"/v1/buckets/catalogue/objects/{BALLOONS[1]}"
        change = {"metadata": {"description": "ten nails of steel"}}
        ok(client.patch(f"{path}?wait=60", json=change))
        after = ok(client.get(f"/v1/collections/products/documents/{BALLOONS[1]}/why"))
        lone = shop.document("products", JIGSAWS[0])

        assert before["weights"] == {"image": 0.5, "text": 0.5}
        near, far = (one["witnesses"][0]["by_member"] for one in (before, after))
        assert near["image"] == far["image"]
        assert near["text"] > far["text"]
        assert "missing" in str(lone)
