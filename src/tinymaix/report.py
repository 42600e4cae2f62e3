"""Figures -> tables for a terminal and plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from tinymaix.chips.chip import DATA
from tinymaix.compile.layers import dims
from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.plan import Plan

if TYPE_CHECKING:
    from tinymaix.chips import Chip
    from tinymaix.compile.tune_trial import LayerTuning
    from tinymaix.deploy import Bench
    from tinymaix.emulated import Emulated
    from tinymaix.fit import Fit

SHADES = "0123456789ABCDEF"
"""A pixel's upper four bits as one character, as TinyMaix's MNIST demo prints a picture."""


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> Table:
    """A table whose first ``left`` columns are text and whose others are figures."""
    result = Table(title=title, title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        result.add_column(column, justify="left" if i < left else "right", no_wrap=i > 0, overflow="fold")
    for row in rows:
        result.add_row(*(figure(cell) for cell in row))
    return result


def figure(value: object) -> str:
    """A cell: thousands separated, unknown as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 0.1 else f"{value:.3g}"
    return str(value)


def cycles(bench: Bench, value: float | None) -> float | str | None:
    """A cell for cycles or the time that follows from them, marked where they are modelled."""
    return value if bench.cycles_exact or value is None else f"~{figure(value)}"


def show(*parts: object, width: int | None = None) -> None:
    """Print tables and text to standard output; a pipe gets the full width."""
    console = Console(width=width, highlight=False, markup=False)
    if not console.is_terminal and width is None:
        console = Console(width=160, highlight=False, markup=False)
    for part in parts:
        console.print(part)


def bench_table(benches: Sequence[Bench], title: str | None = None) -> Table:
    """What an inference costs, a row a chip; "~" marks modelled cycles."""
    columns = [
        "chip", "cycles", "instructions", "ms", "mJ", "flash", "RAM", "arena", "stack", "bit-exact", "fits"
    ]  # fmt: skip
    rows = [
        [
            b.chip, cycles(b, b.cycles), b.instructions, cycles(b, b.milliseconds), cycles(b, b.millijoules),
            b.flash.total, b.ram.total, b.ram.arena, b.ram.stack, b.bit_exact, b.fits,
        ]
        for b in benches
    ]  # fmt: skip
    return table(title, columns, rows)


def layers_table(bench: Bench) -> Table:
    """What each layer costs; the rows add up to the inference."""
    columns = [
        "#", "operator", "shapes", "kernel", "MACs", "weights", "instructions", "cycles", "cycles/MAC", "share"
    ]  # fmt: skip
    whole = bench.cycles or bench.instructions or 1
    rows = [
        [
            "" if cost.index is None else str(cost.index), cost.operator, cost.shapes, cost.kernel, cost.macs,
            cost.weights, cost.instructions, cycles(bench, cost.cycles), cost.cycles_per_mac,
            f"{100 * (cost.instructions if bench.cycles is None else cost.cycles or 0) / whole:.1f} %",
        ]
        for cost in bench.layers or ()
        if cost.instructions or cost.index is None
    ]  # fmt: skip
    return table(f"{bench.chip}, layer by layer", columns, rows, left=4)


def tuning_table(tuning: Sequence[LayerTuning], chip: str) -> Table:
    """For each layer the kernel that won and, below it, those that were tried, the cheapest first."""
    rows = [
        [
            *((str(layer.index), layer.operator) if way is layer.winner else ("", "")), way.kernel,
            "won" if way is layer.winner else "", way.cost, way.weights, way.scratch,
        ]
        for layer in tuning
        for way in (layer.winner, *layer.others)
    ]  # fmt: skip
    return table(f"{chip}, tuned", ["#", "operator", "kernel", "", tuning[0].unit, "weights", "scratch"], rows, left=4)


def tuning_dict(tuning: Sequence[LayerTuning]) -> dict[str, Any]:
    """The same for JSON; empty where nothing was tried."""
    return {"tuning": [asdict(layer) for layer in tuning]} if tuning else {}


