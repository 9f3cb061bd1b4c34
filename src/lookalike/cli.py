"""The command line: thin, over the same library. Errors are translated once, in `main`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lookalike.errors import BadInput, LookalikeError
from lookalike.library import Library
from lookalike.library import open as open_library
from lookalike.showing import show_changed, show_demo, show_document, show_report, show_why
from lookalike.version import __version__


class _Session:
    """What every command shares: where the store is, and how to print."""

    def __init__(self, store: str | None, as_json: bool) -> None:
        self.store = store
        self.as_json = as_json

    @contextmanager
    def library(self) -> Iterator[Library]:
        with open_library(self.store) as library:
            yield library

    def print(self, value: Any, show: Callable[[Any], str]) -> None:
        """Print a value as JSON, or as `show` tells it."""
        if self.as_json:
            click.echo(json.dumps(value, default=_json_value, ensure_ascii=False, indent=2))
        else:
            click.echo(show(value))


_store = click.option("--store", metavar="DIR", help="The store [LOOKALIKE_STORE, ./lookalike].")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


_UNDOABLE = ("label", "reject", "import", "promote", "run")


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """Let `--store` and `--json` stand behind the command too, and pass the session."""

    @click.option(
        "--store", metavar="DIR", help="Where the store is [LOOKALIKE_STORE, ./lookalike]."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.pass_obj
    def wrapped(obj: _Session, /, store: str | None, as_json: bool, **values: Any) -> None:
        command(_Session(store or obj.store, as_json or obj.as_json), **values)

    wrapped.__name__ = command.__name__
    wrapped.__doc__ = command.__doc__
    wrapped.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(wrapped, "__click_params__", []),
        *getattr(command, "__click_params__", []),
    ]
    return wrapped


_field = click.option("--field", metavar="NAME", help="The label field [the collection's first].")
_collection = click.argument("collection")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lookalike")
@_store
@_json
@click.pass_context
def cli(context: click.Context, store: str | None, as_json: bool) -> None:
    """Label a collection from a few examples.

    \b
    lookalike create products --extractor image
    lookalike add products photos/
    lookalike import products labels.csv --labels-from csv
    lookalike report products
    """
    context.obj = _Session(store, as_json)


@cli.command()
@_common
@click.option("--seed", default=0, show_default=True, help="Chooses the pictures to be labelled.")
def demo(session: _Session, seed: int) -> None:
    """Label the pictures that come with the package from ten examples a kind.

    \b
    lookalike demo
    lookalike --store /tmp/demo demo --seed 7
    """
    from lookalike.demo import run_demo

    with session.library() as library, _progress("extracting") as progress:
        result = run_demo(library, seed=seed, progress=progress)
    session.print(result, lambda value: show_demo(value, session.store or "lookalike"))


@cli.command()
@_common
@_collection
@click.option("--extractor", default="image", show_default=True, help="image, text, passthrough, …")
@click.option("--field", default="label", show_default=True, help="The label field's name.")
@click.option("--reference", metavar="NAME", help="A curated collection whose labels vote.")
@click.option("--confidence-threshold", type=float, help="Label at this similarity (known rule).")
@click.option("--target-precision", type=float, help="The share that must be right [0.95].")
@click.option("--enrich", multiple=True, metavar="NAME", help="Copy this field of the reference.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="For the extractor.")
def create(
    session: _Session, collection: str, enrich: Sequence[str], options: Sequence[str], **rest: Any
) -> None:
    """Make a collection that labels itself.

    \b
    lookalike create products --extractor image
    lookalike create stock --reference products --target-precision 0.97
    lookalike create vectors --extractor passthrough --option dimension=512
    """
    with session.library() as library:
        made = library.labeler(collection, enrich=tuple(enrich), **rest, **_options(options))
        session.print(made.report(), show_report)


@cli.command("list")
@_common
def list_(session: _Session) -> None:
    """List the collections of the store."""
    with session.library() as library:
        reports = [library.collection(name).report() for name in library.collections()]
    session.print(
        reports, lambda value: "\n\n".join(map(show_report, value)) or "no collection yet"
    )


@cli.command()
@_common
@_collection
@click.argument("sources", nargs=-1, required=True)
@click.option("--copy", is_flag=True, help="Keep the bytes in the store.")
def add(session: _Session, collection: str, sources: Sequence[str], copy: bool) -> None:
    """Bring files, folders or URLs in; run it again to resume.

    \b
    lookalike add products photos/
    lookalike add products s3://bucket/photos/ one.jpg
    """
    with session.library() as library:
        target = library.collection(collection)
        with _progress("extracting") as progress:
            added = target.add(list(sources), copy=copy, progress=progress)
    session.print(added, _show_added)


@cli.command()
@_common
@_collection
@click.argument("ids_and_label", nargs=-1, metavar="[ID… LABEL]")
@click.option("--from", "table", type=click.Path(path_type=Path), help="CSV, JSONL or Parquet.")
@click.option("--none", "retract", is_flag=True, help="Take your own label back.")
@_field
def label(
    session: _Session,
    collection: str,
    ids_and_label: Sequence[str],
    table: Path | None,
    retract: bool,
    field: str | None,
) -> None:
    """Label documents, as a person.

    \b
    lookalike label products doc_a doc_b "Shoes > Running"
    lookalike label products --from labels.csv
    lookalike label products doc_a --none
    """
    from lookalike.formats.tables import read_rows
    from lookalike.model import Origin

    with session.library() as library:
        target = library.collection(collection)
        if table is not None:
            rows = read_rows(table)
            changed = target.import_labels(rows, field=field, origin=Origin.HUMAN)
        elif retract and ids_and_label:
            changed = target.label(dict.fromkeys(ids_and_label), field=field)
        elif len(ids_and_label) >= 2:
            *ids, name = ids_and_label
            changed = target.label(dict.fromkeys(ids, name), field=field)
        else:
            raise BadInput("say which documents and which label: label products ID … LABEL")
        session.print(changed, show_changed)


@cli.command()
@_common
@_collection
@click.argument("ids", nargs=-1, required=True)
@click.option("--label", "name", help="What it is not [its label, or what is suggested].")
@_field
def reject(
    session: _Session, collection: str, ids: Sequence[str], name: str | None, field: str | None
) -> None:
    """Say "not this": remembered by every later run.

    \b
    lookalike reject products doc_a
    lookalike reject products doc_a --label "Shoes > Running"
    """
    with session.library() as library:
        changed = library.collection(collection).reject(dict.fromkeys(ids, name), field=field)
        session.print(changed, show_changed)


@cli.command()
@_common
@_collection
@click.option("--confidence-threshold", type=float, help="From now on: this similarity.")
@click.option("--target-precision", type=float, help="From now on: this share must be right.")
@_field
def run(session: _Session, collection: str, **values: Any) -> None:
    """Decide everything again; change nothing that a person said.

    \b
    lookalike run products
    lookalike run products --target-precision 0.97
    """
    with session.library() as library:
        session.print(library.collection(collection).run(**values), show_changed)


@cli.command()
@_common
@_collection
@click.option("--limit", default=20, show_default=True, help="How many documents.")
@_field
def queue(session: _Session, collection: str, limit: int, field: str | None) -> None:
    """Show what is worth asking a person about, best question first."""
    with session.library() as library:
        found = library.collection(collection).queue(limit=limit, field=field)
    session.print(found, lambda value: "\n".join(map(show_document, value)) or "nothing waits")


@cli.command()
@_common
@_collection
@click.argument("id")
@_field
def why(session: _Session, collection: str, id: str, field: str | None) -> None:
    """Explain one document's label, or why it has none."""
    with session.library() as library:
        session.print(library.collection(collection).why(id, field=field), show_why)


