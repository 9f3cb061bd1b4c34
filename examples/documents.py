"""Label business papers from ten examples a kind: PDF with a text layer, and scans without one.

All kinds there are, are declared (`closed_set`), so the default rule has only to tell them apart.
With `--checked` nobody gives examples: the queue asks, and check sheets show how sure to be.

Run it with `python examples/documents.py [--checked] [STORE]`; without a store it uses one that is
thrown away. The papers are made here, with words and layouts by chance, so that the truth about
them is known. It needs `pip install 'lookalike[ocr]' reportlab`.
"""

import io
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pypdfium2
from PIL import Image, ImageFilter
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

import lookalike

EXAMPLES_EACH = 10
MOST_QUESTIONS = 20
SCANNED = 0.1  # share of the papers that are scans, one in four of them upside down

FIRMS = ("Harbour Bakery", "Northway Tools", "Bright & Sons", "Elm Street Dental", "Vela Print")
PEOPLE = ("Ada Moore", "Jonas Keller", "Mina Okafor", "Luis Ortega", "Petra Novak")
PLACES = ("Bristol", "Leeds", "Cork", "Norwich", "Dundee")
GOODS = (
    *("flour, 25 kg", "printer paper", "oven door", "steel bolts M8", "desk lamp", "olive oil"),
    *("garden hose", "coffee beans", "dental gloves", "packing tape", "LED strip", "hand soap"),
)
SHOP_GOODS = (
    "milk",
    "bread",
    "apples",
    "cheese",
    "tea",
    "rice",
    "yoghurt",
    "eggs",
    "soap",
    "juice",
)


def invoice(chance: random.Random) -> list[str]:
    """Return the lines of an invoice."""
    number = chance.choice(["Invoice no.", "INVOICE", "Invoice number:", "Tax invoice"])
    lines = [
        *(chance.choice(FIRMS), f"{number} {chance.randint(1000, 9999)}", f"Date: {day(chance)}"),
        f"{chance.choice(['Bill to', 'To', 'Customer'])}: {chance.choice(FIRMS)}",
    ]
    total = 0.0
    for goods in chance.sample(GOODS, chance.randint(2, 7)):
        count, price = chance.randint(1, 40), chance.uniform(2, 90)
        total += count * price
        lines.append(f"{count} x {goods} at {price:.2f} = {count * price:,.2f}")
    lines.append(f"Net {total:,.2f}, VAT 20 % {total * 0.2:,.2f}")
    lines.append(
        f"{chance.choice(['Amount due', 'Total to pay', 'Balance due'])} {total * 1.2:,.2f}"
    )
    paid = [
        "Payment within 30 days by bank transfer.",
        "Please quote the invoice number.",
        "Net 14.",
    ]
    return [*lines, *chance.sample(paid, 2)]


def contract(chance: random.Random) -> list[str]:
    """Return the lines of a contract."""
    kind = chance.choice(["Lease", "Service agreement", "Contract of employment", "Agreement"])
    one, other = chance.sample([*PEOPLE, *FIRMS], 2)
    clauses = [
        f"This agreement is made on {day(chance)} between {one} and {other}.",
        "The parties agree to keep all information confidential.",
        f"Either party may terminate with {chance.randint(1, 6)} months' written notice.",
        f"This agreement is governed by the law in force in {chance.choice(PLACES)}.",
        f"The term begins on {day(chance)} and runs for {chance.randint(1, 5)} years.",
        "Changes to this agreement must be made in writing and signed by both parties.",
        "If a clause is void the remaining clauses stay in force.",
        f"The yearly sum agreed is {chance.randint(5, 90)},000, payable monthly.",
        "Neither party is liable for delay caused by events beyond its control.",
    ]
    chosen = [clauses[0], *chance.sample(clauses[1:], chance.randint(4, 8))]
    numbered = [f"{place}. {clause}" for place, clause in enumerate(chosen, 1)]
    return [kind, *numbered, f"Signed: {one}", f"Signed: {other}"]


def receipt(chance: random.Random) -> list[str]:
    """Return the lines of a till receipt."""
    lines = [f"{chance.choice(['CORNER SHOP', 'MINI MARKET', 'FOODHALL'])} {chance.choice(PLACES)}"]
    lines.append(f"{day(chance)} {chance.randint(10, 21)}:{chance.randint(10, 59)} till 2")
    total = 0.0
    for goods in chance.sample(SHOP_GOODS, chance.randint(3, 8)):
        price = chance.uniform(0.5, 9)
        total += price
        lines.append(f"{goods} {price:.2f}")
    lines.append(f"TOTAL {total:.2f}")
    lines.append(chance.choice(["VISA DEBIT ****", "CASH", "CONTACTLESS"]) + f" {total:.2f}")
    lines.append(f"change {chance.uniform(0, 5):.2f}")
    return [*lines, chance.choice(["Thank you for shopping", "Thank you, please call again"])]


KINDS: dict[str, Callable[[random.Random], list[str]]] = {
    "Invoice": invoice,
    "Contract": contract,
    "Receipt": receipt,
}


def day(chance: random.Random) -> str:
    """Return a date as people write it."""
    number, month, year = chance.randint(1, 28), chance.randint(1, 12), chance.randint(2019, 2025)
    name = chance.choice(["January", "March", "April", "June", "August", "October", "December"])
    return chance.choice(
        [f"{number}.{month}.{year}", f"{year}-{month:02}-{number:02}", f"{number} {name} {year}"]
    )


