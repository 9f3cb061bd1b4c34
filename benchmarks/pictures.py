"""How much the way into a collection adds to the bare model: pictures, end to end."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import lookalike
from lookalike.content.pictures import sniff
from lookalike.extractors.base import Content
from lookalike.extractors.image import image_extractor
from lookalike.settings import read_settings
from measuring import Cost, Figure, cost, least, peak_mib

_GOAL = 1.15
_ROUNDS = 3


def measure(folder: Path, count: int) -> list[Figure]:
    """Measure `count` pictures on one thread and on two."""
    source = folder / "pictures"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for number, picture in enumerate(_pictures(count)):
        shutil.copyfile(picture, source / f"{number:05}{picture.suffix}")
    figures = [figure for threads in (1, 2) for figure in _compare(source, folder, threads)]
    return [*figures, Figure("pictures: peak memory", f"{peak_mib():.0f} MiB")]


def _pictures(count: int) -> list[Path]:
    shared = os.environ.get("LOOKALIKE_DATA")
    if shared:
        root = Path(shared) / "grocery" / "images"
    else:
        root = Path(str(resources.files("lookalike.library.samples"))) / "pictures"
    found = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
    return found[:: max(1, len(found) // count)][:count]


def _compare(source: Path, folder: Path, threads: int) -> list[Figure]:
    bare: list[Cost] = []
    whole: list[Cost] = []
    files = sorted(source.iterdir())
    for _ in range(_ROUNDS):
        bare.append(cost(lambda: _bare(files, threads)))
        whole.append(cost(lambda: _whole(source, folder / "store", threads)))
    model, ingest = least(bare), least(whole)
    cpu, wall = ingest.cpu_s / model.cpu_s, ingest.wall_s / model.wall_s
    kind = "grocery" if "LOOKALIKE_DATA" in os.environ else "shipped"
    name = f"{len(files)} {kind} pictures, {threads} thread{'s' if threads > 1 else ''}"
    rate = len(files) / ingest.wall_s
    return [
        Figure(
            f"{name}: `add` over decoding and the bare model, processor time",
            f"{cpu:.2f}× ({1000 * ingest.cpu_s / len(files):.1f} ms a picture)",
            f"≤ {_GOAL}×",
            cpu <= _GOAL,
        ),
        Figure(f"{name}: the same, wall time", f"{wall:.2f}× ({rate:.0f} pictures/s)"),
    ]


def _bare(files: list[Path], threads: int) -> None:
    """Decode and run the model, and nothing else."""
    extractor = image_extractor()

    def extract(file: Path) -> None:
        data = file.read_bytes()
        extractor.extract([Content(data, sniff(data, file.name), name=file.name)])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(extract, files))


def _whole(source: Path, store: Path, threads: int) -> None:
    shutil.rmtree(store, ignore_errors=True)
    settings = read_settings({"LOOKALIKE_THREADS": str(threads)})
    with lookalike.open(store, settings=settings, actor="benchmark") as library:
        added = library.labeler("pictures", extractor="image").add(source)
    assert not added.failed, added.failed