def fit_parts(fits: Sequence[Fit], graph: Graph, model: str) -> list[object]:
    """A row a chip, and below the table how to get it again and what could not be measured."""
    columns = [
        "chip", "core", "MHz", "fits", "ms", "a second", "mJ", "flash", "RAM", "flash lacks", "RAM lacks"
    ]  # fmt: skip
    rows = [
        [
            f.chip.name, f.chip.core.name, f.chip.mhz, f.fits, cycles(f.bench, f.milliseconds),
            cycles(f.bench, f.fps), cycles(f.bench, f.millijoules), f.bench.flash.total, f.bench.ram.total,
            f.flash_missing or None, f.ram_missing or None,
        ]
        for f in fits
        if f.bench
    ]  # fmt: skip
    parts: list[object] = [table(f"{graph.name}: {graph.macs:,} MACs", columns, rows, left=2)]
    parts += [f"{f.chip.name}: {f.note}" for f in fits if f.bench and f.note]
    again = next((f for f in fits if f.bench), None)
    parts += [f"each row again, layer by layer, here the first: {again.command(model)}"] if again else []
    unknown = {f.note: [g.chip.name for g in fits if not g.bench and g.note == f.note] for f in fits if not f.bench}
    return parts + [f"{', '.join(names)}: {note}" for note, names in unknown.items()]


def emulated_parts(result: Emulated, chip: Chip, rows: int) -> list[object]:
    """What a program did and took, its `rows` dearest functions, and what it printed."""
    known = result.cycles is not None
    mark = "" if result.cycles_exact else "~"
    marked = [f"{mark}{figure(v)}" if v is not None else None for v in (result.cycles, result.milliseconds)]
    columns = ["instructions", "cycles", "ms", "mJ", "stack", "flash", "variables"]
    cells = [
        result.instructions, *marked, result.millijoules, result.stack, result.flash, result.static_ram
    ]  # fmt: skip
    how = f", within {result.cycles_error:.0%} by its model" if result.cycles_error else ""
    own = [(f.cycles or 0) if known else f.instructions for f in result.functions]
    costs = [
        [f.name, f.calls, f.instructions, f.cycles, f"{100 * cost / max(1, sum(own)):.1f} %"]
        for f, cost in zip(result.functions[:rows], own, strict=False)
    ]
    rest = len(result.functions) - len(costs)
    names = ["function, by itself", "calls", "instructions", "cycles", "share"]
    parts: list[object] = [
        f"{result.firmware} on the {chip.title}, from {result.start}: it {result.end}.",
        table(None, columns, [cells], left=0),
        f"cycles: {result.cycles_source}{how}",
        table(None, names, costs),
        *([f"and {rest:,} more functions: --top shows more"] if rest else []),
        *(f"stack in {name}: {size:,} bytes" for name, size in result.other_stacks.items()),
    ]
    if result.unknown:
        dear = sorted(result.unknown.items(), key=lambda item: -item[1])
        listed = ", ".join(f"{address} ({times:,})" for address, times in dear[:12])
        parts.append(f"{len(dear):,} registers that are not known here were accessed (times): {listed}")
    return [*parts, f"it printed:\n{result.text.rstrip()}" if result.text else "it printed nothing"]


def chips_table(chips: Iterable[Chip]) -> Table:
    """Every chip: core, clock, memory, current, and whether it can be emulated."""
    rows = [
        [c.name, c.title, c.core.title, c.mhz, c.flash, c.ram, c.wait_states, c.active_ma, c.core.emulator or "-"]
        for c in chips
    ]
    columns = ["chip", "title", "core", "MHz", "flash", "RAM", "wait states", "mA", "emulator"]
    return table(None, columns, rows, left=3)


def checked_dict(chips: Iterable[Chip]) -> dict[str, dict[str, int]]:
    """By field of chips.toml: how many chips there are, of how many it is known, and of how many it was compared with
    a source."""
    every = list(chips)
    return {
        field: {
            "chips": len(every),
            "known": sum(getattr(chip, field) not in (None, ()) for chip in every),
            "checked": sum(field in dict(chip.checked) for chip in every),
        }
        for field in DATA
    }


def checked_table(chips: Iterable[Chip]) -> Table:
    """How much of what is known of chips was compared with a source."""
    rows = [[field, *counts.values()] for field, counts in checked_dict(chips).items()]
    return table(None, ["datum", "chips", "known", "compared with a source"], rows, left=1)


