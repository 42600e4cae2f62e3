"""ONNX operators that move elements: other shapes and orders of axes, slices, parts, joins, padding."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import layers
from tinymaix.read.functions import edge_padded
from tinymaix.read.onnx_attributes import OnnxLayer


def _reshape(n: OnnxLayer) -> Tensor:
    wanted = n.integers_or_input("shape", 1)
    if wanted is None:
        raise ModelError("its shape is missing")
    keep = not n.integer("allowzero", 0)
    return n.b.reshape_to(n.x, [n.x.shape[i] if size == 0 and keep else size for i, size in enumerate(wanted)])


def _flatten(n: OnnxLayer) -> Tensor:
    axis = n.integer("axis", 1)
    axis = axis + len(n.x.shape) if axis < 0 else axis
    return n.b.reshape(n.x, (math.prod(n.x.shape[:axis]), math.prod(n.x.shape[axis:])))


def _squeeze(n: OnnxLayer) -> Tensor:
    axes = n.integers_or_input("axes", 1)
    rank = len(n.x.shape)
    drop = [i for i, s in enumerate(n.x.shape) if s == 1] if axes is None else [positive_axis(a, rank) for a in axes]
    if any(n.x.shape[i] != 1 for i in drop):
        raise ModelError(f"axes {axes} of {list(n.x.shape)} are not all of size 1")
    return n.b.reshape(n.x, [s for i, s in enumerate(n.x.shape) if i not in drop])


def _unsqueeze(n: OnnxLayer) -> Tensor:
    axes = n.integers_or_input("axes", 1) or []
    rank = len(n.x.shape) + len(axes)
    shape = list(n.x.shape)
    for axis in sorted(positive_axis(a, rank) for a in axes):
        shape.insert(axis, 1)
    return n.b.reshape(n.x, shape)


def _transpose(n: OnnxLayer) -> Tensor:
    return n.b.transpose(n.x, n.integers("perm") or range(len(n.x.shape))[::-1])


def _concat(n: OnnxLayer) -> Tensor:
    parts = [n.input(i) for i in range(len(n.inputs))]
    parts = [t for t in parts if t.elements] or parts[:1]
    axis = positive_axis(n.integer("axis", 0), len(n.x.shape))
    return parts[0] if len(parts) == 1 else n.b.op("CONCATENATION", *parts, axis=axis)


def _split(n: OnnxLayer) -> list[Tensor]:
    axis = positive_axis(n.integer("axis", 0), len(n.x.shape))
    count = n.integer("num_outputs", len(n.node.outputs))
    each = -(-n.x.shape[axis] // max(count, 1))
    sizes = n.integers_or_input("split", 1) or [max(0, min(each, n.x.shape[axis] - i * each)) for i in range(count)]
    return layers.split(n.b, n.x, sizes, axis)


def _slice(n: OnnxLayer) -> Tensor:
    rank = len(n.x.shape)
    starts, ends = n.integers_or_input("starts", 1) or [], n.integers_or_input("ends", 2) or []
    axes = n.integers_or_input("axes", 3) or list(range(len(starts)))
    steps = n.integers_or_input("steps", 4) or [1] * len(starts)
    begin, end, step = [0] * rank, list(n.x.shape), [1] * rank
    for axis, first, last, by in zip(axes, starts, ends, steps, strict=True):
        at = positive_axis(axis, rank)
        begin[at], end[at], step[at] = first, last, by
    return layers.box(n.b, n.x, begin, end, step)


def _gather(n: OnnxLayer) -> Tensor:
    return layers.take(n.b, n.x, n.input(1), n.integer("axis", 0))


def _pad(n: OnnxLayer) -> Tensor:
    pads = n.integers_or_input("pads", 1) or []
    rank, mode = len(n.x.shape), n.text("mode", "constant")
    axes = n.integers_or_input("axes", 3) or list(range(rank))
    if len(pads) != 2 * len(axes):
        raise ModelError(f"{len(pads)} pads do not fit {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        at = positive_axis(axis, rank)
        before[at], after[at] = pads[i], pads[i + len(axes)]
    if mode == "reflect":
        return n.b.op("MIRROR_PAD", n.x, pads=tuple(zip(before, after, strict=True)))
    if mode == "edge":
        return edge_padded(n.b, n.x, before, after)
    if mode != "constant":
        raise ModelError(f"padding of mode '{mode}' is not supported; constant, edge and reflect are")
    value = n.number("value", 0.0) if n.optional(2) is None else float(n.constant(2, "its value").reshape(-1)[0])
    return layers.padded(n.b, n.x, before, after, value)


def _expand(n: OnnxLayer) -> Tensor:
    return layers.broadcast(n.b, n.x, [int(v) for v in n.constant(1, "its shape")])


def _tile(n: OnnxLayer) -> Tensor:
    repeats = [int(v) for v in n.constant(1, "its repeats")]
    x = n.x
    for axis, count in enumerate(repeats):
        if count < 1 or count > 4096:
            raise ModelError(f"{count} repeats are not supported")
        x = n.b.op("CONCATENATION", *[x] * count, axis=axis) if count > 1 else x
    return x


def _size(n: OnnxLayer) -> Tensor:
    return n.b.constant(np.array(n.x.elements, np.int64))


def _shape(n: OnnxLayer) -> Tensor:
    rank = len(n.x.shape)
    part = slice(n.integer("start", 0), n.integer("end", rank))
    return n.b.constant(np.array(n.x.shape[part], np.int64))


LAYERS: dict[str, Callable[[OnnxLayer], Tensor | list[Tensor]]] = {
    "Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose,
    "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather, "Pad": _pad, "Expand": _expand,
    "Tile": _tile, "Shape": _shape, "Size": _size,
}  # fmt: skip
