"""The contract of extractors as a pytest class: subclass it and give three fixtures.

class TestMine(ExtractorContract):
    @pytest.fixture
    def make(self):
        return my_extractor            # or a lambda; called without arguments

    @pytest.fixture
    def good(self):
        return [Content(b"...", "image/png", name="a.png"), ...]     # three or more

    @pytest.fixture
    def bad(self):
        return [Content(b"", "image/png", name="empty.png"), ...]    # one or more
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from lookalike.errors import BadContent
from lookalike.extractors.base import Content, Extractor, Part

HEAVY_MODULES = ("onnxruntime", "tokenizers", "torch", "transformers", "PIL", "pillow_heif")
"""Modules that making an extractor and getting its space must not import."""

Result = tuple[Part, ...] | BadContent


class ExtractorContract:
    """The tests that every extractor must pass. Override the three fixtures."""

    @pytest.fixture
    def make(self) -> Callable[[], Extractor]:
        """Return a function that makes a new extractor."""
        raise NotImplementedError("override the fixture `make`")

    @pytest.fixture
    def good(self) -> Sequence[Content]:
        """Return three or more different contents that have parts."""
        raise NotImplementedError("override the fixture `good`")

    @pytest.fixture
    def bad(self) -> Sequence[Content]:
        """Return one or more contents that cannot be read."""
        raise NotImplementedError("override the fixture `bad`")

    @pytest.fixture
    def extractor(self, make: Callable[[], Extractor]) -> Extractor:
        """Return a new extractor for each test."""
        return make()

    def test_space_is_known_without_loading_a_model(
        self, make: Callable[[], Extractor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Making an extractor and getting its space imports nothing heavy."""
        for module in HEAVY_MODULES:
            monkeypatch.setitem(sys.modules, module, None)  # import fails

        extractor = make()

        assert extractor.space.dimension > 0
        assert extractor.accepts
        families = {"image", "text", "vector", "video"}
        assert all(one in families or "/" in one for one in extractor.accepts)

    def test_space_names_version_model_and_digest(self, make: Callable[[], Extractor]) -> None:
        """The name is <extractor>.<version>/<model>@<digest8>, and equal for all instances."""
        name = make().space.name

        assert re.fullmatch(r"[a-z0-9_]+\.v[0-9]+/[A-Za-z0-9._+-]+@[0-9a-f]{8}", name), name
        assert make().space == make().space

    def test_one_result_for_each_content(
        self, extractor: Extractor, good: Sequence[Content], bad: Sequence[Content]
    ) -> None:
        """There is one result per content; no contents give no results."""
        assert extractor.extract([]) == []
        assert len(extractor.extract([*good, *bad])) == len(good) + len(bad)

    def test_results_are_in_the_order_of_the_contents(
        self, extractor: Extractor, good: Sequence[Content]
    ) -> None:
        """Reversed contents give reversed results."""
        forward = extractor.extract(good)
        backward = extractor.extract(good[::-1])

        assert _lowest_cosine(forward, backward[::-1]) > 1 - 1e-4
        assert _lowest_cosine(forward, backward) < 1 - 1e-4, "give contents that differ"

    def test_vectors_are_float32_of_unit_length_and_the_declared_dimension(
        self, extractor: Extractor, good: Sequence[Content]
    ) -> None:
        """Every vector is float32 (dimension,), finite, of length 1."""
        for vector in _vectors(extractor.extract(good)):
            assert vector.dtype == np.float32
            assert vector.shape == (extractor.space.dimension,)
            assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5

    def test_keys_are_unique_within_a_content(
        self, extractor: Extractor, good: Sequence[Content]
    ) -> None:
        """No two parts of one content have the same key."""
        for parts in extractor.extract(good):
            keys = [part.key for part in _parts(parts)]
            assert len(keys) == len(set(keys))

    def test_extracting_twice_gives_equal_vectors(
        self, extractor: Extractor, good: Sequence[Content]
    ) -> None:
        """The vectors are equal to the bit."""
        first, second = (_vectors(extractor.extract(good)) for _ in range(2))

        assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))

    def test_a_vector_does_not_depend_on_other_contents(
        self, extractor: Extractor, good: Sequence[Content]
    ) -> None:
        """A content alone gives the same vector as together with others in one call."""
        batch = extractor.extract([*good, *good])
        single = [extractor.extract([content])[0] for content in (*good, *good)]

        assert _lowest_cosine(batch, single) > 1 - 1e-4

    def test_four_threads_can_share_an_extractor(
        self, make: Callable[[], Extractor], extractor: Extractor, good: Sequence[Content]
    ) -> None:
        """A new extractor gives four threads at once the results that one thread gets."""
        expected = extractor.extract(good)
        shared = make()

        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(shared.extract, [good] * 4))

        assert all(_lowest_cosine(expected, result) > 1 - 1e-4 for result in results)

    def test_a_bad_content_does_not_affect_the_others(
        self, extractor: Extractor, good: Sequence[Content], bad: Sequence[Content]
    ) -> None:
        """A bad content gives a BadContent that names it; the others give their parts."""
        for content in bad:
            before, failed, after = extractor.extract([good[0], content, good[1]])

            assert isinstance(failed, BadContent), f"{content.name!r} was accepted"
            assert content.name in str(failed), "the message names the content"
            assert _lowest_cosine([before, after], extractor.extract(good[:2])) > 1 - 1e-4


def _parts(result: Result) -> tuple[Part, ...]:
    assert not isinstance(result, BadContent), f"a good content was refused: {result}"
    assert result, "a good content has no parts"
    return result


def _vectors(results: Sequence[Result]) -> list[NDArray[np.float32]]:
    return [part.vector for result in results for part in _parts(result)]


def _lowest_cosine(one: Sequence[Result], two: Sequence[Result]) -> float:
    pairs = zip(_vectors(one), _vectors(two), strict=True)
    return min(float(np.dot(left, right)) for left, right in pairs)