@cli.command()
@_common
@_collection
@click.argument("ids", nargs=-1)
@click.option("--label", "name", help="Only this label.")
@click.option("--min-confidence", type=float, help="Only from this confidence on.")
@_field
def promote(
    session: _Session,
    collection: str,
    ids: Sequence[str],
    name: str | None,
    min_confidence: float | None,
    field: str | None,
) -> None:
    """Let documents that labelled themselves vote, too.

    \b
    lookalike promote products doc_a doc_b
    lookalike promote products --min-confidence 0.99
    """
    with session.library() as library:
        changed = library.collection(collection).promote(
            ids or None, label=name, min_confidence=min_confidence, field=field
        )
        session.print(changed, show_changed)


@cli.command()
@_common
@_collection
@click.argument("operation", required=False)
def undo(session: _Session, collection: str, operation: str | None) -> None:
    """Take back an operation (the latest that can be) and what it caused.

    \b
    lookalike undo products
    lookalike undo products op_01J…
    """
    with session.library() as library:
        target = library.collection(collection)
        session.print(target.undo(operation or _latest(target)), show_changed)


@cli.command()
@_common
@_collection
@click.option("--limit", default=20, show_default=True, help="How many operations.")
def history(session: _Session, collection: str, limit: int) -> None:
    """List the latest operations, the newest first."""
    with session.library() as library:
        found = library.collection(collection).operations(limit=limit)
    session.print(
        found,
        lambda value: "\n".join(
            f"{one.id}  {one.at:%Y-%m-%d %H:%M:%S}  {one.kind:8}  {one.actor}"
            + (f"  (undone by {one.undone_by})" if one.undone_by else "")
            for one in value
        ),
    )


