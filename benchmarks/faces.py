"""Faces: what a collection adds to dlib's bare models, and whether it finds whom they find.

Run it with `python benchmarks/faces.py [--people DIR] [--photos N]`. DIR has a folder for each
person with their pictures; without it the two portraits that the package ships are used. Of each
picture other photos are made: lighter and darker, leaning, smaller, blurred, badly compressed.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path

import dlib
import face_recognition_models
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

import lookalike
from lookalike.errors import BadContent
from lookalike.extractors.base import Content
from lookalike.extractors.face.extractor import face_identity_extractor
from lookalike.settings import read_settings
from measuring import cost, least

_WALL = (1600, 1200)
_ROUNDS = 3
_GOAL = 1.2
_LABELLED = 5
_PRECISION = 0.95
_THRESHOLD = 0.93


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=Path, help="a folder for each person")
    parser.add_argument("--photos", type=int, default=12, help="photos made of each person")
    given = parser.parse_args()
    portraits = _portraits(given.people)
    chance = random.Random(0)
    photos = [
        (name, _photo(chance.choice(pictures), chance))
        for name, pictures in sorted(portraits.items())
        for _ in range(given.photos)
    ]
    print(f"{len(portraits)} people, {len(photos)} photos of {_WALL[0]} × {_WALL[1]} pixels")
    with tempfile.TemporaryDirectory() as folder:
        _overhead(photos, Path(folder))
        _identity(photos, Path(folder))


def _portraits(folder: Path | None) -> dict[str, list[Image.Image]]:
    if folder is None:
        shipped = Path(str(resources.files("lookalike.library.samples"))) / "people"
        return {path.stem: [Image.open(path).convert("RGB")] for path in shipped.glob("*.jpg")}
    return {
        one.name: [Image.open(path).convert("RGB") for path in sorted(one.iterdir())]
        for one in sorted(folder.iterdir())
        if one.is_dir()
    }


def _photo(picture: Image.Image, chance: random.Random) -> bytes:
    """Return a photo of a person before a plain wall, as a JPEG file."""
    height = chance.randrange(350, 1100)
    size = (round(picture.width * height / picture.height), height)
    person = picture.resize(size, Image.Resampling.LANCZOS)
    person = person.rotate(chance.uniform(-15, 15), Image.Resampling.BICUBIC)
    person = ImageEnhance.Brightness(person).enhance(chance.uniform(0.5, 1.5))
    person = ImageEnhance.Color(person).enhance(chance.uniform(0, 1.5))
    person = person.filter(ImageFilter.GaussianBlur(chance.uniform(0, height / 300)))
    wall = Image.effect_noise(_WALL, 20).convert("RGB")
    left = chance.randrange(max(1, _WALL[0] - size[0]))
    wall.paste(person, (left, chance.randrange(_WALL[1] - height)))
    file = io.BytesIO()
    wall.save(file, "JPEG", quality=chance.randrange(40, 95))
    return file.getvalue()


# --- cost ---------------------------------------------------------------------------------------


def _overhead(photos: Sequence[tuple[str, bytes]], folder: Path) -> None:
    """Compare `add` with the models alone, on pixels and squares that are ready for them.

    Where no face is found, more is looked at than the models alone would; such photos are left out.
    """
    models = _Models()
    source = folder / "photos"
    source.mkdir()
    pixels, squares = [], []
    for number, (_, data) in enumerate(photos):
        one = np.asarray(Image.open(io.BytesIO(data)))
        if found := models.squares(one):
            (source / f"{number:04}.jpg").write_bytes(data)
            pixels.append(one)
            squares += found

    def bare() -> None:
        for one in pixels:
            models.find(one)
        for square in squares:
            models.embed(square)

    added, alone = [], []
    for round in range(_ROUNDS):
        settings = read_settings({"LOOKALIKE_THREADS": "1"})
        with lookalike.open(folder / f"store-{round}", settings=settings) as library:
            people = library.labeler("people", extractor="faces")
            people.add(_portraits(None)["grace-hopper"])  # loads the models
            alone.append(cost(bare))
            added.append(cost(partial(people.add, str(source))))
    model, whole = least(alone), least(added)
    each = 1000 / len(pixels)
    print(f"bare models         {each * model.cpu_s:.0f} ms of processor a photo, one thread")
    print(f"`add`               {each * whole.cpu_s:.0f} ms")
    print(f"overhead            {whole.cpu_s / model.cpu_s:.2f}× (goal: ≤ {_GOAL}×)")


class _Models:
    """dlib's models as its own examples use them."""

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._points = dlib.shape_predictor(
            face_recognition_models.pose_predictor_five_point_model_location()
        )
        self._network = dlib.face_recognition_model_v1(
            face_recognition_models.face_recognition_model_location()
        )

    def find(self, pixels: np.ndarray) -> list[dlib.full_object_detection]:
        boxes, _, _ = self._detector.run(pixels, 0, 0.0)
        return [self._points(pixels, box) for box in boxes]

    def squares(self, pixels: np.ndarray) -> list[np.ndarray]:
        return [dlib.get_face_chip(pixels, shape, 150, 0.25) for shape in self.find(pixels)]

    def embed(self, square: np.ndarray) -> np.ndarray:
        return np.array(self._network.compute_face_descriptor(square))


