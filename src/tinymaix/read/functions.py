"""Functions of one tensor that Keras, ONNX and PyTorch share, in terms of operators on a `Builder`."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read.channels_first import Builder
from tinymaix.read.layers import box, clip, scalar, split

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""Klambauer et al. 2017 (arXiv 1706.02515)."""

MOST_COPIES, MOST_CODES = 256, 2**16
"""Of what is repeated, in one padding; elements of the code of a category."""


def elu(b: Builder, x: Tensor, alpha: float = 1.0, scale: float = 1.0) -> Tensor:
    """scale * x above 0, scale * alpha * (e^x - 1) below."""
    if alpha == scale == 1.0:
        return b.op("ELU", x)
    below = scalar(b, "MUL", b.op("ELU", scalar(b, "MINIMUM", x, 0.0)), alpha * scale)
    above = b.op("RELU", x) if scale == 1.0 else scalar(b, "MUL", b.op("RELU", x), scale)
    return b.op("ADD", above, below)


def celu(b: Builder, x: Tensor, alpha: float) -> Tensor:
    """max(x, 0) + min(0, alpha * (e^(x / alpha) - 1))"""
    if alpha == 1.0:
        return b.op("ELU", x)
    below = scalar(b, "MUL", b.op("ELU", scalar(b, "MUL", scalar(b, "MINIMUM", x, 0.0), 1 / alpha)), alpha)
    return b.op("ADD", b.op("RELU", x), below)


def softplus(b: Builder, x: Tensor) -> Tensor:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which cannot overflow."""
    tail = b.op("EXP", b.op("NEG", b.op("ABS", x)))
    return b.op("ADD", b.op("RELU", x), b.op("LOG", scalar(b, "ADD", tail, 1.0)))


def log_sigmoid(b: Builder, x: Tensor) -> Tensor:
    return b.op("NEG", softplus(b, b.op("NEG", x)))


def softsign(b: Builder, x: Tensor) -> Tensor:
    return b.op("DIV", x, scalar(b, "ADD", b.op("ABS", x), 1.0))


def mish(b: Builder, x: Tensor) -> Tensor:
    return b.op("MUL", x, b.op("TANH", softplus(b, x)))


def soft_shrink(b: Builder, x: Tensor, width: float = 0.5) -> Tensor:
    """x moved towards 0 by ``width``, 0 where it is nearer."""
    return b.op("SUB", x, clip(b, x, -width, width))


def hard_shrink(b: Builder, x: Tensor, width: float = 0.5) -> Tensor:
    """x where it is farther from 0 than ``width``, else 0."""
    return where(b, scalar_compared(b, "GREATER", b.op("ABS", x), width), x, 0.0)


def thresholded(b: Builder, x: Tensor, threshold: float, other: float = 0.0) -> Tensor:
    """x where it is above the threshold, else another number."""
    return where(b, scalar_compared(b, "GREATER", x, threshold), x, other)


def scalar_compared(b: Builder, kind: str, x: Tensor, value: float) -> Tensor:
    return b.op(kind, x, b.constant(value, dtype=x.dtype), dtype=bool)


def where(b: Builder, condition: Tensor, x: Tensor, other: float) -> Tensor:
    return b.op("SELECT_V2", condition, x, b.constant(other, dtype=x.dtype), dtype=x.dtype)


def glu(b: Builder, x: Tensor, axis: int = -1) -> Tensor:
    """One half of an axis, weighted by the sigmoid of the other."""
    axis = positive_axis(axis, len(x.shape))
    if x.shape[axis] % 2:
        raise ModelError(f"axis {axis} of an input {list(x.shape)} has no halves")
    a, gate = split(b, x, [x.shape[axis] // 2] * 2, axis)
    return b.op("MUL", a, b.op("LOGISTIC", gate))


def variance(b: Builder, x: Tensor, axes: tuple[int, ...], keep: bool, correction: float = 0.0) -> Tensor:
    """The mean of squared distances from the mean; with a correction, their sum by ``correction`` elements less."""
    count = int(np.prod([x.shape[axis] for axis in axes]))
    if count <= correction:
        raise ModelError(f"a variance of {count} elements by {correction:g} less is not defined")
    centered = b.op("SUB", x, b.op("MEAN", x, axes=axes, keep_dims=True))
    y = b.op("MEAN", b.op("MUL", centered, centered), axes=axes, keep_dims=keep)
    return scalar(b, "MUL", y, count / (count - correction)) if correction else y


def log_sum_exp(b: Builder, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    """log of the sum of e^x, with the largest x taken out of it."""
    largest = b.op("REDUCE_MAX", x, axes=axes, keep_dims=True)
    total = b.op("SUM", b.op("EXP", b.op("SUB", x, largest)), axes=axes, keep_dims=True)
    y = b.op("ADD", b.op("LOG", total), largest)
    return y if keep else b.reshape(y, [n for i, n in enumerate(x.shape) if i not in axes])


def edge_padded(b: Builder, x: Tensor, before: list[int], after: list[int]) -> Tensor:
    """x with its first and last elements repeated along each axis."""
    for axis, (first, last) in enumerate(zip(before, after, strict=True)):
        if not 0 <= min(first, last) <= max(first, last) <= MOST_COPIES:
            raise ModelError(f"padding by {[first, last]} with the edge is not supported")
        ends = [0] * len(x.shape), list(x.shape)
        front, back = (list(ends[0]), list(ends[1])), (list(ends[0]), list(ends[1]))
        front[1][axis], back[0][axis] = 1, x.shape[axis] - 1
        parts = [box(b, x, *front)] * first + [x] + [box(b, x, *back)] * last
        x = b.op("CONCATENATION", *parts, axis=axis) if len(parts) > 1 else x
    return x


def one_hot(b: Builder, x: Tensor, depth: int, values: Array | None = None, axis: int = -1) -> Tensor:
    """A new axis with the second of ``values`` (off, on) where its index is x, else the first."""
    if not 0 < depth <= MOST_CODES:
        raise ModelError(f"a code of {depth} elements is not supported")
    axis = positive_axis(axis, len(x.shape) + 1)
    shape = (*x.shape[:axis], 1, *x.shape[axis:])
    codes = b.constant(np.arange(depth).reshape([-1 if i == axis else 1 for i in range(len(shape))]), dtype=x.dtype)
    hot = b.op("EQUAL", b.reshape(x, shape), codes, dtype=bool)
    off, on = np.zeros(2) if values is None else values.reshape(-1)
    y = b.op("CAST", hot, dtype=np.float32)
    if values is None:
        return y
    return scalar(b, "ADD", scalar(b, "MUL", y, float(on - off)), float(off))