def chip_dict(chip: Chip) -> dict[str, Any]:
    return {
        "name": chip.name,
        "title": chip.title,
        "core": chip.core.name,
        "mhz": chip.mhz,
        "flash": chip.flash,
        "ram": chip.ram,
        "banks": [asdict(bank) for bank in chip.banks],
        "wait_states": chip.wait_states,
        "flash_line": chip.flash_line,
        "accelerator": chip.accelerator,
        "cache": chip.cache,
        "data_cache": chip.data_cache,
        "active_ma": chip.active_ma,
        "volts": chip.volts,
        "boards": list(chip.boards),
        "note": chip.note,
        "emulator": chip.core.emulator,
        "source": chip.source,
        "checked": dict(chip.checked),
    }


def inspect_dict(graph: Graph, plan: Plan, ways: Mapping[int, str] | None = None) -> dict[str, Any]:
    """What a model is: inputs, outputs, layers, MACs, parameters, and the arena that it needs.

    ways: by id of node, what computes it on a chip.
    """
    return {
        "name": graph.name,
        "inputs": [tensor_dict(t) for t in graph.inputs],
        "outputs": [tensor_dict(t) for t in graph.outputs],
        "layers": [
            {
                "index": i,
                "operator": node.op.kind,
                "name": node.name,
                "inputs": [list(t.shape) for t in node.activations],
                "outputs": [list(t.shape) for t in node.outputs],
                "type": layer_type(node),
                "macs": node.op.macs(node),
                "parameters": sum(t.nbytes for t in node.present if t.is_constant),
                "live": plan.live[i],
                **({} if ways is None else {"way": ways[id(node)]}),
            }
            for i, node in enumerate(plan.order)
        ],
        "macs": graph.macs,
        "parameters": sum(t.nbytes for t in graph.constants),
        "arena": plan.arena,
        "notes": list(graph.notes),
    }


def layer_type(node: Node) -> str:
    """The type that a layer computes with, and how its weights are quantized where each channel has its own scale."""
    weights = node.inputs[1] if len(node.inputs) > 1 else None
    by_channel = weights is not None and weights.quantization is not None and weights.quantization.per_channel
    return f"{node.output.dtype.name}{', scale a channel' if by_channel else ''}"


def tensor_dict(tensor: Tensor) -> dict[str, Any]:
    quantization = tensor.quantization
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype.name,
        "scale": None if quantization is None else float(quantization.scale[0]),
        "zero_point": None if quantization is None else quantization.z,
    }


def inspect_table(graph: Graph, plan: Plan, ways: Mapping[int, str] | None = None) -> list[object]:
    """`inspect_dict` for people."""
    figures = inspect_dict(graph, plan, ways)
    lines = [
        f"{side} {t.name}: {dims(t.shape)} {t.dtype}"
        + (f", real = {t.q.s:.6g} * (q - {t.q.z})" if t.quantization else "")
        for side, tensors in (("input ", graph.inputs), ("output", graph.outputs))
        for t in tensors
    ]
    rows = [
        [
            layer["index"], layer["operator"],
            ", ".join(dims(tuple(s)) for s in layer["inputs"]), ", ".join(dims(tuple(s)) for s in layer["outputs"]),
            layer["type"], layer["macs"], layer["parameters"], layer["live"],
        ]
        for layer in figures["layers"]
    ]  # fmt: skip
    columns = ["#", "operator", "input", "output", "type", "MACs", "parameter bytes", "live bytes"]
    layers = table(None, columns, rows, left=5)
    total = (
        f"{figures['macs']:,} MACs, {figures['parameters']:,} bytes of parameters, "
        f"{figures['arena']:,} bytes of arena for the activations"
    )
    computed = [[layer["index"], layer["operator"], layer["way"]] for layer in figures["layers"]] if ways else []
    more = [table(None, ["#", "operator", "computed by"], computed, left=3)] if ways else []
    return [*lines, layers, *more, total, *figures["notes"]]


def picture(pixels: Array) -> str:
    """An 8-bit grey picture as text, a character a pixel."""
    return "\n".join("".join(SHADES[value >> 4] for value in row) for row in np.asarray(pixels, np.uint8))
