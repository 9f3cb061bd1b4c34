"""Documents of one image: a name is given once, and what was seen badly is not named."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lookalike
from lookalike.errors import BadInput, Conflict
from lookalike.library.collection.collection import Collection
from lookalike.model import Reason

ADA, BOB = (1, 0), (0, 1)


def photo(id: str, *faces: Sequence[float], **more: Any) -> dict[str, Any]:
    """Return a photo with faces of these looks; `more` are attributes of all of them."""
    parts = [
        {"key": f"face-{i}", "vector": list(face), "attributes": more}
        for i, face in enumerate(faces)
    ]
    return {"text": json.dumps(parts), "id": id}


def people(library: lookalike.Library, **rule: Any) -> Collection:
    rule = {"confidence_threshold": 0.9, "exclusive": "image", **rule}
    return library.labeler("people", extractor="parts_listed", dimension=2, **rule)


def labels(collection: Collection) -> dict[str, str | None]:
    return {one.id: one.label for one in collection.documents()}


def reasons(collection: Collection) -> dict[str, str | None]:
    return {one.id: one.reason for one in collection.documents()}


def test_a_name_is_given_once_an_image_to_the_surest(library: lookalike.Library) -> None:
    found = people(library)
    found.add([photo("a", ADA), photo("two", (10, 3), (10, 2)), photo("other", (10, 3))])

    found.label({"a#face-0": "Ada"})

    assert labels(found) == {
        "a#face-0": "Ada",
        "two#face-0": None,
        "two#face-1": "Ada",
        "other#face-0": "Ada",
    }
    (second,) = found.documents(ids=["two#face-0"])
    assert second.reason is Reason.CONFLICT
    assert second.standing.decision.runner_up == "Ada"


def test_without_being_exclusive_both_have_the_name(library: lookalike.Library) -> None:
    found = people(library, exclusive=None)
    found.add([photo("a", ADA), photo("two", (10, 3), (10, 2))])

    found.label({"a#face-0": "Ada"})

    assert set(labels(found).values()) == {"Ada"}


def test_a_name_that_a_person_gave_is_taken_in_that_image_until_it_is_taken_back(
    library: lookalike.Library,
) -> None:
    found = people(library)
    found.add([photo("a", ADA), photo("two", (10, 3), (10, 2))])
    found.label({"a#face-0": "Ada"})

    said = found.label({"two#face-0": "Ada"})

    assert (labels(found)["two#face-1"], said.by_itself) == (None, 1)
    assert reasons(found)["two#face-1"] == Reason.CONFLICT
    found.label({"two#face-0": None})
    assert (labels(found)["two#face-0"], labels(found)["two#face-1"]) == (None, "Ada")


def test_who_is_somebody_else_for_sure_leaves_the_name_to_the_next(
    library: lookalike.Library,
) -> None:
    found = people(library)
    found.add([photo("a", ADA), photo("two", (10, 3), (10, 2))])
    found.label({"a#face-0": "Ada"})

    found.reject({"two#face-1": "Ada"})

    assert (labels(found)["two#face-0"], labels(found)["two#face-1"]) == ("Ada", None)
    assert reasons(found)["two#face-1"] == Reason.REJECTED


def test_two_moments_of_a_video_are_two_images(library: lookalike.Library) -> None:
    found = people(library)
    keys, times = ["t0/face-0", "t0/face-1", "t900", "t1800"], [0, 0, 900, 1800]
    looks = [(10, 1), (10, 2), (10, 3), (10, 3)]
    parts = [
        {"key": key, "vector": look, "attributes": {"time_ms": time}}
        for key, look, time in zip(keys, looks, times, strict=True)
    ]
    found.add([photo("a", ADA), {"id": "film", "text": json.dumps(parts)}])

    found.label({"a#face-0": "Ada"})

    named = labels(found)
    assert [named[f"film#{key}"] for key in keys] == ["Ada", None, "Ada", "Ada"]


def test_who_arrives_in_an_image_finds_the_names_taken(library: lookalike.Library) -> None:
    found = people(library)
    found.add([photo("a", ADA), photo("two", (10, 3))])
    found.label({"a#face-0": "Ada", "two#face-0": "Ada"})

    found.add(photo("two", (10, 3), (10, 1)))

    assert labels(found)["two#face-1"] is None
    assert labels(found)["two#face-0"] == "Ada"


def test_who_is_forgotten_leaves_the_name(library: lookalike.Library) -> None:
    found = people(library, exclusive="image")
    found.add([photo("a", ADA), photo("b", ADA), photo("two", (10, 3))])
    found.label({"a#face-0": "Ada"})

    found.forget(["b#face-0"])

    assert labels(found) == {"a#face-0": "Ada", "two#face-0": "Ada"}


def test_suggest_tells_what_an_image_would_get(library: lookalike.Library) -> None:
    found = people(library)
    found.add(photo("a", ADA))
    found.label({"a#face-0": "Ada"})
    new = photo("new", (10, 3), (10, 2), (0, 1))

    told = [
        (one.part, one.label, one.decision.reason) for one in found.suggest({"text": new["text"]})
    ]
    found.add(new)

    assert told == [
        ("face-0", None, "conflict"),
        ("face-1", "Ada", None),
        ("face-2", None, "below_threshold"),
    ]
    assert [labels(found)[f"new#{part}"] for part, _, _ in told] == [None, "Ada", None]


def test_what_was_seen_badly_is_not_decided_and_does_not_vote(library: lookalike.Library) -> None:
    found = people(library)
    blurred = photo("blurred", ADA, low_quality=True)
    found.add([photo("a", ADA), photo("b", (10, 1)), blurred])

    found.label({"a#face-0": "Ada"})

    assert labels(found) == {"a#face-0": "Ada", "b#face-0": "Ada", "blurred#face-0": None}
    (one,) = found.documents(ids=["blurred#face-0"])
    assert (one.reason, one.standing.decision.runner_up) == (Reason.LOW_QUALITY, "Ada")
    assert "blurred#face-0" not in {d.id for q in found.queue() for d in q.documents}
    found.label({"a#face-0": None, "blurred#face-0": "Ada"})
    assert labels(found) == {"a#face-0": None, "b#face-0": None, "blurred#face-0": "Ada"}
    (one,) = found.documents(ids=["blurred#face-0"])
    assert not one.standing.is_reference
    (told,) = found.suggest({"text": photo("new", ADA, low_quality=True)["text"]})
    assert told.decision.reason is Reason.LOW_QUALITY


def test_what_was_seen_badly_takes_part_where_that_is_asked(library: lookalike.Library) -> None:
    found = people(library, low_quality=True)
    found.add([photo("b", (10, 1)), photo("blurred", ADA, low_quality=True)])

    found.label({"blurred#face-0": "Ada"})

    assert labels(found) == {"b#face-0": "Ada", "blurred#face-0": "Ada"}


def test_seen_better_later_it_votes(library: lookalike.Library) -> None:
    found = people(library)
    found.add([photo("b", (10, 1)), photo("blurred", ADA, low_quality=True)])
    found.label({"blurred#face-0": "Ada"})

    found.add(photo("blurred", ADA))

    assert labels(found) == {"b#face-0": "Ada", "blurred#face-0": "Ada"}


@pytest.mark.parametrize("rule", [{}, {"confidence_threshold": None, "target_precision": 0.9}])
@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_steps_equals_a_decision_from_scratch(
    tmp_path: Path, library: lookalike.Library, rule: dict[str, Any], seed: int
) -> None:
    chance, found = random.Random(seed), people(library, **rule)
    for step in range(40):
        ids = [one.id for one in found.documents()]
        id, name = chance.choice(ids or [""]), chance.choice(["Ada", "Bob", None])
        match chance.choice(["add", "label", "label", "label", "reject", "forget", "undo"]):
            case "label" if ids:
                found.label({id: name})
            case "reject" if ids:
                found.reject({id: name or "Ada"})
            case "forget" if len(ids) > 20:
                found.forget([id])
            case "undo" if any(one.kind == "label" for one in found.operations()):
                last = [o for o in found.operations() if o.kind == "label" and not o.undone_by]
                found.undo(last[0].id)
            case _:
                count = chance.randint(1, 4)
                centres = [chance.choice([ADA, BOB]) for _ in range(count)]
                faces = [np.array(one) + chance.uniform(-0.5, 0.5) for one in centres]
                low = chance.random() < 0.2
                found.add(photo(f"p{step}", *[one.tolist() for one in faces], low_quality=low))

    before = {one.id: (one.label, one.reason, one.confidence) for one in found.documents()}
    found.run()

    after = {one.id: (one.label, one.reason, one.confidence) for one in found.documents()}
    assert after == before
    with lookalike.open(library.path) as again:
        told = again.collection("people").run()
    assert told.by_itself == 0


def test_what_cannot_be_is_refused(library: lookalike.Library) -> None:
    with pytest.raises(BadInput, match="exclusive is 'photo'; give 'image'"):
        people(library, exclusive="photo")
    people(library)
    with pytest.raises(Conflict, match="low_quality False, which cannot change"):
        people(library, low_quality=True)
