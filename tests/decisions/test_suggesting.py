"""A suggestion is the decision that adding would record, and records nothing."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.errors import BadContent, BadInput, BadVector, Conflict, NotFound
from lookalike.library.collection.collection import Collection
from lookalike.model import Decision, Origin, Reason

KINDS = 12
"""With fewer labels nobody knows how much is new, and nothing labels itself."""

CENTRES = np.random.default_rng(5).standard_normal((KINDS, 24))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[lookalike.Library]:
    with lookalike.open(tmp_path / "store", actor="ann") as opened:
        yield opened


def vectors_of(count: int, *, seed: int, width: float = 0.7) -> tuple[Any, Any]:
    """Vectors (count, 24) around twelve centres, and the number of each one's centre."""
    chance = np.random.default_rng(seed)
    kind = chance.integers(0, KINDS, count)
    return CENTRES[kind] + width * chance.standard_normal((count, 24)), kind


def filled(library: lookalike.Library, count: int, labelled: int, **rule: Any) -> Collection:
    """A collection of `count` vectors, the first ones of which a person labelled."""
    vectors, kind = vectors_of(count, seed=1)
    name = "stock" if rule.get("reference") else "things"
    collection = library.labeler(name, extractor="passthrough", **rule)
    collection.add(
        vectors=vectors,
        ids=[f"{name}{number}" for number in range(count)],
        metadata=[{"price": number} for number in range(count)],
    )
    if labelled:
        collection.label({f"{name}{n}": f"Kind > {kind[n]}" for n in range(labelled)})
    return collection


def separate(library: lookalike.Library, **rule: Any) -> Collection:
    """A collection of 150 vectors that another one labels, of which 60 are labelled."""
    filled(library, 150, 120, **rule)
    return filled(library, 300, 0, reference="things", **rule)


SITUATIONS = {
    "threshold": lambda lib: filled(lib, 150, 30, confidence_threshold=0.6, enrich=("price",)),
    "precision": lambda lib: filled(lib, 300, 120, target_precision=0.8),
    "precision, large": lambda lib: filled(lib, 2300, 150, target_precision=0.8),
    "one label": lambda lib: filled(lib, 60, 1, target_precision=0.8),
    "no label": lambda lib: filled(lib, 60, 0),
    "separate, threshold": lambda lib: separate(lib, confidence_threshold=0.6),
    "separate, precision": lambda lib: separate(lib, target_precision=0.8),
}


def agree(suggested: Decision, recorded: Decision) -> None:
    for name in ("label", "runner_up", "reason", "policy", "taxonomy_version"):
        assert getattr(suggested, name) == getattr(recorded, name), name
    for name in ("confidence", "margin", "threshold"):
        assert getattr(suggested, name) == pytest.approx(getattr(recorded, name), abs=1e-6), name
    assert [one.document_id for one in suggested.matches] == [
        one.document_id for one in recorded.matches
    ]
    assert [one.share for one in suggested.matches] == pytest.approx(
        [one.share for one in recorded.matches], abs=1e-6
    )


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize("count", [1, 7])
def test_a_suggestion_is_what_adding_decides(
    library: lookalike.Library, name: str, count: int
) -> None:
    collection = SITUATIONS[name](library)
    new, _ = vectors_of(count, seed=2)
    new[0] *= -1  # like nothing

    suggested = collection.suggest(vectors=new)
    collection.add(vectors=new, ids=[f"new{number}" for number in range(count)])

    standings = [collection.document(f"new{number}").standing for number in range(count)]
    for one, standing in zip(suggested, standings, strict=True):
        agree(one.decision, standing.decision)
        assert one.enriched == standing.enriched


def test_what_is_labelled_by_itself_is_suggested(library: lookalike.Library) -> None:
    collection = SITUATIONS["precision"](library)
    new, kind = vectors_of(40, seed=3, width=0.3)

    labels = [one.label for one in collection.suggest(vectors=new)]

    sure = [label == f"Kind > {k}" for label, k in zip(labels, kind, strict=True) if label]
    assert len(sure) > 10
    assert all(sure)


@pytest.mark.parametrize("name", SITUATIONS)
def test_of_what_is_here_the_suggestion_is_its_decision(
    library: lookalike.Library, name: str
) -> None:
    collection = SITUATIONS[name](library)
    machines = [one for one in collection.documents() if one.origin in (None, Origin.AUTO)][::9]

    suggested = collection.suggest(ids=[one.id for one in machines])

    assert [one.name for one in suggested] == [one.id for one in machines]
    for one, document in zip(suggested, machines, strict=True):
        agree(one.decision, document.standing.decision)


def test_a_refused_label_is_not_suggested_for_what_is_here(library: lookalike.Library) -> None:
    collection = SITUATIONS["threshold"](library)
    doubted = next(iter(collection.documents(origin="auto")))
    collection.reject({doubted.id: None})

    (one,) = collection.suggest(ids=[doubted.id])

    assert one.label != doubted.label
    agree(one.decision, collection.document(doubted.id).standing.decision)


