"""What was moved, erased or extracted anew, as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lookalike.model import Changed

if TYPE_CHECKING:
    from lookalike.library.compacting import Compacted
    from lookalike.library.forget import Receipt
    from lookalike.library.migration import DroppedSpaces, Migration
    from lookalike.library.remove import Removed
    from lookalike.quality.space_comparison import FieldComparison
    from lookalike.stores.copy import Copied
    from lookalike.stores.sqlite.backup import Backup


from lookalike.cli.output import NAMED, changed_lines, some_of


def show_receipt(receipt: Receipt) -> str:
    """Return what was erased."""
    return (
        f"erased {receipt.documents} documents, {receipt.labels} labels, "
        f"{receipt.copies} copies, {receipt.thumbnails} thumbnails ({receipt.operation})"
    )


def show_removed(removed: Removed) -> str:
    """Return what was removed."""
    names = ", ".join([*removed.collections, *removed.buckets])
    return (
        f"removed {names}: {removed.objects} objects, {removed.documents} documents, "
        f"{removed.labels} labels, {removed.copies} copies, {removed.thumbnails} thumbnails"
    )


def show_copied(copied: Copied) -> str:
    """Return what came across."""
    rows = copied.rows
    lines = [
        f"{rows['document']} documents, {rows['event']} events, {copied.vectors} vectors, "
        f"{copied.blobs} files: {copied.source} → {copied.target}, compared and equal"
    ]
    lines += [f"  not there to copy: {uri}" for uri in copied.missing[:NAMED]]
    return "\n".join(lines)


def show_backup(backup: Backup) -> str:
    """Return what was kept."""
    shared = f" ({backup.shared} shared with the earlier backup)" if backup.shared else ""
    lines = [
        f"{backup.documents} documents, {backup.events} events, {backup.vectors} vectors, "
        f"{backup.files} files{shared}, {backup.size_bytes / 1e6:,.1f} MB: {backup.source} → "
        f"{backup.target}, checked"
    ]
    if backup.elsewhere:
        lines.append(f"  files that stay where LOOKALIKE_BLOBS keeps them: {backup.elsewhere}")
    lines += [f"  not there to keep: {uri}" for uri in backup.missing[:NAMED]]
    return "\n".join(lines)


def show_migration(migration: Migration) -> str:
    """Return what another extractor would change."""
    lines = [
        f"{migration.before or 'nothing yet'} → {migration.after}",
        f"{migration.extracted} extracted, {len(migration.failed)} failed; "
        f"{migration.without_counterpart} documents have no counterpart, "
        f"{migration.new_parts} parts would be new",
    ]
    lines += [f"  failed: {name}: {why}" for name, why in list(migration.failed.items())[:NAMED]]
    for one in migration.fields:
        lines += _compared(one)
    return "\n".join([*lines, f"compared in {migration.seconds:.1f} s; nothing has changed yet"])


def _compared(one: FieldComparison) -> list[str]:
    lines = [
        f"{one.collection}.{one.field}: {one.documents} documents",
        f"  references   {one.references_before:8} → {one.references_after}",
        f"  accuracy     {_share(one.accuracy_before):>8} → {_share(one.accuracy_after)}"
        "  (each reference left out)",
        f"  coverage     {one.coverage_before:8.1%} → {one.coverage_after:.1%}",
        f"  {one.same} stay, {one.changed} change, {one.appeared} appear, {one.gone} go",
    ]
    lines += [f"    {move.id}: {move.before} → {move.after}" for move in one.examples]
    if one.lost:
        lines.append(
            f"  {len(one.lost)} that people labelled do not vote there: {some_of(one.lost)}"
        )
    return [*lines, f"  WARNING: {one.warning}"] if one.warning else lines


def show_migrated(changed: Changed, migration: Migration) -> str:
    """Return what changed with the extractor, and the way back."""
    kept = migration.before and f"{migration.before} is kept: migrate back to its extractor, "
    lines = [*changed_lines(changed), f"{kept}or erase it with --drop-old" if kept else ""]
    return "\n".join(filter(None, lines))


def show_dropped(dropped: DroppedSpaces) -> str:
    """Return which spaces were erased."""
    lines = [f"{name}: {', '.join(some) or 'none'}" for name, some in dropped.spaces.items()]
    size = dropped.freed_bytes / 2**20
    return "\n".join([*lines, f"{dropped.vectors} vectors erased, {size:.1f} MB freed"])


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def show_compacted(done: Compacted) -> str:
    """Return what was given back."""
    before, after = done.bytes_before / 1e6, done.bytes_after / 1e6
    return f"{before:,.1f} MB → {after:,.1f} MB: {before - after:,.1f} MB given back"
