"""Name people in photos from a few faces each, and forget one of them again.

Run it with `python examples/people.py [STORE]`; without a store it uses one that is thrown away. It
needs the extra: pip install 'lookalike[faces]'. The album is made of two portraits in the public
domain that come with the package: other light, other sizes, leaning, lying, grey, blurred.
"""

import random
import sys
import tempfile
from collections import Counter
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter

import lookalike
from lookalike.model import Document

PEOPLE = {"eileen-collins": "Eileen", "grace-hopper": "Grace"}
PHOTOS = 30
EXAMPLES_EACH = 3
THRESHOLD = 0.93
WALL = (800, 380)


def main(store: str) -> None:
    """Find the faces, name a few, compare the others with the truth, and forget Grace."""
    with lookalike.open(store, actor="ann") as library, tempfile.TemporaryDirectory() as album:
        truth = make_album(Path(album))
        people = library.labeler(
            "people",
            extractor="faces",
            field="person",
            exclusive="image",
            confidence_threshold=THRESHOLD,
            side=800,
        )
        people.add(album)

        faces = list(people.documents())
        poor = [one for one in faces if one.attributes.get("low_quality")]
        named = {one.id: name for one in faces if (name := who_is_it(one, truth)) is not None}
        few = examples(named, {one.id for one in poor})
        people.label({id: named[id] for id in few})

        automatic = [one for one in people.documents(origin="auto") if one.id in named]
        right = sum(one.label == named[one.id] for one in automatic)
        left = Counter(str(one.reason) for one in people.documents(label=None))

        receipt = people.forget(label="Grace")
        kept = Counter(one.label for one in people.documents())

    print(f"photos     {len(truth)}, {len({one.object_id for one in faces})} of them with faces")
    print(f"faces      {len(faces)}, {len(poor)} of them of low quality")
    print(f"labelled   {len(few)} by a person, {len(automatic)} by themselves")
    print(f"precision  {right / max(len(automatic), 1):.1%} ({right} of {len(automatic)})")
    print(f"null       {', '.join(f'{count} {reason}' for reason, count in left.items())}")
    print(f"forgotten  {receipt.documents} faces of Grace, {receipt.thumbnails} pictures of them")
    print(f"kept       {kept['Eileen']} faces of Eileen, {kept['Grace']} of Grace")


def make_album(folder: Path) -> dict[str, list[tuple[str, float]]]:
    """Write the photos; return for each who is where in it, from left to right, as shares."""
    portraits = Path(str(files("lookalike.library.samples"))) / "people"
    pictures = {name: Image.open(portraits / f"{file}.jpg") for file, name in PEOPLE.items()}
    chance = random.Random(0)
    truth = {}
    for number in range(PHOTOS):
        names = chance.sample(list(pictures), 2 if number % 4 == 0 else 1)
        wall = Image.new("RGB", WALL, chance.choice(("lightgrey", "tan", "slategrey")))
        there = []
        for place, name in enumerate(names):
            person = varied(pictures[name], chance)
            left = place * WALL[0] // 2 + chance.randrange(WALL[0] // 2 - person.width)
            wall.paste(person, (left, WALL[1] - person.height))
            there.append((name, (left + person.width / 2) / WALL[0]))
        if number % 10 == 9:
            wall, there = Image.new("RGB", WALL, "olive"), []  # a photo without anyone
        turned = wall.rotate(90, expand=True) if number % 10 == 5 else wall
        turned.save(folder / f"{number:02}.jpg", quality=90)
        truth[f"{number:02}.jpg"] = there
    return truth


def varied(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Return a person as another photo might show them."""
    height = chance.randrange(180, 360)
    person = picture.resize((round(picture.width * height / picture.height), height))
    person = ImageEnhance.Brightness(person).enhance(chance.uniform(0.6, 1.4))
    person = ImageEnhance.Color(person).enhance(chance.choice((0, 1)))
    person = person.rotate(chance.uniform(-12, 12), Image.Resampling.BICUBIC)
    if chance.random() < 0.15:
        person = person.filter(ImageFilter.GaussianBlur(height / 80))
    return person


def who_is_it(face: Document, truth: dict[str, list[tuple[str, float]]]) -> str | None:
    """Return whose face it is by where it is in the photo; None for what is no face."""
    left, top, width, height = face.attributes["box"]
    lying = abs(face.attributes["quality"]["roll"]) > 45
    middle = 1 - (top + height / 2) / WALL[0] if lying else (left + width / 2) / WALL[0]
    near = [name for name, place in truth[face.file_name] if abs(place - middle) < 0.15]
    return near[0] if near else None


def examples(named: dict[str, str], poor: set[str]) -> list[str]:
    """Return the faces that a person names first: a few of each, none of them poor."""
    faces: dict[str, list[str]] = {}
    for id, name in named.items():
        if id not in poor:
            faces.setdefault(name, []).append(id)
    return [id for ids in faces.values() for id in ids[:EXAMPLES_EACH]]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
