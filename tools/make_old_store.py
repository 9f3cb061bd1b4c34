"""Make a small store with an older version of the package, for a test that opens it.

    git worktree add /tmp/older 3ebf687
    PYTHONPATH=/tmp/older/src python tools/make_old_store.py tests/stores/first_edition.zip

The archive holds the store, and in `answers.json` what that version answered about it. Run it with
the package of the older version on the path; `tests/stores/test_older_store.py` reads the archive.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CLASSES, _EACH, _WIDTH, _GIVEN = 4, 40, 24, 12


def main() -> None:
    """Write the archive whose path is the argument."""
    target = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LOOKALIKE_CACHE"] = str(Path(folder) / "shared")
        store = Path(folder) / "store"
        answers = json.dumps(fill(store), indent=1, sort_keys=True)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(store.rglob("*")):
                if path.is_file():
                    archive.write(path, f"store/{path.relative_to(store)}")
            archive.writestr("answers.json", answers)


def fill(store: Path) -> dict[str, Any]:
    """Fill a store with every kind of entry, and return what it answers by collection."""
    import lookalike

    vectors, ids = _clusters()
    with lookalike.open(store, actor="ada") as library:
        rules: dict[str, dict[str, Any]] = {
            "calibrated": {"target_precision": 0.9},
            "similar": {"confidence_threshold": 0.6},
        }
        for name, rule in rules.items():
            things = library.labeler(name, extractor="passthrough", **rule)
            things.add(vectors=vectors, ids=ids)
            given = {f"{label}-{n}": label for label in "abc" for n in range(_GIVEN)}
            things.label(given, asked=True)
            things.reject({"d-20": "a", "d-21": "b"})
            things.new_kind(["d-22"])
            things.label({"d-23": "d", "d-24": "d"}, asked=True)
            things.rename_label("b", "blue > b")
            undone = things.label({"a-20": "c"})
            library.collection(name).undo(undone.operation)
            things.keep_version("spring", note="before the move")
            things.import_labels([{"id": "c-30", "label": "c"}, {"id": "d-25", "label": "d"}])
        return {one.name: _answers(one) for one in map(library.collection, library.collections())}


def _answers(collection: Any) -> dict[str, Any]:
    history = collection.history("d-23") + collection.history("a-20")
    return {
        "rows": list(collection.rows()),
        "history": [[one.kind, one.label, one.actor] for one in history],
        "operations": [one.id for one in collection.operations()],
        "versions": [one.name for one in collection.versions()],
    }


def _clusters() -> tuple[NDArray[np.float32], list[str]]:
    """Return unit vectors (n, d) around one centre a class, and their ids `class-number`."""
    chance = np.random.default_rng(7)
    centres = chance.standard_normal((_CLASSES, _WIDTH))
    near = np.repeat(centres, _EACH, axis=0) + 0.5 * chance.standard_normal(
        (_CLASSES * _EACH, _WIDTH)
    )
    unit = near / np.linalg.norm(near, axis=1, keepdims=True)
    return unit.astype(np.float32), [f"{label}-{n}" for label in "abcd" for n in range(_EACH)]


if __name__ == "__main__":
    main()
