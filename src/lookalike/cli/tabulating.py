"""What labels cost, and how far people agree, as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lookalike.quality.stats.agreement import Agreement
    from lookalike.quality.stats.cost_curve import CostCurve, CostPoint

_COST_LINES = 10
_NAMED = 10


def show_cost(curve: CostCurve) -> str:
    """Return the limit that costs least beside others, a line each, and the next step."""
    basis = f"estimated by the machine ({curve.answers} random answers met its labels)"
    if curve.basis == "counted":
        basis = f"counted by {curve.answers} random answers from {curve.counted_from:.3f} up"
    tenths = [one for place, one in enumerate(curve.points) if place % _COST_LINES == 0]
    lines = [
        f"{curve.collection}.{curve.field}: a wrong label costs {curve.wrong_costs:g} reviews; "
        f"wrong labels are {basis}",
        "           limit      cost    wrong  reviews  coverage",
        _cost_line("cheapest", curve.best),
        _cost_line("now", curve.now),
        *(_cost_line("", one) for one in tenths),
        f"label where a label is right with more than {curve.by_rule:.3f}, if that can be believed",
    ]
    if curve.anyway:
        lines.append(f"{curve.anyway} more need a review at any limit")
    return "\n".join([*lines, f"next: {curve.next_step}"])


def _cost_line(name: str, one: CostPoint) -> str:
    limit = "–" if one.limit is None else f"{one.limit:.3f}"
    return (
        f"{name:8} {limit:>7} {one.cost:9.1f} {one.wrong:8.1f} {one.reviews:8} {one.coverage:9.1%}"
    )


def show_agreement(found: Agreement) -> str:
    """Return how far people agree, two by two, and what they confuse, a line each."""
    lines = [
        f"{found.collection}.{found.field}: {len(found.people)} people share {found.shared} "
        f"documents, all agree on {found.agreed} ({found.agreed / found.shared:.1%}); "
        f"Krippendorff's alpha {_coefficient(found.alpha)}"
    ]
    if found.blind < found.shared:
        lines.append(
            f"only {found.blind} were answered without sight of the first label; corrections make "
            "agreement look low: see --blind"
        )
    lines += [
        f"  {' and '.join(two.people)}: {two.same} of {two.shared} the same, "
        f"Cohen's kappa {_coefficient(two.kappa)}"
        for two in found.pairs
    ]
    lines += [
        f"  confused {one.times} times: {one.labels[0]} and {one.labels[1]}"
        for one in found.disputed[:_NAMED]
    ]
    lines += [
        f"  {one.agreed:5} of {one.documents:5} agreed: {one.label}"
        for one in found.labels[:_NAMED]
    ]
    return "\n".join(lines)


def _coefficient(value: float | None) -> str:
    return "unknown (one label only)" if value is None else f"{value:.3f}"
