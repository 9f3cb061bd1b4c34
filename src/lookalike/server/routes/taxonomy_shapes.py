"""Attaching taxonomies: inline ones, and those that are resources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lookalike.catalog.reader import FieldRow, fields_of
from lookalike.catalog.resources import CollectionRow, Kind, find, make, named
from lookalike.catalog.tasks import TaskKind, ask_for
from lookalike.catalog.taxonomies import Spec, rules_of, stored, taxonomy_row
from lookalike.catalog.vocabulary import LabelSet
from lookalike.errors import BadInput, Conflict
from lookalike.library.create import attach
from lookalike.model import Taxonomy
from lookalike.server.context import Asked
from lookalike.server.routes.taxonomy_bodies import Application, InlineTaxonomy
from lookalike.stores.base import Snapshot, Txn

_LIMITS = {"confidence_threshold", "target_precision", "targets"}
_SET = {"closed_set", "labels"}

INLINE = "inline"
"""What a taxonomy says about itself that belongs to one collection, and goes with it."""


def apply(here: Asked, row: CollectionRow, given: Application) -> tuple[str, str]:
    """Attach a taxonomy, or let a run follow its newest version; return the task, and its name."""
    name, rules, said = _applied(here, row.name, given)
    with here.workshop.store.read() as snapshot:
        fields = {one.name: one for one in fields_of(snapshot, row.pk)}
    attached = [rule for rule in rules if rule.field in fields]
    for rule in attached:
        if fields[rule.field].taxonomy.reference != rule.reference:
            raise Conflict(
                f"the field {rule.field!r} of {row.name!r} refers to "
                f"{fields[rule.field].taxonomy.reference!r}, which cannot change; "
                "give the taxonomy another field"
            )
        _check_fixed(row, fields[rule.field].taxonomy, rule)
    new = [rule for rule in rules if rule.field not in fields]
    if new:
        attach(here.workshop, here.namespace, row, new, said)
    with here.workshop.store.write() as txn:
        runs = [
            _next_run(here, txn, row, given, fields[rule.field], rule) | said.run_values()
            for rule in attached
        ]
        task = ask(here, txn, row, TaskKind.DECIDE, {"taxonomy": name, "runs": runs})
    here.context.worker.wake()
    return task, name


def rules_in(
    here: Asked, own: str, inline: InlineTaxonomy | None, applications: Sequence[Application] | None
) -> tuple[tuple[str, Spec] | None, list[tuple[Taxonomy, LabelSet]]]:
    """Return the taxonomy to be made of an inline one, and the rules of all label fields, each with
    what is said of its labels.
    """
    made, rules = None, list[tuple[Taxonomy, LabelSet]]()
    given = list(applications or ())
    if inline is not None and inline.taxonomy_id:
        rest = inline.model_dump(include=_LIMITS | _SET)
        given.append(Application.model_validate({**rest, "taxonomy_id": inline.taxonomy_id}))
    elif inline is not None:
        spec = inline.spec()
        with here.workshop.store.read() as snapshot:
            made = (_free_name(here, snapshot, own, spec), spec)
            found = rules_of(snapshot, here.namespace, *made, own)
        rules += [(rule, spec.label_set) for rule in found]
    for one in given:
        _, found, said = _applied(here, own, one)
        rules += [(rule, said) for rule in found]
    return made, rules


def _applied(here: Asked, own: str, given: Application) -> tuple[str, list[Taxonomy], LabelSet]:
    if given.scroll_filters:
        raise BadInput("scroll_filters are not known here: a taxonomy decides all documents")
    said: dict[str, Any] = given.model_dump(
        include={*_LIMITS, "top_k", "closed_set"}, exclude_none=True
    )
    if given.labels is not None:
        said["labels"] = given.named_labels
    with here.workshop.store.read() as snapshot:
        row = taxonomy_row(named(snapshot, here.namespace, Kind.TAXONOMY, given.taxonomy_id))
        spec = replace(row.spec, **said)
        rules = rules_of(snapshot, here.namespace, row.name, spec, own)
    rules = [replace(rule, version=len(row.versions)) for rule in rules]
    return row.name, rules, spec.label_set


def _free_name(here: Asked, snapshot: Snapshot, own: str, spec: Spec) -> str:
    fields = "_".join(spec.fields) or "label"
    base = re.sub(r"[^A-Za-z0-9_-]", "_", f"{own}_{fields}")[:96]
    name, number = base, 1
    while find(snapshot, here.namespace, Kind.TAXONOMY, name) is not None:
        number += 1
        name = f"{base}_{number}"
    return name


def make_taxonomy(here: Asked, txn: Txn, row: CollectionRow, name: str, spec: Spec) -> None:
    """Make the taxonomy that a collection says inline."""
    at = here.workshop.clock()
    about = {INLINE: row.name}
    make(txn, here.namespace, Kind.TAXONOMY, name, stored([(spec, at)], about), at=at)


def adopt(here: Asked, row: CollectionRow, inline: InlineTaxonomy) -> None:
    """Let the label fields of an inline taxonomy follow its rule; attach those that are new.

    What says something of labels alone leaves the policy as it is.
    """
    spec = inline.spec()
    with here.workshop.store.read() as snapshot:
        known = {one.name: one for one in fields_of(snapshot, row.pk)}
        if not spec.fields:
            spec = replace(spec, fields={name: name for name in list(known)[:1]})
        name = _free_name(here, snapshot, row.name, spec)
        rules = rules_of(snapshot, here.namespace, name, spec, row.name)
    new = [rule for rule in rules if rule.field not in known]
    for rule in rules:
        if rule.field in known:
            _check_fixed(row, known[rule.field].taxonomy, rule)
    collection, said = here.collection(row.name), spec.label_set
    for rule in rules:
        if rule.field in known:
            own = _run(rule)
            if said.is_said and not inline.model_dump(include=_LIMITS, exclude_none=True):
                own = {"field": rule.field, "hierarchical": spec.hierarchical}
            collection.run(**own, **said.run_values())
    if new:
        attach(here.workshop, here.namespace, row, new, said)
        with here.workshop.store.write() as txn:
            make_taxonomy(here, txn, row, name, spec)


def _check_fixed(row: CollectionRow, known: Taxonomy, rule: Taxonomy) -> None:
    """Raise Conflict where a rule asks a field that is there to be what it was not made to be."""
    for name in ("exclusive", "low_quality"):
        asked = getattr(rule, name)
        if asked and asked != getattr(known, name):
            raise Conflict(
                f"the field {known.field!r} of {row.name!r} was made without {name} {asked!r}, "
                "which cannot change; give the taxonomy another field"
            )


def _run(rule: Taxonomy) -> dict[str, Any]:
    """Return what `Collection.run` is told, so that a field follows a rule."""
    if rule.confidence_threshold is not None:
        limit = rule.confidence_threshold
        return {
            "field": rule.field,
            "confidence_threshold": limit,
            "hierarchical": rule.hierarchical,
        }
    return {
        "hierarchical": rule.hierarchical,
        "field": rule.field,
        "target_precision": rule.target_precision,
        "targets": dict(rule.targets),
    }


def _next_run(
    here: Asked,
    snapshot: Snapshot,
    row: CollectionRow,
    given: Application,
    field: FieldRow,
    rule: Taxonomy,
) -> dict[str, Any]:
    """Return the run by which a field follows its taxonomy; a limit of the field's own stays."""
    taxonomy = taxonomy_row(named(snapshot, here.namespace, Kind.TAXONOMY, given.taxonomy_id))
    said = [
        one
        for spec, _ in taxonomy.versions
        for one in rules_of(snapshot, here.namespace, taxonomy.name, spec, row.name)
        if one.field == field.name
    ]
    has_own = all(_limits(one) != _limits(field.taxonomy) for one in said)
    asks_for_another = given.model_dump(include=_LIMITS, exclude_none=True)
    return {"field": field.name} if has_own and not asks_for_another else _run(rule)


def _limits(rule: Taxonomy) -> Any:
    """Return when a rule is sure enough."""
    if rule.confidence_threshold is not None:
        return rule.confidence_threshold
    return rule.target_precision, dict(rule.targets)


def ask(here: Asked, txn: Txn, row: CollectionRow, kind: TaskKind, more: Mapping[str, Any]) -> str:
    """Write a task for a collection; return its id."""
    spec = {"collection_pk": row.pk, "collection": row.name, "actor": here.workshop.actor, **more}
    return ask_for(txn, here.namespace, kind, spec, at=here.workshop.clock())