@cli.command()
@_common
@_collection
@_field
def report(session: _Session, collection: str, field: str | None) -> None:
    """Show coverage, queue, counts per label and the confidence histogram."""
    with session.library() as library:
        session.print(library.collection(collection).report(field=field), show_report)


@cli.command()
@_common
@_collection
@click.argument("file", type=click.Path(path_type=Path), required=False)
@_field
def export(session: _Session, collection: str, file: Path | None, field: str | None) -> None:
    """Write labels, scores and review state: CSV, JSONL or Parquet by the file's suffix.

    \b
    lookalike export products labels.csv
    lookalike export products > labels.csv
    """
    from lookalike.formats import tables
    from lookalike.reporting import EXPORT_COLUMNS

    with session.library() as library:
        rows = library.collection(collection).rows(field=field)
        if file is not None:
            count = tables.write_rows(file, rows, EXPORT_COLUMNS)
            session.print(
                {"rows": count, "file": str(file)}, lambda v: f"{v['rows']} rows → {file}"
            )
        elif session.as_json:
            tables.write_json_lines(sys.stdout, rows, EXPORT_COLUMNS)
        else:
            tables.write_csv(sys.stdout, rows, EXPORT_COLUMNS)


@cli.command("import")
@_common
@_collection
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--labels-from",
    type=click.Choice(["csv", "jsonl", "parquet", "folders"]),
    help="What PATH is [by its suffix; a folder has class folders].",
)
@click.option("--label-column", default="label", show_default=True)
@click.option("--suggestions", is_flag=True, help="Suggest only: these labels do not vote.")
@_field
def import_(
    session: _Session, collection: str, path: Path, labels_from: str | None, **values: Any
) -> None:
    """Take labels from a table or from class folders; a person's label is never overwritten.

    \b
    lookalike import products labels.csv
    lookalike import products sorted/ --labels-from folders
    """
    from lookalike.formats.folders import read_folders
    from lookalike.formats.tables import read_rows

    folders = labels_from == "folders" or (labels_from is None and path.is_dir())
    values["trusted"] = not values.pop("suggestions")
    with session.library() as library:
        target = library.collection(collection)
        if folders:
            rows = list(read_folders(path))
            with _progress("extracting") as progress:
                target.add(path, progress=progress)
        else:
            rows = list(read_rows(path, labels_from))
        session.print(target.import_labels(rows, **values), show_changed)


@cli.command()
@_common
@_collection
@click.argument("ids", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(session: _Session, collection: str, ids: Sequence[str], yes: bool) -> None:
    """Erase documents with everything derived from them, for good. Your own files stay."""
    if not yes:
        click.confirm(f"Erase {len(ids)} documents for good?", abort=True)
    with session.library() as library:
        receipt = library.collection(collection).forget(ids)
    session.print(
        receipt,
        lambda value: (
            f"erased {value.documents} documents, {value.labels} labels, "
            f"{value.copies} copies, {value.thumbnails} thumbnails ({value.operation})"
        ),
    )


@cli.command()
@_common
def doctor(session: _Session) -> None:
    """Show versions, extractors and spaces, and check the store's integrity."""
    from lookalike.diagnosis import diagnose, show_diagnosis

    with session.library() as library:
        diagnosis = diagnose(library)
    session.print(diagnosis, show_diagnosis)
    if diagnosis.problems:
        raise SystemExit(1)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the line that completes commands in your shell.

    \b
    eval "$(lookalike completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "lookalike", "_LOOKALIKE_COMPLETE").source())


def main() -> None:
    """Run the command line; every error of ours becomes one line and exit code 1."""
    try:
        cli(prog_name="lookalike")
    except LookalikeError as error:
        click.echo(f"lookalike: {error}", err=True)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        click.echo("lookalike: interrupted; run the same command again to go on", err=True)
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the time left, on a terminal."""
    with click.progressbar(length=0, label=what, file=sys.stderr, show_eta=True) as bar:

        def show(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield show


def _options(pairs: Sequence[str]) -> Mapping[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"{pair!r} is no option; write NAME=VALUE")
        options[name] = int(value) if value.isdigit() else value
    return options


def _latest(collection: Any) -> str:
    for operation in collection.operations():
        if operation.undone_by is None and operation.kind not in (
            "add",
            "create",
            "forget",
            "undo",
        ):
            return str(operation.id)
    raise BadInput("there is nothing to undo")


def _show_added(added: Any) -> str:
    lines = [
        f"{added.added} added, {added.changed} changed, {added.unchanged} unchanged; "
        f"{added.documents} documents, {sum(added.labelled.values())} labelled themselves"
    ]
    if added.skipped:
        lines.append(f"{len(added.skipped)} files skipped: another kind of content")
    lines += [f"failed: {reason}" for reason in added.failed.values()]
    return "\n".join(lines)


def _json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
