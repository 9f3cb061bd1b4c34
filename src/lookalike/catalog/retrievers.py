"""Parses the stages of a retriever: several notations, one meaning.

```
{stage_type: filter, filters}                                      only what a filter selects
{stage_type: feature_search, feature_extractor, top_k, …}          the nearest to an input
{type: feature_search, query, collection_ids, limit}               the same, not stored
{stage_name, config: {stage_id: feature_search, parameters}}       the same, as a client writes it
{…, config: {stage_id: attribute_filter, parameters}}
{…, config: {stage_id: taxonomy_enrich, parameters}}
```
A text `{{INPUT.name}}` in any of them is replaced by an input.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lookalike.catalog.filters import Condition, Every, Filter, Operator, parse
from lookalike.errors import BadInput

MAX_RESULTS = 1000
_DEFAULT_RESULTS = 25
_INPUT = re.compile(r"\{\{\s*(?:INPUT|inputs?)\.([A-Za-z0-9_.-]+)\s*\}\}")
_KINDS = ("feature_search", "attribute_filter", "taxonomy_enrich")
_FLAT = frozenset(
    {
        *("stage_type", "stage_name", "filters", "feature_extractor", "top_k", "score_threshold"),
        *("type", "query", "limit", "collection_ids", "conditions"),
    }
)
_NAMES = ("stage_type", "type", "stage_name")
_NESTED = frozenset({"stage_type", "stage_name", "config", "parameters", "description", "enabled"})
_SEARCH = frozenset(
    {
        *("searches", "final_top_k", "fusion", "filters", "collection_identifiers", "top_k"),
        *("feature_uri", "query", "min_score", "score_threshold", "feature_extractor", "limit"),
        "collection_ids",
    }
)
_ONE_SEARCH = frozenset(
    {"feature_uri", "query", "top_k", "min_score", "weight", "filters", "collection_identifiers"}
)
_ATTRIBUTES = frozenset({"field", "operator", "value", "conditions", "filters"})
_ENRICH = frozenset({"taxonomy_id", "fields", "top_k", "min_score"})
_TUNING = frozenset(
    {
        *("cache_behavior", "cache_ttl_seconds", "hard_timeout_ms", "interactive", "batch_size"),
        *("degrade_retry", "auto_preprocess", "case_insensitive", "case_sensitive", "optional"),
        *("on_empty", "lexical", "query_preprocessing", "learning_config", "facets", "group_by"),
        *("natural_language", "field_hints", "when"),
    }
)
_IDLE: tuple[Any, ...] = (None, False, "auto", "null", [])


@dataclass(frozen=True, slots=True)
class Filtering:
    """Keeps what a filter selects."""

    raw: Any

    def tree(self, inputs: Mapping[str, Any]) -> Filter:
        """Return the filter with its inputs filled in."""
        return parse(filled(self.raw, inputs))


@dataclass(frozen=True, slots=True)
class Query:
    """A search query. `mode` is text, content, vector or document; "" chooses by the value."""

    value: Any
    mode: str = ""
    space: str = ""
    top_k: int = _DEFAULT_RESULTS
    floor: float | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Searching:
    """Searches the nearest to one or more queries among the remaining documents."""

    queries: tuple[Query, ...]
    top_k: int
    raw_filter: Any = None
    collections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Enriching:
    """Adds the result of a taxonomy to each document."""

    taxonomy: str
    fields: tuple[str, ...] = ()
    floor: float = 0.0


Stage = Filtering | Searching | Enriching


@dataclass(frozen=True, slots=True)
class _Given:
    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def stages_of(raw: Sequence[Mapping[str, Any]]) -> tuple[Stage, ...]:
    """Return the stages. Raises BadInput for an unknown kind or key, naming the known ones."""
    if not raw:
        raise BadInput("a retriever needs a stage, such as {stage_type: feature_search}")
    return tuple(_stage(one, number) for number, one in enumerate(raw, 1))


def filled(value: Any, inputs: Mapping[str, Any]) -> Any:
    """Return a value with inputs in place of their names. Raises BadInput for a missing one."""
    if isinstance(value, Mapping):
        return {key: filled(inner, inputs) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, inputs) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _INPUT.fullmatch(value.strip())
    if whole:
        return _input(whole[1], inputs)
    return _INPUT.sub(lambda found: str(_input(found[1], inputs)), value)


def requires_labels(stages: Sequence[Stage]) -> bool:
    """Return whether the stages' filters only require that fields have a value."""
    trees = [parse(one.raw) for one in stages if isinstance(one, Filtering)]
    trees += [parse(one.raw_filter) for one in stages if isinstance(one, Searching)]
    return all(_asks_for_presence(tree) for tree in trees)