def digest(folder: Path) -> dict[str, str]:
    """What every file of the store holds, the database and its log included."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = [path for path in files if path.suffix != ".db-shm" and "cache" not in path.parts]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.mark.parametrize("name", ["threshold", "precision", "separate, precision"])
def test_a_suggestion_changes_no_byte(library: lookalike.Library, name: str) -> None:
    collection = SITUATIONS[name](library)
    new, _ = vectors_of(5, seed=2)
    before, memory = digest(library.path), len(collection.operations())

    collection.suggest(vectors=new)
    collection.suggest(ids=[next(iter(collection.documents())).id])

    assert digest(library.path) == before
    assert len(collection.operations()) == memory


@pytest.mark.parametrize("name", ["threshold", "precision", "precision, large"])
def test_suggesting_leaves_the_decider_as_it_was(library: lookalike.Library, name: str) -> None:
    """Afterwards a label has the effect that it has in a process that never suggested."""
    collection = SITUATIONS[name](library)
    new, _ = vectors_of(30, seed=4)
    collection.suggest(vectors=new)
    collection.suggest(vectors=new[:3])

    collection.label({"things100": "Kind > 0"})
    collection.add(vectors=new[3:6], ids=["a", "b", "c"])
    ours = {one.id: (one.label, one.confidence) for one in collection.documents()}

    collection.run()
    again = {one.id: (one.label, one.confidence) for one in collection.documents()}
    if name == "threshold":
        assert ours == again
    assert library.check() == []
    assert len(ours) == len(again) == len(collection)


def test_suggestions_interleave_with_other_work(tmp_path: Path) -> None:
    """A store in which someone suggests all the time ends as one in which nobody does."""
    ends = []
    for suggests in (True, False):
        with lookalike.open(tmp_path / str(suggests), actor="ann") as library:
            collection = SITUATIONS["precision"](library)
            new, kind = vectors_of(60, seed=6)
            for start in range(0, 60, 10):
                part = slice(start, start + 10)
                if suggests:
                    collection.suggest(vectors=new[::-1][part])
                collection.add(vectors=new[part], ids=[f"n{start + n}" for n in range(10)])
                if suggests:
                    collection.suggest(vectors=new[::-1][part])
                collection.label({f"n{start}": f"Kind > {kind[start]}"})
            ends.append({one.id: (one.label, one.confidence) for one in collection.documents()})

    assert ends[0] == ends[1]


def test_up_to_top_k_matches_are_shown(library: lookalike.Library) -> None:
    collection = SITUATIONS["precision"](library)
    new, _ = vectors_of(1, seed=2)

    (full,), (short,) = (collection.suggest(vectors=new[0], top_k=k) for k in (None, 3))

    assert (len(full.decision.matches), len(short.decision.matches)) == (10, 3)
    assert short.decision.matches == full.decision.matches[:3]
    assert short.decision.confidence == full.decision.confidence


def test_texts_and_pictures_are_extracted_as_the_collection_would(
    library: lookalike.Library, tmp_path: Path
) -> None:
    pictures = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "red", "navy")]
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    photos = library.labeler("photos", extractor="image", confidence_threshold=0.9)
    photos.add(paths[:2])
    ids = {one.file_name: one.id for one in photos.documents()}
    photos.label({ids["0.png"]: "Red", ids["1.png"]: "Blue"})

    (by_path,), (by_bytes,) = photos.suggest(paths[2]), photos.suggest(paths[2].read_bytes())
    two = photos.suggest(paths[2:])

    assert (by_path.label, by_path.name) == ("Red", "2.png")
    assert by_bytes.decision == by_path.decision
    assert [one.name for one in two] == ["2.png", "3.png"]
    assert len(photos) == 2

    notes = library.labeler("notes", extractor="text", confidence_threshold=0.8)
    notes.add([{"text": "the invoice is due"}, {"text": "a walk in the woods"}])
    first = next(iter(notes.documents()))
    notes.label({first.id: "Invoice"})
    assert [one.label for one in notes.suggest(text="the invoice is due")] == ["Invoice"]


def test_without_references_the_reason_says_so(library: lookalike.Library) -> None:
    collection = filled(library, 10, 0, confidence_threshold=0.5)

    (one,) = collection.suggest(vectors=CENTRES[0])

    assert (one.label, one.decision.reason) == (None, Reason.NO_REFERENCES)


def test_bad_questions_are_refused(library: lookalike.Library, tmp_path: Path) -> None:
    collection = filled(library, 10, 0)
    broken = tmp_path / "a.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    photos = library.labeler("photos", extractor="image")
    good = tmp_path / "b.png"
    Image.new("RGB", (8, 8)).save(good)

    with pytest.raises(Conflict, match="no documents yet"):
        photos.suggest(good)
    photos.add(good)
    with pytest.raises(BadContent, match=r"a\.png"):
        photos.suggest(broken)
    with pytest.raises(BadContent, match=r"image/png, and .things. extracts vector"):
        collection.suggest(good)
    with pytest.raises(BadContent, match="no file or folder"):
        photos.suggest(tmp_path / "nothing.png")
    with pytest.raises(BadInput, match="one of a source"):
        collection.suggest()
    with pytest.raises(BadInput, match="one of a source"):
        collection.suggest(text="a", ids=["things0"])
    with pytest.raises(BadVector, match="24"):
        collection.suggest(vectors=np.ones((1, 3)))
    with pytest.raises(BadVector, match="no direction"):
        collection.suggest(vectors=np.zeros((1, 24)))
    with pytest.raises(NotFound, match="'gone'"):
        collection.suggest(ids=["gone"])
    with pytest.raises(NotFound, match="colour"):
        collection.suggest(vectors=CENTRES, field="colour")
    assert collection.suggest(vectors=np.ones((0, 24))) == []
