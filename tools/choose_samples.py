"""Choose the sample pictures that the package ships, from Debian's `openclipart-png`.

Reads the installed package (`apt-get install openclipart-png`), finds the kind of thing in each
picture from the words in its file name, and writes `pictures/`, `truth.csv`, `README.md` and
`LICENSE` into `src/lookalike/library/samples/`. Run twice, it writes the same bytes twice.

    python tools/choose_samples.py
"""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import io
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageOps

SOURCE = Path("/usr/share/openclipart/png")
LICENCE = Path("/usr/share/doc/openclipart-png/copyright")
DESTINATION = Path(__file__).resolve().parent.parent / "src" / "lookalike" / "samples"

LONG_SIDE = 160
"""Longest side of a shipped picture in pixels, its white margin included."""

MARGIN = 4
"""White margin around the thing itself, in pixels."""

SHORTEST_LONG_SIDE = 56
"""A drawing smaller than this (in pixels, margins cut off) would look blurred and is left out."""

MOST_OF_A_KIND = 24
"""A kind with more pictures than this keeps a fixed arbitrary choice of them."""

COLOURS = 128
"""Palette size: the smallest power of two without visible bands in the smooth drawings."""

DOUBLE_MEAN = 5.0
DOUBLE_MOST = 64.0
"""Two pictures are doubles when, at 16 x 16 pixels, they differ by no more than this (of 255)."""

LARGEST_PIXELS = 200_000_000
"""Some maps and signs are drawn at 168 million pixels; Pillow's own limit is below that."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing: its label, and the words of a file name that say so or deny it."""

    label: str
    words: str
    without: str = ""
    demo: Literal["known", "unseen"] = "known"


@dataclass(frozen=True, slots=True)
class Sample:
    """A chosen picture: where it came from, what it shows and its pixels."""

    source: Path
    kind: Kind
    picture: Image.Image


KINDS = (
    Kind(
        "Animal > Bird",
        "bird duck gull seagull dove crow eagle puffin cormorant owl hen rooster acquila aquila"
        " cigni cigno gabbiano gallo gufo pollo uccello flamand papera anatra colombo",
        without="rubber",
    ),
    Kind("Animal > Cat", "cat cats kitten gatto gattina tiger tigre leone", without="post sierra"),
    Kind("Animal > Dog", "dog beagle bulldog lab bobi", without="corn hot no", demo="unseen"),
    Kind(
        "Building > House",
        "house houses home casa chalet villa abitazione pinkhome",
        without="folder gnome symbol",
    ),
    Kind("Clothing > Hat", "hat fedora cap sombrero tophat turban"),
    Kind(
        "Flag > Country",
        "argentina austria bahrain brazil chile colombia cuba cyprus czech estonia ethiopia greece"
        " hungary iceland india ireland israel jamaica japan kenya latvia luxembourg malta mexico"
        " nepal norway panama peru poland portugal romania sweden suisse thailand turkey uganda"
        " ukraine uruguay",
        without="map states contour platter",
    ),
    Kind("Flag > Signal", "signalflag"),
    Kind("Food > Cake", "cake gateau muffin pie torta", without="edit egg mini"),
    Kind(
        "Food > Drink",
        "beer cocktail coffee cup glass kubek lemonade milk mug soft_drink softdrink tazza teacup"
        " ice_water",
        without="buttons magnifing magnifying sand",
    ),
    Kind("Food > Fruit > Apple", "apple applf", without="candied juice pie slate", demo="unseen"),
    Kind(
        "Food > Fruit > Citrus",
        "lemon lime orange rondelle",
        without="balloon burner folder gradient juice led pin tile",
    ),
    Kind("Food > Ice cream", "cone gelato glace ice_cream"),
    Kind("Game > Jigsaw", "jigsaw", without="pattern"),
    Kind("Household > Clock", "clock cronometro orologio"),
    Kind("Music > Strings", "cello dulcimer guitar harp violin", demo="unseen"),
    Kind("Party > Balloon", "balloon balloons baloon palloncini", demo="unseen"),
    Kind(
        "Plant > Flower",
        "bloom bouquet daffodil daisy fiore fiori flower flowers geranium magnolia rosa rose sakura"
        " tulips",
        without="pot symbol vestito",
    ),
    Kind(
        "Plant > Tree",
        "albero arbre conifer evergreen palm palmtree tree",
        without="symbol view wreath",
    ),
    Kind(
        "Sign > Hazard",
        "biohazard comburant corrosif danger inflammable irritant matieres nocif radiations"
        " rayonnement risque toxique trebuchement",
        without="marquage",
    ),
    Kind(
        "Sign > Road",
        "cattle crossroads crosswind curve cycle_lane cycle_route falling_rocks give_way humpback"
        " junc keep_left lorry narrows no_cycles no_entry old_folks oneway pass_either queues"
        " road_ahead roundabout sign slippery splash staggered stop trams turn tunnel yield zigzag",
        without="aiga b bb player stefan",
    ),
    Kind("Sign > Semaphore", "semaphore"),
    Kind("Symbol > Arrow", "arrow arrows", without="heart pattern sign target"),
    Kind("Symbol > Smiley", "emoticon smiley smileytwinkle"),
    Kind("Vehicle > Bus", "bus tramway", demo="unseen"),
    Kind(
        "Vehicle > Car",
        "autos blazer bmw car chevrolet dodge hummer redcar road_runner skoda sportcar toyota",
    ),
)

