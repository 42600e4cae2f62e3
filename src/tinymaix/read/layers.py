"""The layers that ONNX and PyTorch share, as operators on a `Builder`: convolutions, pools, products, norms, resizing.

Shapes and axes are channels-first; what a framework leaves to defaults is explicit here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read.channels_first import Builder, constant_data

Ints = Sequence[int]


@dataclass(frozen=True)
class Geometry:
    """A window over the spatial axes of an input: sizes, and padding before and after each axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def in_2d(self) -> Geometry:
        """The window of a 1-D layer as one over an image of height 1."""
        if len(self.kernel) == 2:
            return self
        if len(self.kernel) != 1:
            raise ModelError(f"it has {len(self.kernel)} spatial axes; one and two are supported")
        (k,), (s,), (d,), (b,), (a,) = self.kernel, self.stride, self.dilation, self.before, self.after
        return Geometry((1, k), (1, s), (1, d), (0, b), (0, a))

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of a 2-D window."""
        return self.before[0], self.after[0], self.before[1], self.after[1]

    def rounded_up(self, sizes: Ints) -> tuple[int, ...]:
        """Padding behind each axis that makes the last window, which begins inside, fit (ceil_mode)."""
        after = []
        for size, k, s, b, a in zip(sizes, self.kernel, self.stride, self.before, self.after, strict=True):
            count = -(-(size + b + a - k) // s) + 1
            if (count - 1) * s >= size + b:
                count -= 1
            after.append(max(a, (count - 1) * s + k - size - b))
        return tuple(after)


def convolution(b: Builder, x: Tensor, w: Tensor, bias: Tensor | None, window: Geometry, groups: int) -> Tensor:
    """x (N, C, [H,] W), constant weights (out, C / groups, [kh,] kw)."""
    data = constant_data(w, "its weights")
    rank = len(x.shape)
    if data.ndim != rank or groups < 1 or data.shape[1] * groups != x.shape[1] or data.shape[0] % groups:
        raise ModelError(f"weights {list(w.shape)} in {groups} groups do not fit an input of shape {list(x.shape)}")
    window = window.in_2d()
    shape = (*data.shape[:2], *window.kernel)
    attributes: dict[str, Any] = {"stride": window.stride, "dilation": window.dilation, "padding": window.padding}
    if groups == x.shape[1] > 1:
        w = b.rearranged(w, (1, data.shape[0], *window.kernel), (0, 2, 3, 1), axis=3)
        kind = "DEPTHWISE_CONV_2D"
    else:
        w = b.rearranged(w, shape, (0, 2, 3, 1), axis=0)
        kind = "CONV_2D"
    return _flat(b, b.to_first(b.op(kind, b.to_last(_image(b, x)), w, bias, **attributes)), rank)


def transposed_convolution(
    b: Builder, x: Tensor, w: Tensor, bias: Tensor | None, window: Geometry, groups: int, extra: Ints
) -> Tensor:
    """x (N, C, [H,] W), constant weights (C, out, [kh,] kw); ``extra`` elements behind each axis (output_padding)."""
    data = constant_data(w, "its weights")
    if groups != 1 or any(d != 1 for d in window.dilation):
        raise ModelError("a transposed convolution in groups or with dilation is not supported")
    if data.ndim != len(x.shape) or data.shape[0] != x.shape[1]:
        raise ModelError(f"weights {list(w.shape)} do not fit an input of shape {list(x.shape)}")
    rank = len(x.shape)
    window = window.in_2d()
    extra = tuple(extra) if rank == 4 else (0, *extra)
    image = _image(b, x)
    size, padding = _spread(image.shape[2:], window, extra)
    shape = (*data.shape[:2], *window.kernel)
    w = b.rearranged(w, shape, (1, 2, 3, 0), axis=0)
    y = b.op("TRANSPOSE_CONV", b.to_last(image), w, bias, size=size, stride=window.stride, padding=padding)
    return _flat(b, b.to_first(y), rank)


def _spread(sizes: Ints, window: Geometry, extra: Ints) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """(height, width) of a transposed convolution's output, and the padding of the convolution that it transposes."""
    output, after = [], []
    for size, k, s, p, q, e in zip(
        sizes, window.kernel, window.stride, window.before, window.after, extra, strict=True
    ):
        output.append((size - 1) * s + k - p - q + e)
        after.append(max(0, q - e))  # the forward convolution begins its last window there
    return (output[0], output[1]), (window.before[0], after[0], window.before[1], after[1])


def _image(b: Builder, x: Tensor) -> Tensor:
    """(N, C, W) as (N, C, 1, W)."""
    if len(x.shape) == 4:
        return x
    if len(x.shape) != 3:
        raise ModelError(f"its input has shape {list(x.shape)}; (N, C, W) and (N, C, H, W) are supported")
    b._remember(x)
    return b.reshape(x, (*x.shape[:2], 1, x.shape[2]))


def _flat(b: Builder, y: Tensor, rank: int) -> Tensor:
    if rank == 4:
        return y
    flat = b.reshape(y, (*y.shape[:2], y.shape[3]))
    b._remember(flat)
    return flat


