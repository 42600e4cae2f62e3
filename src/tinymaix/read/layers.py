"""The layers that ONNX and PyTorch share, as operators on a `Builder`: products, norms, activations, slices.

Shapes and axes are channels-first; what a framework leaves to defaults is explicit here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read.channels_first import Builder, constant_data

Ints = Sequence[int]


def dense(b: Builder, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """x (..., in) times constant weights (out, in) plus an optional bias (out)."""
    data = constant_data(w, "its weights")
    if data.ndim != 2 or not x.shape or x.shape[-1] != data.shape[1]:
        raise ModelError(f"weights {list(w.shape)} do not fit rows of an input of shape {list(x.shape)}")
    w = b.rearranged(w, data.shape, (0, 1), axis=0)
    return b.op("FULLY_CONNECTED", x, w, bias, keep_num_dims=len(x.shape) != 2)


def matmul(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """numpy's matmul. A constant matrix on the right is a dense layer."""
    if y.data is not None and math.prod(y.shape[:-2]) == 1 and len(y.shape) >= 2 and len(x.shape) >= len(y.shape):
        rows, columns = y.shape[-2:]
        return dense(b, x, b.rearranged(y, (rows, columns), (1, 0), axis=0), None)
    if min(len(x.shape), len(y.shape)) < 2:
        raise ModelError("a product with a vector is not supported; give it a second axis")
    rank = max(len(x.shape), len(y.shape))
    x, y = (b.reshape(t, (*(1,) * (rank - len(t.shape)), *t.shape)) for t in (x, y))
    return b.op("BATCH_MATMUL", x, y)


def affine(b: Builder, x: Tensor, scale: Array | None, shift: Array | None, axis: int = 1) -> Tensor:
    """scale * x + shift with one value for each index along ``axis``."""
    shape = (-1, *(1,) * (len(x.shape) - 1 - positive_axis(axis, len(x.shape))))
    if scale is not None:
        x = b.op("MUL", x, b.constant(scale.reshape(shape)))
    return x if shift is None else b.op("ADD", x, b.constant(shift.reshape(shape)))


def batch_norm(b: Builder, x: Tensor, parameters: Sequence[Tensor | None], epsilon: float) -> Tensor:
    """``parameters``: scale, shift (either may be None), mean, variance, one value a channel each."""
    channels = x.shape[1] if len(x.shape) > 1 else 0
    one, zero = np.ones(channels), np.zeros(channels)
    gamma, beta, mean, variance = (
        default if t is None else constant_data(t, "a parameter of the batch norm").astype(np.float64)
        for t, default in zip(parameters, (one, zero, zero, one), strict=True)
    )
    if not gamma.size == beta.size == mean.size == variance.size == channels:
        raise ModelError(f"its parameters do not fit the {channels} channels of its input")
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + epsilon)
    return affine(b, x, scale.astype(np.float32), (beta - mean * scale).astype(np.float32))


def normalized(b: Builder, x: Tensor, axes: Ints, epsilon: float, centered: bool = True) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over axes; without the mean where not ``centered`` (RMS norm)."""
    axes = tuple(axes)
    if centered:
        x = b.op("SUB", x, b.op("MEAN", x, axes=axes, keep_dims=True))
    variance = b.op("MEAN", b.op("MUL", x, x), axes=axes, keep_dims=True)
    return b.op("MUL", x, b.op("RSQRT", b.op("ADD", variance, b.constant(np.float32(epsilon)))))


def layer_norm(b: Builder, x: Tensor, axes: Ints, epsilon: float, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Normalized over the last axes, then scaled and shifted."""
    y = b.op("LAYER_NORM", x, last=len(axes), epsilon=epsilon)
    y = y if scale is None else b.op("MUL", y, scale)
    return y if shift is None else b.op("ADD", y, shift)


