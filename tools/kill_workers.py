"""Kill workers at random while they extract, and count what is lost or doubled: nothing must be.

    python tools/kill_workers.py --kills 50
    python tools/kill_workers.py --kills 50 --apart     # as if each ran on a machine of its own

Several `lookalike worker` share one PostgreSQL database, which is started for it unless `--store`
names one. Objects come in and documents are labelled meanwhile: what was acknowledged must be
there at the end, once each, with the vector that its text has. With `--apart` (Linux, as root)
each worker is in a PID namespace, where it is process 1 and sees no other, so only its lease tells
of its death.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

import lookalike
from lookalike.catalog.fields import space_of
from lookalike.catalog.resources import Kind, named
from lookalike.catalog.tasks import LEASE_S
from lookalike.extractors.base import unit
from lookalike.library.bucket import Bucket, NewBlob, NewObject, bucket_from
from lookalike.model import Origin, Status
from lookalike.stores import schema
from lookalike.testing.fakes import DIMENSION, write_plugin

_WORKERS = 3
_PAUSE_MS = 30
_ENOUGH = 800  # so much waits that nobody is idle
_BATCH = 200
_START_S = 180.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. All but the first three and `again` must be 0."""

    kills: int
    objects: int
    labels: int
    again: int
    lost: int
    doubled: int
    wrong: int
    labels_lost: int
    problems: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.objects:,} objects and {self.labels} labels acknowledged: "
            f"{self.lost} documents lost, {self.doubled} doubled, {self.wrong} with another "
            f"vector, {self.labels_lost} labels lost, {self.problems} contradictions in the store; "
            f"{self.again} texts were extracted again; {self.seconds:.0f} s"
        )


