"""The layers with channels that ONNX and PyTorch share: convolutions, pools, resizing, blocks of pixels as channels.

Shapes are channels-first; a 1-D layer is a 2-D layer over an image of height 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinymaix.graph import ModelError, Tensor
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
    b.remember(x)
    return b.reshape(x, (*x.shape[:2], 1, x.shape[2]))


def _flat(b: Builder, y: Tensor, rank: int) -> Tensor:
    if rank == 4:
        return y
    flat = b.reshape(y, (*y.shape[:2], y.shape[3]))
    b.remember(flat)
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


def resize(b: Builder, kind: str, x: Tensor, size: tuple[int, int], mode: str, scales: Sequence[float]) -> Tensor:
    """``kind`` "nearest" or "linear"; ``mode`` is ONNX's coordinate_transformation_mode. The nearest element is the one
    below but for "align_corners", where halves are rounded up."""
    image = _image(b, x)
    if len(x.shape) == 3:
        size, scales = (1, size[-1]), (1.0, scales[-1])
    half, corners = mode in ("half_pixel", "pytorch_half_pixel"), mode == "align_corners"
    centers = mode == "tf_half_pixel_for_nn"
    if not half and not corners and mode != "asymmetric" and not (centers and kind == "nearest"):
        raise ModelError(f"coordinate transformation '{mode}' is not supported")
    whole = all(scale >= 1 and scale == int(scale) for scale in scales)
    if kind == "nearest":
        if half and not whole:
            raise ModelError(f"nearest resizing with '{mode}' and scales {list(scales)} is not supported")
        # for whole scales half_pixel picks the same elements as asymmetric
        attributes: dict[str, Any] = {"align_corners": corners, "half_pixel_centers": centers}
        name = "RESIZE_NEAREST_NEIGHBOR"
    else:
        attributes = {"align_corners": corners, "half_pixel_centers": half}
        name = "RESIZE_BILINEAR"
    y = b.op(name, b.to_last(image), size=size, **attributes)
    return _flat(b, b.to_first(y), len(x.shape))


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