def pdf_of(lines: list[str], chance: random.Random) -> bytes:
    """Return a page with a text layer, its fonts and margins by chance."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    font = chance.choice(["Helvetica", "Times-Roman", "Courier"])
    size, left, top = chance.uniform(10, 13), chance.uniform(50, 120), chance.uniform(720, 790)
    if chance.random() < 0.5:
        canvas.rect(left - 10, top + 10, 400, 30, fill=0)
    for place, line in enumerate(lines):
        canvas.setFont(f"{font}{'-Bold' if place == 0 and font != 'Times-Roman' else ''}", size)
        canvas.drawString(left, top - place * size * 1.7, line)
    canvas.save()
    return file.getvalue()


def scan_of(page: bytes, chance: random.Random) -> bytes:
    """Return a page as a scanner gives it: grey, noisy, askew, perhaps upside down; no text."""
    with pypdfium2.PdfDocument(page) as document:
        picture = document[0].render(scale=150 / 72).to_pil().convert("L")
    askew = picture.rotate(chance.uniform(-1.5, 1.5), fillcolor=255, resample=3)
    soft = np.asarray(askew.filter(ImageFilter.GaussianBlur(0.6)), float)
    noise = np.random.default_rng(chance.getrandbits(32)).normal(0, 12, soft.shape)
    grey = Image.fromarray((soft * 0.9 + 12 + noise).clip(0, 255).astype("uint8"))
    file = io.BytesIO()
    grey.rotate(180 if chance.random() < 0.25 else 0).save(file, "PDF", resolution=150)
    return file.getvalue()


def make(folder: Path, each: int, scanned: float, seed: int = 0) -> dict[str, str]:
    """Write `each` papers of each kind and return the kind of each by its file name."""
    chance = random.Random(seed)
    truth = {}
    for kind, written in KINDS.items():
        for _ in range(each):
            page = pdf_of(written(chance), chance)
            is_scan = int((len(truth) + 1) * scanned) > int(len(truth) * scanned)
            name = f"paper-{len(truth):03}{'-scan' if is_scan else ''}.pdf"
            (folder / name).write_bytes(scan_of(page, chance) if is_scan else page)
            truth[name] = kind
    return truth


def main(store: str, each: int = 40, scanned: float = SCANNED, *, checked: bool = False) -> None:
    """Make papers, label a few, and compare what labelled itself with the truth."""
    with lookalike.open(store, actor="ann") as library:
        folder = library.path / "papers"
        folder.mkdir()
        truth = make(folder, each, scanned)

        # Nothing is of another kind: said so, three labels need no check sheet to be trusted.
        papers = library.labeler(
            "papers", extractor="documents", field="kind", labels=sorted(KINDS), closed_set=True
        )
        added = papers.add(str(folder))
        asked = answer(papers, truth) if checked else label_examples(papers, truth)

        automatic = list(papers.documents(origin="auto"))
        given = len(list(papers.documents(origin="human")))
        null = list(papers.documents(label=None))
        quoted = papers.why(automatic[0].id).quotes if automatic else None

    right = [one.label == truth[one.file_name] for one in automatic]
    scans = [one.label == truth[one.file_name] for one in automatic if "scan" in one.file_name]
    reasons = [f"{count} {why}" for why, count in Counter(one.reason for one in null).items()]
    print(f"papers     {len(truth)}, {sum('scan' in name for name in truth)} of them scans")
    print(f"unreadable {len(added.failed)}")
    print(f"by hand    {given} in {asked}")
    print(f"coverage   {len(right) / max(1, len(right) + len(null)):.1%} of the unlabelled ones")
    print(f"precision  {sum(right) / max(1, len(right)):.1%} ({sum(right)} of {len(right)})")
    print(f"scans      {sum(scans)} of {len(scans)} right")
    print(f"null       {', '.join(reasons) or 'none'}")
    if quoted is not None:
        print(f"why        {quoted.here.text[:60]!r} is like {quoted.there.text[:60]!r}")


def label_examples(papers: lookalike.Collection, truth: dict[str, str]) -> str:
    """Label a few papers of each kind, as a person who has chosen them does."""
    ids = {document.file_name: document.id for document in papers.documents()}
    papers.label({ids[name]: truth[name] for name in examples(truth) if name in ids})
    return "one table"


def answer(papers: lookalike.Collection, truth: dict[str, str]) -> str:
    """Answer what the queue asks until papers label themselves, and return what it asked."""
    kinds: Counter[str] = Counter()
    while kinds.total() < MOST_QUESTIONS and not papers.report().labelled["auto"]:
        question = papers.queue(limit=1)[0]
        kinds["check sheets" if question.kind == "check" else "other questions"] += 1
        papers.label({one.id: truth[one.file_name] for one in question.documents}, asked=True)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def examples(truth: dict[str, str]) -> list[str]:
    """Return the papers that a person labels first: a few of each kind, by chance."""
    chance = random.Random(1)
    kinds = sorted(set(truth.values()))
    of_kind = {kind: [name for name, one in truth.items() if one == kind] for kind in kinds}
    return [name for kind in kinds for name in chance.sample(of_kind[kind], EXAMPLES_EACH)]


if __name__ == "__main__":
    given = [one for one in sys.argv[1:] if one != "--checked"]
    with tempfile.TemporaryDirectory() as place:
        main(given[0] if given else place, checked="--checked" in sys.argv)
