"""The documentation, run: every block works, generated parts are up to date, nothing is missing."""

from __future__ import annotations

import csv
import inspect
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from itertools import combinations, takewhile
from pathlib import Path
from string import Template
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

import lookalike
from lookalike import errors
from lookalike.cli.group import cli
from lookalike.errors import BadContent
from lookalike.extractors.base import Content
from lookalike.extractors.image import image_extractor
from lookalike.extractors.registry import extractors
from lookalike.library.demo import run_demo
from lookalike.quality.reports import EXPORT_COLUMNS
from lookalike.settings import SETTINGS
from plausible import meets

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SAMPLES = Path(str(files("lookalike.library.samples")))
PAGES = {path.name: path for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}

PICTURES = ("apple.png", "apple-bw.png", "aiga-bus.png", "aiga-bus1.png", "arrow02-1.png")
"""What lies in `photos/` where a page is run."""

APART = ("guide.md", "migrate.md", "server.md")
"""Pages with a test of their own."""

NOT_RUN = ("pip ", "make ")
"""Console lines that would set up a machine."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page. `line` is where its first line stands, from 0."""

    language: str
    line: int
    text: str


def blocks(page: Path) -> list[Block]:
    found, lines, start = [], page.read_text("utf-8").splitlines(), 0
    language = None
    for number, line in enumerate(lines):
        if line.startswith("```"):
            if language is None:
                language, start = line[3:].strip(), number + 1
            else:
                found.append(Block(language, start, "\n".join(lines[start:number]) + "\n"))
                language = None
    assert language is None, f"{page.name} has a block that does not end"
    return found


@pytest.fixture(scope="module")
def samples_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the demo has run: what is extracted there is not extracted again."""
    path = tmp_path_factory.mktemp("demo") / "store"
    with lookalike.open(path, actor="ann") as library:
        run_demo(library, seed=0, progress=lambda _done, _total: None)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to run a page in, with some photos and their labels."""
    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)
    commands = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", commands, prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in PICTURES:
        shutil.copy(SAMPLES / "pictures" / name, tmp_path / "photos")
    rows = [f"{name},{label}\n" for name, label in truth().items() if name in PICTURES[:4]]
    (tmp_path / "labels.csv").write_text("file_name,label\n" + "".join(rows), "utf-8")
    return tmp_path


def truth() -> dict[str, str]:
    with (SAMPLES / "truth.csv").open(encoding="utf-8", newline="") as file:
        return {row["file_name"]: row["label"] for row in csv.DictReader(file)}


# --- pages run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PAGES if name not in APART])
def test_every_block_of_a_page_runs(name: str, place: Path) -> None:
    count = run_page(PAGES[name], place)

    assert count == sum(block.language in ("python", "console") for block in blocks(PAGES[name]))


def test_every_block_of_the_guide_runs_on_the_samples(
    place: Path, samples_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(samples_store, place / "lookalike")

    assert run_served("guide.md", place, monkeypatch) >= 18


def test_every_block_of_the_page_on_the_server_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_served("server.md", place, monkeypatch) == 7


def test_every_block_of_the_page_on_another_extractor_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(place / "plugins")  # which the page writes, and has on its path
    extractors.cache_clear()

    try:
        assert run_page(PAGES["migrate.md"], place) == 6
    finally:
        extractors.cache_clear()


def run_served(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a page that starts a server: on a free port, and none is left, whatever happens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    page = place / name
    page.write_text(PAGES[name].read_text("utf-8").replace("8710", port), "utf-8")
    monkeypatch.setenv("LOOKALIKE_PORT", port)

    try:
        return run_page(page, place)
    finally:
        state = (place / ".environment").read_text("utf-8").split("\0")
        for pid in (int(one[7:]) for one in state if one.startswith("server=")):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run_page(page: Path, place: Path) -> int:
    """Run the blocks of a page in order, Python ones in one namespace; return how many."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    environment = dict(os.environ)
    count = 0
    for block in blocks(page):
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True)
            exec(code, namespace)
        elif block.language == "console":
            environment = run_console(page, block, place, environment)
        count += block.language in ("python", "console")
    for value in namespace.values():
        if isinstance(value, lookalike.Library):
            value.close()
    return count


def run_console(
    page: Path, block: Block, place: Path, environment: dict[str, str]
) -> dict[str, str]:
    """Run the `$` lines of a block and compare what it shows; return the variables after it."""
    for command, shown in conversation(block.text):
        where = f"{page.name}:{block.line + 1}: $ {command}"
        words = without_shell(command, environment)
        if words is not None:
            output = run_here(words, where)
        else:
            output, environment = run_in_shell(command, where, place, environment)
        pattern = ".*".join(map(re.escape, shown.split("…")))
        assert re.fullmatch(pattern or ".*", output.strip(), re.DOTALL), f"{where}\n{output}"
    return environment


def without_shell(command: str, environment: dict[str, str]) -> list[str] | None:
    """Return the words of a command of ours, with its variables; None if it needs a shell."""
    if not command.startswith("lookalike ") or re.search(r"\$\(|&", command):
        return None
    told = shlex.shlex(command, posix=True, punctuation_chars=True)
    told.whitespace_split = True
    words = [Template(word).safe_substitute(environment) for word in told]
    return None if {"|", "<", ">"} & set(words) else words


def run_here(words: list[str], where: str) -> str:
    """Run a command in this process: much faster, and what it prints is the same."""
    result = CliRunner().invoke(cli, words[1:])
    assert result.exit_code == 0, f"{where}\n{result.output}{result.exception!r}"
    return result.stdout


def run_in_shell(
    command: str, where: str, place: Path, environment: dict[str, str]
) -> tuple[str, dict[str, str]]:
    state = place / ".environment"
    script = f"set -aeo pipefail\n{command}\nenv -0 > {shlex.quote(str(state))}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
    pairs = state.read_text("utf-8").rstrip("\0").split("\0")
    return done.stdout, dict(pair.split("=", 1) for pair in pairs)


def conversation(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block that are run, each with the output that is shown.

    A command goes on in lines that are indented by four.
    """
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        more = takewhile(lambda line: line.startswith("    "), lines[1:])
        command = lines[0] + "".join(more)
        shown = part.removeprefix(command)
        if not command.startswith(NOT_RUN):
            yield command.strip(), shown.strip()


def counted(precision: str) -> tuple[int, int]:
    """The two counts of "95.8% (161 of 168)"."""
    right, of = precision.split("(")[1].rstrip(")").split(" of ")
    return int(right), int(of)


def test_the_example_of_products_reaches_the_precision_it_asks_for(
    place: Path, samples_store: Path
) -> None:
    store = place / "store"
    shutil.copytree(samples_store, store)

    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "products.py"), str(store)],
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert done.returncode == 0, done.stderr
    shares = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert float(shares["coverage"].split("%")[0]) > 30
    assert meets(*counted(shares["precision"]))
    assert len((store / "labelled.csv").read_text("utf-8").splitlines()) == 534