def demands(stages: Sequence[Stage], field: str) -> bool:
    """Return whether a filter of the stages requires a value in a field."""
    trees = [parse(one.raw) for one in stages if isinstance(one, Filtering)]
    trees += [parse(one.raw_filter) for one in stages if isinstance(one, Searching)]
    conditions = [part for tree in trees for part in _demanded(tree)]
    names = (field, f"metadata.{field}", f"labels.{field}", f"labels.{field}.label")
    return any(one.field in names and _asks_for_presence(one) for one in conditions)


def _demanded(tree: Filter) -> Iterator[Condition]:
    """Yield the conditions that must all hold."""
    if isinstance(tree, Every):
        for part in tree.parts:
            yield from _demanded(part)
    elif isinstance(tree, Condition):
        yield tree


def _asks_for_presence(tree: Filter) -> bool:
    if isinstance(tree, Every):
        return all(_asks_for_presence(part) for part in tree.parts)
    if not isinstance(tree, Condition):
        return False
    there = (tree.operator is Operator.NE and tree.value is None) or (
        tree.operator is Operator.EXISTS and tree.value is True
    )
    return there or (tree.operator is Operator.IS_NULL and tree.value is False)


def _input(name: str, inputs: Mapping[str, Any]) -> Any:
    if name not in inputs:
        given = ", ".join(sorted(inputs)) or "none"
        raise BadInput(f"the retriever needs the input {name!r} (given: {given})")
    return inputs[name]


def _stage(raw: Mapping[str, Any], number: int) -> Stage:
    given = _given(raw, number)
    if given.kind == "attribute_filter":
        return _filtering(given.parameters, number)
    if given.kind == "taxonomy_enrich":
        return _enriching(given.parameters, number)
    return _searching(given.parameters, number)


def _given(raw: Mapping[str, Any], number: int) -> _Given:
    if "config" in raw:
        _check(raw, _NESTED, f"stage {number}")
        config = raw["config"]
        if not isinstance(config, Mapping):
            raise BadInput(f"the config of stage {number} is not an object")
        kind = config.get("stage_id") or raw.get("stage_name")
        _check(config, {"stage_id", "parameters", "description"}, f"the config of stage {number}")
        parameters = config.get("parameters") or raw.get("parameters") or {}
        if not isinstance(parameters, Mapping):
            raise BadInput(f"the parameters of stage {number} are not an object")
    else:
        _check(raw, _FLAT, f"stage {number}")
        kind = raw.get("stage_type") or raw.get("type")
        parameters = {key: raw[key] for key in raw if key not in _NAMES}
    kind = {"filter": "attribute_filter", "feature_filter": "feature_search"}.get(
        str(kind), str(kind)
    )
    if kind not in _KINDS:
        raise BadInput(f"stage {number} is a {kind!r}; known: filter, {', '.join(_KINDS)}")
    return _Given(kind, parameters)


def _filtering(parameters: Mapping[str, Any], number: int) -> Filtering:
    _check(parameters, _ATTRIBUTES, f"stage {number}")
    raw = parameters.get("conditions") or parameters.get("filters")
    if raw is None and "operator" in parameters:
        raw = {key: parameters.get(key) for key in ("field", "operator", "value")}
    parse(raw)
    return Filtering(raw)


