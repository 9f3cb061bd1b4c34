"""The real command in a process of its own, as a user types it.

Most of these processes are forked: Python starts and imports for none of them.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lookalike
from lookalike.cli import main
from lookalike.cli.group import cli
from lookalike.extractors.registry import extractors
from lookalike.testing.fakes import write_plugin
from processes import finished

SHORT = ["a b c d", "b c d a", "i o u e", "x y z w", "p q r ss"]
LONG = ["elephants a", "crocodile b", "kangaroos c", "albatross d", "armadillo ee"]
LABELS = {"short-0.txt": "Words > Short", "long-0.txt": "Words > Long"}


@dataclass(frozen=True)
class Shell:
    """A folder to type commands in. `names` gives the document id of each file name."""

    folder: Path
    environment: Mapping[str, str]
    names: Mapping[str, str]
    forked: bool = True

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """Return what a command prints; what it must end with is `code`."""
        done = self.finish(*arguments, **environment)
        assert done.returncode == code, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Return what a command prints with --json."""
        return json.loads(self.run(*arguments, "--json"))

    def finish(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        told = {**self.environment, **environment}
        if self.forked:
            return finished(*arguments, environment=told, folder=self.folder)
        return subprocess.run(
            [sys.executable, "-m", "lookalike", *arguments],
            cwd=self.folder,
            env=told,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it as from a terminal: a job in the background inherits that Ctrl-C is ignored."""
        return subprocess.Popen(
            [sys.executable, "-m", "lookalike", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        )


def environment(plugins: Path) -> dict[str, str]:
    write_plugin(plugins)
    ours = {name: value for name, value in os.environ.items() if "LOOKALIKE" not in name}
    return {**ours, "PYTHONPATH": str(plugins), "LOOKALIKE_ACTOR": "ann", "PYTHONWARNINGS": "error"}


def write_texts(folder: Path) -> None:
    folder.mkdir()
    for kind, texts in (("short", SHORT), ("long", LONG)):
        for number, text in enumerate(texts):
            (folder / f"{kind}-{number}.txt").write_text(text)


CREATE = ("create", "notes", "--extractor", "word_lengths", "--confidence-threshold", "0.9")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with ten texts and a store with them, made by the command."""
    folder = tmp_path_factory.mktemp("origin")
    write_texts(folder / "texts")
    shell = Shell(folder, environment(tmp_path_factory.mktemp("plugins")), {}, forked=False)
    shell.run(*CREATE)
    shell.run("add", "notes", "texts/")
    rows = shell.run("export", "notes", "--json").splitlines()
    names = {row["file_name"]: row["id"] for row in map(json.loads, rows)}
    return Shell(folder, shell.environment, names)


@pytest.fixture(scope="module")
def origin_labelled(origin: Shell, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The same, with one label of each kind: the others label themselves."""
    shell = copied(origin, tmp_path_factory.mktemp("labelled") / "shop")
    lines = [f'"{name}","{label}"' for name, label in LABELS.items()]
    (shell.folder / "labels.csv").write_text("\n".join(["file_name,label", *lines]))
    shell.run("label", "notes", "--from", "labels.csv")
    return shell


@pytest.fixture
def shell(origin: Shell, tmp_path: Path) -> Shell:
    """A copy of the test's own, with the store in ./lookalike, nothing labelled."""
    return copied(origin, tmp_path / "shop")


@pytest.fixture
def labelled(origin_labelled: Shell, tmp_path: Path) -> Shell:
    """A copy of the test's own, with two labels by a person."""
    return copied(origin_labelled, tmp_path / "shop")


def copied(shell: Shell, folder: Path) -> Shell:
    shutil.copytree(shell.folder, folder)
    return Shell(folder, shell.environment, shell.names)


# --- help -------------------------------------------------------------------------------------


def test_help_is_fast_and_loads_no_model_or_database_code(origin: Shell) -> None:
    code = (
        "import resource, sys; sys.argv[1:] = ['--help']\n"
        "from lookalike.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, resource.getrusage(resource.RUSAGE_SELF).ru_utime)"
    )

    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()[-1]

    *modules, cpu_s = printed.split()
    assert float(cpu_s) < 0.3
    assert not {"numpy", "sqlalchemy", "onnxruntime", "PIL", "fsspec"} & set(modules)


QUIET = {"OPENBLAS_THREAD_TIMEOUT": "16", "ORT_DISABLE_TELEMETRY": "1"}


@pytest.mark.parametrize("given", [{}, {"OPENBLAS_THREAD_TIMEOUT": "20"}])
def test_libraries_are_told_to_rest_and_to_keep_quiet_unless_told_otherwise(
    given: dict[str, str],
) -> None:
    code = f"import os, lookalike; print(*map(os.environ.get, {list(QUIET)}))"
    inherited = {k: v for k, v in os.environ.items() if k not in QUIET}

    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=inherited | given,
    ).stdout

    assert printed.split() == list((QUIET | given).values())


EXTRACTED = """
import sys, lookalike
with lookalike.open(sys.argv[1], actor="ann") as library:
    print(library.labeler("notes", extractor="text").add(sys.argv[2]).documents)
"""


def test_extracting_writes_nothing_into_the_home_directory(tmp_path: Path) -> None:
    """ONNX Runtime would leave an id of the device there, and send it with what it counts."""
    home, notes = tmp_path / "home", tmp_path / "notes"
    home.mkdir()
    notes.mkdir()
    (notes / "a.txt").write_text("a letter", "utf-8")

    printed = subprocess.run(
        [sys.executable, "-c", EXTRACTED, tmp_path / "store", notes],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={k: v for k, v in os.environ.items() if k not in QUIET} | {"HOME": str(home)},
    ).stdout

    assert printed.strip() == "1"
    assert not list(home.rglob("*"))


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_the_help_of_each_command_has_an_example(origin: Shell, name: str) -> None:
    text = origin.run(name, "--help")

    assert re.search(rf"^  .*lookalike .*\b{name}\b", text, re.MULTILINE)
    assert len(text.splitlines()[2].strip()) > 10, "a sentence says what it does"


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(origin: Shell, shell_name: str) -> None:
    assert "_LOOKALIKE_COMPLETE" in origin.run("completion", shell_name)


def test_the_completion_names_commands(origin: Shell) -> None:
    found = origin.run(
        _LOOKALIKE_COMPLETE="bash_complete", COMP_WORDS="lookalike re", COMP_CWORD="1"
    )

    assert found.split() == ["plain,reject", "plain,remove", "plain,report"]


# --- each command -----------------------------------------------------------------------------

Line = Callable[[Mapping[str, str]], Sequence[str]]
Check = Callable[[Any], bool]

COMMANDS: dict[str, tuple[Line, Check, str]] = {
    "create": (
        lambda _: ("create", "more-notes", "--extractor", "word_lengths"),
        lambda value: value["collection"] == "more-notes" and value["documents"] == 0,
        r"more-notes\.label: 0 documents",
    ),
    "create, another field": (
        lambda _: ("create", "notes", "--field", "color", "--confidence-threshold", "0.7"),
        lambda value: (value["field"], value["limit"], value["documents"]) == ("color", 0.7, 10),
        r"notes\.color: 10 documents",
    ),
    "list": (
        lambda _: ("list",),
        lambda value: [one["collection"] for one in value] == ["notes"],
        r"notes\.label: 10 documents, 2 references, 100\.0% labelled",
    ),
    "add": (
        lambda _: ("add", "notes", "texts/long-0.txt", "nowhere.txt"),
        lambda value: (value["added"], value["labelled"]) == (1, {"Words > Long": 1}),
        r"1 added, 0 changed, 0 unchanged; 1 documents, 1 labelled automatically\n"
        r"  failed: nowhere\.txt: there is no file",
    ),
    "label": (
        lambda ids: ("label", "notes", ids["short-1.txt"], ids["short-2.txt"], "Words>Tiny"),
        lambda value: (value["by_person"], value["refused"]) == (2, {}),
        r"2 by you, \d+ automatically\n(?s:.*)undo with: op_",
    ),
    "label --none": (
        lambda ids: ("label", "notes", ids["short-0.txt"], "--none"),
        lambda value: value["unlabelled"] == {"Words > Short": 4},
        r"unlabelled +4  Words > Short",
    ),
    "check": (
        lambda _: ("check", "notes"),
        lambda value: value is None,
        r"^no check: notes\.label labels by a similarity threshold.*--target-precision 0\.95`\n$",
    ),
    "reject": (
        lambda ids: ("reject", "notes", ids["short-1.txt"]),
        lambda value: (value["by_person"], value["unlabelled"]) == (1, {"Words > Short": 1}),
        r"unlabelled +1  Words > Short",
    ),
    "run": (
        lambda _: ("run", "notes", "--confidence-threshold", "0.999"),
        lambda value: value["by_person"] == 0 and value["unlabelled"]["Words > Short"] == 1,
        r"0 by you, \d+ automatically",
    ),
    "promote": (
        lambda _: ("promote", "notes", "--min-confidence", "0.99", "--label", "Words > Short"),
        lambda value: value["by_person"] == 3,
        r"3 by you",
    ),
    "undo": (
        lambda _: ("undo", "notes"),
        lambda value: value["unlabelled"] == {"Words > Long": 4, "Words > Short": 4},
        r"unlabelled +4  Words > Long",
    ),
    "queue": (
        lambda _: ("queue", "notes", "--limit", "3"),
        lambda value: len(value) == 3 and {one["kind"] for one in value} <= {"value", "limit"},
        r"what is it\? \(limit, settles about \d+\)\n  doc_\w+   0\.9\d+  Words > \w+  \(auto\)",
    ),
    "new-kind": (
        lambda ids: ("new-kind", "notes", ids["short-1.txt"], "--asked"),
        lambda value: (value["by_person"], value["unlabelled"]) == (1, {}),
        r"1 by you, 0 automatically",
    ),
    "cannot-tell": (
        lambda ids: ("cannot-tell", "notes", ids["short-1.txt"]),
        lambda value: value["by_person"] == 1,
        r"1 by you, 0 automatically",
    ),
    "inspect": (
        lambda _: ("inspect", "notes"),
        lambda value: (
            {one["label"] for one in value["labels"]} == {"Words > Long", "Words > Short"}
        ),
        r" 1 references, not tested  Words > Long, too few",
    ),
    "why": (
        lambda ids: ("why", "notes", ids["long-1.txt"]),
        lambda value: value["witnesses"][0]["actor"] == "ann",
        r"\(long-1\.txt\): Words > Long\n(?s:.*)\(long-0\.txt\), human by ann",
    ),
    "audit": (
        lambda _: ("audit", "draw", "notes", "--size", "3"),
        lambda value: (len(value["waiting"]), value["answered"]) == (3, []),
        r"audit op_\w+ of notes\.label: a sample of 3 from 8 automatic labels\n"
        r"(?s:.*)3 to check:\n  doc_",
    ),
    "versions": (
        lambda _: ("versions", "keep", "notes", "first", "--note", "so far"),
        lambda value: (value["name"], value["note"]) == ("first", "so far"),
        r"first  \d{4}-\d\d-\d\d \d\d:\d\d  label  so far",
    ),
    "labels": (
        lambda _: ("labels", "tree", "notes"),
        lambda value: [one["label"] for one in value["nodes"]][:2] == ["Words", "Words > Long"],
        r"  Words  2 \+ 8\n    Long  1 \+ 4\n",
    ),
    "history": (
        lambda _: ("history", "notes"),
        lambda value: [one["kind"] for one in value] == ["import", "add"],
        r"op_\w+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  import +ann",
    ),
    "report": (
        lambda _: ("report", "notes"),
        lambda value: (value["coverage"], value["labelled"]["human"]) == (1.0, 2),
        r"5  Words > Long  \(4 auto, 1 human\)",
    ),
    "export": (
        lambda _: ("export", "notes", "out.csv"),
        lambda value: value == {"rows": 10, "file": "out.csv"},
        r"10 rows → out\.csv",
    ),
    "import": (
        lambda _: ("import", "notes", "labels.csv", "--suggestions"),
        lambda value: value["refused"] == {} and value["labelled"] == {},
        r"undo with",
    ),
    "forget": (
        lambda ids: ("forget", "notes", ids["short-4.txt"], "--yes"),
        lambda value: (value["documents"], value["labels"]) == (1, 1),
        r"erased 1 documents, 1 labels",
    ),
    "forget a label": (
        lambda _: ("forget", "notes", "--label", "Words > Short", "--yes"),
        lambda value: value["documents"] >= 1,
        r"erased \d+ documents",
    ),
    "remove": (
        lambda _: ("remove", "bucket", "notes", "--cascade", "--yes"),
        lambda value: (value["collections"], value["objects"]) == (["notes"], 10),
        r"removed notes, notes: 10 objects, 10 documents",
    ),
    "keys": (
        lambda _: ("keys", "create", "--name", "ben", "--scope", "read", "--namespace", "shop"),
        lambda value: re.fullmatch(r"lk_[0-9a-f]{12}_[\w-]{43}", value["key"]) is not None,
        r"^lk_[0-9a-f]{12}_[\w-]{43}\n$",
    ),
    "monitor": (
        lambda _: ("monitor", "notes", "--days", "2"),
        lambda value: value["forecast"]["before"] == 0 and len(value["history"]) == 2,
        r"notes\.label: 10 documents[\s\S]*per day \d+ arrive",
    ),
    "watch": (
        lambda _: ("watch", "notes", "--coverage", "0.1:0.9"),
        lambda value: (value["coverage"], value["raised"]) == ([0.1, 0.9], False),
        r"alert quiet: coverage 0\.1:0\.9",
    ),
    "doctor": (
        lambda _: ("doctor",),
        lambda value: value["problems"] == [] and "word_lengths" in value["extractors"],
        r"notes: word_lengths\.v1/lengths@00000000\nthe store is sound",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_prints_json_and_text(labelled: Shell, name: str) -> None:
    line, holds, pattern = COMMANDS[name]
    shutil.copytree(labelled.folder / "lookalike", labelled.folder / "copy")

    value = labelled.json(*line(labelled.names))
    text = labelled.run("--store", "copy", *line(labelled.names))

    assert holds(value), value
    assert re.search(pattern, text), text


def test_the_table_has_every_command() -> None:
    """What goes on until it is stopped, or needs other collections, has tests of its own."""
    tested = {line(dict.fromkeys(_ANY, ""))[0] for line, *_ in COMMANDS.values()}

    elsewhere = [
        "agreement",
        "backup",
        "compact",
        "completion",
        "copy",
        "cost",
        "demo",
        "draw",
        "health",
        "mcp",
        "migrate",
        "serve",
        "trial",
        "worker",
    ]
    assert tested | set(elsewhere) == set(cli.commands)


_ANY = [f"{kind}-{number}.txt" for kind in ("short", "long") for number in range(5)]


def test_the_list_tells_each_label_field_and_who_has_none(labelled: Shell) -> None:
    """As a collection that was made over HTTP without a taxonomy."""
    with lookalike.open(labelled.folder / "lookalike", actor="ann") as library:
        library.create_bucket("post")
        library.create_collection("letters", bucket="post", extractor="text")
        library.add_taxonomy("notes", "tone")

    text = labelled.run("list")
    states = labelled.json("list")

    assert "letters: 0 documents, no label field yet" in text
    assert "notes.label: 10 documents, 2 references" in text
    assert "notes.tone: 10 documents, 0 references" in text
    named = [(state["collection"], state.get("field")) for state in states]
    assert named == [("letters", None), ("notes", "label"), ("notes", "tone")]


def test_a_key_is_listed_without_its_secret_and_revoked_by_its_id(shell: Shell) -> None:
    key = shell.run("keys", "create", "--name", "ben", "--scope", "read").strip()
    _, id, secret = key.split("_", 2)

    listed = shell.run("keys", "list")
    revoked = shell.run("keys", "revoke", id)

    assert re.fullmatch(rf"{id}  read   all namespaces  \d{{4}}-\d\d-\d\d  ben\n", listed)
    assert secret not in listed + json.dumps(shell.json("keys", "list"))
    assert re.search(r"ben  \(revoked \d{4}-\d\d-\d\d\)", revoked)
    assert "no key is named 'nobody'" in shell.finish("keys", "revoke", "nobody").stderr


def test_a_first_key_may_be_made_before_the_store(origin: Shell, tmp_path: Path) -> None:
    place = str(tmp_path / "new")

    assert origin.run("--store", place, "keys", "create", "--name", "ann").startswith("lk_")


def test_the_key_of_the_setting_is_never_shown(shell: Shell) -> None:
    told = shell.run("doctor", LOOKALIKE_API_KEY="sesame-open-sesame")
    refused = shell.finish("doctor", LOOKALIKE_API_KEY="sesame")

    assert "sesame" not in told
    assert "LOOKALIKE_API_KEY" in refused.stderr
    assert "sesame" not in refused.stderr


# --- where the store is -----------------------------------------------------------------------


def test_the_store_may_be_named_before_behind_or_by_the_environment(shell: Shell) -> None:
    (shell.folder / "lookalike").rename(shell.folder / "elsewhere")

    before = shell.run("--store", "elsewhere", "list")
    behind = shell.run("list", "--store", "elsewhere")
    named = shell.run("list", LOOKALIKE_STORE="elsewhere")

    assert before == behind == named
    assert "10 documents" in before


def test_a_name_behind_the_command_outweighs_the_environment(shell: Shell) -> None:
    assert "10 documents" in shell.run("list", "--store", "lookalike", LOOKALIKE_STORE="nowhere")


def test_a_mistyped_store_is_not_made(shell: Shell) -> None:
    done = shell.finish("--store", "lokalike", "report", "notes")

    assert done.returncode == 1
    assert "no store in 'lokalike'" in done.stderr
    assert not (shell.folder / "lokalike").exists()


def test_the_doctor_needs_no_store(tmp_path: Path, origin: Shell) -> None:
    shell = Shell(tmp_path, origin.environment, {})

    text = shell.run("doctor")

    assert "none yet" in text
    assert "onnxruntime" in text
    assert list(tmp_path.iterdir()) == []


# --- errors -----------------------------------------------------------------------------------

ERRORS: dict[str, tuple[Sequence[str], str]] = {
    "unknown collection": (("report", "nots"), r"'nots'; did you mean 'notes'\? \(known: notes\)"),
    "unknown label field": (("run", "notes", "--field", "colour"), r"'colour' .*known: label"),
    "unknown document": (("why", "notes", "doc_x"), r"no document 'doc_x'; .*export"),
    "unknown operation": (("undo", "notes", "op_x"), r"no operation 'op_x' .*history"),
    "nothing to undo": (("undo", "notes"), r"nothing to undo; see `lookalike history notes`"),
    "unknown extractor": (("create", "new", "--extractor", "imgae"), r"did you mean 'image'"),
    "another extractor": (("create", "notes", "--extractor", "text"), r"choose another name"),
    "bad name": (("create", "my notes"), r"'my notes' is not a valid name .*letters, digits"),
    "bad option": (("create", "new", "--option", "dimension"), r"'dimension' .*NAME=VALUE"),
    "bad threshold": (("run", "notes", "--confidence-threshold", "2"), r"2\.0 .*between 0 and 1"),
    "threshold NaN": (("run", "notes", "--target-precision", "nan"), r"nan .*above 0, up to 1"),
    "cost of a threshold": (("cost", "notes"), r"not probabilities: .*lookalike run notes --field"),
    "nobody to agree": (("agreement", "notes"), r"nobody has answered yet: .* --second-opinion"),
    "missing file": (("add", "notes", "nowhere.txt"), r"no file or folder 'nowhere\.txt'; check"),
    "empty folder": (("add", "notes", "empty"), r"'empty' has no files; check the path"),
    "folder without texts": (("add", "notes", "pictures"), r"1 files is text, .*'a\.png'; check"),
    "missing table": (("import", "notes", "no.csv"), r"no file or folder 'no\.csv'; check"),
    "wrong columns": (("import", "notes", "wrong.csv"), r"row 1 .*has no 'label' .*file_name"),
    "unknown suffix": (("label", "notes", "--from", "x.xlsx"), r"'x\.xlsx' .*use \.csv, \.tsv"),
    "no class folders": (("import", "notes", "pictures"), r"'pictures' has no class folders"),
    "label alone": (("label", "notes", "Shoes"), r"'Shoes' alone is not enough"),
    "two ways at once": (
        ("label", "notes", "doc_x", "A", "--from", "wrong.csv"),
        r"give documents and a label",
    ),
    "empty label": (("label", "notes", "doc_x", "Shoes > "), r"empty part; write 'Shoes > Run"),
    "no place": (("export", "notes", "no/where.csv"), r"cannot write 'no/where\.csv'.*choose"),
    "all promoted": (("promote", "notes"), r"give the documents to promote"),
    "nobody to ask": (("forget", "notes", "SHORT-0"), r"cannot ask here; add --yes"),
    "forget what": (
        ("forget", "notes", "--yes"),
        r"give the documents to forget: ID …, or --label LABEL",
    ),
    "nobody to ask for": (("remove", "bucket", "notes"), r"notes would be removed; cannot ask"),
    "bucket in use": (("remove", "bucket", "notes", "--yes"), r"the bucket 'notes': used by"),
    "cascade": (("remove", "collection", "notes", "--cascade"), r"--cascade is for buckets"),
    "no store": (("--store", "https://x.org/y", "list"), r"at a 'https' address; name a directory"),
}


@pytest.fixture(scope="module")
def messy(origin: Shell, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A copy of the store beside the files that errors are about."""
    shell = copied(origin, tmp_path_factory.mktemp("messy") / "shop")
    (shell.folder / "empty").mkdir()
    (shell.folder / "pictures").mkdir()
    (shell.folder / "pictures" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (shell.folder / "wrong.csv").write_text("name,kind\na.txt,Short\n")
    (shell.folder / "x.xlsx").write_text("")
    return shell


@pytest.fixture
def plugin(origin: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The extractor of the store, in this process too."""
    monkeypatch.syspath_prepend(origin.environment["PYTHONPATH"])
    extractors.cache_clear()
    yield
    extractors.cache_clear()


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_one_line_with_the_cure(
    messy: Shell, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which is faster: by the function that the command calls."""
    arguments, pattern = ERRORS[name]
    told = [messy.names["short-0.txt"] if word == "SHORT-0" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["lookalike", *told])
    monkeypatch.chdir(messy.folder)
    monkeypatch.delenv("LOOKALIKE_STORE", raising=False)

    with pytest.raises(SystemExit) as ended:
        main()

    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (1, "")
    (line,) = printed.err.splitlines()
    assert line.startswith("lookalike: ")
    assert re.search(pattern, line), line


def test_an_unreadable_address_fails_alone_and_is_named(shell: Shell) -> None:
    done = shell.finish("add", "notes", "foo://a/b", "--json")

    assert done.returncode == 1
    failed = json.loads(done.stdout)["failed"]
    assert "the scheme 'foo' is unknown; use a path" in failed["b"]


def test_a_wrong_option_shows_the_usage(messy: Shell) -> None:
    done = messy.finish("report", "notes", "--wrong")

    assert done.returncode == 2
    assert "No such option" in done.stderr


def test_nothing_is_erased_without_a_yes(shell: Shell) -> None:
    done = shell.finish("forget", "notes", shell.names["short-0.txt"])

    assert (done.returncode, done.stdout) == (1, "")
    assert shell.json("report", "notes")["documents"] == 10


def test_a_failed_export_leaves_the_old_file(shell: Shell) -> None:
    (shell.folder / "out.csv").write_text("precious")

    shell.run("export", "notes", "out.csv", "--field", "colour", code=1)

    assert (shell.folder / "out.csv").read_text() == "precious"


# --- longer stories ---------------------------------------------------------------------------


def test_the_folder_is_brought_in_and_the_rest_labels_itself(labelled: Shell) -> None:
    rows = [json.loads(row) for row in labelled.run("export", "notes", "--json").splitlines()]

    sources = {row["file_name"]: row["label_source"] for row in rows}
    wanted = {"short": "Words > Short", "long": "Words > Long"}
    assert all(row["label"] == wanted[row["file_name"].split("-")[0]] for row in rows)
    assert {name for name, source in sources.items() if source == "human"} == set(LABELS)


def test_what_is_not_taken_is_named_with_the_reason(shell: Shell) -> None:
    (shell.folder / "some.csv").write_text(
        "file_name,label\nshort-0.txt,Short\nshort-9.txt,Short\nlong-9.txt,Long\nlong-0.txt,\n"
    )

    text = shell.run("import", "notes", "some.csv")

    assert "refused: 2 × is not a document of this collection (row 2 (short-9.txt), row 3" in text
    assert "refused: 1 × has no 'label' (row 4 (long-0.txt))" in text


def test_class_folders_give_hierarchical_labels(shell: Shell) -> None:
    for number, text in enumerate(SHORT):
        folder = shell.folder / "sorted" / "Words" / f"Short {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(text)

    shell.run("create", "sorted", "--extractor", "word_lengths")
    shell.run("import", "sorted", "sorted/", "--labels-from", "folders")

    report = shell.json("report", "sorted")
    assert report["per_label"] == {
        "Words > Short 0": {"import": 3},
        "Words > Short 1": {"import": 2},
    }


def test_an_export_imported_elsewhere_keeps_what_people_said(labelled: Shell) -> None:
    labelled.run("export", "notes", "labels.csv")
    other = ("--store", "other")
    labelled.run(*other, *CREATE)
    labelled.run(*other, "add", "notes", "texts")

    labelled.run(*other, "import", "notes", "labels.csv")

    labelled.run(*other, "run", "notes", "--confidence-threshold", "1")
    rows = [
        json.loads(row) for row in labelled.run(*other, "export", "notes", "--json").splitlines()
    ]
    trusted = {row["file_name"]: row["label"] for row in rows if row["is_reference"]}
    assert trusted == LABELS, "automatic labels are suggestions: they do not vote"


def test_interrupted_and_run_again_it_goes_on(tmp_path: Path, origin: Shell) -> None:
    shell = Shell(tmp_path, origin.environment, {})
    (tmp_path / "texts").mkdir()
    for number in range(40):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"{'x' * number} a text")
    log = tmp_path / "log.txt"
    slow = ("--option", "pause_ms=100", "--option", f"log={log}")
    shell.run("create", "notes", "--extractor", "word_lengths", *slow)
    process = shell.start("add", "notes", "texts")
    while not log.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "interrupted; run the same command again to continue" in said
    assert "Traceback" not in said
    between = shell.json("report", "notes")
    assert between["documents"] + between["waiting"] == 40
    assert between["waiting"] > 0
    added = shell.json("add", "notes", "texts")
    assert (added["added"], added["unchanged"]) == (0, 40)
    assert shell.json("report", "notes")["documents"] == 40
