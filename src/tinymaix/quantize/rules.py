"""What each operator asks of the scales of its inputs and outputs, by the TFLite specification of int8 and 16x8."""

from __future__ import annotations

from tinymaix.graph import Node, Quantization, Tensor
from tinymaix.ops.move import Move
from tinymaix.ops.pooling import Pool2D
from tinymaix.ops.resize import Resize
from tinymaix.quantize.ranges import Range
from tinymaix.quantize.recurrent import LstmWithCell
from tinymaix.quantize.weights import CHANNEL_AXIS

FIXED: dict[tuple[str, str], tuple[float, int]] = {
    ("LOGISTIC", "int8"): (1 / 256, -128),
    ("LOGISTIC", "int16"): (1 / 32768, 0),
    ("SOFTMAX", "int8"): (1 / 256, -128),
    ("SOFTMAX", "int16"): (1 / 32768, 0),
    ("TANH", "int8"): (1 / 128, 0),
    ("TANH", "int16"): (1 / 32768, 0),
    ("L2_NORMALIZATION", "int8"): (1 / 128, 0),
}
"""(scale, zero point) that the output always has, by kind and type."""

SHARING = ("CONCATENATION", "PACK", "MAXIMUM", "MINIMUM", "SELECT", "SELECT_V2", "PADV2", "RELU6")
"""Operators that put raw values of several tensors together, so that one scale must serve them all; and RELU6, of which
TFLM only clamps raw values."""

COMPARING = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")
"""Operators that compare raw values, and give truths."""

RAW = ("CAST", "ZEROS_LIKE")
"""Operators that deal in raw integers whatever their scale: of real numbers they are computed with floats."""

FOLLOWING = ("REDUCE_MAX", "REDUCE_MIN", "TOPK_V2")
"""Operators beside moves, pools and resizes whose output has the scale of their input."""


def types(node: Node) -> tuple[str, ...]:
    """The types that a node may be given."""
    if isinstance(node.op, LstmWithCell):
        return ("int8",)
    return ("float32",) if node.op.kind in RAW else node.op.types


def is_weighted(node: Node) -> bool:
    return node.op.kind in CHANNEL_AXIS


def shares(node: Node) -> bool:
    return node.op.kind in SHARING


def compares(node: Node) -> bool:
    return node.op.kind in COMPARING


def follows(node: Node) -> bool:
    """Whether the outputs have the scale of input 0."""
    return not shares(node) and (isinstance(node.op, Move | Pool2D | Resize) or node.op.kind in FOLLOWING)


def fixed(node: Node, kind: str) -> Quantization | None:
    """The quantization that the output always has."""
    found = FIXED.get((node.op.kind, kind))
    return None if found is None else Quantization.of(*found)


def widened(node: Node, r: Range, x: Tensor) -> Range:
    """The range of an output that its operator can give: an int8 HARD_SWISH needs a scale of 1/128 of its input's."""
    if node.op.kind != "HARD_SWISH" or x.quantization is None:
        return r
    missing = x.q.s * 255 / 127 - (r.high - r.low)
    return r if missing <= 0 else Range(r.low, r.high + missing)
