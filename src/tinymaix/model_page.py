"""A model on a chip as one page: what it is, where its time and memory go, and which chips it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinymaix.arena_picture import arena_svg
from tinymaix.chips import Chip
from tinymaix.compile.layers import describe, dims
from tinymaix.deploy import Bench
from tinymaix.drawing import svg
from tinymaix.fit import Fit
from tinymaix.graph import Graph
from tinymaix.page import Page
from tinymaix.plan import Plan

MOST_BARS = 40
"""Layers of a chart; of a longer model, the dearest."""


@dataclass(frozen=True)
class Accuracy:
    """What a model is worth on data."""

    samples: int
    sentences: list[str]
    classes: list[tuple[str, float]]
    """Of each class, the percentage of its samples that is right."""


def model_page(
    graph: Graph, bench: Bench, plan: Plan, chip: Chip, fits: Sequence[Fit], model: str, found: Accuracy | None = None
) -> Page:
    """The page.

    Args:
        bench: the figures of the chip that is shown in detail, with its layers; plan: the memory of that program.
        fits: every chip that is to be listed.
        model: as a user names it on a command line.
        found: what is known of its accuracy, where there was data.
    """
    page = Page(graph.name)
    _summary(page, graph, bench, chip, model)
    if found is not None:
        page.heading("Accuracy").text(f"On {found.samples:,} samples.").points(found.sentences)
        page.bars("right of each class, in percent", found.classes[:MOST_BARS])
    _time(page, bench, chip)
    _memory(page, bench, plan)
    _chips(page, fits, model)
    page.heading("Layers").svg("", svg(graph), scroll=True)
    return page


def _summary(page: Page, graph: Graph, bench: Bench, chip: Chip, model: str) -> None:
    inputs = ", ".join(f"{dims(t.shape)} {t.dtype}" for t in graph.inputs)
    outputs = ", ".join(f"{dims(t.shape)} {t.dtype}" for t in graph.outputs)
    page.text(f"{inputs} \N{RIGHTWARDS ARROW} {outputs}, {len(graph.nodes)} layers, {graph.macs:,} MACs.")
    page.points(graph.notes)
    exact = "every byte is that of the reference" if bench.bit_exact else "not the reference's bytes"
    about = "exact" if bench.cycles_exact else f"within about {100 * (bench.cycles_error or 0):.0f} %"
    rows: list[tuple[str, object]] = [
        ("output", exact),
        ("instructions", bench.instructions),
        (f"cycles, {about}", bench.cycles),
        ("milliseconds", bench.milliseconds),
        ("millijoules", bench.millijoules),
        ("flash: code", bench.flash.code),
        ("flash: weights and tables", bench.flash.weights),
        ("RAM: arena", bench.ram.arena),
        ("RAM: stack", bench.ram.stack),
        ("fits the chip", bench.fits),
    ]
    page.heading(f"On the {chip.title}")
    page.table(["figure", "value"], [row for row in rows if row[1] is not None])
    page.text(f"Again: tinymaix bench {model} --chip {chip.name} --optimize {bench.optimize} --layers")


def _time(page: Page, bench: Bench, chip: Chip) -> None:
    layers = bench.layers or []
    unit = "cycles" if bench.cycles is not None else "instructions"

    def cost(i: int) -> int:
        return (layers[i].cycles if unit == "cycles" else layers[i].instructions) or 0

    total = sum(cost(i) for i in range(len(layers))) or 1
    page.heading("Time")
    dearest = sorted(sorted(range(len(layers)), key=cost)[-MOST_BARS:])
    names = [layer.operator if layer.index is None else f"{layer.index} {layer.operator}" for layer in layers]
    page.bars(f"{unit} of each layer", [(names[i], cost(i)) for i in dearest])
    rows = [
        (
            layer.index,
            layer.operator,
            layer.shapes,
            layer.kernel,
            layer.macs or None,
            cost(i),
            layer.cycles_per_mac,
            f"{100 * cost(i) / total:.1f} %",
        )
        for i, layer in enumerate(layers)
    ]
    page.table(["", "layer", "shapes", "computed by", "MACs", unit, "cycles/MAC", "share"], rows)


def _memory(page: Page, bench: Bench, plan: Plan) -> None:
    page.heading("Memory")
    page.svg(f"The arena over time: {plan.arena:,} bytes", arena_svg(plan))
    steps = [(describe(node, i), plan.live[i]) for i, node in enumerate(plan.order)]
    dearest = sorted(sorted(range(len(steps)), key=lambda i: steps[i][1])[-MOST_BARS:])
    page.bars("bytes of the arena in use", [steps[i] for i in dearest])
    weights = [(f"{c.index} {c.operator}", c.weights) for c in bench.layers or [] if c.weights]
    page.bars("bytes of weights in flash", sorted(weights, key=lambda w: -w[1])[:MOST_BARS])


def _chips(page: Page, fits: Sequence[Fit], model: str) -> None:
    if not fits:
        return
    page.heading("Chips")
    known = {
        core: [(f.milliseconds, f.millijoules) for f in fits if f.chip.core.family == core and f.fits]
        for core in dict.fromkeys(f.chip.core.family for f in fits)
    }
    points = {core: [(ms, mj) for ms, mj in values if ms and mj] for core, values in known.items()}
    page.scatter("milliseconds and millijoules of an inference", points, "ms", "mJ", logarithmic=True)
    rows = [
        (
            f.chip.title,
            f.chip.core.title,
            f.chip.mhz,
            f.fits,
            f.milliseconds,
            f.fps,
            f.millijoules,
            f.bench.flash.total if f.bench else None,
            f.bench.ram.total if f.bench else None,
            f.note,
        )
        for f in fits
    ]
    page.table(["chip", "core", "MHz", "fits", "ms", "a second", "mJ", "flash", "RAM", "note"], rows)
    page.text(f"Again: tinymaix fit {model}")
