"""Which layers to blame, and the option of `tinymaix quantize` to try for each: decided by what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinymaix.compare.layers import LayerFigures

BLAMED = 3
GOOD = 40.0
"""Above this own SQNR no layer is to blame: the error is that of 8-bit rounding."""
LARGE_SHIFT, MANY_SATURATED, WIDE, UNEQUAL = 0.5, 0.002, 4.0, 8.0
"""From these on, a shift, saturated values, a range, or channels are named as the cause."""


@dataclass(frozen=True)
class Blame:
    """A layer, why, and what to try."""

    index: int
    name: str
    kind: str
    own: float
    because: str
    options: list[str]


def blame(layers: Sequence[LayerFigures]) -> list[Blame]:
    """The layers with the largest errors of their own, the worst first; none where all are small."""
    known = [(layer.own, layer) for layer in layers if layer.own is not None and layer.dtype != "float32"]
    worst = sorted((each for each in known if each[0] < GOOD), key=lambda each: each[0])[:BLAMED]
    return [Blame(layer.index, layer.name, layer.kind, own, *advice(layer, own)) for own, layer in worst]


def advice(layer: LayerFigures, own: float) -> tuple[str, list[str]]:
    """The cause of a layer's own error, and the options that work against it, the likeliest first."""
    more = [] if layer.dtype == "int16" else [f"--layer {layer.name}=int16"]
    if layer.weights is not None and layer.weights < own + 3:  # at least half of the noise's power
        return _weights(layer, more)
    if layer.saturated >= MANY_SATURATED:
        return f"{layer.saturated:.1%} of its values lie beyond its range", ["--ranges minmax", "--ranges mse", *more]
    if layer.width >= WIDE:
        why = f"its output range is {layer.width:.0f}x wider than 99.9 % of its values"
        return why, ["--ranges percentile", "--ranges mse", *more]
    if layer.shift >= LARGE_SHIFT:
        return f"{layer.shift:.0%} of its error is a constant shift of its channels", ["--correct-bias", *more]
    if layer.channels >= UNEQUAL:
        return f"its output's channels are unequal {layer.channels:.0f}x", ["--equalize", *more]
    return f"its output needs more than {layer.dtype}", more


def _weights(layer: LayerFigures, more: list[str]) -> tuple[str, list[str]]:
    """Where the weights are the cause."""
    if layer.weight_channels is not None and layer.weight_channels >= WIDE:
        why = f"its weights' channels are unequal {layer.weight_channels:.0f}x and share one scale"
        return why, ["quantize per channel (without --per-tensor)", "--equalize"]
    fewer_bits = [f"--layer {layer.name}=int8"] if layer.is_int4 else []
    if layer.input_channels >= UNEQUAL:
        why = f"its inputs' channels are unequal {layer.input_channels:.0f}x, and its weights with them"
        return why, ["--equalize", "--round learned", *fewer_bits]
    if layer.is_int4:
        return "its weights need more than 4 bits", ["--round learned", *fewer_bits]
    if layer.shift >= LARGE_SHIFT:
        why = f"rounding its weights shifts its channels: {layer.shift:.0%} of its error is constant"
        return why, ["--correct-bias"]
    return "rounding its weights makes most of its error", ["--round learned", "--correct-bias", *more]