def test_the_example_of_objects_reaches_the_precision_it_asks_for(place: Path) -> None:
    """Its exports hold what the page says, with the origin of every label."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "objects.py"), str(place / "work")],
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr
    shares = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert float(shares["coverage"].split("%")[0]) > 30
    assert meets(*counted(shares["precision"]))
    annotations = json.loads((place / "work" / "things.json").read_text("utf-8"))["annotations"]
    assert {one["label_source"] for one in annotations} == {"human", "auto"}
    assert (place / "work" / "yolo" / "data.yaml").is_file()


def test_the_example_of_documents_labels_papers_and_scans_rightly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "documents.py"))

    example["main"](str(tmp_path / "store"), each=12, scanned=0.06)

    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["papers"] == "36, 2 of them scans"
    assert shown["unreadable"] == "0"
    assert meets(*counted(shown["precision"]))
    assert "is like" in shown["why"]


# --- the plugin of extending.md -----------------------------------------------------------------


def test_the_plugin_of_the_docs_passes_the_contract(place: Path) -> None:
    code = [block.text for block in blocks(PAGES["extending.md"]) if block.language == "python"]
    (place / "test_colours.py").write_text("\n".join(code), "utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_colours.py"],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= 10


def test_the_plugin_of_the_docs_is_found_by_its_entry_point(place: Path) -> None:
    found = blocks(PAGES["extending.md"])
    (place / "colours.py").write_text(next(b.text for b in found if b.language == "python"))
    entry = next(b.text for b in found if b.language == "toml")
    installed = place / "colours-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
    group, line = entry.replace('"', "").split("\n")[:2]
    section = group.replace("project.entry-points.", "")
    (installed / "entry_points.txt").write_text(f"{section}\n{line}\n")
    command = next(b.text for b in found if b.language == "sh").strip()
    environment = {**os.environ, "PYTHONPATH": str(place)}

    run_in_shell(command, "extending.md", place, environment)
    added, _ = run_in_shell("lookalike add palettes photos/", "", place, environment)

    assert added.startswith("5 added")


# --- generated parts ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PAGES if name != "README.md"])
def test_generated_parts_are_up_to_date(name: str) -> None:
    filled = runpy.run_path(str(ROOT / "tools" / "make_docs.py"))["filled"]
    page = PAGES[name].read_text("utf-8")

    assert filled(page) == page, "run: python tools/make_docs.py"


def test_the_site_builds_without_a_warning_and_asks_for_nothing_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.glob("*.html"))
    fetched = r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*"
    remote = {found for page in pages for found in re.findall(fetched, page.read_text("utf-8"))}
    assert len(pages) > len(PAGES) - 2
    assert remote == set()


# --- nothing is missing -------------------------------------------------------------------------


def test_every_public_name_is_documented() -> None:
    page = PAGES["python.md"].read_text("utf-8")
    classes = (lookalike.Library, lookalike.Collection)
    remote = (lookalike.RemoteLibrary, lookalike.RemoteCollection)
    members = [
        f"### {one.__name__}.{name}\n" for one in classes for name in dir(one) if name[0] != "_"
    ]
    members += [
        f"| `{one.__name__}.{name}` |" for one in remote for name in dir(one) if name[0] != "_"
    ]

    missing = [f"`{name}`" for name in lookalike.__all__ if f"`{name}`" not in page]
    missing += [member for member in members if member not in page]

    assert len(members) > 20
    assert missing == []


def all_commands(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """Every command by its name, those of a group behind the group."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[path + name] = command
        if isinstance(command, click.Group):
            found |= all_commands(command, f"{path}{name} ")
    return found


