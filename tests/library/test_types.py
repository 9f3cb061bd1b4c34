"""What a type checker sees in a user's script: exact types, of a store and of a server alike."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SCRIPT = """\
import lookalike

with lookalike.open("store") as library:
    local = library.labeler("shoes", extractor="image", target_precision=0.95)
with lookalike.connect("http://127.0.0.1:8710") as server:
    remote = server.labeler("shoes", "pictures", extractor="image", target_precision=0.95)

reveal_type((local, remote))
reveal_type((local.label({"a": "boot"}), remote.label({"a": None}, actor="ann")))
reveal_type((local.audits(), remote.audits()))
reveal_type((local.documents(origin="auto"), remote.documents(label=None)))
reveal_type((local.as_of("v1").decide(), remote.as_of("v1").decide()))
reveal_type((local.fields, remote.fields))
reveal_type((local.check(), remote.check()))
reveal_type((library.spaces(), server.spaces()))
remote.label({"a": 1})
remote.run(confidence="high")
remote.lable({"a": "boot"})
server.labeler("shoes", top_k="ten")
server.runtime
"""

REVEALED = """\
Collection, RemoteCollection
Changed, Changed
list[Audit], list[Audit]
Iterator[Document], Iterator[Document]
Redecided, Redecided
tuple[str, ...], tuple[str, ...]
Question | None, Question | None
dict[str, str], dict[str, str]
"""

REFUSED = (
    'Dict entry 0 has incompatible type "str": "int"',
    'Unexpected keyword argument "confidence" for "run" of "RemoteCollection"',
    '"RemoteCollection" has no attribute "lable"',
    'Argument "top_k" to "labeler" of "RemoteLibrary" has incompatible type "str"',
    '"RemoteLibrary" has no attribute "runtime"',
)

# To read what others wrote takes a minute, and our types do not hang on it.
CONFIG = """\
[mypy]
[mypy-fastapi.*,fsspec.*,httpx2.*,PIL.*,pydantic.*,pydantic_settings.*,pluggy.*,ray.*,scipy.*,sklearn.*,sqlalchemy.*,ulid.*,numpy.*]
follow_imports = skip
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says of the script, line by line, without the modules of types."""
    place = tmp_path_factory.mktemp("script")
    (place / "script.py").write_text(SCRIPT, "utf-8")
    (place / "mypy.ini").write_text(CONFIG, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "script.py", "--cache-dir", str(place / "cache")],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return [re.sub(r"\b(?:\w+\.)+(?=\w)", "", line) for line in done.stdout.splitlines()]


def test_a_script_sees_the_same_exact_types_of_a_store_and_of_a_server(said: list[str]) -> None:
    told = [re.search(r'Revealed type is "tuple\[(.*)\]"', line) for line in said]

    assert [one[1] for one in told if one] == REVEALED.splitlines()


def test_a_wrong_argument_of_a_servers_verb_is_refused(said: list[str]) -> None:
    errors = [line for line in said if " error: " in line]

    assert len(errors) == len(REFUSED), errors
    for line, reason in zip(errors, REFUSED, strict=True):
        assert reason in line
