"""The package as a user gets it: the wheel, installed where the sources are out of reach."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
MAX_INSTALLED_BYTES = 450_000_000

MODELS = (
    "bge-small-en-v1.5.onnx",
    "bge-small-en-v1.5.tokenizer.json",
    "efficientnet-lite2.onnx",
    "minilm-l6-v2.onnx",
    "minilm-l6-v2.tokenizer.json",
    "nanodet-g.onnx",
    "README.md",
)
LICENCES = (
    "LICENSE",
    "THIRD_PARTY.md",
    "src/lookalike/extractors/onnx/weights/LICENSE-bge-small-en-v1.5.txt",
    "src/lookalike/extractors/onnx/weights/LICENSE-efficientnet-lite2.txt",
    "src/lookalike/extractors/onnx/weights/LICENSE-minilm-l6-v2.txt",
    "src/lookalike/extractors/onnx/weights/LICENSE-nanodet-g.txt",
    "src/lookalike/library/samples/LICENSE",
    "src/lookalike/server/static/vendor/LICENSE-lit",
)


def pip(*arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *map(str, arguments), "--no-deps", "--quiet"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def run(place: Path, *arguments: str) -> str:
    """Run Python where the package of `place` hides our sources."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", place, ROOT)
    return next(place.glob("lookalike-*.whl"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("installed")
    pip("install", "--target", place, wheel)
    return place


def test_the_wheel_carries_models_samples_and_type_marker(names: set[str]) -> None:
    pictures = list((ROOT / "src/lookalike/library/samples/pictures").iterdir())
    wanted = {
        "lookalike/py.typed",
        "lookalike/library/samples/truth.csv",
        *(f"lookalike/extractors/onnx/weights/{name}" for name in MODELS),
        *(f"lookalike/library/samples/pictures/{picture.name}" for picture in pictures),
    }

    assert len(pictures) > 500
    assert wanted <= names


def test_the_wheel_carries_every_module(names: set[str]) -> None:
    source = ROOT / "src"

    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}

    assert modules == {name for name in names if name.endswith(".py")}


def test_the_wheel_carries_every_file_of_the_page(names: set[str]) -> None:
    source = ROOT / "src"
    page = source / "lookalike/server/static"

    files = {path.relative_to(source).as_posix() for path in page.rglob("*") if path.is_file()}

    assert "lookalike/server/static/index.html" in files <= names


def test_the_wheel_carries_the_licences_of_all_it_carries(names: set[str]) -> None:
    licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}

    assert licences == set(LICENCES)


def test_the_wheel_has_nothing_but_the_package(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"lookalike"}
    assert not [name for name in names if "test_" in name or "__pycache__" in name]


def test_the_installed_package_works_without_the_sources(installed: Path) -> None:
    code = (
        "import lookalike\n"
        "print(lookalike.__file__)\n"
        "with lookalike.open('shop', actor='ann') as library:\n"
        "    things = library.labeler('things', extractor='image', confidence_threshold=0.9)\n"
        "    from importlib.resources import files\n"
        "    pictures = files('lookalike.library.samples').joinpath('pictures')\n"
        "    print(things.add(pictures.joinpath('apple.png')).documents)\n"
    )

    place, documents = run(installed, "-c", code).splitlines()

    assert Path(place).is_relative_to(installed)
    assert documents == "1"


def test_the_installed_command_says_its_version(installed: Path) -> None:
    script = next((installed / "bin").glob("lookalike"))

    said = run(installed, str(script), "--version")

    assert said == f"lookalike, version {metadata.version('lookalike')}"


def test_the_installed_package_has_the_version_and_extras_of_the_project(installed: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = next(iter(metadata.distributions(path=[str(installed)])))

    assert found.version == metadata.version("lookalike")
    assert set(found.metadata.get_all("Provides-Extra") or []) == set(
        project["optional-dependencies"]
    )


def test_what_runs_is_what_is_tested() -> None:
    """An image that has checked its digests must not get other versions with its extras."""
    run, test = (pinned(ROOT / "constraints" / name) for name in ("run.txt", "test.txt"))

    assert len(run) > 10
    assert run == {name: test[name] for name in run}


def pinned(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", file.read_text("utf-8"), re.MULTILINE))


def test_everything_that_is_needed_to_run_is_small(
    installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = sum(path.stat().st_size for path in installed.rglob("*") if path.is_file())
    sizes = {name: size_bytes(name) for name in needed("lookalike") - {"lookalike"}}

    total = own + sum(sizes.values())

    with capsys.disabled():
        print(f"\ninstalled: {total / 1e6:.0f} MB, {own / 1e6:.0f} MB of it ours")  # noqa: T201 seen on purpose
    assert len(sizes) >= 10
    assert total < MAX_INSTALLED_BYTES, sorted(sizes.items(), key=lambda item: -item[1])[:5]


def needed(name: str) -> set[str]:
    """A distribution and all that it needs on this machine, without extras."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop().lower().replace("_", "-")
        if one not in found:
            found.add(one)
            waiting += [
                need.name
                for need in map(Requirement, metadata.requires(one) or [])
                if need.marker is None or need.marker.evaluate({"extra": ""})
            ]
    return found


def size_bytes(name: str) -> int:
    files = metadata.files(name)
    assert files, f"{name} has no list of its files"
    places = [Path(str(file.locate())) for file in files]
    return sum(place.stat().st_size for place in places if place.is_file())
