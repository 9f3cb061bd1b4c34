"""What every format must do, as a test suite: what is written is read back, and nothing breaks it.

    from lookalike.formats.registry import FORMATS
    from lookalike.testing.formats import FormatContract

    class TestCsv(FormatContract):
        @pytest.fixture
        def format(self):
            return FORMATS["csv"]

        @pytest.fixture
        def pictures(self):
            return sorted(Path("pictures").glob("*.png"))  # at least eight

What a format holds elsewhere, in a side file, counts as well. Run it with pytest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lookalike.content.boxes import same
from lookalike.content.pictures import upright_size
from lookalike.errors import BadInput
from lookalike.formats.base import (
    AUTO,
    DOCUMENTS,
    LABEL,
    REGIONS,
    Example,
    Format,
    Label,
    Region,
    copied,
    label_in,
)
from lookalike.formats.files import PICTURE_SUFFIXES
from lookalike.formats.registry import recognised

LABELS = (
    Label("Cat", origin="human"),
    Label("Animal > Dog", origin="import"),
    Label("ナイキ & <b>", origin="promoted", rejected=("Cat", "Animal > Dog")),
    Label("Cat", 0.93, AUTO, policy="precision@2"),
    Label(None, 0.41, None, "below_threshold", "Cat", ("Animal > Dog",), "precision@2"),
    Label("قطة", origin="human"),
    Label("a/b: \"c\" 'd', {e}", origin="human"),
    Label("unlabelled", origin="human"),
)
"""Labels with everything that can be known of them."""

_TABLES = ("csv", "jsonl", "parquet")


class FormatContract:
    """Give `format` and `pictures` as fixtures; each test that does not apply is skipped."""

    @pytest.fixture
    def pictures(self) -> Sequence[Path]:
        """Return at least eight pictures."""
        raise NotImplementedError

    @pytest.fixture
    def documents(self, format: Format, pictures: Sequence[Path]) -> list[Example]:
        """Return pictures with labels of the whole."""
        if DOCUMENTS not in format.reads & format.writes:
            pytest.skip(f"{format.title} has no labels of whole files")
        return [
            Example(
                f"inner/{path.name}" if place == 1 else path.name,
                labels={LABEL: said},
                id=f"doc_{place}",
                sha256=f"{place:064x}",
                path=path,
            )
            for place, (path, said) in enumerate(zip(pictures, LABELS, strict=False))
        ]

    @pytest.fixture
    def drawn(self, format: Format, pictures: Sequence[Path]) -> list[Example]:
        """Return pictures with regions, and one with nothing in it."""
        if REGIONS not in format.reads & format.writes:
            pytest.skip(f"{format.title} has no regions")
        found = []
        for place, path in enumerate(pictures[:4]):
            width, height = upright_size(path.read_bytes(), name=path.name)
            regions = [
                _region(said, f"r{count}", (2.0 + 5 * count, 3.5, width / 3, height / 4))
                for count, said in enumerate(LABELS[2 * place : 2 * place + 3])
                if place < 3
            ]
            name = f"inner/{path.name}" if place == 1 else path.name
            found.append(Example(name, regions, width, height, path=path))
        return found

    def test_labels_of_whole_files_come_back(
        self, format: Format, documents: list[Example], tmp_path: Path
    ) -> None:
        """Label, origin, score, reason, suggestion, rejections, policy, id and digest."""
        target = _target(format, tmp_path)

        count = format.write(target, documents, copied)
        back = _by_id(_read(format, target))

        assert count == len(documents)
        assert {id: label_in(one)[1] for id, one in back.items()} == {
            one.id: label_in(one)[1] for one in documents
        }
        assert {id: (one.file_name, one.sha256) for id, one in back.items()} == {
            one.id: (one.file_name, one.sha256) for one in documents
        }

    def test_the_name_of_the_label_field_comes_back(
        self, format: Format, documents: list[Example], tmp_path: Path
    ) -> None:
        """Of tables it is the name of the column."""
        if format.name in _TABLES:
            pytest.skip("a table has the column `label`")
        named = [replace(one, labels={"kind": label_in(one)[1]}) for one in documents]
        target = _target(format, tmp_path)

        format.write(target, named, copied)

        assert {field for one in _read(format, target) for field in one.labels} == {"kind"}

    def test_splits_come_back(
        self, format: Format, documents: list[Example], tmp_path: Path
    ) -> None:
        """Each example is for training, validation or tests again."""
        splits = ("train", "val", "test")
        split = [replace(one, split=splits[n % 3]) for n, one in enumerate(documents)]
        target = _target(format, tmp_path)

        format.write(target, split, copied)

        back = _by_id(_read(format, target))
        assert {id: one.split for id, one in back.items()} == {one.id: one.split for one in split}

    def test_regions_come_back(self, format: Format, drawn: list[Example], tmp_path: Path) -> None:
        """Boxes to half a pixel; label, id, origin, score, reason, suggestion and rejections."""
        target = _target(format, tmp_path)

        count = format.write(target, drawn, copied)
        back = {one.file_name: one.regions for one in _read(format, target, drawn)}

        assert count == sum(len(one.regions or ()) for one in drawn)
        assert back.keys() == {one.file_name for one in drawn}
        for one in drawn:
            regions, found = list(one.regions or ()), list(back[one.file_name] or ())
            found.sort(key=lambda region: region.id)
            assert [each.id for each in found] == [each.id for each in regions]
            pairs = list(zip(regions, found, strict=True))
            assert all(same(before.box, after.box) for before, after in pairs)
            plain = [replace(after, box=before.box) for before, after in pairs]
            assert plain == regions

    def test_it_recognises_what_it_wrote(
        self, format: Format, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """No other format takes it, by content."""
        kind = "drawn" if REGIONS in format.writes else "documents"
        target = _target(format, tmp_path)
        format.write(target, request.getfixturevalue(kind), copied)

        assert recognised(target).name == format.name

    def test_labels_that_differ_by_case_or_space_stay_apart(
        self, format: Format, documents: list[Example], tmp_path: Path
    ) -> None:
        """`Cat` and `cat` are two classes, and so are `a b` and `a  b`."""
        names = ("Cat", "cat", "CAT", "a b", "a  b", "a_b", "a/b", "A B")
        told = [
            replace(one, labels={LABEL: Label(name, origin="human")})
            for one, name in zip(documents, names, strict=True)
        ]
        target = _target(format, tmp_path)

        format.write(target, told, copied)

        back = _by_id(_read(format, target))
        assert [label_in(back[one.id])[1].label for one in told] == list(names)

    def test_no_name_leads_out_of_the_folder(
        self, format: Format, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """Names with `..`, absolute ones and those of Windows are written inside."""
        kind = "drawn" if REGIONS in format.writes else "documents"
        bad = ("../../out.png", "/abs.png", "C:\\win.png", "..\\up.png")
        listed = request.getfixturevalue(kind)
        named = [replace(one, file_name=name) for one, name in zip(listed, bad, strict=False)]
        home = tmp_path / "home" / "inner"
        home.mkdir(parents=True)
        target = _target(format, home)

        format.write(target, named, copied)
        list(_read(format, target, named))

        inside = [home.parent, *home.parent.rglob("*")]
        assert set(tmp_path.rglob("*")) == set(inside)
        assert home.parent.joinpath("out.png").exists() is False

    def test_a_cut_or_wrongly_encoded_file_is_refused_in_words(
        self, format: Format, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """Each file that was written, cut in half or as UTF-16: no other error than BadInput."""
        kind = "drawn" if REGIONS in format.writes else "documents"
        target = _target(format, tmp_path)
        listed = request.getfixturevalue(kind)
        format.write(target, listed, copied)
        files = (
            [target] if target.is_file() else [one for one in target.rglob("*") if one.is_file()]
        )
        texts = [one for one in files if one.suffix.lower() not in PICTURE_SUFFIXES]
        for file in texts:
            whole = file.read_bytes()
            for damaged in (
                whole[: len(whole) // 2],
                whole.decode("utf-8", "replace").encode("utf-16"),
            ):
                file.write_bytes(damaged)
                try:
                    list(_read(format, target, listed))
                except BadInput as error:
                    assert str(error)
            file.write_bytes(whole)

    def test_pictures_that_are_missing_spoil_nothing(
        self, format: Format, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """What needs them says so; the others give their labels without a file."""
        kind = "drawn" if REGIONS in format.writes else "documents"
        target = _target(format, tmp_path)
        listed = [
            replace(one, path=None, content=lambda: b"gone")
            for one in request.getfixturevalue(kind)
        ]
        format.write(target, listed, copied)
        for one in tmp_path.rglob("*"):
            if one.is_file() and one.suffix.lower() in PICTURE_SUFFIXES:
                one.unlink()

        try:
            found = list(format.read(target, None))
        except BadInput as error:
            assert "picture" in str(error) or "class folders" in str(error)
            return
        assert all(one.path is None for one in found)

    def test_equal_names_spoil_nothing(
        self, format: Format, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """Two examples of one name are both written, or refused with the name."""
        kind = "drawn" if REGIONS in format.writes else "documents"
        listed = [replace(one, file_name="same.png") for one in request.getfixturevalue(kind)[:2]]
        target = _target(format, tmp_path)

        try:
            format.write(target, listed, copied)
        except BadInput as error:
            assert "same.png" in str(error)
            return
        assert len(list(_read(format, target, listed))) in (1, 2)

    def test_what_is_not_there_is_named(self, format: Format, tmp_path: Path) -> None:
        """A file and a folder that are not there."""
        for name in ("nothing.json", "nothing"):
            with pytest.raises(BadInput, match="nothing"):
                list(format.read(tmp_path / name, None))


def _region(said: Label, id: str, box: tuple[float, float, float, float]) -> Region:
    rest = (said.score, said.origin, said.reason, said.suggestion, said.rejected, said.policy)
    return Region(box, said.label, id, *rest)


def _target(format: Format, folder: Path) -> Path:
    """Return where a format is written to: a file of a fitting name, or a folder."""
    if format.name in _TABLES:
        return folder / f"out.{format.name}"
    return folder / ("out.json" if "JSON" in format.target else "out")


def _read(format: Format, target: Path, pictures: Iterable[Example] = ()) -> list[Example]:
    """Read what was written, with its pictures where the format keeps them elsewhere."""
    near = target if target.is_dir() else target.parent
    for one in pictures:
        if one.path is not None and not list(near.rglob(Path(one.file_name).name)):
            copied(one, near / "images" / Path(one.file_name).name)
    return list(format.read(target, None))


def _by_id(examples: Iterable[Example]) -> dict[str, Example]:
    return {one.id: one for one in examples}