def pool(b: Builder, kind: str, x: Tensor, window: Geometry, ceil: bool = False, count_pad: bool = False) -> Tensor:
    """MAX_POOL_2D or AVERAGE_POOL_2D; ``count_pad`` averages over the padding too."""
    if any(d != 1 for d in window.dilation):
        raise ModelError("a dilated pooling is not supported; use a stride instead")
    after = window.rounded_up(x.shape[2:]) if ceil else window.after
    rank = len(x.shape)
    flat = Geometry(window.kernel, window.stride, window.dilation, window.before, after).in_2d()
    image, padding = _image(b, x), flat.padding
    if kind == "AVERAGE_POOL_2D" and count_pad and any((*window.before, *window.after)):
        own = window.in_2d()
        pads = ((0, 0), (0, 0), (own.before[0], own.after[0]), (own.before[1], own.after[1]))
        image = b.op("PAD", image, pads=pads)
        padding = (0, flat.after[0] - own.after[0], 0, flat.after[1] - own.after[1])
    y = b.op(kind, b.to_last(image), pool=flat.kernel, stride=flat.stride, padding=padding)
    return _flat(b, b.to_first(y), rank)


def global_pool(b: Builder, x: Tensor, kind: str = "MEAN") -> Tensor:
    """One value a channel, the spatial axes kept with size 1."""
    if kind == "MEAN":
        return b.op("MEAN", x, axes=tuple(range(2, len(x.shape))), keep_dims=True)
    sizes = x.shape[2:]
    ones, zeros = (1,) * len(sizes), (0,) * len(sizes)
    return pool(b, "MAX_POOL_2D", x, Geometry(sizes, ones, ones, zeros, zeros))


def adaptive_pool(b: Builder, kind: str, x: Tensor, sizes: Ints) -> Tensor:
    """A pooling to given sizes, where these divide the input's."""
    if all(size == 1 for size in sizes):
        return global_pool(b, x, "MEAN" if kind == "AVERAGE_POOL_2D" else kind)
    if any(size < 1 or full % size for full, size in zip(x.shape[2:], sizes, strict=True)):
        raise ModelError(f"an adaptive pooling of {list(x.shape[2:])} to {list(sizes)} has windows of unequal sizes")
    kernel = tuple(full // size for full, size in zip(x.shape[2:], sizes, strict=True))
    ones, zeros = (1,) * len(kernel), (0,) * len(kernel)
    return pool(b, kind, x, Geometry(kernel, kernel, ones, zeros, zeros))


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
    y = normalized(b, x, axes, epsilon)
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
        return b.op("GATHER", x, indices, axis=axis)
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


def resize(b: Builder, kind: str, x: Tensor, size: tuple[int, int], mode: str, scales: Sequence[float]) -> Tensor:
    """``kind`` "nearest" or "linear"; ``mode`` is ONNX's coordinate_transformation_mode."""
    image = _image(b, x)
    if len(x.shape) == 3:
        size, scales = (1, size[-1]), (1.0, scales[-1])
    half, corners = mode in ("half_pixel", "pytorch_half_pixel"), mode == "align_corners"
    if not half and not corners and mode != "asymmetric":
        raise ModelError(f"coordinate transformation '{mode}' is not supported")
    whole = all(scale >= 1 and scale == int(scale) for scale in scales)
    if kind == "nearest":
        if corners or (half and not whole):
            raise ModelError(f"nearest resizing with '{mode}' and scales {list(scales)} is not supported")
        attributes: dict[str, Any] = {}  # for whole scales half_pixel picks the same elements as asymmetric
        name = "RESIZE_NEAREST_NEIGHBOR"
    else:
        attributes = {"align_corners": corners, "half_pixel_centers": half}
        name = "RESIZE_BILINEAR"
    y = b.op(name, b.to_last(image), size=size, **attributes)
    return _flat(b, b.to_first(y), len(x.shape))


def recurrent(
    b: Builder, kind: str, x: Tensor, weights: Sequence[Array | None], gates: Ints, attributes: dict[str, Any]
) -> Tensor:
    """LSTM, GRU or RNN over x (batch, steps, features).

    ``weights``: of the input, of the state, and their biases (or None), gate by gate; ``gates`` are the places there of
    the gates in the order of `tinymaix.ops.recurrent`.
    """
    count = len(gates)
    w, r, bias, own = (None if a is None else np.concatenate([np.split(a, count)[g] for g in gates]) for a in weights)
    zeros = np.zeros(0 if w is None else w.shape[0], np.float32)
    bias, own = (zeros if a is None else a.astype(np.float32) for a in (bias, own))
    constants = [w, r, bias, own] if kind == "GRU" else [w, r, bias + own]
    name = {"RNN": "SIMPLE_RNN"}.get(kind, kind)
    return b.op(name, x, *(b.constant(a) for a in constants if a is not None), **attributes)


def depth_space(b: Builder, kind: str, x: Tensor, block: int, mode: str) -> Tensor:
    """DEPTH_TO_SPACE or SPACE_TO_DEPTH. ``mode`` "DCR" (block before depth, as TFLite has it) or "CRD" (PyTorch)."""
    if len(x.shape) != 4 or block < 1:
        raise ModelError(f"blocks of {block} do not fit an input of shape {list(x.shape)}")
    if mode == "DCR":
        return b.to_first(b.op(kind, b.to_last(x), block=block))
    if mode != "CRD":
        raise ModelError(f"mode '{mode}' does not exist")
    batch, channels, height, width = x.shape
    if kind == "SPACE_TO_DEPTH":
        if height % block or width % block:
            raise ModelError(f"blocks of {block} do not fit an input of shape {list(x.shape)}")
        parts = b.reshape(x, (batch, channels, height // block, block, width // block, block))
        parts = b.transpose(parts, (0, 1, 3, 5, 2, 4))
        return b.reshape(parts, (batch, channels * block**2, height // block, width // block))
    parts = b.reshape(x, (batch, channels // block**2, block, block, height, width))
    return b.reshape(
        b.transpose(parts, (0, 1, 4, 2, 5, 3)), (batch, channels // block**2, height * block, width * block)
    )
