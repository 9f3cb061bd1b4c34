"""What labels are called, and what may become of them: pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike import labels
from lookalike.errors import BadInput, Conflict, LookalikeError, NotFound
from lookalike.labels import LabelCounts, LabelEvent, Naming, label_nodes
from lookalike.model import EventKind

KNOWN = {"Shoes", "Shoes > Running", "Shoes > Hiking", "Bags"}


def renamed(operation: int, *sources: str, to: str, merged: bool = False) -> LabelEvent:
    detail = {"sources": list(sources), "to": to, "merged": merged}
    return LabelEvent(operation, EventKind.RENAMED, detail)


def split(operation: int, label: str, *, gone: bool = True, **parts: list[int]) -> LabelEvent:
    return LabelEvent(
        operation, EventKind.RENAMED, {"sources": [label], "parts": parts, "gone": gone}
    )


def retired(operation: int, label: str) -> LabelEvent:
    return LabelEvent(operation, EventKind.RETIRED, {"label": label})


def described(operation: int, label: str, **said: Any) -> LabelEvent:
    return LabelEvent(operation, EventKind.DESCRIBED, {"label": label, **said})


def test_a_rename_takes_all_below_along_and_nothing_that_only_begins_alike() -> None:
    naming = Naming([renamed(5, "Shoes", to="Footwear")])

    assert naming.current("Shoes > Running", 4) == "Footwear > Running"
    assert naming.current("Shoeshine", 4) == "Shoeshine"


def test_what_was_said_after_a_rename_keeps_its_name() -> None:
    naming = Naming([renamed(5, "Shoes", to="Footwear"), renamed(7, "Footwear", to="Feet")])

    assert [naming.current("Shoes", at) for at in (4, 5, 6)] == ["Feet", "Shoes", "Shoes"]
    assert [naming.current("Footwear", at) for at in (4, 6, 7)] == ["Feet", "Feet", "Footwear"]


def test_without_the_event_everything_reads_as_before() -> None:
    assert Naming().current("Shoes", 1) == "Shoes"
    assert Naming().resolve("Shoes") == ("Shoes",)


def test_the_old_name_means_the_new_one_also_below_and_after_another_rename() -> None:
    naming = Naming([renamed(1, "Shoes", to="Footwear"), renamed(2, "Footwear", to="Feet")])

    assert naming.resolve("Shoes > Running") == ("Feet > Running",)
    assert naming.aliases_of("Feet") == ("Footwear", "Shoes")


def test_a_name_that_comes_back_is_no_other_name_any_more() -> None:
    naming = Naming([renamed(1, "Shoes", to="Footwear"), renamed(2, "Footwear", to="Shoes")])

    assert naming.resolve("Shoes") == ("Shoes",)
    assert naming.resolve("Footwear") == ("Shoes",)


def test_other_names_of_what_is_below_follow_a_rename() -> None:
    naming = Naming(
        [
            renamed(1, "Shoes > Running", to="Shoes > Jogging"),
            renamed(2, "Shoes", to="Footwear"),
        ]
    )

    assert naming.resolve("Shoes > Running") == ("Footwear > Jogging",)
    assert naming.resolve("Footwear > Running") == ("Footwear > Jogging",)


def test_the_longest_name_of_several_that_are_merged_counts() -> None:
    naming = Naming([renamed(1, "Shoes", "Shoes > Running", to="Sport", merged=True)])

    assert naming.current("Shoes > Running", 0) == "Sport"
    assert naming.current("Shoes > Hiking", 0) == "Sport > Hiking"


def test_a_split_gives_each_document_its_part_and_refuses_all_parts_where_it_was_refused() -> None:
    naming = Naming([split(3, "Hats", Caps=[1, 2], Hoods=[3])])

    assert [naming.current("Hats", 1, pk) for pk in (1, 3, 9)] == ["Caps", "Hoods", "Hats"]
    assert naming.all_current("Hats", 1) == ("Caps", "Hoods")
    assert naming.resolve("Hats") == ("Caps", "Hoods")
    assert naming.retired_by("Hats") == 3


def test_what_is_retired_is_so_with_all_below_it_under_any_name() -> None:
    naming = Naming([retired(1, "Shoes"), renamed(2, "Shoes", to="Footwear")])

    assert naming.retired_by("Footwear > Running") == 1
    assert naming.retired_by("Shoes") is None


def test_a_retired_label_that_is_merged_into_one_in_use_is_in_use() -> None:
    naming = Naming([retired(1, "Shoes"), renamed(2, "Shoes", to="Bags", merged=True)])

    assert naming.retired_by("Bags") is None


def test_the_style_guide_follows_its_label_and_joins_where_labels_do() -> None:
    naming = Naming(
        [
            described(1, "Shoes", description="On feet.", examples=[1]),
            described(2, "Boots", description="High.", examples=[2], aliases=["Wellies"]),
            renamed(3, "Shoes", to="Footwear"),
            renamed(4, "Boots", to="Footwear", merged=True),
        ]
    )

    note = naming.notes["Footwear"]
    assert (note.description, note.examples) == ("On feet.", (1, 2))
    assert naming.aliases_of("Footwear") == ("Boots", "Shoes", "Wellies")


def test_aliases_that_are_said_again_replace_those_before() -> None:
    naming = Naming([described(1, "Bags", aliases=["Sacks"]), described(2, "Bags", aliases=[])])

    assert naming.resolve("Sacks") == ("Sacks",)


def test_all_older_names_of_a_label_are_known_for_forgetting() -> None:
    naming = Naming([renamed(1, "Ann", "Anne", to="Anna", merged=True), renamed(4, "Anna", to="A")])

    assert naming.all_names("A") == {"A": None, "Anna": 4, "Ann": 1, "Anne": 1}


LABELS = st.lists(st.sampled_from("ABC"), min_size=1, max_size=3).map(" > ".join)


@given(st.lists(st.tuples(LABELS, LABELS), max_size=6), LABELS)
def test_a_name_of_today_means_what_was_said_before_all_renames(
    pairs: list[tuple[str, str]], label: str
) -> None:
    events: list[LabelEvent] = []
    known = labels.with_ancestors([label])
    for number, (old, new) in enumerate(pairs, 1):
        try:
            labels.check_rename(old, new, known, Naming(events))
        except LookalikeError:
            continue
        events.append(renamed(number, old, to=new))
        known = labels.with_ancestors(Naming(events).current(one, number - 1) for one in known)

    naming = Naming(events)
    assert naming.resolve(naming.current(label, 0)) == (naming.current(label, 0),)


def test_counts_of_a_label_hold_what_is_below_it() -> None:
    counts = {"Shoes > Running": LabelCounts(human=2, automatic=3), "Shoes": LabelCounts(human=1)}

    nodes = label_nodes(counts, Naming(), {})

    assert [one.label for one in nodes] == ["Shoes", "Shoes > Running"]
    assert (nodes[0].own.references, nodes[0].all.references, nodes[0].all.automatic) == (1, 3, 3)


ALIASED = Naming([described(1, "Bags", aliases=["Sacks"]), retired(2, "Shoes > Hiking")])


@pytest.mark.parametrize(
    ("check", "kind", "said"),
    [
        (lambda: labels.check_rename("Shos", "X", KNOWN, ALIASED), NotFound, "mean 'Shoes'"),
        (lambda: labels.check_rename("Bags", "Bags", KNOWN, ALIASED), BadInput, "already"),
        (
            lambda: labels.check_rename("Shoes", "Shoes > Old", KNOWN, ALIASED),
            BadInput,
            "cannot be moved to 'Shoes > Old', which is below it",
        ),
        (
            lambda: labels.check_rename("Bags", "Shoes", KNOWN, ALIASED),
            Conflict,
            "merge 'Bags' into it",
        ),
        (
            lambda: labels.check_rename("Shoes", "Sacks", KNOWN, ALIASED),
            Conflict,
            "another name for 'Bags'",
        ),
        (
            lambda: labels.check_rename("Bags", "Shoes > Hiking > Bags", KNOWN, ALIASED),
            Conflict,
            "is retired",
        ),
        (
            lambda: labels.check_merge([], "Bags", KNOWN, ALIASED),
            BadInput,
            "give the labels to merge",
        ),
        (
            lambda: labels.check_merge(["Bags"], "Bags", KNOWN, ALIASED),
            BadInput,
            "cannot be merged into itself",
        ),
        (
            lambda: labels.check_merge(["Shoes"], "Shoes > Running", KNOWN, ALIASED),
            BadInput,
            "below it",
        ),
        (
            lambda: labels.check_merge(["Bags"], "Shoes > Hiking", KNOWN, ALIASED),
            Conflict,
            "is retired",
        ),
        (
            lambda: labels.check_split("Bags", {}, KNOWN, ALIASED),
            BadInput,
            "give the parts to split",
        ),
        (
            lambda: labels.check_split("Bags", {"Bags": ["a"]}, KNOWN, ALIASED),
            BadInput,
            "a part of itself",
        ),
        (
            lambda: labels.check_split("Bags", {"A": ["a"], "B": ["a"]}, KNOWN, ALIASED),
            BadInput,
            "'a' is in two parts",
        ),
        (
            lambda: labels.check_left_over("Bags", [f"d{n}" for n in range(7)]),
            BadInput,
            "7 documents of 'Bags' are in no part: 'd0', 'd1', 'd2', 'd3', 'd4' …",
        ),
        (
            lambda: labels.check_aliases("Bags", ["Shoes"], KNOWN, ALIASED),
            Conflict,
            "is a label itself",
        ),
        (
            lambda: labels.check_aliases("Shoes", ["Sacks"], KNOWN, ALIASED),
            Conflict,
            "another name for 'Bags'",
        ),
    ],
)
def test_what_cannot_be_is_told_with_the_name_and_the_cure(
    check: Callable[[], None], kind: type[LookalikeError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        check()