EXCLUDED = {
    "623 million pixels": "stop_sign_miguel_s_nchez_ stop_sign_right_font_mig_",
    "cut off at the edge": "acquila_architetto_franc_04 roadsigns/stop yield",
    "a placeholder for a missing image": "duck_yellow_ii_kurt_cagl_",
    "stray marks around the thing": "green_fedora_01 lime_half_jarno_vasamaa_",
    "an address written on it": "flag_brazil_crystal_feli_01",
    "a word that we do not ship": "pimp_hat_*",
    "a black shape, its colours lost": "vehicles/hummers/hummer_*",
    "a whole packet with its bar code": "*_mateya_*",
    "the same sign drawn again": (
        "_general_yves_* _lectrique_yves_* /radiations_* /high_tension_* rayonnement_laser_yves_*"
        " risque_biologique_yves_* trebuchement_yves_*"
    ),
    "the same clock two hours on": "clock02 clock04 clock08 clock10",
    "a map": "/brazil_marcelo_staudt_*",
    "dogs and cats together": "cani_e_gatti_*",
    "a cat's bowl": "scodella_gatto_*",
    "looks like a wolf": "chodovian_*",
    "a tent": "/home8 /home11",
    "a skyline": "houses_jon_*",
    "prize rosettes": "clipart_by_nicu_*",
    "an ornament": "computer/icons/flower_01",
    "a sign, but not on a road": (
        "/disability_* /elder_* /for_sale_* /information_* /no_smoking_* /old_sign_*"
        " /radioactive_* /tsunami_* /wedding_* /wet_paint_*"
    ),
    "a button, not a road sign": "actions/stop action/stop",
    "a street's name plate": "street_sign_*",
    "a bus drawn on a road sign": "bus_lane bus_opposite",
    "a plan, hardly visible": "shelby_*",
}
"""Reason -> ends of file names, `*` for anything, that a look at the pictures threw out."""

README = """\
# Sample pictures

{count} public domain drawings of {kinds} kinds of things, for `lookalike demo` and the browser
tests. `tools/choose_samples.py` chose them and wrote this folder; do not edit it by hand.

- **Source**: Debian package `openclipart-png`, version {version}: the Open Clip Art Library,
  release 0.18.
- **Licence**: public domain. Every drawing was given to the library under the Creative Commons
  Public Domain Dedication; Debian's copy of the text is in `LICENSE`.
- **How chosen**: by the words in the file names; a name with the words of two kinds is left out.
  Then by eye, with each reason in the script. Margins were cut off, transparency
  put on white, the long side reduced to at most {long_side} pixels, doubles removed, and at
  most {most} pictures of a kind kept.
- **`truth.csv`**: `file_name`, `label` (levels divided by ` > `) and `demo`. Kinds marked `unseen`
  never get a label in the demo: their pictures show what the system does with things that it was
  not taught.

| label | pictures | demo |
|---|--:|---|
{table}
"""


def main() -> None:
    """Write the sample folder and print how many pictures it has of each kind."""
    Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS
    check_exclusions(SOURCE)
    samples = choose(remove_doubles(read_samples(SOURCE)))
    rows = write_pictures(samples, DESTINATION / "pictures")
    write_truth(rows, DESTINATION / "truth.csv")
    table = count_table(rows)
    (DESTINATION / "README.md").write_text(readme(table, len(rows)), encoding="utf-8")
    (DESTINATION / "LICENSE").write_bytes(LICENCE.read_bytes())
    print("\n".join(table))
    print(len(rows), "pictures,", folder_bytes(DESTINATION / "pictures"), "bytes")


def kind_of(name: str) -> Kind | None:
    """Return the kind that a file name speaks of, or None if it names no kind or several."""
    words = spaced_words(name)

    def names_any(of: str) -> bool:
        return any(f" {word.replace('_', ' ')} " in words for word in of.split())

    found = [kind for kind in KINDS if names_any(kind.words) and not names_any(kind.without)]
    return found[0] if len(found) == 1 else None


def spaced_words(name: str) -> str:
    """Return the words of a file name in lower case, digits dropped, a space around each.

    >>> spaced_words("MatieresToxiques_01")
    ' matieres toxiques '
    """
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
    return f" {' '.join(re.findall('[a-z]+', parted))} "


def is_excluded(path: Path) -> bool:
    """Say whether the list of thrown-out pictures names this file."""
    return any(ends_like(path, pattern) for pattern in " ".join(EXCLUDED.values()).split())


def ends_like(path: Path, pattern: str) -> bool:
    """Say whether a path, without its suffix, ends in what the pattern says."""
    return fnmatch.fnmatchcase(path.with_suffix("").as_posix(), f"*{pattern}")


