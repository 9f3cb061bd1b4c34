"""Taxonomies as they are written: as a resource, and inline with a collection."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from lookalike.catalog.filters import check_field
from lookalike.catalog.taxonomies import Spec
from lookalike.catalog.vocabulary import LabelSet
from lookalike.errors import BadInput
from lookalike.server.shapes import Body

Share = float | None


class EnrichmentField(Body):
    """A field of the reference, and what it is called in the document."""

    field_path: str
    target_field: str | None = None
    merge_mode: Literal["replace", "append"] | None = None

    @property
    def names(self) -> tuple[str, str]:
        """Return the name in the document and the one in the reference."""
        source = _bare(self.field_path)
        return _bare(self.target_field or source), source


class SourceCollection(Body):
    """The collection whose labels vote, and what is taken from it."""

    collection_id: str | None = None
    enrichment_fields: list[EnrichmentField | str] | None = None


class InputMapping(Body):
    """What the search is by; a taxonomy searches by the document's own vector."""

    input_key: str
    source_type: str | None = None
    path: str | None = None
    override: Any = None


class Rules(Body):
    """When a taxonomy is sure enough.

    With `confidence_threshold` the similarity must reach it; without one the limit is computed for
    `target_precision`, or a label's own in `targets`. `labels`, names or each with its description,
    are there before anyone gives them; `closed_set` says whether there are others.
    """

    confidence_threshold: float | None = Field(None, ge=-1, le=1)
    target_precision: float | None = Field(None, gt=0, le=1)
    targets: dict[str, float] | None = None
    top_k: int | None = Field(None, ge=1, le=1000)
    closed_set: bool | None = None
    labels: list[str] | dict[str, str | None] | None = None

    @property
    def named_labels(self) -> dict[str, str | None] | None:
        """Return the labels, each with its description or None."""
        named = LabelSet.of(self.labels, None).labels
        return None if named is None else dict(named)


class TaxonomyConfig(Rules):
    """A taxonomy, as a resource says it.

    A `flat` one never gives a parent's label; if nothing is said it is `hierarchical`, which shows
    where labels are paths.
    """

    idle: ClassVar = frozenset(
        {
            *("llm_sample_size", "cluster_overlap_threshold", "inference_strategy", "step_size"),
            *("inference_type", "inference_collections"),
        }
    )
    taxonomy_type: Literal["flat", "hierarchical"] | None = None
    retriever_id: str | None = None
    input_mappings: list[InputMapping] | dict[str, str] | None = None
    source_collection: SourceCollection | None = None
    field_to_enrich: str | list[str] | None = None
    enrich: list[str] | None = None
    path_field: str | None = None
    path_separator: str | None = None
    hierarchical_nodes: list[Any] | None = None
    exclusive: Literal["image"] | None = None
    low_quality: bool | None = None

    def spec(self) -> Spec:
        """Return what it says. Raises BadInput for what is not known here."""
        if self.hierarchical_nodes:
            raise BadInput(
                "hierarchical_nodes are not known here: give labels that are paths, such as "
                "'Shoes > Running', and their field as path_field"
            )
        source = self.source_collection or SourceCollection()
        given = [
            EnrichmentField(field_path=one) if isinstance(one, str) else one
            for one in source.enrichment_fields or ()
        ]
        named = [one.names for one in given]
        fields = {name: name for name in _listed(self.field_to_enrich)}
        if not fields and self.path_field:
            fields = {_bare(self.path_field): _bare(self.path_field)}
        if not fields:
            fields = dict(named[:1])
        rest = [target for target, _ in named if target not in fields]
        enrich = tuple(dict.fromkeys([*(self.enrich or ()), *rest]))
        for field in (*fields, *enrich):
            check_field(field)
        return Spec(
            fields=fields,
            reference=source.collection_id,
            retriever=self.retriever_id,
            confidence_threshold=self.confidence_threshold,
            target_precision=self.target_precision,
            targets=self.targets,
            top_k=self.top_k,
            enrich=enrich,
            path_field=self.path_field,
            separator=self.path_separator or ("/" if self.path_field else ">"),
            exclusive=self.exclusive,
            low_quality=self.low_quality,
            hierarchical=None if self.taxonomy_type is None else self.taxonomy_type != "flat",
            closed_set=self.closed_set,
            labels=self.named_labels,
        )


class InlineTaxonomy(Rules):
    """A taxonomy, as a collection says it: without a retriever its own labels vote."""

    retriever_id: str | None = None
    taxonomy_id: str | None = None
    field_to_enrich: str | list[str] | None = None
    enrichment_fields: list[EnrichmentField | str] | None = None
    enrich: list[str] | None = None
    reference_collection: str | None = None
    source_collection: SourceCollection | None = None
    taxonomy_type: Literal["flat", "hierarchical"] | None = None
    path_field: str | None = None
    path_separator: str | None = None
    exclusive: Literal["image"] | None = None
    low_quality: bool | None = None

    def spec(self) -> Spec:
        """Return what it says."""
        source = self.source_collection or SourceCollection(collection_id=self.reference_collection)
        if source.enrichment_fields is None:
            source.enrichment_fields = self.enrichment_fields
        return TaxonomyConfig(
            taxonomy_type=self.taxonomy_type,
            retriever_id=self.retriever_id,
            source_collection=source,
            field_to_enrich=self.field_to_enrich,
            enrich=self.enrich,
            path_field=self.path_field,
            path_separator=self.path_separator,
            exclusive=self.exclusive,
            low_quality=self.low_quality,
            confidence_threshold=self.confidence_threshold,
            target_precision=self.target_precision,
            targets=self.targets,
            top_k=self.top_k,
            closed_set=self.closed_set,
            labels=self.labels,
        ).spec()


class Application(Rules):
    """A taxonomy that is attached to a collection."""

    idle: ClassVar = frozenset({"execution_phase", "priority", "target_collection_id"})
    taxonomy_id: str
    execution_mode: Literal["materialize"] | None = None
    scroll_filters: Any = None


def _listed(names: str | list[str] | None) -> list[str]:
    given = [names] if isinstance(names, str) else names or []
    return [_bare(name) for name in given]


def _bare(path: str) -> str:
    return path.removeprefix("metadata.").removeprefix("payload.")