class _Worker:
    """`lookalike worker` in a process of its own, or in a namespace where it sees no other."""

    def __init__(self, url: str, place: Path, *, apart: bool) -> None:
        command = [sys.executable, "-m", "lookalike", "--store", url, "worker"]
        alone = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        paths = [str(place / "plugins"), *sys.path]
        environment = {
            **{name: value for name, value in os.environ.items() if "LOOKALIKE" not in name},
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "LOOKALIKE_CACHE": str(place / "caches"),
        }
        self._apart = apart
        with (place / "workers.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*(alone if apart else ()), *command], stdout=log, stderr=log, env=environment
            )

    def holds(self, owner: str) -> bool:
        """Return whether a lease is this worker's."""
        if not self._apart:
            return f"/{self._process.pid}/" in owner
        try:
            space = Path(f"/proc/{self._process.pid}/ns/pid_for_children").readlink()
        except OSError:
            return False
        return f"~{space}/" in owner

    def kill(self) -> None:
        """End it as a machine does that fails."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        whom = self._process.pid
        if self._apart:
            whom = int(Path(f"/proc/{whom}/task/{whom}/children").read_text().split()[0])
        os.kill(whom, signal.SIGTERM)
        return self._process.wait(60)


@dataclass(slots=True)
class _Witness:
    """Who puts objects in and labels documents, and remembers what was acknowledged."""

    library: lookalike.Library
    texts: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, library: lookalike.Library, log: Path) -> Self:
        library.labeler(
            "texts",
            extractor="word_lengths",
            pause_ms=_PAUSE_MS,
            log=str(log),
            confidence_threshold=0.97,
        )
        return cls(library)

    def put(self, count: int, chance: random.Random) -> None:
        """Put objects in."""
        with self.library.runtime.store.read() as snapshot:
            row = bucket_from(named(snapshot, "default", Kind.BUCKET, "texts"))
        new = {}
        for number in range(len(self.texts), len(self.texts) + count):
            lengths = [chance.randint(1, 9) for _ in range(6)]
            new[f"t{number}"] = f"t{number:07} " + " ".join("x" * length for length in lengths)
        Bucket(self.library.runtime, row).put(
            [NewObject(id=id, blobs=[NewBlob("text", t.encode(), "text")]) for id, t in new.items()]
        )
        self.texts |= new

    def label(self, chance: random.Random) -> None:
        """Label one of the documents that are there."""
        texts = self.library.collection("texts")
        ids = [one.id for one in texts.documents(limit=50)]
        if ids:
            chosen, label = chance.choice(ids), f"kind {chance.randint(1, 3)}"
            texts.label({chosen: label})
            self.labels[chosen] = label

    def owners(self) -> list[str]:
        """Return who holds leases."""
        table = schema.extraction
        query = select(table.c.owner).distinct().where(table.c.status == Status.PROCESSING)
        with self.library.runtime.store.read() as snapshot:
            return [row.owner for row in snapshot.rows(query)]

    def waiting(self) -> int:
        """Return how much waits or is being extracted."""
        with self.library.runtime.store.read() as snapshot:
            query = select(func.count().label("n")).select_from(schema.extraction)
            return int(snapshot.rows(query)[0].n)

    def outcome(self, log: Path) -> Outcome:
        """Compare what is there with what was acknowledged."""
        table = schema.document
        with self.library.runtime.store.read() as snapshot:
            rows = snapshot.rows(select(table).order_by(table.c.pk))
            space = space_of(snapshot, rows[0].collection_pk)
            vectors = snapshot.vectors(space, np.array([row.pk for row in rows]))
        found = Counter(row.id for row in rows)
        documents = self.library.collection("texts").documents(origin=Origin.HUMAN)
        said = {one.id: one.label for one in documents}
        far = [
            np.abs(vector - _vector(self.texts[row.id])).max() > 1e-3
            for row, vector in zip(rows, vectors, strict=True)
            if row.id in self.texts
        ]
        return Outcome(
            kills=0,
            objects=len(self.texts),
            labels=len(self.labels),
            again=len(log.read_text("utf-8").splitlines()) - len(self.texts),
            lost=len(self.texts.keys() - found.keys()),
            doubled=sum(found.values()) - len(found) + len(found.keys() - self.texts.keys()),
            wrong=sum(far),
            labels_lost=sum(said.get(id) != label for id, label in self.labels.items()),
            problems=len(self.library.check()),
            seconds=0.0,
        )


def killed(url: str, place: Path, *, kills: int, seed: int, apart: bool = False) -> Outcome:
    """Kill one of three workers after the other, at random, while it extracts."""
    began, chance = time.monotonic(), random.Random(seed)
    write_plugin(place / "plugins")
    sys.path.insert(0, str(place / "plugins"))
    with ExitStack() as ended:
        ended.callback(sys.path.remove, str(place / "plugins"))
        library = ended.enter_context(lookalike.open(url, actor="ann"))
        witness = _Witness.of(library, place / "log")
        workers = [_Worker(url, place, apart=apart) for _ in range(_WORKERS)]
        ended.callback(lambda: list(map(_Worker.kill, workers)))
        for _ in range(kills):
            witness.label(chance)
            victim = chance.randrange(_WORKERS)
            _until(partial(_is_at_work, witness, workers[victim], chance), _START_S)
            time.sleep(chance.uniform(0, 0.5))
            workers[victim].kill()
            workers[victim] = _Worker(url, place, apart=apart)
        _until(lambda: witness.waiting() == 0, _START_S + 2 * LEASE_S)
        codes = [one.stop() for one in workers]
        assert codes == [0] * _WORKERS, f"workers ended with {codes}"
        told = witness.outcome(place / "log")
    return replace(told, kills=kills, seconds=time.monotonic() - began)


def _is_at_work(witness: _Witness, worker: _Worker, chance: random.Random) -> bool:
    """Return whether a worker extracts; meanwhile nobody shall have nothing to do."""
    while witness.waiting() < _ENOUGH:
        witness.put(_BATCH, chance)
    return any(map(worker.holds, witness.owners()))


def _until(is_so: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it does not go on"
        time.sleep(0.05)


def _vector(text: str) -> NDArray[np.float32]:
    vector = np.zeros(DIMENSION, np.float32)
    lengths = [len(word) for word in text.split()[:DIMENSION]]
    vector[: len(lengths)] = lengths
    return unit(vector)


def main() -> None:
    """Read the options, kill, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--apart", action="store_true", help="each in a PID namespace of its own")
    parser.add_argument("--store", help="the address of an empty database")
    options = parser.parse_args()
    with ExitStack() as ended:
        place = Path(ended.enter_context(tempfile.TemporaryDirectory(prefix="lookalike-")))
        os.environ["LOOKALIKE_CACHE"] = str(place / "caches")
        url = options.store
        if url is None:
            sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
            url = ended.enter_context(importlib.import_module("databases").database())
        print(f"seed {options.seed}")
        told = killed(url, place, kills=options.kills, seed=options.seed, apart=options.apart)
        print(told)
    if told.lost or told.doubled or told.wrong or told.labels_lost or told.problems:
        raise SystemExit("something is missing")


if __name__ == "__main__":
    main()
