"""Write the client's verbs, `library/remote/verbs.py`, from the methods that have `@verb`.

    python tools/make_client.py

The parameters, types, defaults and docstrings are those of the source. What may load a database or
a model is imported when the first answer of its type comes.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from lookalike.library.collection.collection import Collection
from lookalike.library.collection.history import Past
from lookalike.library.collection.read import DocumentVerbs
from lookalike.library.library import Library
from lookalike.library.verb import PAGE, Verb, verbs_of

TARGET = Path(__file__).parent.parent / "src/lookalike/library/remote/verbs.py"

CLASSES = (
    # The class to be made, the one whose verbs it has, and on which it stands.
    ("SharedVerbs", DocumentVerbs, "Caller", "Verbs that a collection and its past states share."),
    ("CollectionVerbs", Collection, "SharedVerbs", "The other verbs of a collection."),
    ("PastVerbs", Past, "SharedVerbs", "The other verbs of a past state of a collection."),
    ("LibraryVerbs", Library, "Caller", "The verbs of a library."),
)
_LOCAL = ("tally",)
"""Arguments that mean nothing to another process."""
_LIGHT = ("lookalike.library.remote.calls", "lookalike.model")
_MADE = {owner.__name__: name for name, owner, _, _ in CLASSES}

_HEAD = '''\
"""The verbs of the client, with the signatures of `Library`, `Collection` and `Past`.

Made by `make client` from the methods that have `@verb`: change these, not this. What is abstract
here is written by hand in `client.py` and `collection.py`.
"""

# ruff: noqa
# fmt: off
# mypy: disable-error-code="empty-body"

from __future__ import annotations

'''
_HOMES = '''
HOMES = {
%s}
"""Where the types of answers are, which are loaded when an answer comes."""
'''


def client() -> str:
    """Return the module of the client's verbs."""
    imports = Imports()
    imports.use("lookalike.library.remote.calls", "Caller")
    imports.use("lookalike.library.remote.calls", "sent")
    imports.use("abc", "abstractmethod")
    imports.use("typing", "TYPE_CHECKING")
    shared = {one.method for one in verbs_of(DocumentVerbs)}
    body = ""
    for name, owner, base, what in CLASSES:
        body += f'\n\nclass {name}({base}):\n    """{what}"""\n'
        for verb in verbs_of(owner):
            if owner is DocumentVerbs or verb.method not in shared:
                body += "\n" + textwrap.indent(_method(verb, imports), "    ")
    later = textwrap.indent(imports.lines(later=True), "    ")
    homes = "".join(f'    "{name}": "{home}",\n' for name, home in imports.answers())
    return f"{_HEAD}{imports.lines()}\nif TYPE_CHECKING:\n{later}{_HOMES % homes}{body}"


class Imports:
    """The imports of the module, name by name."""

    def __init__(self) -> None:
        self._homes: dict[str, str] = {}
        self._answers: set[str] = set()

    def use(self, home: str, name: str, *, answer: bool = False) -> None:
        """Import a name from the module `home`; an `answer` is needed when one comes."""
        assert self._homes.setdefault(name, home) == home, f"{name!r} has two meanings"
        if answer and _is_later(home):
            self._answers.add(name)

    def lines(self, *, later: bool = False) -> str:
        """Return the statements, a line a module: those that run, or those for type checkers."""
        modules = {one for one in self._homes.values() if _is_later(one) == later}
        text = ""
        for module in sorted(modules, key=lambda one: (one.startswith("lookalike."), one)):
            names = sorted(name for name, home in self._homes.items() if home == module)
            text += f"from {module} import {', '.join(names)}\n"
        return text

    def answers(self) -> Iterator[tuple[str, str]]:
        """Yield the names of what is answered, each with the module to load it from."""
        yield from sorted((name, self._homes[name]) for name in self._answers)


def _is_later(home: str) -> bool:
    return home.startswith("lookalike.") and home not in _LIGHT


def _method(verb: Verb, imports: Imports) -> str:
    """Return a method of the client: its decorator, its signature, its docstring."""
    call = inspect.unwrap(verb.call)
    node = ast.parse(textwrap.dedent(inspect.getsource(call))).body[0]
    assert isinstance(node, ast.FunctionDef), verb.method
    assert node.returns is not None, verb.method
    module = inspect.getmodule(call)
    assert module is not None, verb.method
    _leave_out(node.args)
    takes = ast.unparse(_Names(module, imports).visit(node.args))
    gives = ast.unparse(_Names(module, imports, answer=verb.client).visit(node.returns))
    way = f'@sent("{verb.route}")' if verb.client else "@abstractmethod"
    if any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list):
        way = f"@property\n{way}"
    said = textwrap.indent(_docstring(verb), "    ")
    return f"{way}\ndef {node.name}({takes}) -> {gives}:\n{said}"


def _leave_out(takes: ast.arguments) -> None:
    for place in reversed(range(len(takes.kwonlyargs))):
        if takes.kwonlyargs[place].arg in _LOCAL:
            del takes.kwonlyargs[place], takes.kw_defaults[place]


def _docstring(verb: Verb) -> str:
    """Return what a verb says of itself; the first paragraph where another is written by hand."""
    said = inspect.getdoc(verb.call)
    assert said, verb.method
    first, *rest = said.split("\n\n")
    if verb.paged and verb.client:
        first += f"\nA server answers up to {PAGE:,} at once."
    said = "\n\n".join([first, *rest] if verb.client else [first])
    quote = '"""'
    return f"{quote}{said}\n{quote}\n" if "\n" in said else f"{quote}{said}{quote}\n"


class _Names(ast.NodeTransformer):
    """Imports the names of a signature, and lets the client's classes stand for the library's."""

    def __init__(self, module: ModuleType, imports: Imports, *, answer: bool = False) -> None:
        self._module = module
        self._imports = imports
        self._answer = answer

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Import a name that is not built in, from where the module has it."""
        if node.id in _MADE:
            return ast.Name(_MADE[node.id])
        if not hasattr(builtins, node.id):
            home = _imported(self._module).get(node.id, self._module.__name__)
            self._imports.use(home, node.id, answer=self._answer)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Import what is named as a part of a module; a member of a class stays as it is."""
        assert isinstance(node.value, ast.Name)
        owner = vars(self._module)[node.value.id]
        if not isinstance(owner, ModuleType):
            return ast.Attribute(self.visit_Name(node.value), node.attr)
        self._imports.use(owner.__name__, node.attr, answer=self._answer)
        return ast.Name(node.attr)


@cache
def _imported(module: ModuleType) -> dict[str, str]:
    """Return where a module has each of its imported names from."""
    nodes = ast.parse(inspect.getsource(module)).body
    found = [one for one in nodes if isinstance(one, ast.ImportFrom) and one.module]
    return {name.name: str(one.module) for one in found for name in one.names}


if __name__ == "__main__":
    TARGET.write_text(client(), "utf-8")
