"""A Graph as a picture: SVG, or one HTML page around it. A box a layer, rows by depth, no script and no other file.

The layout is that of Sugiyama, Tagawa and Toda 1981 in its simplest form: a node stands one row below the last of its
inputs, an edge over several rows gets a point in each, and rows are ordered by where their inputs stand.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tinymaix.compile.layers import describe, dims
from tinymaix.graph import Graph, Node, Tensor
from tinymaix.write.atomic import write_atomic

BOX, ROW, GAP, MARGIN = (190, 46), 78, 24, 20
"""Size of a box, height of a row, space between boxes, and around the picture, in pixels."""
LANE = 24
"""Width of an edge's place in the rows that it passes."""
MAX_LETTERS = 26

COLOURS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("CONV", "FULLY_CONNECTED", "MATMUL", "LSTM", "GRU", "RNN", "SVDF"), "#cfe2ff"),
    (("POOL", "MEAN", "REDUCE", "SUM"), "#d9f2d9"),
    (("QUANTIZE", "CAST"), "#f5d5ec"),
    (("RESHAPE", "SQUEEZE", "EXPAND", "PAD", "SLICE", "TRANSPOSE", "CONCAT", "SPLIT", "GATHER", "RESIZE"), "#eeeeee"),
)
"""Parts of an operator's name, the first that fits counts, and the colour of its box."""
OTHER_COLOUR, END_COLOUR = "#fff0cc", "#ffffff"


@dataclass(eq=False)
class _Item:
    """A box, or the place of an edge in a row that it passes."""

    lines: tuple[str, ...] = ()
    title: str = ""
    colour: str = END_COLOUR
    above: list[_Item] = field(default_factory=list)
    row: int = 0
    x: float = 0.0  # its middle

    @property
    def width(self) -> int:
        return BOX[0] if self.lines else LANE


def write_drawing(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write the picture as .svg or .html, as the name of the file says.

    Raises:
        ValueError: the name says neither.
        OSError: the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".svg", ".html", ".htm"):
        raise ValueError(f"{os.fspath(path)}: a graph is drawn as .svg or .html; end the name with one of these")
    write_atomic(path, svg(graph) if suffix == ".svg" else html(graph))


def html(graph: Graph) -> str:
    """A page with the picture and what the graph sums up to."""
    name = _text(graph.name)
    parameters = sum(t.nbytes for t in graph.constants)
    total = f"{len(graph.nodes)} layers, {graph.macs:,} MACs, {parameters:,} bytes of parameters"
    notes = "".join(f"<p>{_text(note)}</p>" for note in graph.notes)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title></head>\n'
        f'<body style="font-family:sans-serif"><h1>{name}</h1><p>{total}</p>{notes}\n{svg(graph)}</body></html>\n'
    )


def svg(graph: Graph) -> str:
    """The picture."""
    rows = _rows(graph)
    items = [item for row in rows for item in row]
    left = min((item.x - item.width / 2 for item in items), default=0.0) - MARGIN
    right = max((item.x + item.width / 2 for item in items), default=0.0) + MARGIN
    height = len(rows) * ROW - (ROW - BOX[1]) + 2 * MARGIN
    edges = [_edge(above, item) for item in items for above in item.above]
    boxes = [_box(item) for item in items if item.lines]
    size = f'width="{right - left:.0f}" height="{height}" viewBox="{left:.0f} {-MARGIN} {right - left:.0f} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
            f"<title>{_text(graph.name)}</title>",
            '<g fill="none" stroke="#888888" stroke-width="1.5">',
            *edges,
            "</g>",
            *boxes,
            "</svg>\n",
        ]
    )