def _enriching(parameters: Mapping[str, Any], number: int) -> Enriching:
    _check(parameters, _ENRICH, f"stage {number}")
    taxonomy = parameters.get("taxonomy_id")
    if not isinstance(taxonomy, str):
        raise BadInput(f"stage {number} needs a taxonomy_id")
    named = [
        one.get("target_field") or one.get("field_path") if isinstance(one, Mapping) else one
        for one in parameters.get("fields") or ()
    ]
    floor = _number(parameters, "min_score", number)
    return Enriching(taxonomy, tuple(str(one) for one in named), floor or 0.0)


def _searching(parameters: Mapping[str, Any], number: int) -> Searching:
    _check(parameters, _SEARCH, f"stage {number}")
    top_k = _count(parameters, ("final_top_k", "top_k", "limit"), number)
    raw_filter = parameters.get("filters")
    parse(raw_filter)
    searches = parameters.get("searches")
    if searches is None:
        searches = [{key: parameters[key] for key in _ONE_SEARCH & parameters.keys()}]
    if not isinstance(searches, list):
        raise BadInput(f"the searches of stage {number} are not a list")
    queries = tuple(_query(one, parameters, number, top_k) for one in searches)
    inner = [one["filters"] for one in searches if one.get("filters")]
    if inner:
        raw_filter = {"AND": [*inner, *([raw_filter] if raw_filter else [])]}
    named = [name for one in (parameters, *searches) for name in _collections(one, number)]
    return Searching(queries, top_k, raw_filter, tuple(dict.fromkeys(named)))


def _collections(search: Mapping[str, Any], number: int) -> list[str]:
    names = search.get("collection_identifiers") or search.get("collection_ids") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"collection_identifiers of stage {number} are not a list of names")
    return names


def _query(
    search: Mapping[str, Any], parameters: Mapping[str, Any], number: int, top_k: int
) -> Query:
    if not isinstance(search, Mapping):
        raise BadInput(f"a search of stage {number} is not an object")
    _check(search, _ONE_SEARCH, f"a search of stage {number}")
    floor = _number(search, "min_score", number)
    if floor is None:
        floor = _number(parameters, "score_threshold", number)
    value, mode = _asked(search.get("query"), parameters.get("feature_extractor"), number)
    wanted = _count(search, ("top_k",), number) if "top_k" in search else top_k
    weight = _number(search, "weight", number)
    space = str(search.get("feature_uri") or "")
    return Query(value, mode, space, max(wanted, 1), floor, 1.0 if weight is None else weight)


def _asked(query: Any, extractor: Any, number: int) -> tuple[Any, str]:
    """Return the query value and its mode; by an extractor's mapping, an input of that name."""
    if isinstance(query, Mapping):
        mode = str(query.get("input_mode") or "")
        if mode not in ("", "text", "content", "vector", "document"):
            raise BadInput(
                f"stage {number} asks by {mode!r}; known: text, content, vector, document"
            )
        if "document_ref" in query:
            return query["document_ref"], "document"
        value = query.get("value", query.get("text", query.get("content")))
        return value, mode
    if query is not None:
        return query, ""
    mappings = extractor.get("input_mappings") if isinstance(extractor, Mapping) else None
    if isinstance(mappings, Mapping) and mappings:
        key, name = next(iter(mappings.items()))
        mode = {"image": "content", "text": "text", "vector": "vector"}.get(str(key), "")
        return f"{{{{INPUT.{name}}}}}", mode
    return None, ""


def _count(parameters: Mapping[str, Any], names: Sequence[str], number: int) -> int:
    for name in names:
        value = parameters.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadInput(f"{name} of stage {number} is {value!r}; give a whole number from 1")
            return min(value, MAX_RESULTS)
    return _DEFAULT_RESULTS


def _number(parameters: Mapping[str, Any], name: str, number: int) -> float | None:
    value = parameters.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadInput(f"{name} of stage {number} is {value!r}; give a number such as 0.8")
    return None if value is None else float(value)


def _check(raw: Mapping[str, Any], known: frozenset[str] | set[str], where: str) -> None:
    """Raise BadInput for an unknown key; unused options of another service are ignored."""
    for key, value in raw.items():
        if key in known or (key in _TUNING and value in _IDLE):
            continue
        raise BadInput(f"{where} has the key {key!r}; known: {', '.join(sorted(known))}")
