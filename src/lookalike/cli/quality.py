"""Commands by which a person checks a random sample of automatic labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from lookalike.cli.output import show_changed
from lookalike.cli.session import Session, collection_argument, field_option, with_session
from lookalike.errors import BadInput, NotFound

if TYPE_CHECKING:
    from lookalike.library.collection.collection import Collection
    from lookalike.quality.stats.audit_estimate import Audit, AuditItem, Estimate

_SHOWN = 10
_HALF_WIDTHS = (0.1, 0.05, 0.02)


@click.group()
def audit() -> None:
    """Tell how many automatic labels are wrong, by a random sample that a person checks.

    \b
    lookalike audit draw products --size 50
    lookalike audit answer products op_01J… doc_a "Shoes > Running"
    lookalike audit report products op_01J…
    """


@audit.command()
@with_session
@collection_argument
@click.option("--size", default=50, show_default=True, help="How many labels.")
@click.option(
    "--strata", default=1, show_default=True, help="By confidence, so many: a surer estimate."
)
@click.option("--label", "name", help="Only of this label.")
@field_option
def draw(
    session: Session, collection: str, size: int, strata: int, name: str | None, field: str | None
) -> None:
    """Draw a frozen sample of automatic labels, and show what to check, without the labels.

    \b
    lookalike audit draw products
    lookalike audit draw products --size 200 --strata 4
    """
    with session.library() as library:
        target = library.collection(collection)
        session.print(target.audit(size, strata=strata, label=name, field=field), _show)


@audit.command("list")
@with_session
@collection_argument
@field_option
def list_(session: Session, collection: str, field: str | None) -> None:
    """List the audits of a label field, the newest first.

    \b
    lookalike audit list products
    """
    with session.library() as library:
        session.print(library.collection(collection).audits(field=field), _show_all)


@audit.command()
@with_session
@collection_argument
@click.argument("audit")
def report(session: Session, collection: str, audit: str) -> None:
    """Show what an audit tells so far, overall and per label, and what waits in it.

    \b
    lookalike audit report products op_01J…
    """
    with session.library() as library:
        session.print(_found(library.collection(collection), audit), _show)


@audit.command()
@with_session
@collection_argument
@click.argument("audit")
@click.argument("ids_and_label", nargs=-1, required=True, metavar="ID… [LABEL]")
@click.option("--right", is_flag=True, help="You saw the labels: they are right.")
@click.option("--wrong", is_flag=True, help="You saw the labels: they are wrong.")
@click.option("--cannot-tell", is_flag=True, help="You cannot tell what they are.")
def answer(
    session: Session,
    collection: str,
    audit: str,
    ids_and_label: Sequence[str],
    right: bool,
    wrong: bool,
    cannot_tell: bool,
) -> None:
    """Say what documents of an audit are: a label, or whether the machine's is right.

    \b
    lookalike audit answer products op_01J… doc_a doc_b "Shoes > Running"
    lookalike audit answer products op_01J… doc_c --cannot-tell
    """
    if right + wrong + cannot_tell > 1:
        raise BadInput("say one of --right, --wrong and --cannot-tell")
    labels: dict[str, str] = {}
    if not right + wrong + cannot_tell:
        *ids, name = ids_and_label
        if not ids:
            raise BadInput(f"{name!r} alone is not enough: say ID … LABEL, or ID … --right")
        labels = dict.fromkeys(ids, name)
    with session.library() as library:
        done = library.collection(collection).answer_audit(
            audit,
            labels,
            right=ids_and_label if right else (),
            wrong=ids_and_label if wrong else (),
            cannot_tell=ids_and_label if cannot_tell else (),
        )
        session.print(done, _show)


@audit.command()
@with_session
@collection_argument
@click.argument("audit")
@click.option("--keep", is_flag=True, help="Make the answers your labels, and rejections.")
def close(session: Session, collection: str, audit: str, keep: bool) -> None:
    """Close an audit: what it held may vote again.

    \b
    lookalike audit close products op_01J… --keep
    """
    with session.library() as library:
        changed = library.collection(collection).close_audit(audit, keep=keep)
        session.print(changed, show_changed)


def _found(collection: Collection, id: str) -> Audit:
    """Return an audit of any field."""
    known = [one for field in collection.fields for one in collection.audits(field=field)]
    for one in known:
        if one.id == id:
            return one
    raise NotFound.named("audit", id, [one.id for one in known])


def _show(audit: Audit) -> str:
    lines = [
        f"audit {audit.id} of {audit.collection}.{audit.field}: "
        f"{sum(one.drawn for one in audit.strata)} drawn of {audit.estimate.size} automatic labels"
        + (", closed" if audit.closed_at else ""),
        f"wrong: {_told(audit.estimate)}",
    ]
    lines += [f"  {label}: {_told(one)}" for label, one in audit.labels.items()]
    if audit.cannot_tell:
        lines.append(f"{audit.cannot_tell} of which nobody can tell")
    bound = audit.at_least()
    if bound is not None:
        lines.append(f"at least {bound:.1%} are right, with 95% confidence")
    more = ((half, audit.more_checks(half)) for half in _HALF_WIDTHS)
    lines += [f"{count} more checks → about ±{half:.0%}" for half, count in more if count]
    lines += [_mistake(one) for one in audit.answered if one.verdict == "wrong"]
    if audit.waiting:
        left = len(audit.waiting) - _SHOWN
        lines += [f"{len(audit.waiting)} wait:", *(f"  {id}" for id in audit.waiting[:_SHOWN])]
        lines += [f"  … and {left} more"] if left > 0 else []
    return "\n".join(lines)


def _told(one: Estimate) -> str:
    rate = "unknown" if one.rate is None else f"{one.rate:.1%}"
    return f"{rate} ({one.low:.1%} to {one.high:.1%}), {one.wrong} of {one.checked} checked"


def _mistake(one: AuditItem) -> str:
    truth = "" if one.truth is None else f", is {one.truth!r}"
    cause = "" if one.source is None else f" (because of {one.source})"
    return f"wrong: {one.document or 'forgotten'} was {one.label!r}{truth}{cause}"


def _show_all(audits: Sequence[Audit]) -> str:
    lines = [
        f"{one.id}  {one.at:%Y-%m-%d}  {_told(one.estimate)}"
        + ("  (closed)" if one.closed_at else f"  ({len(one.waiting)} wait)")
        for one in audits
    ]
    return "\n".join(lines) or "no audit yet; draw one with `lookalike audit draw`"


COMMANDS = (audit,)
