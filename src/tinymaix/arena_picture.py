"""The arena over time as a picture: a box for every value, from its first to its last layer, at its place in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from tinymaix.compile.layers import describe, dims
from tinymaix.graph import Tensor
from tinymaix.page import clean
from tinymaix.plan import Plan

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 360, 70, 44, 10
"""Of the picture in pixels, and its margins, where the axes stand."""
TICKS = 4
COLOURS = {"value": "#8fb8de", "input": "#b5d99c", "output": "#f2c078", "scratch": "#d9d9d9"}
"""Of the boxes, by what they hold."""


@dataclass(frozen=True)
class Box:
    """Bytes in use: from step ``first`` to ``last``, both included; step -1 is before the first layer."""

    kind: str
    about: str
    first: int
    last: int
    offset: int
    size: int


def boxes(plan: Plan) -> list[Box]:
    """Every value and every layer's working memory; views of a value are no boxes of their own."""
    inputs, outputs = ({id(t) for t in tensors} for tensors in (plan.graph.inputs, plan.graph.outputs))
    found: dict[tuple[int, int, int, str], Box] = {}
    for tensor in plan.graph.tensors:
        if id(tensor) not in plan.lifetimes or id(tensor) not in plan.offsets:
            continue
        kind = "input" if id(tensor) in inputs else "output" if id(tensor) in outputs else "value"
        first, last = plan.lifetimes[id(tensor)]
        box = Box(kind, _about(tensor), first, last, plan.offsets[id(tensor)], tensor.nbytes)
        found.setdefault((box.offset, box.size, box.last, box.kind), box)
    for step, node in enumerate(plan.order):
        if id(node) in plan.scratch:
            about = f"working memory of {describe(node, step)}"
            place, size = plan.scratch[id(node)], plan.scratch_bytes[id(node)]
            found[place, size, step, "scratch"] = Box("scratch", about, step, step, place, size)
    return list(found.values())


def _about(tensor: Tensor) -> str:
    return f"{tensor.name}: {dims(tensor.shape)} {tensor.dtype}"


def arena_svg(plan: Plan) -> str:
    """The picture as SVG; a box says in its title what it holds."""
    steps = len(plan.order)
    across = (WIDTH - LEFT - 10) / (steps + 2)
    down = (HEIGHT - TOP - BOTTOM) / max(plan.arena, 1)
    floor = HEIGHT - BOTTOM

    def x(step: float) -> float:
        return LEFT + (step + 1) * across

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" role="img">',
        f"<title>The arena of {clean(plan.graph.name)}: {plan.arena:,} bytes over {steps} layers</title>",
    ]
    for box in boxes(plan):
        when = f"layers {max(box.first, 0)} to {min(box.last, steps - 1)}"
        words = f"{box.about}\n{box.size:,} bytes at {box.offset:,}, {when}"
        lines.append(
            f'<rect x="{x(box.first):.1f}" y="{floor - (box.offset + box.size) * down:.1f}" '
            f'width="{(box.last - box.first + 1) * across:.1f}" height="{max(box.size * down, 0.5):.1f}" '
            f'fill="{COLOURS[box.kind]}" fill-opacity="0.8" stroke="#44546a" stroke-width="0.5">'
            f"<title>{clean(words)}</title></rect>"
        )
    for tick in range(TICKS + 1):
        value = plan.arena * tick // TICKS
        y = floor - value * down
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor">{value:,}</text>')
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8888" stroke-width="0.5"/>'
        )
    for step in range(0, steps, -(-steps // 16) or 1):
        lines.append(
            f'<text x="{x(step + 0.5):.1f}" y="{floor + 16}" text-anchor="middle" fill="currentColor">{step}</text>'
        )
    lines.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle" fill="currentColor">layer</text>')
    return "\n".join([*lines, *_legend(), "</svg>"])


def _legend() -> list[str]:
    """What the colours mean, at the top right, where an arena is rarely full."""
    lines = []
    for i, (kind, colour) in enumerate(COLOURS.items()):
        y = TOP + 8 + 18 * i
        lines.append(f'<rect x="{WIDTH - 90}" y="{y}" width="12" height="12" fill="{colour}" stroke="#44546a"/>')
        lines.append(f'<text x="{WIDTH - 72}" y="{y + 11}" fill="currentColor">{kind}</text>')
    return lines