def group_norm(
    b: Builder, x: Tensor, groups: int, epsilon: float, scale: Tensor | None, shift: Tensor | None
) -> Tensor:
    """Normalized over each group of channels and the spatial axes."""
    batch, channels, *sizes = x.shape
    if groups < 1 or channels % groups:
        raise ModelError(f"{channels} channels do not divide into {groups} groups")
    if groups == channels:
        y = normalized(b, x, tuple(range(2, len(x.shape))), epsilon)
    else:
        grouped = b.reshape(x, (batch, groups, channels // groups, *sizes))
        y = b.reshape(normalized(b, grouped, tuple(range(2, len(grouped.shape))), epsilon), x.shape)
    gamma, beta = (None if t is None else constant_data(t, "a parameter of the norm") for t in (scale, shift))
    return affine(b, y, gamma, beta)


def clip(b: Builder, x: Tensor, low: float, high: float) -> Tensor:
    """min(max(x, low), high), as one of the fused activations where it is one."""
    plain = {(0.0, math.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
    if (low, high) in plain:
        return b.op(plain[low, high], x)
    x = b.op("MAXIMUM", x, b.constant(low, dtype=x.dtype)) if low > -math.inf else x
    return b.op("MINIMUM", x, b.constant(high, dtype=x.dtype)) if high < math.inf else x


def hard_sigmoid(b: Builder, x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(max(alpha * x + beta, 0), 1), by RELU6 where it is the one of MobileNetV3."""
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return b.op("MUL", b.op("RELU6", scalar(b, "ADD", x, 3.0)), b.constant(np.float32(1 / 6)))
    return clip(b, scalar(b, "ADD", scalar(b, "MUL", x, alpha), beta), 0.0, 1.0)


def scalar(b: Builder, kind: str, x: Tensor, value: float) -> Tensor:
    """A binary operator with a number on the right."""
    return b.op(kind, x, b.constant(value, dtype=x.dtype))


def padded(b: Builder, x: Tensor, before: Ints, after: Ints, value: float) -> Tensor:
    """x padded with a value; negative sizes cut off."""
    if any(size < 0 for size in (*before, *after)):
        begin = [max(-size, 0) for size in before]
        x = box(b, x, begin, [size - max(-a, 0) for size, a in zip(x.shape, after, strict=True)])
    pads = tuple((max(p, 0), max(q, 0)) for p, q in zip(before, after, strict=True))
    if not any(any(pair) for pair in pads):
        return x
    if value == 0:
        return b.op("PAD", x, pads=pads)
    return b.op("PADV2", x, pads=pads, value=value)


def box(b: Builder, x: Tensor, begin: Ints, end: Ints, steps: Ints | None = None) -> Tensor:
    """x[begin:end:step] on every axis, as numpy means it."""
    steps = steps or (1,) * len(x.shape)
    if any(step == 0 for step in steps):
        raise ModelError("a slice has a step of 0")
    if x.data is not None:  # may be empty: exporters slice lists of sizes
        return b.constant(x.data[tuple(slice(*bounds) for bounds in zip(begin, end, steps, strict=True))])
    ranges = [
        range(*slice(i, j, step).indices(size)) for i, j, step, size in zip(begin, end, steps, x.shape, strict=True)
    ]
    if all(len(r) == size and r.step == 1 for r, size in zip(ranges, x.shape, strict=True)):
        return x
    if any(not len(r) for r in ranges):
        raise ModelError(f"a slice of {list(x.shape)} is empty")
    starts, sizes = tuple(r.start for r in ranges), tuple(len(r) for r in ranges)
    if all(step == 1 for step in steps):
        return b.op("SLICE", x, begin=starts, size=sizes)
    mask = sum(1 << i for i, r in enumerate(ranges) if r.stop < 0)  # an end before element 0 cannot be spelled
    return b.op(
        "STRIDED_SLICE", x, begin=starts, end=tuple(r.stop for r in ranges), strides=tuple(steps), end_mask=mask
    )


def take(b: Builder, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """numpy's take along an axis: a slice where constant indices are a range, else GATHER."""
    axis = positive_axis(axis, len(x.shape))
    if indices.data is None:
        return b.op("GATHER", x, indices, axis=axis, dtype=x.dtype)
    places = np.where(indices.data < 0, indices.data + x.shape[axis], indices.data).astype(np.int32)
    flat = places.reshape(-1)
    if flat.size and (flat.min() < 0 or flat.max() >= x.shape[axis]):
        raise ModelError(f"an index is outside the {x.shape[axis]} elements of axis {axis}")
    if flat.size and np.array_equal(flat, np.arange(flat[0], flat[0] + flat.size)):
        begin, end = [0] * len(x.shape), list(x.shape)
        begin[axis], end[axis] = int(flat[0]), int(flat[0]) + flat.size
        return b.reshape(box(b, x, begin, end), (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))
    return b.op("GATHER", x, b.constant(places), axis=axis)


def split(b: Builder, x: Tensor, sizes: Ints, axis: int) -> list[Tensor]:
    axis = positive_axis(axis, len(x.shape))
    if len(sizes) == 1:
        return [x]
    if len(set(sizes)) == 1:
        return b.ops("SPLIT", x, count=len(sizes), axis=axis)
    return b.ops("SPLIT_V", x, sizes=tuple(sizes), axis=axis)


def broadcast(b: Builder, x: Tensor, shape: Ints) -> Tensor:
    """numpy's broadcast_to; one shape for both directions of ONNX's Expand."""
    try:
        target = np.broadcast_shapes(x.shape, tuple(shape))
    except ValueError:
        raise ModelError(f"{list(x.shape)} cannot be expanded to {list(shape)}") from None
    if math.prod(target) == math.prod(x.shape):
        return b.reshape(x, target)
    if x.data is not None and math.prod(target) * x.dtype.itemsize <= b.bytes_left:
        return b.constant(np.broadcast_to(x.data, target), x.name)
    return b.op("BROADCAST_TO", x, shape=target)
