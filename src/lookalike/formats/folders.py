"""Class folders: the folder that a file is in is its label, folders in folders make its path.

`shoes/running/7.jpg` has the label `shoes > running`. Where all folders at the top are called
train, val or test, these are splits, and the classes are below. Written besides: the side file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from lookalike.errors import BadInput
from lookalike.formats.base import (
    DOCUMENTS,
    SPLITS,
    UNLABELLED,
    Dataset,
    Example,
    Format,
    Put,
    copied,
    label_in,
)
from lookalike.formats.extras import SIDE_FILE, SideFile, example_lines, write_side_file
from lookalike.formats.files import inner_path, split_of
from lookalike.model import LABEL_SEPARATOR

_LONGEST_NAME = 200
"""So many bytes of UTF-8 has the name of a class folder at most; file systems allow 255."""


def read_folders(root: Path, _images: Path | None = None) -> Dataset:
    """Return the files of a folder, each with the label that its folders say.

    Raises BadInput when `root` is no folder, or has no subfolder with files.
    """
    if not root.is_dir():
        raise BadInput(f"there is no folder {str(root)!r}; check the path")
    base = root.resolve()
    files = [path for path in sorted(base.rglob("*")) if _is_content(base, path)]
    if not any(len(path.relative_to(base).parts) > 1 for path in files):
        raise BadInput(
            f"the folder {str(root)!r} has no class folders: put each file into a folder that is "
            "named like its label, such as shoes/running/7.jpg"
        )
    refused: dict[str, str] = {}
    return Dataset(_examples(base, files, refused), refused)


def write_folders(folder: Path, examples: Iterable[Example], put: Put = copied) -> int:
    """Write each example into the folder of its class; return how many."""
    listed = list(examples)
    splits = [one.split for one in listed]
    named = [split for split in splits if split in SPLITS]
    return write_classes(folder, listed, put, named if len(named) == len(listed) else None, _parts)


def write_classes(
    folder: Path,
    examples: Sequence[Example],
    put: Put,
    splits: Sequence[str] | None,
    parts: Callable[[str], list[str]],
) -> int:
    """Write examples into class folders, below those of their splits; return how many.

    `parts` gives the folders of a label.
    """
    homes = _homes([label_in(one)[1].label or UNLABELLED for one in examples], parts)
    if splits is None and homes and all(split_of(home.parts[0]) for home in homes.values()):
        splits = ["train"] * len(examples)  # else these classes would be taken for splits
    taken: set[PurePosixPath] = set()
    lines = []
    for place, one in enumerate(examples):
        home = homes[label_in(one)[1].label or UNLABELLED]
        home = home if splits is None else splits[place] / home
        name = _free_name(home / inner_path(one.file_name).name, taken)
        put(one, folder / name)
        lines += example_lines(name.as_posix(), one)
    write_side_file(folder, lines)
    return len(lines)


def safe_name(text: str) -> str:
    """Return a text as a name of a folder or file that is not hidden and leads nowhere else.

    >>> safe_name("../a/b"), safe_name(" .hidden")
    ('_.._a_b', '_.hidden')
    """
    name = re.sub(r"[\\/\x00-\x1f]", "_", text.strip())
    name = f"_{name}" if name.startswith(".") or not name else name
    return name.encode("utf-8", "replace")[:_LONGEST_NAME].decode("utf-8", "ignore")


def _parts(label: str) -> list[str]:
    return [safe_name(part) for part in label.split(LABEL_SEPARATOR)]


def _homes(labels: Iterable[str], parts: Callable[[str], list[str]]) -> dict[str, PurePosixPath]:
    """Return a folder for each label; different labels have different folders."""
    homes: dict[str, PurePosixPath] = {}
    taken: set[PurePosixPath] = set()
    for label in sorted(set(labels)):
        homes[label] = _free_name(PurePosixPath(*parts(label)), taken)
    return homes


def _free_name(path: PurePosixPath, taken: set[PurePosixPath]) -> PurePosixPath:
    """Return a path that is not taken yet, with a number where that is needed, and take it."""
    name, count = path, 1
    while name in taken:
        count += 1
        name = path.with_name(f"{path.stem}-{count}{path.suffix}")
    taken.add(name)
    return name


def _is_content(root: Path, path: Path) -> bool:
    inner = path.relative_to(root)
    hidden = any(part.startswith(".") for part in inner.parts)
    return not hidden and inner.name != SIDE_FILE and path.is_file()


def _examples(root: Path, files: Sequence[Path], refused: dict[str, str]) -> Iterator[Example]:
    tops = {path.relative_to(root).parts[0] for path in files if path.parent != root}
    has_splits = all(split_of(top) for top in tops)
    side = SideFile(root)
    for path in files:
        inner = path.relative_to(root)
        folders = list(inner.parts[:-1])
        split = split_of(folders.pop(0)) if has_splits and folders else None
        if split is not None and not folders:
            refused[inner.as_posix()] = "it is in no class folder"
            continue
        example = Example(inner.as_posix(), path=path, split=split)
        if folders:
            example = side.example(example, LABEL_SEPARATOR.join(folders))
        yield example


FORMAT = Format(
    name="folders",
    title="Class folders",
    reads=frozenset({DOCUMENTS}),
    writes=frozenset({DOCUMENTS}),
    target="a folder",
    keeps=f"side file `{SIDE_FILE}`",
    recognises=Path.is_dir,
    read=read_folders,
    write=write_folders,
)