# --- who it is ----------------------------------------------------------------------------------


def _identity(photos: Sequence[tuple[str, bytes]], folder: Path) -> None:
    """Name a few faces of each person, and compare the collection's answers with exact search."""
    contents = [Content(data, "image/jpeg", name=f"{n}.jpg") for n, (_, data) in enumerate(photos)]
    results = face_identity_extractor().extract(contents)
    parts = [() if isinstance(one, BadContent) else one[:1] for one in results]
    places = [place for place, one in enumerate(parts) if one]
    print(f"faces found         in {len(places)} of {len(photos)} photos")
    names = {f"{place:04}#face-0": photos[place][0] for place in places}
    vectors = {f"{place:04}#face-0": parts[place][0].vector for place in places}
    by_name: dict[str, list[str]] = {}
    for id, name in names.items():
        by_name.setdefault(name, []).append(id)
    few = [id for who in by_name.values() for id in who[:_LABELLED]]
    rest = [id for id in names if id not in few]
    similar = np.stack([vectors[id] for id in rest]) @ np.stack([vectors[id] for id in few]).T
    right = np.array([names[few[near]] for near in similar.argmax(axis=1)]) == np.array(
        [names[id] for id in rest]
    )
    surest = np.argsort(-similar.max(axis=1))
    precise = np.cumsum(right[surest]) / np.arange(1, len(rest) + 1) >= _PRECISION
    best = int(np.flatnonzero(precise).max(initial=-1)) + 1
    print(f"named               {len(few)} faces, {_LABELLED} of each person; {len(rest)} are left")
    print(f"exact search        rank-1 {right.mean():.1%}; {best} of them at the best threshold")
    with lookalike.open(folder / "identity") as library:
        rules = (("target_precision", _PRECISION, None), ("confidence_threshold", None, _THRESHOLD))
        for rule, target, threshold in rules:
            people = library.labeler(
                f"by-{rule}",
                extractor="faces",
                target_precision=target,
                confidence_threshold=threshold,
            )
            people.add([{"image": data, "id": f"{n:04}"} for n, (_, data) in enumerate(photos)])
            people.label({id: names[id] for id in few})
            told = people.suggest(ids=rest)
            near = [one.decision.matches[0].label for one in told if one.decision.matches]
            first = sum(label == names[id] for id, label in zip(rest, near, strict=False))
            automatic = [one for one in people.documents(origin="auto") if one.id in names]
            correct = sum(one.label == names[one.id] for one in automatic)
            print(
                f"{rule:20}rank-1 {first / len(rest):.1%}; {len(automatic)} label themselves, "
                f"{correct} rightly"
            )
            reasons = Counter(str(one.reason) for one in people.documents(label=None))
            print(f"{'':20}null: {dict(reasons)}")


if __name__ == "__main__":
    main()