def _rows(graph: Graph) -> list[list[_Item]]:
    """Every item in its row and at its place."""
    made: dict[int, _Item] = {}  # id of a tensor -> the box that makes it
    boxes: list[_Item] = []
    for tensor in graph.inputs:
        boxes.append(_Item(("input", dims(tensor.shape)), _about(tensor)))
        made[id(tensor)] = boxes[-1]
    for index, node in enumerate(graph.nodes):
        above = [made[id(t)] for t in node.activations if id(t) in made]
        boxes.append(_node_item(node, index, list(dict.fromkeys(above))))
        made.update((id(t), boxes[-1]) for t in node.outputs)
    for tensor in graph.outputs:
        above = [made[id(tensor)]] if id(tensor) in made else []
        boxes.append(_Item(("output", dims(tensor.shape)), _about(tensor), above=above))
    for box in boxes:
        box.row = 1 + max((item.row for item in box.above), default=-1)
    rows: list[list[_Item]] = [[] for _ in range(1 + max(box.row for box in boxes))]
    for box in boxes:
        box.above = [_led_down(item, box.row, rows) for item in box.above]
        rows[box.row].append(box)
    for row in rows:
        _place(row)
    return rows


def _led_down(item: _Item, row: int, rows: Sequence[list[_Item]]) -> _Item:
    """The end of the edge in the row above: the item itself, or the last of the points in the rows between."""
    for passed in range(item.row + 1, row):
        point = _Item(above=[item], row=passed)
        rows[passed].append(point)
        item = point
    return item


def _place(row: list[_Item]) -> None:
    """Order a row by where the inputs stand, and give every item its room."""
    wished = {id(item): sum(a.x for a in item.above) / len(item.above) if item.above else 0.0 for item in row}
    row.sort(key=lambda item: wished[id(item)])
    for before, item in zip([None, *row], row, strict=False):
        least = before.x + (before.width + item.width) / 2 + GAP if before else wished[id(item)]
        item.x = max(wished[id(item)], least)
    shift = sum(item.x - wished[id(item)] for item in row) / max(len(row), 1)
    for item in row:
        item.x -= shift


def _node_item(node: Node, index: int, above: list[_Item]) -> _Item:
    shape = ", ".join(dims(t.shape) for t in node.outputs)
    macs = node.op.macs(node)
    second = f"{shape}  {macs:,} MACs" if macs else shape
    colour = next((c for parts, c in COLOURS if any(part in node.op.kind for part in parts)), OTHER_COLOUR)
    constants = [f"constant {_about(t)}" for t in node.present if t.is_constant]
    title = "\n".join([node.name, describe(node, index), *(f"output {_about(t)}" for t in node.outputs), *constants])
    return _Item((f"{index}  {node.op.kind}", second), title, colour, above)


def _about(tensor: Tensor) -> str:
    """One line: name, shape, type, quantization."""
    q = tensor.quantization
    if q is None:
        how = ""
    elif q.per_channel:
        how = f", {q.scale.size} scales along axis {q.axis}"
    else:
        how = f", real = {q.s:.6g} * (q - {q.z})"
    return f"{tensor.name}: {dims(tensor.shape)} {tensor.dtype}{how}"


def _edge(above: _Item, item: _Item) -> str:
    """A curve from the bottom of one box to the top of the other; the points of a long edge are its middle."""
    start = above.row * ROW + (BOX[1] if above.lines else BOX[1] / 2)
    end = item.row * ROW + (0 if item.lines else BOX[1] / 2)
    half = (start + end) / 2
    curve = f"{above.x:.1f} {half:.1f} {item.x:.1f} {half:.1f} {item.x:.1f} {end:.1f}"
    return f'<path d="M{above.x:.1f} {start:.1f}C{curve}"/>'


def _box(item: _Item) -> str:
    x, y = item.x - BOX[0] / 2, item.row * ROW
    texts = [
        f'<text x="{item.x:.1f}" y="{y + 19 + 17 * i}" text-anchor="middle">{_text(_short(line))}</text>'
        for i, line in enumerate(item.lines)
    ]
    shape = (
        f'<rect x="{x:.1f}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="6" fill="{item.colour}" stroke="#555555"/>'
    )
    return f"<g><title>{_text(item.title)}</title>{shape}{''.join(texts)}</g>"


def _short(line: str) -> str:
    return line if len(line) <= MAX_LETTERS else f"{line[: MAX_LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _text(text: str) -> str:
    """Text for XML: names come from files, and control characters may not stand there at all."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text))
