"""Bring the generated parts of `docs/` up to date, in place: `python tools/make_docs.py`.

A part stands between `<!-- made by tools/make_docs.py: NAME -->` and `<!-- end -->`; it is made
from the code that it speaks of, and a test checks that it is up to date.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import click

import lookalike
from lookalike import errors, labels, model
from lookalike.catalog import embedding_map
from lookalike.cli.group import cli
from lookalike.content.pictures import kinds_named
from lookalike.extractors import hookspecs
from lookalike.extractors.base import Extractor
from lookalike.extractors.combined import COMBINED
from lookalike.extractors.registry import ALIASES, extractors
from lookalike.formats.base import DOCUMENTS, REGIONS
from lookalike.formats.registry import FORMATS
from lookalike.library import forget, migration, remove
from lookalike.library.collection import explanations
from lookalike.quality import alerts, monitoring, space_comparison, thresholds
from lookalike.quality import monitoring as blaming
from lookalike.quality import monitoring as flows
from lookalike.quality.stats import audit_estimate, metrics, paired_comparison
from lookalike.server.errors import ANSWERS
from lookalike.settings import SETTINGS

DOCS = Path(__file__).parent.parent / "docs"
KEYS = Path(lookalike.__file__).parent / "server" / "static" / "keys.js"

_PART = re.compile(r"(<!-- made by tools/make_docs\.py: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SHARED_OPTIONS = ("as_json", "store")

NOUNS: tuple[type, ...] = (
    model.Document,
    model.Standing,
    model.Decision,
    model.Match,
    model.Added,
    model.Changed,
    metrics.Report,
    monitoring.Monitoring,
    flows.Day,
    monitoring.Forecast,
    monitoring.LabelPrecision,
    blaming.ReferenceAttribution,
    alerts.Alarm,
    alerts.Breach,
    alerts.Delivery,
    explanations.Why,
    explanations.Witness,
    explanations.Counterfactual,
    explanations.Quotes,
    explanations.Quote,
    model.Operation,
    model.Event,
    forget.Receipt,
    remove.Removed,
    audit_estimate.Audit,
    audit_estimate.Estimate,
    audit_estimate.Stratum,
    audit_estimate.AuditItem,
    model.Verdict,
    labels.LabelTree,
    labels.LabelNode,
    labels.LabelCounts,
    paired_comparison.Trial,
    paired_comparison.Challenger,
    paired_comparison.Comparison,
    paired_comparison.Side,
    paired_comparison.Crossing,
    paired_comparison.TrialItem,
    paired_comparison.Outcome,
    thresholds.Flips,
    thresholds.Flip,
    migration.Migration,
    space_comparison.FieldComparison,
    space_comparison.LabelChange,
    migration.DroppedSpaces,
    embedding_map.Map,
    embedding_map.MapLabel,
    embedding_map.State,
    model.Suggestion,
    model.Origin,
    model.Reason,
)
"""What the verbs take and give back."""


def filled(page: str) -> str:
    """Return a page with every part made again. Raises KeyError for a part that nobody makes."""
    return _PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", page)


def main() -> None:
    """Write the pages that have changed and name them."""
    for path in sorted(DOCS.glob("*.md")):
        old = path.read_text("utf-8")
        new = filled(old)
        if new != old:
            path.write_text(new, "utf-8")
            print(f"made {path.name}")


# --- the command line ---------------------------------------------------------------------------


def commands() -> str:
    """Return every command: how it is called, what it does, its options and examples."""
    return _commands(click.Context(cli, info_name="lookalike"), "##")


def _commands(group: click.Context, heading: str) -> str:
    assert isinstance(group.command, click.Group)
    listed = group.command.commands
    return "".join(_command(group, listed[name], heading) for name in sorted(listed))


def _command(group: click.Context, command: click.Command, heading: str) -> str:
    context = click.Context(command, parent=group, info_name=command.name)
    title = context.command_path.partition(" ")[2]
    usage = " ".join(piece for piece in command.collect_usage_pieces(context) if piece)
    words, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    text = f"\n{heading} `{title}`\n\n```text\n{context.command_path} {usage}\n```\n\n"
    text += f"{words.strip()}\n\n"
    options = [one for one in command.params if isinstance(one, click.Option)]
    own = [option for option in options if option.name not in _SHARED_OPTIONS]
    if own:
        rows = [(f"`{_option(option)}`", _meaning(option)) for option in own]
        text += _table(("option", "meaning"), rows) + "\n"
    text += f"```sh\n{examples.strip()}\n```\n" if examples else ""
    return text + (_commands(context, heading + "#") if isinstance(command, click.Group) else "")


def _option(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    if isinstance(option.type, click.Choice):
        value = f" {'|'.join(option.type.choices)}"
    return " ".join(option.opts) + value


def _meaning(option: click.Option) -> str:
    default = f" [{option.default}]" if option.show_default else ""
    often = " May be given several times." if option.multiple else ""
    return f"{option.help or ''}{default}{often}".strip()


# --- tables -------------------------------------------------------------------------------------


def settings() -> str:
    """Return the table of settings."""
    rows = [
        (f"`{one.name}`", f"`{one.variable}`", f"`{one.default}`" if one.default else "", one.help)
        for one in SETTINGS
    ]
    return _table(("name", "variable", "default", "meaning"), rows)


def error_tree() -> str:
    """Return the tree of errors, then what each means."""
    tree = "\n".join(_branches(errors.LookalikeError, "", ""))
    rows = [(f"`{one.__name__}`", _first_line(one)) for one in _subclasses(errors.LookalikeError)]
    return f"```text\n{tree}\n```\n\n" + _table(("error", "meaning"), rows)


def answer_table() -> str:
    """Return the errors that a server answers: status, code and meaning."""
    rows = [(str(status), f"`{code}`", meaning) for status, code, meaning in ANSWERS]
    return _table(("status", "code", "meaning"), rows)


def _branches(error: type[Exception], own: str, below: str) -> Iterator[str]:
    yield own + error.__name__
    children = _children(error)
    for child in children:
        last = child is children[-1]
        corner, line = ("└── ", "    ") if last else ("├── ", "│   ")
        yield from _branches(child, below + corner, below + line)


def _subclasses(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for child in _children(error):
        yield from _subclasses(child)


def _children(error: type[Exception]) -> list[type[Exception]]:
    """Return the errors right below one: public ones, whatever else has been imported."""
    return [one for one in error.__subclasses__() if one.__module__ == errors.__name__]


def extractor_table() -> str:
    """Return the extractors that the package brings, with the kinds of content they read."""
    short = {full: name for name, full in ALIASES.items()}
    rows = []
    for name, factory in sorted(extractors().items()):
        if name == COMBINED:  # its short name is a list
            rows.append(("`[…, …]`", f"`{name}`", *3 * ("its members'",)))
            continue
        if name not in short:  # it needs a model of one's own: docs/models.md
            continue
        built = factory(2) if name == "passthrough" else factory()
        space = "yours" if name == "passthrough" else f"`{built.space.name}`"
        dimension = "yours" if name == "passthrough" else str(built.space.dimension)
        rows.append((f"`{short[name]}`", f"`{name}`", _read_by(built), space, dimension))
    return _table(("short", "name", "reads", "space", "dimension"), rows)


def _read_by(extractor: Extractor) -> str:
    """Return what an extractor reads, in words."""
    return ", ".join(kinds_named(extractor.accepts))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


# --- Python -------------------------------------------------------------------------------------


def reference() -> str:
    """Return what is public in Python: the doors, their classes, and the nouns they speak."""
    text = _function("lookalike.open", lookalike.open, "##")
    for owner in (lookalike.Library, lookalike.Collection):
        text += f"\n## {owner.__name__}\n\n{_doc(owner)}\n"
        for name, member in _public(owner):
            text += _member(f"{owner.__name__}.{name}", member)
    text += _function("lookalike.connect", lookalike.connect, "##")
    for remote in (lookalike.RemoteLibrary, lookalike.RemoteCollection):
        text += f"\n## {remote.__name__}\n\n{_doc(remote)}\n\n{_verbs(remote)}"
    return text + "\n## Nouns\n" + "".join(map(_noun, NOUNS))


def _verbs(owner: type) -> str:
    """Return the table of what a class can do, in one line each."""
    rows = [(f"`{owner.__name__}.{n}`", _doc(one).split("\n\n")[0]) for n, one in _public(owner)]
    return _table(("verb", "what it does"), [(verb, " ".join(said.split())) for verb, said in rows])


def _public(owner: type) -> Iterator[tuple[str, Any]]:
    """Yield what a class can do: its own first, then what the classes that it stands on give it."""
    seen: set[str] = set()
    for kind in owner.__mro__[:-1]:
        own = {name: one for name, one in vars(kind).items() if not name.startswith("_")}
        yield from ((name, one) for name, one in own.items() if name not in seen)
        seen |= own.keys()


def hooks() -> str:
    """Return the hooks that a plugin can implement."""
    found = inspect.getmembers(hookspecs, inspect.isfunction)
    return "".join(_function(name, one, "###") for name, one in found)


def _member(name: str, member: object) -> str:
    if isinstance(member, property):
        assert member.fget is not None
        returned = ast.unparse(_definition(member.fget).returns or ast.Constant(value=None))
        return f"\n### {name}\n\n```text\n{name}: {returned}\n```\n\n{_doc(member)}\n"
    assert inspect.isfunction(member)
    return _function(name, member, "###")


def _function(name: str, function: Callable[..., object], heading: str) -> str:
    node = _definition(function)
    for listed in (node.args.posonlyargs, node.args.args):
        listed[:] = [one for one in listed if one.arg != "self"]
    result = ast.unparse(node.returns) if node.returns else "None"
    call = f"{name}({ast.unparse(node.args)}) -> {result}"
    if len(call) > 90:
        inner = ",\n    ".join(_arguments(node.args))
        call = f"{name}(\n    {inner},\n) -> {result}"
    return f"\n{heading} {name}\n\n```text\n{call}\n```\n\n{_doc(function)}\n"


def _definition(function: Callable[..., object]) -> ast.FunctionDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def _arguments(given: ast.arguments) -> Iterator[str]:
    placed = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(placed) - len(given.defaults)) + list(given.defaults)
    for place, (argument, default) in enumerate(zip(placed, defaults, strict=True), 1):
        yield _argument(argument, default)
        if place == len(given.posonlyargs):
            yield "/"
    if given.vararg:
        yield f"*{ast.unparse(given.vararg)}"
    elif given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(argument, default)
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else "")


def _noun(noun: type) -> str:
    text = f"\n### {noun.__name__}\n\n{_doc(noun)}\n\n"
    if issubclass(noun, enum.Enum):
        return text + f"Values: {', '.join(f'`{one.value}`' for one in noun)}.\n"
    assert dataclasses.is_dataclass(noun)
    rows = [(f"`{one.name}`", f"`{one.type}`") for one in dataclasses.fields(noun)]
    rows += [
        (f"`{name}`", _first_line(member))
        for name, member in vars(noun).items()
        if isinstance(member, property)
    ]
    return text + _table(("field", "type, or what it gives"), rows)


def _doc(thing: object) -> str:
    return inspect.getdoc(thing) or ""


def _first_line(thing: object) -> str:
    return " ".join(_doc(thing).split("\n\n")[0].split())


# --- the keys of the review page ----------------------------------------------------------------

_KEY_SIGNS = {
    " ": "Space",
    "ArrowLeft": "←",
    "ArrowRight": "→",
    "ArrowUp": "↑",
    "ArrowDown": "↓",
    "Escape": "Esc",
    "PageDown": "PgDn",
    "PageUp": "PgUp",
}


def key_tables() -> str:
    """Return the keys of the review page, a table for each scope, from its registry."""
    text = KEYS.read_text("utf-8")
    listed = text.partition("export const KEYS = ")[2].partition(";\n")[0]
    titles = dict(re.findall(r'^  (\w+): "([^"]+)",$', text, re.MULTILINE))
    keys: list[dict[str, Any]] = json.loads(listed)
    parts = []
    for scope, title in titles.items():
        rows = "".join(
            f"| {_shown_keys(one['keys'])} | {one['does']} |\n"
            for one in keys
            if one["scope"] == scope
        )
        parts.append(f"### {title}\n\n| key | does |\n|---|---|\n{rows}")
    return "\n".join(parts)


def _shown_keys(keys: Sequence[str]) -> str:
    if len(keys) == 9:
        return "`1` – `9`"
    return ", ".join(f"`{_shown_key(key)}`" for key in keys)


def _shown_key(key: str) -> str:
    parts = [key] if key in ("+", "-") else re.split(r"(?<=[^+ ])\+", key)
    shown = [_KEY_SIGNS.get(part, part.title() if len(part) in (1, 3) else part) for part in parts]
    return "+".join(shown)


# --- formats ------------------------------------------------------------------------------------


def format_table() -> str:
    """Return what each format holds and in which direction, as the contract's tests prove it."""
    head = ("name", "format", "whole files", "regions", "written to", "what it has no field for")
    rows = [
        (
            f"`{name}`",
            one.title,
            _directions(one.reads & {DOCUMENTS}, one.writes & {DOCUMENTS}),
            _directions(one.reads & {REGIONS}, one.writes & {REGIONS}),
            one.target,
            one.keeps,
        )
        for name, one in FORMATS.items()
    ]
    return _table(head, rows)


def _directions(reads: Set[str], writes: Set[str]) -> str:
    words = [word for word, there in (("import", reads), ("export", writes)) if there]
    return ", ".join(words) or "–"


PARTS: Mapping[str, Callable[[], str]] = {
    "answers": answer_table,
    "commands": commands,
    "errors": error_tree,
    "extractors": extractor_table,
    "formats": format_table,
    "hooks": hooks,
    "keys": key_tables,
    "reference": reference,
    "settings": settings,
}

if __name__ == "__main__":
    main()
