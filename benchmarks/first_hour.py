"""The first hour: how many answers until a collection labels itself, with a person who errs.

    LOOKALIKE_DATA=… python benchmarks/first_hour.py                 # every data set, three seeds
    LOOKALIKE_DATA=… python benchmarks/first_hour.py --only bccd --seeds 10 --errors 0 0.03 0.08

From nothing labelled, through `Collection.queue(limit=1)` and `label(asked=True)`, under the
default rule. The person is simulated: each document that is looked at is seen as another label with
the probability `--errors`. Effort is told twice. An **action** is one key or click that says
something: a name, a confirmation, one document that is dropped or corrected. **Seconds** are 2 a
question, 0.2 a picture or 1 a text that is looked at, 1.5 one that is dropped or corrected, 2 a
new name.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import lookalike
from lookalike.extractors.base import Content
from lookalike.extractors.image import image_extractor
from lookalike.labels import is_within
from lookalike.library.collection.collection import Collection
from lookalike.model import Origin, Question
from quality_data import SOURCES, read

SETTLED = 0.9
FIRST = 20
"""So many automatic labels are a beginning, or one in a hundred documents."""

_MOST_QUESTIONS = 600
ENOUGH = 50
"""The precision is told where at least so many documents are labelled automatically."""

_QUESTION_S, _PICTURE_S, _TEXT_S, _MENDED_S, _NAME_S = 2.0, 0.2, 1.0, 1.5, 2.0
_BLOCK = 64
_CROPS, _LEAST_PIXELS = 1_930, 8

Labels = list[str]


@dataclass(frozen=True, slots=True)
class Items:
    """Items to label: unit `vectors` (n, d) and the true label of each; texts are read.

    With `contents`, texts, the labels are declared, and their names are evidence.
    """

    vectors: NDArray[np.float16]
    labels: Labels
    texts: bool = False
    contents: Labels | None = None

    def some(self, upto: int | None, seed: int) -> Items:
        """Return up to so many random ones, in random order."""
        chosen = np.random.default_rng(seed).permutation(len(self.labels))[:upto]
        labels = [self.labels[place] for place in chosen.tolist()]
        known = self.contents
        contents = None if known is None else [known[place] for place in chosen.tolist()]
        return Items(self.vectors[chosen], labels, self.texts, contents)


@dataclass(frozen=True, slots=True)
class Point:
    """After some effort: how many labels people gave, how many are automatic, how many right."""

    actions: int
    seconds: float
    given: int
    automatic: int
    right: int

    @property
    def precision(self) -> float:
        """Return the share of automatic labels that are right; NaN where there is none."""
        return self.right / self.automatic if self.automatic else float("nan")


@dataclass
class Person:
    """A person who answers what the queue asks, and errs now and then."""

    truth: dict[str, str]
    errors: float
    chance: np.random.Generator
    look_s: float
    actions: int = 0
    seconds: float = 0.0
    said: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._names = sorted(set(self.truth.values()))

    def answer(self, collection: Collection, question: Question) -> None:
        """Answer one question as the review page lets a person do it."""
        seen = {one.id: self._see(one.id) for one in question.documents}
        self.kinds[question.kind] += 1
        if question.kind in ("check", "suspect", "names"):
            pairs = zip(seen.values(), question.suggestions, strict=True)
            self._count(len(seen), sum(label != shown for label, shown in pairs))
            collection.label(seen, asked=True)
        else:
            name = question.suggestion or Counter(seen.values()).most_common(1)[0][0]
            kept = {id: label for id, label in seen.items() if label == name}
            self._count(len(seen), len(seen) - len(kept), is_new=name not in self.said)
            if kept:
                collection.label(kept, asked=True)
            if question.suggestion and len(kept) < len(seen):
                collection.reject({id: name for id in seen if id not in kept})
            self.said.add(name)
        self.said |= set(seen.values())

    def name(self, id: str) -> str:
        """Name one document: return the label that the person gives it."""
        label = self._see(id)
        self._count(1, 0, is_new=label not in self.said)
        self.said.add(label)
        return label

    def _see(self, id: str) -> str:
        if self.chance.random() >= self.errors:
            return self.truth[id]
        others = [name for name in self._names if name != self.truth[id]]
        return others[int(self.chance.integers(len(others)))]

    def _count(self, looked_at: int, mended: int, *, is_new: bool = False) -> None:
        self.actions += 1 + mended
        self.seconds += _QUESTION_S + self.look_s * looked_at + _MENDED_S * mended
        self.seconds += _NAME_S * is_new


def person_for(items: Items, seed: int, errors: float) -> Person:
    """Return a person who knows the true labels; the documents are `d0`, `d1`, …."""
    truth = {f"d{place}": label for place, label in enumerate(items.labels)}
    look_s = _TEXT_S if items.texts else _PICTURE_S
    return Person(truth, errors, np.random.default_rng(seed), look_s)


def hour(
    items: Items,
    seed: int,
    errors: float,
    *,
    confidence_threshold: float | None = None,
    least_actions: int = 0,
) -> tuple[list[Point], Counter[str]]:
    """Return what stands after each question until enough is settled, and what was asked.

    With a `confidence_threshold` under the policy `threshold`, without one under the default rule.
    The person goes on until `least_actions` at the least.
    """
    person = person_for(items, seed, errors)
    ids = list(person.truth)
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as folder, lookalike.open(Path(folder) / "store") as library:
        collection = _filled(library, items, ids, confidence_threshold)
        while len(points) < _MOST_QUESTIONS:
            if not (asked := collection.queue(limit=1)):
                break
            person.answer(collection, asked[0])
            points.append(_point(collection, person))
            enough = points[-1].given + points[-1].automatic >= SETTLED * len(ids)
            if enough and person.actions >= least_actions:
                break
    return points, person.kinds


def _filled(
    library: lookalike.Library, items: Items, ids: Labels, confidence_threshold: float | None
) -> Collection:
    if items.contents is None:
        collection = library.labeler(
            "items",
            extractor="passthrough",
            field="label",
            confidence_threshold=confidence_threshold,
        )
        collection.add(vectors=items.vectors.astype(np.float32), ids=ids)
        return collection
    collection = library.labeler(
        "items",
        extractor="text",
        field="label",
        labels=sorted(set(items.labels)),
        confidence_threshold=confidence_threshold,
    )
    rows = zip(ids, items.contents, strict=True)
    collection.add([{"id": id, "text": text} for id, text in rows])
    return collection


def _point(collection: Collection, person: Person) -> Point:
    documents = list(collection.documents())
    automatic = [one for one in documents if one.origin is Origin.AUTO]
    right = sum(is_within(person.truth[one.id], str(one.label)) for one in automatic)
    given = sum(one.origin is Origin.HUMAN for one in documents)
    return Point(person.actions, person.seconds, given, len(automatic), right)


# --- data -----------------------------------------------------------------------------------------


def _grocery(root: Path, folder: Path, label: Callable[[dict[str, str]], str]) -> Items:
    with (root / "grocery" / "labels.csv").open(encoding="utf-8", newline="") as lines:
        labels = [label(row) for row in csv.DictReader(lines)]
    return Items(read("grocery", root, folder, None).vectors, labels)


def _banking(root: Path, folder: Path) -> Items:
    data = read("banking77", root, folder, None)
    return Items(data.vectors, [f"intent {label:02}" for label in data.labels.tolist()], texts=True)


def _named_banking(root: Path, folder: Path) -> Items:
    rows = SOURCES["banking77"].read(root / "banking77")
    texts, names = [str(text) for text, _ in rows], [name for _, name in rows]
    return Items(read("banking77", root, folder, None).vectors, names, True, texts)


def _news(root: Path, _: Path) -> Items:
    with np.load(root / "agnews" / "vectors.npz") as stored:
        names = [str(name) for name in stored["names"]]
        return Items(stored["X"], [names[topic] for topic in stored["y"].tolist()], texts=True)


def _cells(root: Path, folder: Path) -> Items:
    crops = []
    for path in sorted((root / "bccd" / "annotations").glob("*.xml")):
        for one in ElementTree.parse(path).getroot().iter("object"):
            box = [int(float(one.findtext(f"bndbox/{side}", "0"))) for side in _SIDES]
            if min(box[2] - box[0], box[3] - box[1]) >= _LEAST_PIXELS:
                crops.append((path.stem, box, str(one.findtext("name"))))
    chosen = np.sort(np.random.default_rng(0).choice(len(crops), _CROPS, replace=False))
    some = [crops[place] for place in chosen.tolist()]
    pictures = root / "bccd" / "images"
    return Items(
        _vectors(
            folder / "bccd.npz", [_cut(pictures / f"{name}.jpg", box) for name, box, _ in some]
        ),
        [label for _, _, label in some],
    )


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _cut(path: Path, box: Sequence[int]) -> bytes:
    left, top, right, bottom = box
    file = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").crop((left, top, right, bottom)).save(file, "png")
    return file.getvalue()


def _sample(_: Path, folder: Path) -> Items:
    samples = Path(str(resources.files("lookalike.library.samples")))
    with (samples / "truth.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    blobs = [(samples / "pictures" / row["file_name"]).read_bytes() for row in rows]
    return Items(_vectors(folder / "sample.npz", blobs), [row["label"] for row in rows])


def _vectors(kept: Path, blobs: Sequence[bytes]) -> NDArray[np.float16]:
    """Return the vectors of pictures, which are embedded once."""
    extractor = image_extractor()
    space = extractor.space.name
    if kept.exists():
        with np.load(kept, allow_pickle=False) as stored:
            if str(stored["space"]) == space and len(stored["vectors"]) == len(blobs):
                known: NDArray[np.float16] = stored["vectors"]
                return known
    vectors = []
    for start in range(0, len(blobs), _BLOCK):
        some = [Content(blob, "image/png", name="crop") for blob in blobs[start : start + _BLOCK]]
        for parts in extractor.extract(some):
            assert isinstance(parts, tuple), parts
            vectors.append(parts[0].vector)
    kept.parent.mkdir(parents=True, exist_ok=True)
    made = np.array(vectors, np.float16)
    np.savez(kept, space=np.array(space), vectors=made)
    return made


@dataclass(frozen=True, slots=True)
class Set:
    """A data set, how many of its items are taken, and the goals: actions to first and to 90 %."""

    title: str
    items: Callable[[Path, Path], Items]
    upto: int | None
    goals: tuple[int | None, int | None]


SETS = {
    "bccd": Set("BCCD, 3 labels", _cells, None, (10, 25)),
    "agnews": Set("AG News, 4 labels", _news, 2_000, (20, None)),
    "groups": Set(
        "Grocery groups, 3 labels",
        lambda root, folder: _grocery(root, folder, lambda row: row["path"].split(" > ")[0]),
        1_500,
        (10, 30),
    ),
    "coarse": Set(
        "Grocery coarse, 43 labels",
        lambda root, folder: _grocery(root, folder, lambda row: row["coarse"]),
        1_500,
        (60, 240),
    ),
    "grocery": Set(
        "Grocery81, 81 labels",
        lambda root, folder: _grocery(root, folder, lambda row: row["path"]),
        1_500,
        (120, 320),
    ),
    "banking77": Set("Banking77, 77 labels", _banking, 5_000, (100, 500)),
    "named": Set("Banking77, 77 labels declared", _named_banking, 5_000, (100, 500)),
    "sample": Set("the package's sample, 25 labels", _sample, None, (15, 60)),
}

_COLUMNS = (
    "data",
    "errors",
    "first automatic: actions (goal)",
    "seconds",
    "90 %: actions (goal)",
    "seconds",
    "by hand",
    "precision at the end",
    "in the mean",
    "runs ≥ 0.93",
)
_HEAD = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"


def _row(one: Set, errors: float, runs: Sequence[list[Point]]) -> str:
    firsts = [first(points, points[-1].given + points[-1].automatic) for points in runs]
    ends = [points[-1] for points in runs]
    known = [point for point in firsts if point]
    enough = [[p.precision for p in points if p.automatic >= ENOUGH] for points in runs]
    means = [float(np.mean(some)) for some in enough if some]
    first_goal, last_goal = (f" ({goal})" if goal else "" for goal in one.goals)
    cells = [
        one.title,
        f"{errors:.0%}",
        (f"{np.mean([p.actions for p in known]):.0f}" if len(known) == len(runs) else "–")
        + first_goal,
        f"{np.mean([p.seconds for p in known]):.0f}" if known else "–",
        f"{np.mean([p.actions for p in ends]):.0f}" + last_goal,
        f"{np.mean([p.seconds for p in ends]):.0f}",
        f"{np.mean([p.given for p in ends]):.0f}",
        f"{np.nanmean([p.precision for p in ends]):.3f}" if any(p.automatic for p in ends) else "–",
        f"{np.mean(means):.3f}" if means else "–",
        f"{np.mean(np.array(means) >= 0.93):.2f}" if means else "–",
    ]
    return f"| {' | '.join(cells)} |"


def first(points: Sequence[Point], size: int) -> Point | None:
    """Return the first point with a beginning of automatic labels, of `size` documents."""
    least = max(1, min(FIRST, size // 100))
    return next((point for point in points if point.automatic >= least), None)


def parser(about: str) -> argparse.ArgumentParser:
    """Return a parser of the options that say what is run."""
    parser = argparse.ArgumentParser(description=about)
    data = os.environ.get("LOOKALIKE_DATA")
    parser.add_argument("--data", type=Path, default=data, help="default: LOOKALIKE_DATA")
    parser.add_argument("--folder", type=Path, default=Path("bench-store/quality"))
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--errors", type=float, nargs="+", default=[0.0, 0.03])
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options that were given; without the data it ends."""
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: set LOOKALIKE_DATA, or give --data")
    return options


def main() -> None:
    """Read the options, and print a row for each data set and error rate."""
    options = parsed(parser((__doc__ or "").partition("\n")[0]))
    print(_HEAD, flush=True)
    for name in options.only:
        one = SETS[name]
        every = one.items(options.data, options.folder)
        for errors in options.errors:
            runs = [hour(every.some(one.upto, s), s, errors)[0] for s in range(options.seeds)]
            print(_row(one, errors, runs), flush=True)


if __name__ == "__main__":
    main()
