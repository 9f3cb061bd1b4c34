"""Draw the packages of `src/lookalike` in their layers, from the imports: `tools/draw_packages.py`.

The layers are those of `tests/project/test_shape.py`. An arrow leads from a package to one that it
imports; what follows from other arrows is left out. The picture is `docs/images/packages.svg`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "project"))

from test_shape import LAYERS, PACKAGE, SOURCE, Tree, home_of, read_tree

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "packages.svg"

WIDTH, MARGIN = 760, 12
LINE, PADDING, BETWEEN_BOXES, BETWEEN_ROWS = 17, 9, 36, 30
LETTER = 7.4
"""A generous width of a letter, in pixels: no font at hand makes a text wider than its box."""

STYLE = """
.page { fill: #ffffff } .row { fill: #f1f5f4 }
.box { fill: #ffffff; stroke: #5c8f88; stroke-width: 1.2 }
.bar { fill: #8fc7bf }
text { font: 12.5px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #4a5a58;
  text-anchor: middle }
.name { font-size: 15px; font-weight: 600; fill: #14302c } .folders { font-style: italic }
.arrow { fill: none; stroke: #4d7a74; stroke-width: 1.4 } .head { fill: #4d7a74 }
.far { stroke-dasharray: 5 4; stroke-opacity: .6 }
@media (prefers-color-scheme: dark) {
.page { fill: #16201f } .row { fill: #1d2a28 }
.box { fill: #24332f; stroke: #6fb0a6 }
.bar { fill: #3f7d74 }
text { fill: #b4c6c3 } .name { fill: #eef6f4 }
.arrow { stroke: #86bdb4 } .head { fill: #86bdb4 }
}
""".strip()


@dataclass(frozen=True, slots=True)
class Package:
    """What the picture shows of a package; `lines` is rounded, so that few changes redraw it."""

    name: str
    modules: int
    lines: int
    folders: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the lines of text in its box, its name first."""
        several = "module" if self.modules == 1 else "modules"
        size = f"{self.modules} {several}, {self.lines:,} lines"
        return (self.name, size, *([", ".join(self.folders)] if self.folders else []))


@dataclass(frozen=True, slots=True)
class Box:
    """Where a package is drawn, in whole pixels; `row` counts from the top."""

    package: Package
    row: int
    left: int
    top: int
    width: int
    height: int

    @property
    def bottom(self) -> int:
        """Return its lower edge."""
        return self.top + self.height

    @property
    def middle(self) -> float:
        """Return the middle between its left and right edges."""
        return self.left + self.width / 2


Arrow = tuple[str, str]


def packages_of(tree: Tree) -> dict[str, Package]:
    """Return the packages of a tree by name, and the modules beside them at the top."""
    members: dict[str, list[str]] = {}
    for name in sorted(tree.sources):
        if name != PACKAGE:
            members.setdefault(home_of(name), []).append(name)
    packages = {}
    for home, names in members.items():
        lines = sum(len(tree.sources[name].splitlines()) for name in names)
        step = 500 if lines >= 1000 else 100
        folders = sorted({name.split(".")[2] for name in names if name.count(".") > 2})
        packages[home] = Package(home, len(names), step * round(lines / step), tuple(folders))
    return packages


def arrows_of(tree: Tree) -> list[Arrow]:
    """Return which package imports which: only the arrows that no chain of others implies.

    This is the transitive reduction. No packages may import each other in a circle, which
    `tests/project/test_shape.py` checks.
    """
    imports: dict[str, set[str]] = {}
    for name, targets in tree.imports.items():
        if name != PACKAGE:
            homes = {home_of(one) for one in targets if one != PACKAGE}
            imports.setdefault(home_of(name), set()).update(homes - {home_of(name)})
    below: dict[str, set[str]] = {}

    def reached(home: str) -> set[str]:
        if home not in below:
            below[home] = imports[home].union(*map(reached, imports[home]))
        return below[home]

    return [
        (home, target)
        for home in sorted(imports)
        for target in sorted(imports[home])
        if not any(target in reached(other) for other in imports[home])
    ]


def draw(tree: Tree, layers: Sequence[Sequence[str]]) -> str:
    """Return the picture as SVG, the same for the same tree."""
    packages = packages_of(tree)
    rows = [[packages[name] for name in row if not name.startswith("_")] for row in layers]
    boxes, height = _placed([row for row in rows if row])
    arrows = [arrow for arrow in arrows_of(tree) if set(arrow) <= boxes.keys()]
    scale = min((box.width - 2) / max(box.package.lines, 1) for box in boxes.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        f' width="{WIDTH}" height="{height}" role="img">',
        "<title>The packages of Lookalike in their layers</title>",
        f"<style>\n{STYLE}\n</style>",
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker>',
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
        *_bands(boxes.values()),
        *_lines(boxes, arrows),
        *(part for box in boxes.values() for part in _drawn(box, scale)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _placed(rows: Sequence[Sequence[Package]]) -> tuple[dict[str, Box], int]:
    """Return the boxes by package, a row a layer, and the height of the whole."""
    boxes, top = {}, MARGIN + PADDING
    for place, row in enumerate(rows):
        widths = [round(max(map(len, one.texts)) * LETTER) + 2 * PADDING for one in row]
        height = max(len(one.texts) for one in row) * LINE + 2 * PADDING
        left = (WIDTH - sum(widths) - BETWEEN_BOXES * (len(row) - 1)) // 2
        for one, width in zip(row, widths, strict=True):
            boxes[one.name] = Box(one, place, left, top, width, height)
            left += width + BETWEEN_BOXES
        top += height + BETWEEN_ROWS
    return boxes, top - BETWEEN_ROWS + PADDING + MARGIN


def _bands(boxes: Iterable[Box]) -> list[str]:
    """Return a band behind each row."""
    rows = {box.row: box for box in boxes}
    return [
        f'<rect class="row" x="{MARGIN}" y="{box.top - PADDING}" width="{WIDTH - 2 * MARGIN}"'
        f' height="{box.height + 2 * PADDING}" rx="6"/>'
        for box in rows.values()
    ]


def _lines(boxes: Mapping[str, Box], arrows: Sequence[Arrow]) -> list[str]:
    """Return the arrows: straight to the next row, round the rows between to one farther down."""
    leave: dict[str, list[str]] = {home: [] for home in boxes}
    enter: dict[str, list[str]] = {home: [] for home in boxes}
    for source, target in arrows:
        leave[source].append(target)
        enter[target].append(source)
    for met in (leave, enter):
        met |= {home: _ports(boxes, home, others) for home, others in met.items()}
    lines, lane = [], WIDTH - MARGIN
    for source, target in arrows:
        above, below = boxes[source], boxes[target]
        x = _port(above, leave[source], target)
        to = _port(below, enter[target], source)
        y, end = above.bottom, below.top
        if below.row - above.row == 1:
            half = (y + end) / 2
            path, kind = f"M{x} {y}C{x} {half:g} {to} {half:g} {to} {end - 1}", "arrow"
        else:
            lane -= 14
            path = f"M{x} {y}V{y + PADDING + 5}H{lane}V{end - PADDING - 6}H{to}V{end - 1}"
            kind = "arrow far"
        lines.append(f'<path class="{kind}" d="{path}" marker-end="url(#head)"/>')
    return lines


def _ports(boxes: Mapping[str, Box], home: str, others: Sequence[str]) -> list[str]:
    """Return the other ends of a package's arrows, from left to right; those far away are last."""
    row = boxes[home].row
    return sorted(others, key=lambda one: (abs(boxes[one].row - row) > 1, boxes[one].middle))


def _port(box: Box, others: Sequence[str], name: str) -> int:
    """Return where the arrow from or to a package meets a box: as many ports as arrows."""
    return round(box.left + box.width * (others.index(name) + 1) / (len(others) + 1))


def _drawn(box: Box, scale: float) -> list[str]:
    """Return a box with its texts, and a bar of `scale` pixels for each line of code."""
    texts = box.package.texts
    first = box.top + (box.height - len(texts) * LINE) // 2 + 13
    bar = round(box.package.lines * scale)
    parts = [
        f'<rect class="box" x="{box.left}" y="{box.top}" width="{box.width}"'
        f' height="{box.height}" rx="5"/>',
        f'<rect class="bar" x="{box.left + 1}" y="{box.bottom - 4}" width="{bar}" height="3"/>',
    ]
    for place, text in enumerate(texts):
        kind = "name" if place == 0 else "size" if place == 1 else "folders"
        y = first + place * LINE
        parts.append(f'<text class="{kind}" x="{box.middle:g}" y="{y}">{text}</text>')
    return parts


def main() -> None:
    """Write the picture if it has changed, and say so."""
    new = draw(read_tree(SOURCE), LAYERS)
    if not PICTURE.exists() or PICTURE.read_text("utf-8") != new:
        PICTURE.write_text(new, "utf-8")
        print(f"drew {PICTURE.name}")


if __name__ == "__main__":
    main()
