"""What would make a model smaller, in bytes: what can be computed from its tensors without making it anew."""

from __future__ import annotations

import math

from tinymaix.deploy import Bench
from tinymaix.graph import Graph, Tensor
from tinymaix.quantize.weights import LARGE_KINDS

LEAST_SCALE = 0.25
"""Inputs scaled below this are another task."""


def lighter(graph: Graph, bench: Bench, flash_missing: int, ram_missing: int) -> list[str]:
    """A sentence for each way to close the gap, or to narrow it.

    bench: the figures that the bytes are missing from.
    """
    notes = []
    if flash_missing:
        notes += [_weights(graph, flash_missing)]
    if ram_missing:
        notes += [_activations(graph, bench, ram_missing)]
    return [note for note in notes if note]


def _weights(graph: Graph, missing: int) -> str:
    """Of narrower weights: those that `tinymaix quantize` makes so."""
    weights = [tensor for tensor in graph.constants if len(tensor.shape) > 1 and tensor.dtype.kind == "f"]
    if weights:
        saved = sum(tensor.nbytes - tensor.elements for tensor in weights)
        return f"int8 weights (tinymaix quantize) save {saved:,} bytes of flash{_enough(saved, missing)}"
    layers = {id(node.input(1)): node.input(1) for node in graph.nodes if node.op.kind in LARGE_KINDS}
    saved = sum(t.elements // 2 for t in layers.values() if t.is_constant and t.dtype == "int8" and not t.is_int4)
    how = "int4 weights (tinymaix quantize --weights int4, from the float model)"
    return f"{how} save {saved:,} bytes of flash{_enough(saved, missing)}" if saved else ""


def _activations(graph: Graph, bench: Bench, missing: int) -> str:
    """Of narrower or fewer activations."""
    kinds = {tensor.dtype.kind for tensor in graph.inputs}
    if "f" in kinds:
        saved = bench.ram.arena * 3 // 4
        return f"int8 activations (tinymaix quantize) save {saved:,} bytes of RAM{_enough(saved, missing)}"
    image = next((tensor for tensor in graph.inputs if len(tensor.shape) == 4), None)
    room = bench.ram.arena - missing
    if image is None or room <= 0 or math.sqrt(room / bench.ram.arena) < LEAST_SCALE:
        return f"its activations alone take {bench.ram.arena:,} bytes of RAM" if missing else ""
    return f"{_smaller(image, math.sqrt(room / bench.ram.arena))} would fit, if all activations shrink with it"


def _smaller(image: Tensor, scale: float) -> str:
    """An input whose area is smaller by the square of the scale."""
    height, width = (max(1, int(size * scale)) for size in image.shape[1:3])
    return f"an input of {height}x{width} instead of {image.shape[1]}x{image.shape[2]}"


def _enough(saved: int, missing: int) -> str:
    return "" if saved >= missing else f", {missing - saved:,} too few"
