"""Compare our decision with a logistic probe on bank questions, and the pipeline with its model.

    LOOKALIKE_DATA=… python benchmarks/texts.py            # 5 splits, 3 minutes of processor time
    LOOKALIKE_DATA=… python benchmarks/texts.py --quick

Both rules see the same vectors, ten labelled questions an intent, and must answer all others: the
accuracy is that of the first choice. The probe is scikit-learn's LogisticRegression; it is given on
vectors as they are and on centred ones, each with the better of three strengths of regularisation,
chosen by its accuracy on the very items that are judged: no choice of ours could make it better.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

import lookalike
from lookalike.classifier.graph.graph import NeighbourGraph, build_neighbour_graph
from lookalike.extractors.onnx.bundled import OnnxModel
from lookalike.extractors.text import CHUNK_TOKENS
from lookalike.extractors.text_models import DEFAULTS, MODELS
from lookalike.settings import read_settings
from quality_data import Data, Split, read, split
from quality_rules import Case, graph_rule

_SHOTS = 10
_STRENGTHS = (1.0, 10.0, 100.0)
_QUICK_ITEMS = 1600
_TIMED = 800
_REPEATS = 5
_TARGET = 0.95


def main() -> None:
    """Read the options, measure and print."""
    options = _options()
    warnings.filterwarnings("ignore", message="The number of unique classes")
    upto = _QUICK_ITEMS if options.quick else None
    data = read("banking77", options.data, options.folder, upto)
    neighbour_graph = build_neighbour_graph(np.arange(len(data.labels)), data.vectors)
    print(f"{data.title}: {len(data.labels):,} items, {len(np.unique(data.labels))} labels")
    rows = [_accuracies(data, neighbour_graph, seed) for seed in range(1 if options.quick else 5)]
    for name in rows[0]:
        found = np.array([row[name] for row in rows])
        print(f"{name:36} {found.mean():.4f} ± {found.std():.4f}")
    _overhead(_questions(options.data)[:_TIMED])


def _accuracies(data: Data, neighbour_graph: NeighbourGraph, seed: int) -> dict[str, float]:
    parts = split(data.labels, _SHOTS, 0.0, seed)
    case = Case(data.vectors, neighbour_graph, parts)
    ours = graph_rule(case, _TARGET).winners
    truth = data.labels[parts.pool]
    found = {"our decision": float((parts.known[np.maximum(ours, 0)] == truth).mean())}
    spaces = {"as they are": data.vectors.astype(np.float32), "centred": case.unit}
    for name, vectors in spaces.items():
        found[f"logistic probe, vectors {name}"] = max(
            _probe(vectors, parts, truth, strength) for strength in _STRENGTHS
        )
    return found


def _probe(
    vectors: NDArray[np.float32], parts: Split, truth: NDArray[np.int64], strength: float
) -> float:
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit(vectors[parts.references], parts.own)
    return float((parts.known[model.predict(vectors[parts.pool])] == truth).mean())


def _overhead(questions: list[str]) -> None:
    """Print how much processor time adding texts takes above tokenizer and network alone.

    Both run on one thread, in turn; the median of several pairs of runs counts.
    """
    long = [" ".join(questions[start : start + 6]) for start in range(0, len(questions), 6)]
    for name, texts in (("short questions", questions), ("paragraphs of six", long)):
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "files"
            files.mkdir()
            for place, text in enumerate(texts):
                (files / f"{place:05}.txt").write_text(text, "utf-8")
            runs = [(_bare(texts), _added(files)) for _ in range(_REPEATS)]
        above = float(np.median([whole / bare - 1 for bare, whole in runs]))
        bare, whole = (np.median(times) * 1000 / len(texts) for times in zip(*runs, strict=True))
        print(
            f"{name}: bare model {bare:.2f} ms, added, stored and decided {whole:.2f} ms of "
            f"processor time each, {above:+.1%}"
        )


def _bare(texts: list[str]) -> float:
    """Return the processor time of tokenizer and network for texts, in seconds, once loaded."""
    from tokenizers import Tokenizer

    model = MODELS[DEFAULTS[-1]]
    tokenizer = Tokenizer.from_str(model.tokenizer.read().decode())
    network = OnnxModel(model.file)
    ids = np.array([[model.start_id, model.end_id]], np.int64)
    network.run(input_ids=ids, attention_mask=np.ones_like(ids))
    started = time.process_time()
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids[:CHUNK_TOKENS]], np.int64)
        network.run(input_ids=ids, attention_mask=np.ones_like(ids))
    return time.process_time() - started


def _added(files: Path) -> float:
    """Return the processor time of adding a folder to a collection whose model is loaded."""
    settings = read_settings({"LOOKALIKE_THREADS": "1"})
    with (
        tempfile.TemporaryDirectory() as store,
        lookalike.open(store, settings=settings) as library,
    ):
        warm = Path(store) / "warm.txt"
        warm.write_text("warm", "utf-8")
        texts = library.labeler("texts", extractor="text")
        texts.add([str(warm)])
        started = time.process_time()
        texts.add(str(files))
        return time.process_time() - started


def _questions(root: Path) -> list[str]:
    with (root / "banking77" / "test.csv").open(encoding="utf-8", newline="") as lines:
        return [row["text"] for row in csv.DictReader(lines)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    data = os.environ.get("LOOKALIKE_DATA")
    parser.add_argument("--quick", action="store_true", help="one split of a few items")
    parser.add_argument("--data", type=Path, default=data, help="default: LOOKALIKE_DATA")
    folder = Path("bench-store/quality")
    parser.add_argument("--folder", type=Path, default=folder, help="where vectors are kept")
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the folder of banking77/ with --data or LOOKALIKE_DATA")
    return options


if __name__ == "__main__":
    main()