def check_exclusions(source: Path) -> None:
    """Exit if an exclusion throws nothing out: a typing error, or another release."""
    named = [path for path in source.rglob("*.png") if kind_of(path.stem) is not None]
    for pattern in " ".join(EXCLUDED.values()).split():
        if not any(ends_like(path, pattern) for path in named):
            raise SystemExit(f"the exclusion {pattern!r} fits no picture of a kind: remove it")


def read_samples(source: Path) -> Iterator[Sample]:
    """Yield every picture of a known kind, in the order of the paths; links are not followed."""
    for path in sorted(source.rglob("*.png")):
        kind = kind_of(path.stem)
        if kind is None or path.is_symlink() or is_excluded(path):
            continue
        picture = prepare(path)
        if picture is not None:
            yield Sample(path, kind, picture)


def prepare(path: Path) -> Image.Image | None:
    """Return the picture on white, without its margins and reduced; None if it is too small."""
    with Image.open(path) as opened:
        drawing = opened.convert("RGBA")
    drawing.thumbnail((4 * LONG_SIDE, 4 * LONG_SIDE), Image.Resampling.BOX)
    picture = Image.new("RGBA", drawing.size, "white")
    picture.alpha_composite(drawing)
    picture = picture.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    inked = ImageChops.difference(picture, white).convert("L").point(lambda level: level > 6)
    picture = picture.crop(inked.getbbox())
    if max(picture.size) < SHORTEST_LONG_SIDE:
        return None
    inner = LONG_SIDE - 2 * MARGIN
    picture.thumbnail((inner, inner), Image.Resampling.LANCZOS)
    return ImageOps.expand(picture, MARGIN, "white")


def remove_doubles(samples: Iterable[Sample]) -> list[Sample]:
    """Keep the first of all pictures that look the same, whatever their kinds."""
    kept: list[Sample] = []
    seen: list[npt.NDArray[np.float64]] = []
    for sample in samples:
        small = np.asarray(ImageOps.pad(sample.picture, (16, 16), color="white"), np.float64)
        if not any(look_alike(small, other) for other in seen):
            kept.append(sample)
            seen.append(small)
    return kept


def look_alike(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> bool:
    """Say whether two small pictures differ too little to be worth having both."""
    difference = np.abs(left - right)
    return bool(difference.mean() <= DOUBLE_MEAN and difference.max() <= DOUBLE_MOST)


def choose(samples: list[Sample]) -> list[Sample]:
    """Keep at most `MOST_OF_A_KIND` of each kind, by a hash of the path, sorted by path."""
    chosen: list[Sample] = []
    for kind in KINDS:
        of_kind = [sample for sample in samples if sample.kind is kind]
        chosen += sorted(of_kind, key=arbitrary_but_fixed)[:MOST_OF_A_KIND]
    return sorted(chosen, key=lambda sample: sample.source)


def arbitrary_but_fixed(sample: Sample) -> str:
    """Return a sort key that has nothing to do with what the picture shows."""
    name = sample.source.relative_to(SOURCE).as_posix()
    return hashlib.sha256(name.encode()).hexdigest()


def write_pictures(samples: list[Sample], folder: Path) -> list[tuple[str, Kind]]:
    """Write the pictures into an emptied folder and return file names and kinds, sorted."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows: dict[str, Kind] = {}
    for sample in samples:
        slug = re.sub("[^a-z0-9]+", "-", sample.source.stem.lower()).strip("-")
        same = sum(re.fullmatch(rf"{slug}(--\d+)?\.png", name) is not None for name in rows)
        file_name = f"{slug}--{same + 1}.png" if same else f"{slug}.png"
        (folder / file_name).write_bytes(encode(sample.picture))
        rows[file_name] = sample.kind
    return sorted(rows.items())


def encode(picture: Image.Image) -> bytes:
    """Return the picture as a PNG with a palette."""
    if picture.getcolors(COLOURS) is None:
        picture = picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    else:
        picture = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS)
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()


def write_truth(rows: list[tuple[str, Kind]], path: Path) -> None:
    """Write what each picture shows, and whether the demo may be told."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "label", "demo"])
        writer.writerows((name, kind.label, kind.demo) for name, kind in rows)


def count_table(rows: list[tuple[str, Kind]]) -> list[str]:
    """Return one line of a Markdown table for each kind."""
    kinds = [kind for _, kind in rows]
    return [f"| {kind.label} | {kinds.count(kind)} | {kind.demo} |" for kind in KINDS]


def readme(table: list[str], count: int) -> str:
    """Return the text of the folder's README."""
    return README.format(
        count=count,
        kinds=len(KINDS),
        version=package_version(),
        long_side=LONG_SIDE,
        most=MOST_OF_A_KIND,
        table="\n".join(table),
    )


def package_version() -> str:
    """Return the version of the installed Debian package."""
    command = ["dpkg-query", "--show", "--showformat=${Version}", "openclipart-png"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def folder_bytes(folder: Path) -> int:
    """Return how many bytes the files of a folder hold together."""
    return sum(path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    main()
