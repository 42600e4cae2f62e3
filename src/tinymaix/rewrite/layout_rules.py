"""How operators work on tensors whose axes stand in another order: the rules of `tinymaix.rewrite.layout`.

A rule is given a node, its leading input, for each axis of that the axis of the source (or None), and the source's
rank. It returns the operator on the source and the axes of its output, or None where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tinymaix.graph import Node, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.ops.base import Operator, positive_axis
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.dequantize import Dequantize
from tinymaix.ops.elementwise import Binary
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.gather import Gather
from tinymaix.ops.lookup import Unary
from tinymaix.ops.pad import Pad
from tinymaix.ops.quantize import Quantize
from tinymaix.ops.slice import Slice
from tinymaix.ops.softmax import Softmax
from tinymaix.ops.split import Split
from tinymaix.ops.split_v import SplitV
from tinymaix.ops.strided_slice import StridedSlice

Axes = tuple[int | None, ...]


@dataclass(frozen=True)
class Changed:
    """The operator on the source, and which axis of its output each axis of the node's output is."""

    op: Operator
    axes: Axes
    aligns: bool = False  # the other inputs are tensors of the same axes, which must stand in the source's order


Rule = Callable[[Node, Tensor, Axes, int], Changed | None]


def _elementwise(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    """The axes stay; the output must not be broadcast along one that the source lacks, nor to a higher rank."""
    if len(node.output.shape) != len(lead.shape):
        return None
    grown = any(place is None and size > 1 for place, size in zip(axes, node.output.shape, strict=True))
    return None if grown else Changed(node.op, axes, aligns=True)


def _unary(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    """As `_elementwise`; a constant beside the input, as a table's, is none of the same axes."""
    found = _elementwise(node, lead, axes, rank)
    return None if found is None else replace(found, aligns=False)


def _single_axis(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    """An operator with one attribute ``axis``."""
    op: Any = node.op
    place = axes[positive_axis(op.axis, len(lead.shape))]
    return None if place is None else Changed(replace(op, axis=place), axes, isinstance(op, Concatenation))


def _gather(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    op: Any = node.op
    fits = node.input(0) is lead and node.input(1).is_constant and len(node.input(1).shape) == 1 and not op.batch_dims
    return _single_axis(node, lead, axes, rank) if fits and len(node.activations) == 1 else None


def _slice(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    assert isinstance(node.op, Slice)
    begin, size = [0] * rank, [1] * rank
    for place, first, count in zip(axes, node.op.begin, node.op.size, strict=True):
        if place is not None:
            begin[place], size[place] = first, count
        elif first or count == 0:
            return None
    return Changed(Slice(tuple(begin), tuple(size)), axes)


def _strided_slice(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    assert isinstance(node.op, StridedSlice)
    op = node.op
    if op.ellipsis_mask or op.new_axis_mask or op.shrink_axis_mask or op.offset or len(op.begin) != len(axes):
        return None
    begin, end, strides = [0] * rank, [0] * rank, [1] * rank
    begin_mask = end_mask = (1 << rank) - 1
    for i, place in enumerate(axes):
        if place is not None:
            begin[place], end[place], strides[place] = op.begin[i], op.end[i], op.strides[i]
            begin_mask &= ~(1 << place) | (op.begin_mask >> i & 1) << place
            end_mask &= ~(1 << place) | (op.end_mask >> i & 1) << place
        elif node.output.shape[i] != 1:
            return None
    return Changed(StridedSlice(tuple(begin), tuple(end), tuple(strides), begin_mask, end_mask), axes)


def _pad(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    op: Any = node.op
    pads = [(0, 0)] * rank
    for place, pair in zip(axes, op.pads, strict=True):
        if place is not None:
            pads[place] = pair
        elif any(pair):
            return None
    return Changed(replace(op, pads=tuple(pads)), axes)


def _reduce(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    """Axes that the source lacks need no work. Dropping axes leaves a plain output where the rest is in order."""
    op: Any = node.op
    reduced = {positive_axis(axis, len(lead.shape)) for axis in op.axes}
    places = tuple(sorted(place for i in reduced if (place := axes[i]) is not None))
    if not places:
        return None
    if op.keep_dims:
        return Changed(replace(op, axes=places), axes)
    kept = tuple(place for i, place in enumerate(axes) if i not in reduced)
    if sorted(p for p in kept if p is not None) == list(kept) and len(kept) == rank - len(places):
        return Changed(replace(op, axes=places), tuple(range(len(kept))))
    return Changed(replace(op, axes=places, keep_dims=True), kept)


def _last_axis(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    """An operator along the last axis, which must be the source's last."""
    return Changed(node.op, axes) if axes[-1] == rank - 1 else None


def _layer_norm(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    """Over the last axes in any order; those of size 1 that the source lacks need no work."""
    op: Any = node.op
    places = sorted(place for place in axes[-op.last :] if place is not None)
    if len(node.present) > 1 or not places or places != list(range(rank - len(places), rank)):
        return None
    return Changed(replace(op, last=len(places)), axes)


def _dense(node: Node, lead: Tensor, axes: Axes, rank: int) -> Changed | None:
    assert isinstance(node.op, FullyConnected)
    return _last_axis(node, lead, axes, rank) if node.op.keep_num_dims else None


RULES: list[tuple[type[Operator], Rule]] = [
    (Unary, _unary),
    (Binary, _elementwise),
    (Quantize, _elementwise),
    (Dequantize, _elementwise),
    (Concatenation, _single_axis),
    (Split, _single_axis),
    (SplitV, _single_axis),
    (Gather, _gather),
    (Slice, _slice),
    (StridedSlice, _strided_slice),
    (Pad, _pad),
    (Softmax, _last_axis),
    (FullyConnected, _dense),
]
_BY_KIND: dict[str, Rule] = {
    "MEAN": _reduce, "SUM": _reduce, "REDUCE_MAX": _reduce, "REDUCE_MIN": _reduce, "REDUCE_PROD": _reduce,
    "LOG_SOFTMAX": _last_axis, "PRELU": _elementwise, "SELECT_V2": _elementwise, "CAST": _elementwise,
    "MIRROR_PAD": _pad, "LAYER_NORM": _layer_norm,
}  # fmt: skip
RULES += [(OPERATORS[kind], rule) for kind, rule in _BY_KIND.items() if kind in OPERATORS]
