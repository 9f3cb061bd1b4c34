"""Label product pictures from ten examples a kind, and see how often the machine is right.

Run it with `python examples/products.py [STORE]`; without a store it uses one that is thrown away.
The pictures and the truth about them come with the package.
"""

import csv
import random
import sys
import tempfile
from collections import Counter
from importlib.resources import files

import lookalike
from lookalike.labels import is_within

EXAMPLES_EACH = 10


def main(store: str) -> None:
    """Bring the pictures in, label a few, and compare what labelled itself with the truth."""
    samples = files("lookalike.library.samples")
    with (samples / "truth.csv").open(encoding="utf-8") as file:
        truth = {row["file_name"]: row["label"] for row in csv.DictReader(file)}

    with lookalike.open(store, actor="ann") as library:
        products = library.labeler("products", extractor="image", field="product_label")
        products.add(str(samples / "pictures"))

        ids = {document.file_name: document.id for document in products.documents()}
        products.label({ids[name]: truth[name] for name in examples(truth)})

        automatic = list(products.documents(origin="auto"))
        null = list(products.documents(label=None))

        # A person answers the twenty best questions; each answer moves the rest at once.
        asked = [one for question in products.queue(limit=20) for one in question.documents]
        answers = products.label({one.id: truth[one.file_name] for one in asked}, asked=True)

        products.to_pandas().to_csv(library.path / "labelled.csv", index=False)

    # Where no kind is sure enough it may be the one above: `Building`, where it is a house.
    right = sum(is_within(truth[one.file_name], str(one.label)) for one in automatic)
    reasons = Counter(str(one.reason) for one in null)
    print(f"pictures   {len(truth)}")
    print(f"coverage   {len(automatic) / (len(automatic) + len(null)):.1%} of the unlabelled ones")
    print(f"precision  {right / max(len(automatic), 1):.1%} ({right} of {len(automatic)})")
    print(f"null       {', '.join(f'{count} {reason}' for reason, count in reasons.items())}")
    print(f"answers    {answers.by_person} by a person moved {answers.by_itself} others")


def examples(truth: dict[str, str]) -> list[str]:
    """Return the pictures that a person labels first: a few of each kind, by chance."""
    kinds: dict[str, list[str]] = {}
    for name, label in truth.items():
        kinds.setdefault(label, []).append(name)
    chance = random.Random(0)
    few = (chance.sample(names, min(EXAMPLES_EACH, len(names))) for names in kinds.values())
    return [name for names in few for name in names]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(folder)
