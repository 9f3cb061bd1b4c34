"""The labelling configuration of a Label Studio project: its controls and their choices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lookalike.formats.base import LABEL, UNLABELLED
from lookalike.formats.files import parse_xml
from lookalike.model import LABEL_SEPARATOR

ControlKind = Literal["choices", "taxonomy", "rectanglelabels"]

CHOICES: ControlKind = "choices"
TAXONOMY: ControlKind = "taxonomy"
RECTANGLES: ControlKind = "rectanglelabels"

_TAGS: dict[str, ControlKind] = {
    "Choices": CHOICES,
    "Taxonomy": TAXONOMY,
    "RectangleLabels": RECTANGLES,
}


@dataclass(frozen=True, slots=True)
class Control:
    """What a project asks about the content `to_name`, and the `values` that it offers.

    A value of a taxonomy is a path; without any values, those come from the task, and any is right.
    """

    kind: ControlKind
    name: str
    to_name: str
    values: tuple[str, ...] = ()

    def value_of(self, label: str) -> str | None:
        """Return the value that means a label: the same, or that of its last part; None for none.

        >>> Control("choices", "kind", "image", ("Apple", "Pear")).value_of("Fruit > Apple")
        'Apple'
        """
        if not self.values or label in self.values:
            return label
        last = label.rpartition(LABEL_SEPARATOR)[2]
        return last if last in self.values and self.kind != TAXONOMY else None

    @property
    def is_whole(self) -> bool:
        """Return whether it asks about the whole content, not about regions."""
        return self.kind != RECTANGLES


def read_config(config: str) -> list[Control]:
    """Return the controls of a configuration that ask for labels. Raises BadInput for no XML."""
    root = parse_xml(config.encode(), "the labelling configuration")
    found = []
    for element in root.iter():
        kind = _TAGS.get(element.tag)
        name, to_name = element.get("name"), element.get("toName")
        if kind is not None and name and to_name:
            found.append(Control(kind, name, to_name, tuple(_values(element, kind, ()))))
    return found


def _values(element: Element, kind: ControlKind, above: tuple[str, ...]) -> Iterator[str]:
    for one in element:
        value = one.get("alias") or one.get("value")
        if one.tag not in ("Choice", "Label") or not value:
            yield from _values(one, kind, above)
            continue
        path = (*above, value) if kind == TAXONOMY else (value,)
        yield LABEL_SEPARATOR.join(path)
        yield from _values(one, kind, path if kind == TAXONOMY else ())


def control_for(field: str, shown: str, labels: Sequence[str], *, regions: bool) -> Control:
    """Return the control that asks for these labels: rectangles, a tree or a list."""
    if regions:
        return Control(RECTANGLES, LABEL, shown, tuple(labels))
    is_tree = any(LABEL_SEPARATOR in label for label in labels)
    return Control(TAXONOMY if is_tree else CHOICES, field, shown, tuple(labels))


def write_config(control: Control) -> str:
    """Return the configuration of a project with this control over one picture or text."""
    view = Element("View")
    shown = control.to_name
    SubElement(view, shown.title(), {"name": shown, "value": f"${shown}"})
    tag = next(tag for tag, kind in _TAGS.items() if kind == control.kind)
    inner = "Choice" if control.is_whole else "Label"
    top = SubElement(view, tag, {"name": control.name, "toName": shown})
    nodes: dict[tuple[str, ...], Element] = {(): top}
    for label in control.values:
        is_path = control.kind == TAXONOMY
        parts = tuple(label.split(LABEL_SEPARATOR)) if is_path else (label,)
        for end in range(1, len(parts) + 1):
            if parts[:end] not in nodes:
                above = nodes[parts[: end - 1]]
                nodes[parts[:end]] = SubElement(above, inner, {"value": parts[end - 1]})
    indent(view)
    return tostring(view, "unicode") + "\n"


def known_labels(regions: Sequence[str | None], labels: Sequence[str | None]) -> list[str]:
    """Return the labels that a project must offer, sorted; `unlabelled` for regions without one."""
    if regions:
        return sorted({one or UNLABELLED for one in regions})
    return sorted({one for one in labels if one})
