"""What is put into a bucket directly, as a server does it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import lookalike
from lookalike.bucket import Bucket, NewObject, bucket_from
from lookalike.resources import Kind, named


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[Bucket]:
    with lookalike.open(tmp_path / "store") as library:
        library.create_bucket("letters", {"content": "text"})
        workshop = library.workshop
        with workshop.store.read() as snapshot:
            row = named(snapshot, workshop.settings.namespace, Kind.BUCKET, "letters")
        yield Bucket(workshop, bucket_from(row))


def test_what_is_twice_in_one_batch_is_put_in_once(letters: Bucket) -> None:
    same_key = letters.put([NewObject({"n": 1}, key="a"), NewObject({"n": 2}, key="a")])
    same_id = letters.put([NewObject(id="b", key="k1"), NewObject(id="b", key="k2")])

    assert same_key[0] == same_key[1] and same_key[0].metadata == {"n": 1}
    assert [one.key for one in same_id] == ["k1", "k1"]


def test_what_is_here_stays_as_it_is(letters: Bucket) -> None:
    before = letters.put([NewObject({"n": 1}, key="a"), NewObject({"n": 2}, id="b")])

    again = letters.put([NewObject({"n": 3}, id="c"), NewObject({"n": 4}, id="b", key="a")])

    assert again[1] == before[0]
    assert again[0].metadata == {"n": 3}
