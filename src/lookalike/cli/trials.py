"""Commands of experiments: compare a candidate policy with the current one before adopting it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lookalike.cli.output import show_changed
from lookalike.cli.session import Session, collection_argument, field_option, with_session
from lookalike.errors import BadInput

if TYPE_CHECKING:
    from lookalike.quality.stats.paired_comparison import Side, Trial
    from lookalike.quality.thresholds import Flips

_SHOWN = 10


@click.group()
def trial() -> None:
    """Run experiments: compare a candidate policy with the current one before adopting it.

    A candidate has another threshold, target precision, extractor or reference set.

    \b
    lookalike trial begin products --target-precision 0.97
    lookalike trial answer products op_01J… doc_a "Shoes > Running"
    lookalike trial report products op_01J…
    lookalike trial adopt products op_01J…
    """


@trial.command()
@with_session
@collection_argument
@click.option("--confidence-threshold", type=float, help="Another similarity threshold.")
@click.option("--target-precision", type=float, help="Another target precision.")
@click.option("--top-k", type=int, help="Another number of nearest references.")
@click.option("--extractor", help="Another extractor, prepared by `migrate --dry-run`.")
@click.option("--references", help="Only references unchanged since this operation.")
@click.option(
    "--wrong-costs", default=20.0, show_default=True, help="The cost of a wrong label, in reviews."
)
@field_option
def begin(
    session: Session,
    collection: str,
    confidence_threshold: float | None,
    target_precision: float | None,
    top_k: int | None,
    extractor: str | None,
    references: str | None,
    wrong_costs: float,
    field: str | None,
) -> None:
    """Begin an experiment, and list documents on which the policies disagree, without labels.

    \b
    lookalike trial begin products --confidence-threshold 0.8
    lookalike trial begin products --target-precision 0.9 --wrong-costs 5
    """
    with session.library() as library:
        experiment = library.collection(collection).try_policy(
            confidence_threshold=confidence_threshold,
            target_precision=target_precision,
            top_k=top_k,
            extractor=extractor,
            references=references,
            wrong_costs=wrong_costs,
            field=field,
        )
        session.print(experiment, _show)


@trial.command("list")
@with_session
@collection_argument
@field_option
def list_(session: Session, collection: str, field: str | None) -> None:
    """List the experiments of a label field, newest first.

    \b
    lookalike trial list products
    """
    with session.library() as library:
        session.print(library.collection(collection).trials(field=field), _show_all)


@trial.command()
@with_session
@collection_argument
@click.argument("trial")
@click.option("--limit", default=0, help="Sample more documents, until this number waits.")
def report(session: Session, collection: str, trial: str, limit: int) -> None:
    """Show the result of an experiment so far, and its open documents.

    \b
    lookalike trial report products op_01J… --limit 50
    """
    with session.library() as library:
        target = library.collection(collection)
        if limit:
            target.disagreements(trial, limit=limit)
        session.print(target.trial(trial), _show)


@trial.command()
@with_session
@collection_argument
@click.argument("trial")
@click.argument("ids_and_label", nargs=-1, required=True, metavar="ID… [LABEL]")
@click.option("--new-kind", is_flag=True, help="They belong to a new category.")
@click.option("--cannot-tell", is_flag=True, help="You cannot tell the correct label.")
def answer(
    session: Session,
    collection: str,
    trial: str,
    ids_and_label: Sequence[str],
    new_kind: bool,
    cannot_tell: bool,
) -> None:
    """Answer documents of an experiment with their correct label.

    \b
    lookalike trial answer products op_01J… doc_a doc_b "Shoes > Running"
    lookalike trial answer products op_01J… doc_c --cannot-tell
    """
    if new_kind and cannot_tell:
        raise BadInput("give only one of --new-kind and --cannot-tell")
    labels: dict[str, str] = {}
    if not new_kind and not cannot_tell:
        *ids, name = ids_and_label
        if not ids:
            raise BadInput(f"{name!r} alone is not enough: give ID … LABEL, or ID … --new-kind")
        labels = dict.fromkeys(ids, name)
    with session.library() as library:
        done = library.collection(collection).answer_trial(
            trial,
            labels,
            new_kind=ids_and_label if new_kind else (),
            cannot_tell=ids_and_label if cannot_tell else (),
        )
        session.print(done, _show)


@trial.command()
@with_session
@collection_argument
@click.argument("trial")
@click.option("--keep/--no-keep", default=True, help="Make the answers your labels.")
def adopt(session: Session, collection: str, trial: str, keep: bool) -> None:
    """Adopt the candidate policy, and decide all documents with it.

    \b
    lookalike trial adopt products op_01J…
    """
    with session.library() as library:
        session.print(library.collection(collection).adopt_trial(trial, keep=keep), show_changed)


@trial.command()
@with_session
@collection_argument
@click.argument("trial")
@click.option("--keep/--no-keep", default=True, help="Make the answers your labels.")
def drop(session: Session, collection: str, trial: str, keep: bool) -> None:
    """End an experiment and keep the current policy.

    \b
    lookalike trial drop products op_01J… --no-keep
    """
    with session.library() as library:
        session.print(library.collection(collection).drop_trial(trial, keep=keep), show_changed)


@trial.command()
@with_session
@collection_argument
@click.option("--at", type=float, help="The threshold.")
@click.option("--target-precision", type=float, help="Or the target precision.")
@click.option("--limit", default=_SHOWN, show_default=True, help="The number of documents.")
@field_option
def flips(
    session: Session,
    collection: str,
    at: float | None,
    target_precision: float | None,
    limit: int,
    field: str | None,
) -> None:
    """Show which labels would change at another threshold or target precision.

    \b
    lookalike trial flips products --at 0.85
    """
    with session.library() as library:
        found = library.collection(collection).flips(
            at=at, target_precision=target_precision, limit=limit, field=field
        )
        session.print(found, _show_flips)


def _show(found: Trial) -> str:
    crossed, compared = found.crossing, found.comparison
    lines = [
        f"experiment {found.id} of {found.collection}.{found.field}: {_policy(found)}, "
        f"{found.state}",
        found.trouble or found.verdict,
        f"of {crossed.documents} documents they disagree on {crossed.disagreements}; "
        f"{compared.answers} answered, {compared.wins} for the candidate, "
        f"{compared.losses} for the current policy",
        f"current:   {_side(found.champion)}",
        f"candidate: {_side(found.challenger)}",
    ]
    if found.waiting:
        left = len(found.waiting) - _SHOWN
        lines += [f"{len(found.waiting)} to answer:", *(f"  {id}" for id in found.waiting[:_SHOWN])]
        lines += [f"  … and {left} more"] if left > 0 else []
    return "\n".join(lines)


def _policy(found: Trial) -> str:
    rule = found.rule
    values = {
        "confidence_threshold": rule.confidence_threshold,
        "target_precision": rule.target_precision,
        "targets": rule.targets,
        "top_k": rule.top_k,
        "extractor": rule.extractor,
        "references": rule.references,
    }
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _side(one: Side) -> str:
    share = "" if one.precision is None else f", about {one.precision:.1%} right"
    return (
        f"{one.labelled} labelled ({one.coverage:.1%}){share}; replayed: {one.right} right, "
        f"{one.wrong} wrong, {one.null} unlabelled"
    )


def _show_all(found: Sequence[Trial]) -> str:
    lines = [
        f"{one.id}  {one.at:%Y-%m-%d}  {one.state}  {_policy(one)}: {one.trouble or one.verdict}"
        for one in found
    ]
    return "\n".join(lines) or "no experiment yet; begin one with `lookalike trial begin`"


def _show_flips(found: Flips) -> str:
    now = "none" if found.limit is None else f"{found.limit:.3f}"
    target = ""
    if found.target_precision is not None:
        target = f" (target precision {found.target_precision:g})"
    lines = [
        f"threshold {now} → {found.at:.3f}{target}: {found.appear} labels appear, "
        f"{found.vanish} disappear"
    ]
    for one in found.documents:
        before, after = one.before or "no label", one.after or "no label"
        lines.append(f"  {one.id}  {one.confidence:.3f}  {before} → {after}")
    return "\n".join(lines)


COMMANDS = (trial,)