def test_every_command_and_each_of_its_options_is_documented() -> None:
    page = PAGES["cli.md"].read_text("utf-8")

    for name, command in all_commands(cli).items():
        section = re.split("\n##+ ", page.partition(f"# `{name}`\n")[2])[0]
        assert section, f"{name} is not in cli.md"
        for option in command.params:
            shared = option.name in ("store", "as_json")
            if isinstance(option, click.Option) and not shared:
                assert f"`{option.opts[0]}" in section, f"{name} {option.opts[0]}"


def test_every_command_has_an_example_that_parses() -> None:
    for name, command in all_commands(cli).items():
        examples = inspect.cleandoc(command.help or "").partition("\b\n")[2].splitlines()
        assert examples, f"{name} has no example"
        for example in examples:
            plain = re.sub(r'"?\$\(|\)"?| > [^"]+$', " ", example)
            words = shlex.split(plain)
            if "lookalike" in words:
                last = words.index(name.split()[-1])
                assert command.make_context(name, words[last + 1 :]), example


def test_every_setting_is_documented() -> None:
    page = PAGES["settings.md"].read_text("utf-8")

    assert [one.variable for one in SETTINGS if f"`{one.variable}`" not in page] == []


def test_every_error_is_documented_and_drawn_in_its_module() -> None:
    page = PAGES["errors.md"].read_text("utf-8")
    classes = [one for one in vars(errors).values() if inspect.isclass(one)]
    ours = [one.__name__ for one in classes if issubclass(one, errors.LookalikeError)]

    assert len(ours) > 10
    assert [name for name in ours if f"`{name}`" not in page] == []
    assert [name for name in ours if name not in (errors.__doc__ or "")] == []


def test_every_column_of_an_export_is_documented_in_order() -> None:
    section = PAGES["formats.md"].read_text("utf-8").partition("## Export")[2].partition("## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(EXPORT_COLUMNS)


# --- measured figures ---------------------------------------------------------------------------


def measured_rows() -> list[dict[str, float]]:
    """The table of thresholds in concepts.md, measured on the samples."""
    page = PAGES["concepts.md"].read_text("utf-8")
    table = page.partition("<!-- measured")[2].partition("`text_extractor`")[0]
    lines = [line.strip("| ") for line in table.splitlines() if line.startswith("|")]
    head = [name.strip() for name in lines[0].split("|")]
    rows = [[float(cell.strip(" %")) for cell in line.split("|")] for line in lines[2:]]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_what_a_threshold_means_is_what_the_samples_show(samples_store: Path) -> None:
    known = truth()
    rows = measured_rows()

    with lookalike.open(samples_store, actor="ann") as library:
        demo = library.collection("demo")
        left = sum(one.origin != "human" for one in demo.documents())
        for row in rows:
            demo.run(confidence_threshold=row["threshold"])
            automatic = list(demo.documents(origin="auto"))
            right = sum(one.label == known[one.file_name] for one in automatic)

            assert row["coverage"] == pytest.approx(100 * len(automatic) / left, abs=1)
            assert row["precision"] == pytest.approx(100 * right / len(automatic), abs=1)

    assert len(rows) >= 7


def test_how_alike_pairs_are_is_what_the_samples_show() -> None:
    known = truth()
    names = np.random.default_rng(0).choice(sorted(known), 100, replace=False).tolist()
    vectors = dict(zip(names, vectors_of(names), strict=True))
    alike: dict[bool, list[float]] = {True: [], False: []}
    for one, other in combinations(names, 2):
        alike[known[one] == known[other]].append(float(vectors[one] @ vectors[other]))

    for row in measured_rows():
        different = 100 * np.mean(np.array(alike[False]) >= row["threshold"])
        same = 100 * np.mean(np.array(alike[True]) >= row["threshold"])
        assert row["pairs of different kinds"] == pytest.approx(different, abs=8)
        assert row["pairs of one kind"] == pytest.approx(same, abs=12)


def vectors_of(names: list[str]) -> list[Any]:
    contents = [
        Content((SAMPLES / "pictures" / name).read_bytes(), "image/png", name=name)
        for name in names
    ]
    found = image_extractor(threads=2).extract(contents)
    return [parts[0].vector for parts in found if not isinstance(parts, BadContent)]
