"""Geometry of sliding windows over NHWC tensors: output sizes, padding, and numpy views of the windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tinymaix.graph import Array, ModelError, Shape
from tinymaix.ops.emit import Kernel

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]  # top, bottom, left, right


@dataclass(frozen=True)
class Window:
    """Kernel, stride and dilation as (height, width) and explicit padding (top, bottom, left, right)."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: Padding

    def output(self, height: int, width: int) -> Pair:
        """Output (height, width). Raises ModelError where the kernel does not fit or a number is not positive."""
        if min(*self.kernel, *self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise ModelError(f"kernel, stride and dilation must be positive and padding not negative: {self}")
        top, bottom, left, right = self.padding
        sizes = []
        for axis, (size, pad) in enumerate(((height, top + bottom), (width, left + right))):
            room = size + pad - extent(self.kernel[axis], self.dilation[axis])
            if room < 0:
                raise ModelError(f"a kernel of {self.kernel} does not fit into an input of {height}x{width}")
            sizes.append(room // self.stride[axis] + 1)
        return sizes[0], sizes[1]

    def views(self, x: Array, fill: int | float) -> Array:
        """(N, out_h, out_w, C, kernel_h, kernel_w) view of NHWC ``x`` padded with ``fill``."""
        top, bottom, left, right = self.padding
        padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
        reach = extent(self.kernel[0], self.dilation[0]), extent(self.kernel[1], self.dilation[1])
        windows = sliding_window_view(padded, reach, axis=(1, 2))
        return windows[:, :: self.stride[0], :: self.stride[1], :, :: self.dilation[0], :: self.dilation[1]]


def extent(kernel: int, dilation: int) -> int:
    """Input elements that a dilated kernel spans."""
    return dilation * (kernel - 1) + 1


def same_padding(height: int, width: int, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Padding:
    """TensorFlow's SAME: output = ceil(input / stride); the smaller half of the padding goes to top and left."""
    pads: list[int] = []
    for size, k, s, d in zip((height, width), kernel, stride, dilation, strict=True):
        total = max(0, (-(-size // max(s, 1)) - 1) * s + extent(k, d) - size)
        pads += [total // 2, total - total // 2]
    return pads[0], pads[1], pads[2], pads[3]


def padding_of(code: int, shape: Shape, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Padding:
    """Explicit padding for TFLite's Padding code (0 SAME, 1 VALID) on an NHWC input."""
    if code == 1:
        return 0, 0, 0, 0
    return same_padding(shape[1], shape[2], kernel, stride, dilation)


def padding_code(window: Window, shape: Shape) -> int:
    """TFLite's Padding code for explicit padding. Raises ModelError where neither SAME nor VALID says it."""
    if window.padding == (0, 0, 0, 0):
        return 1
    if window.padding == same_padding(shape[1], shape[2], window.kernel, window.stride, window.dilation):
        return 0
    raise ModelError(f"padding {window.padding} is neither SAME nor VALID; a .tflite needs a PAD operator for it")


def nhwc(shape: Shape, what: str) -> Shape:
    """The shape, which must have four dimensions."""
    if len(shape) != 4:
        raise ModelError(f"{what} must have four dimensions (NHWC), not {list(shape)}")
    return shape


FIRST_TAP = Kernel(
    "first_tap",
    """\
/* The first tap of a window beginning at `start` that is not left of the image */
static inline int first_tap(int start, int dilation)
{
    return start >= 0 ? 0 : (dilation - 1 - start) / dilation;
}
""",
)

LAST_TAP = Kernel(
    "last_tap",
    """\
/* One past the last tap of a window beginning at `start` that is not right of an image of `size` */
static inline int last_tap(int start, int dilation, int taps, int size)
{
    if (start + (taps - 1) * dilation < size)
        return taps;
    return start >= size ? 0 : (size - 1 - start) / dilation + 1;
}
""",
)
