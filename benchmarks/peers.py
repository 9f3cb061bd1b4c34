"""Peers beside us, in one run: after one label more, how long until every label is up to date."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lookalike
from lookalike.library.collection.collection import Collection
from made_vectors import first, labels, names
from measuring import Cost, Figure, cost, median, peak_mib
from peer_runs import REPEATS

_HERE = Path(__file__).parent
_NAMES = {
    "sklearn_neighbours": "scikit-learn, 5 nearest neighbours",
    "sklearn_spreading": "scikit-learn, LabelSpreading",
    "faiss": "faiss, 5 nearest neighbours, in memory",
    "lancedb": "LanceDB, 5 nearest neighbours, labels stored",
    "lightly_studio": "LightlyStudio, few-shot classifier, labels stored",
}
_KINDS, _EACH, _OURS = 60, 10, 20
_LEAST = 2 * _KINDS * _EACH
_LIMIT_S, _WALL_S = 900, 5400
"""A peer that takes more processor time with one size, all in all, is ended and told as such."""

_GOAL_FROM, _GOAL, _GOAL_PEER = 100_000, 500, "lightly_studio"


def measure(folder: Path, count: int) -> list[Figure]:
    """Label ten items of each of 60 kinds, then one more: by us, and by each peer."""
    count = max(count, _LEAST)
    made = _written(folder / f"peers-{count}", count)
    given = np.load(made / "given.npy").tolist()
    figures, ours = _ours(made / "store", count, given)
    python = _environment()
    for peer, name in _NAMES.items():
        told = _run(python, peer, made)
        figures += _figures(count, peer, name, told, ours)
    shutil.rmtree(made)
    return figures


def _written(folder: Path, count: int) -> Path:
    """Write what all work on into a new folder, and return that."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kinds = np.array([int(label.removeprefix("Kind ")) for label in labels(count)])
    chance = np.random.default_rng(23)
    chosen = [chance.permutation(np.flatnonzero(kinds == kind))[:_EACH] for kind in range(_KINDS)]
    rest = np.setdiff1d(np.arange(count), np.concatenate(chosen))
    more = chance.permutation(rest)[:REPEATS]
    np.save(folder / "vectors.npy", first(count))
    np.save(folder / "kinds.npy", kinds)
    np.save(folder / "given.npy", np.concatenate([*chosen, more]))
    return folder


def _ours(store: Path, count: int, given: Sequence[int]) -> tuple[list[Figure], dict[str, Cost]]:
    shows = labels(count)
    rest = np.setdiff1d(np.arange(count), given)
    more = np.random.default_rng(29).permutation(rest)[: 2 * _OURS].tolist()
    figures, again = [], {}
    with lookalike.open(store, actor="benchmark") as library:
        things = library.labeler("things", extractor="passthrough", confidence_threshold=0.5)
        things.add(vectors=first(count), ids=names(0, count))
        begun = cost(lambda: things.label({f"v{one}": shows[one] for one in given}))
        for policy, places in (("threshold", more[:_OURS]), ("precision", more[_OURS:])):
            if policy == "precision":
                begun = cost(lambda: things.run(target_precision=0.95))
            again[policy] = median([_label(things, place, shows[place]) for place in places])
            said = f"{_spent(again[policy])}; first {_spent(begun)}; {peak_mib():.0f} MiB"
            figures.append(Figure(f"{_title(count)}: ours, policy `{policy}`, durable", said))
    return figures, again


def _label(things: Collection, place: int, label: str) -> Cost:
    return cost(lambda: things.label({f"v{place}": label}))


def _environment() -> Path:
    """Return the Python of the environment of the peers, made when it is not there or outdated."""
    wanted, venv = _HERE / "peers.txt", _HERE.parent / ".venv-peers"
    python, stamp = venv / "bin" / "python", venv / "peers.txt"
    if not stamp.exists() or stamp.read_text("utf-8") != wanted.read_text("utf-8"):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--no-deps", "--requirement", str(wanted)], check=True)
        shutil.copy(wanted, stamp)
    return python


def _run(python: Path, peer: str, folder: Path) -> list[dict[str, Any]] | str:
    """Return what a peer told, or why it told nothing."""
    command = [str(python), str(_HERE / "peer_runs.py"), peer, str(folder), str(_LIMIT_S)]
    answer = folder / f"{peer}.json"
    with answer.open("w", encoding="utf-8") as told, (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=told, stderr=log, cwd=folder)
        try:
            process.wait(_WALL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    lines = answer.read_text("utf-8").splitlines()
    told_so_far = [json.loads(line) for line in lines if line.startswith("{")]
    if told_so_far or process.returncode < 0:
        return told_so_far
    said = (folder / "log").read_text("utf-8").strip().splitlines()
    return f"could not be run: {said[-1] if said else 'it said nothing'}"


def _figures(
    count: int, peer: str, name: str, told: list[dict[str, Any]] | str, ours: dict[str, Cost]
) -> list[Figure]:
    title = _title(count)
    limit = f"{_LIMIT_S / 60:.0f} minutes of processor time"
    if isinstance(told, str):
        return [Figure(f"{title}: {name}", told)]
    if not told:
        return [Figure(f"{title}: {name}", f"no first label after {limit}")]
    begun = Cost(told[0]["cpu_s"], told[0]["wall_s"])
    costs = [Cost(one["cpu_s"], one["wall_s"]) for one in told[1:]]
    if not costs:
        said = f"not done after {limit}; first {_spent(begun)}"
        return [Figure(f"{title}: {name}", said)]
    spent, peak = median(costs), max(one["peak_mib"] for one in told)
    times = {policy: spent.cpu_s / one.cpu_s for policy, one in ours.items()}
    beside = f"{times['threshold']:,.0f}× and {times['precision']:,.0f}× ours"
    said = f"{_spent(spent)} ({beside}); first {_spent(begun)}; {peak:.0f} MiB"
    said += f"; version {told[0]['version']}"
    met = min(times.values()) >= _GOAL
    judged = peer == _GOAL_PEER and count >= _GOAL_FROM
    return [Figure(f"{title}: {name}", said, *((f"≥ {_GOAL}×", met) if judged else ()))]


def _title(count: int) -> str:
    return f"{count:,} items × 512, all labels after one more"


def _spent(one: Cost) -> str:
    return f"{_time(one.cpu_s)} of processor time, {_time(one.wall_s)}"


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
