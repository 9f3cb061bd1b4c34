"""Find wrong labels with Lookalike and with cleanlab, side by side, on the same vectors.

Run it with `python examples/label_errors.py`. It takes the pictures that come with the package,
gives one in twenty a wrong label by chance, and shows which of these each way finds. It needs the
extra and cleanlab: pip install 'lookalike[sklearn]' cleanlab.
"""

import csv
import tempfile
from importlib.resources import files

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import lookalike
from lookalike.extractors.base import Content
from lookalike.extractors.image import image_extractor

WRONG = 1 / 20
SHOWN = 8


def main() -> None:
    """Make some labels wrong, look for them in three ways, and print what each found."""
    samples = files("lookalike.library.samples")
    with (samples / "truth.csv").open(encoding="utf-8") as file:
        truth = {row["file_name"]: row["label"] for row in csv.DictReader(file)}
    names = sorted(truth)
    contents = [Content((samples / "pictures" / name).read_bytes(), "image/png") for name in names]
    vectors = np.stack([part.vector for (part,) in image_extractor().extract(contents)])
    given, wrong = spoilt(truth, names)

    looks_like = inspected(names, vectors, given)
    ways = {
        "Lookalike: inspect": set(looks_like),
        "cleanlab, probabilities of Lookalike": issues(
            names, vectors, given, lookalike.LookalikeClassifier()
        ),
        "cleanlab, logistic regression": issues(
            names, vectors, given, LogisticRegression(C=10, max_iter=1000)
        ),
    }

    print(f"{len(names)} pictures of {len(set(truth.values()))} kinds, {len(wrong)} labels wrong\n")
    print(f"{'way':38} {'found':>5} {'wrong':>5} {'precision':>9} {'recall':>6}")
    for way, found in ways.items():
        hits = len(found & wrong)
        shares = f"{hits / max(len(found), 1):9.0%} {hits / len(wrong):6.0%}"
        print(f"{way:38} {len(found):5} {hits:5} {shares}")
    both = set.intersection(*ways.values())
    print(f"{'all three':38} {len(both):5} {len(both & wrong):5}\n")
    print(f"{'picture':34} {'given':22} {'looks like':22} in truth")
    for name in list(looks_like)[:SHOWN]:
        print(f"{name:34} {given[name]:22} {looks_like[name]:22} {truth[name]}")


def spoilt(truth: dict[str, str], names: list[str]) -> tuple[dict[str, str], set[str]]:
    """Return the labels with some of them wrong, and the names of these pictures."""
    chance, kinds = np.random.default_rng(0), sorted(set(truth.values()))
    wrong = chance.choice(names, round(WRONG * len(names)), replace=False).tolist()
    others = {name: [kind for kind in kinds if kind != truth[name]] for name in wrong}
    return truth | {name: str(chance.choice(others[name])) for name in wrong}, set(wrong)


def inspected(names: list[str], vectors: np.ndarray, given: dict[str, str]) -> dict[str, str]:
    """Return the pictures whose label Lookalike doubts, the worst first, and what each is like."""
    with tempfile.TemporaryDirectory() as folder, lookalike.open(folder, actor="ann") as library:
        pictures = library.labeler("pictures", extractor="passthrough")
        pictures.add(vectors=vectors, ids=names)
        pictures.label(given)
        return {one.id: one.looks_like for one in pictures.inspect().suspects}


def issues(names: list[str], vectors: np.ndarray, given: dict[str, str], model: object) -> set[str]:
    """Return the pictures whose label cleanlab doubts, by a model's cross-validated guesses."""
    labels = np.unique([given[name] for name in names], return_inverse=True)[1]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    guesses = cross_val_predict(model, vectors, labels, cv=folds, method="predict_proba")
    doubted = find_label_issues(labels, guesses, n_jobs=1)
    return {name for name, bad in zip(names, doubted, strict=True) if bad}


if __name__ == "__main__":
    main()
