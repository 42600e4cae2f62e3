"""IMAGE: a camera's picture -> a network's input: cropped, resized, in the channels' order, and normalized.

In integers: a resized channel is a whole number from 0 to 255; an output is (channel * multiplier + bias) >> shift,
saturated, which is the model's normalization and the output's quantization in one step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.emit import C_TYPES, Kernel, LayerCode
from tinymaix.ops.fixed_point import saturate
from tinymaix.ops.image_pixels import BYTES, CHANNELS, decode, pixel_kernel
from tinymaix.ops.move import input_shape
from tinymaix.ops.window import Pair

RESIZES = ("nearest", "bilinear")
ONE = 256
"""Weights of neighbours along an axis have eight fractional bits."""


@dataclass(frozen=True)
class Image(Operator):
    """Input: uint8 (1, height, width, bytes a pixel). Output: (1, *size, channels), int8, uint8, int16 or float32.

    ``crop`` is (top, left, height, width) of the part that is resized to ``size``. Centres of pixels lie half a pixel
    inside of their edges. A real output is channel * factor + offset, which are there for each channel of the output.
    """

    pixels: str
    order: str
    crop: tuple[int, int, int, int]
    size: Pair
    resize: str
    factors: tuple[float, ...]
    offsets: tuple[float, ...]

    kind: ClassVar[str] = "IMAGE"
    types: ClassVar[tuple[str, ...]] = ("int8", "uint8", "int16", "float32")

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        for value, known, what in (
            (self.pixels, BYTES, "pixel format"),
            (self.order, CHANNELS, "order of channels"),
            (self.resize, RESIZES, "way to resize"),
        ):
            if value not in known:
                raise ModelError(f"'{value}' is no {what}; known are {', '.join(known)}")
        if len(shape) != 4 or shape[0] != 1 or shape[3] != BYTES[self.pixels]:
            raise ModelError(f"a {self.pixels} picture is (1, height, width, {BYTES[self.pixels]}), not {list(shape)}")
        if self.pixels == "yuyv" and shape[2] % 2:
            raise ModelError(f"a yuyv picture has an even width, not {shape[2]}")
        top, left, height, width = self.crop
        inside = top >= 0 and left >= 0 and top + height <= shape[1] and left + width <= shape[2]
        if not inside or min(height, width, *self.size) < 1 or max(*shape, *self.size) > 32767:
            raise ModelError(f"a part {height}x{width} at {top},{left} of {shape[1]}x{shape[2]} cannot be resized")
        channels = CHANNELS[self.order]
        numbers = [*self.factors, *self.offsets]
        if len(self.factors) != channels or len(self.offsets) != channels or not all(map(math.isfinite, numbers)):
            raise ModelError(f"{self.order} needs {channels} factors and offsets, not {self.factors}, {self.offsets}")
        return [(1, *self.size, channels)]

    def problems(self, node: Node) -> list[str]:
        x, y = node.input(0), node.output
        if x.dtype != np.uint8:
            return [f"picture '{x.name}' is {x.dtype}; it must be uint8"]
        if y.dtype.name not in self.types:
            return [f"'{y.name}' is {y.dtype}; supported are {', '.join(self.types)}"]
        if y.dtype != np.float32 and (y.quantization is None or y.quantization.per_channel):
            return [f"'{y.name}' is {y.dtype} without one scale and zero point; quantize the model again"]
        if self._affine(node)[2] < 0:
            return [f"the scale of '{y.name}' is too small for pixels; quantize the model with pictures"]
        return []

    def macs(self, node: Node) -> int:
        return (5 if self.resize == "bilinear" else 1) * node.output.elements

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        image = decode(array(inputs[0])[0], self.pixels, self.order)
        (rows, below), (columns, right) = self._places(0).T, self._places(1).T
        if self.resize == "nearest":
            channels = image[rows][:, columns]
        else:
            v, u = below[:, None, None], right[:, None]
            upper, lower = image[rows], image[rows + (below > 0)]
            first, second = columns, columns + (right > 0)
            left = upper[:, first] * (ONE - v) + lower[:, first] * v
            after = upper[:, second] * (ONE - v) + lower[:, second] * v
            channels = left * (ONE - u) + after * u + ONE * ONE // 2 >> 16
        multipliers, biases, shift = self._affine(node)
        values = channels * multipliers + biases
        if node.output.dtype == np.float32:
            return [(values.astype(np.float32) * np.float32(2.0**-shift))[None]]
        return [saturate(values >> shift, node.output.dtype)[None]]

    def emit(self, node: Node, code: LayerCode) -> None:
        _, _, width, size = node.input(0).shape
        multipliers, biases, shift = self._affine(node)
        code.call(
            image_kernel(self.pixels, self.order, self.resize, node.output.dtype.name),
            x=code.input(0),
            rows=code.constant("rows", self._places(0), "int16", "row of the picture, share of the next one of 256"),
            columns=code.constant("columns", self._places(1), "int16", "the same for columns"),
            affine=code.constant("affine", np.stack([multipliers, biases], axis=1), "int32"),
            y=code.output(),
            row_bytes=width * size,
            out_h=self.size[0],
            out_w=self.size[1],
            shift=shift,
        )

    def _affine(self, node: Node) -> tuple[Array, Array, int]:
        """(multipliers, biases, shift) from channels to raw outputs, rounded half up; a float output is divided by
        2**shift. As many bits as 32 hold."""
        y = node.output
        integer = y.dtype != np.float32
        scale, zero, half = (y.q.s, y.q.z, 0.5) if integer else (1.0, 0, 0.0)
        slopes = np.array(self.factors) / scale
        starts = np.array(self.offsets) / scale + zero + half
        largest = float(np.maximum(np.abs(starts), np.abs(255 * slopes + starts)).max())
        shift = min(22 if integer else 30, math.floor(math.log2((2**31 - 512) / max(largest, 1e-30))))
        unit = 2.0**shift
        return np.round(slopes * unit).astype(np.int64), np.round(starts * unit).astype(np.int64), shift

    def _places(self, axis: int) -> Array:
        """(first index in the picture, weight of the next one) for each index of the output."""
        source, target, start = self.crop[2 + axis], self.size[axis], self.crop[axis]
        at = np.arange(target)
        if self.resize == "nearest":
            first = np.minimum((2 * at + 1) * source // (2 * target), source - 1)
            return np.stack([start + first, np.zeros_like(first)], axis=1)
        # the centre of the output's pixel in the picture, rounded to 1 / 256
        place = ((2 * at + 1) * source * ONE + target) // (2 * target) - ONE // 2
        place = np.clip(place, 0, (source - 1) * ONE)
        return np.stack([start + place // ONE, place % ONE], axis=1)


_MIX = """\
            int below = FLASH_I16(rows + 2 * row + 1), right = FLASH_I16(columns + 2 * column + 1);
            const uint8_t *lower = below ? upper + row_bytes : upper;
            int32_t p[4][{channels}];
            {pixel}(upper, at, p[0]);
            {pixel}(upper, at + (right > 0), p[1]);
            {pixel}(lower, at, p[2]);
            {pixel}(lower, at + (right > 0), p[3]);
            for (int c = 0; c < {channels}; c++) {{
                int32_t left = p[0][c] * (256 - below) + p[2][c] * below;
                int32_t after = p[1][c] * (256 - below) + p[3][c] * below;
                int32_t channel = (left * (256 - right) + after * right + 32768) >> 16;
"""
_PICK = """\
            int32_t p[{channels}];
            {pixel}(upper, at, p);
            for (int c = 0; c < {channels}; c++) {{
                int32_t channel = p[c];
"""
_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


def image_kernel(pixels: str, order: str, resize: str, dtype: str) -> Kernel:
    """The kernel for a format, an order of channels, a way to resize and a type of output."""
    pixel, kind = pixel_kernel(pixels, order), C_TYPES[dtype]
    name = f"image_{pixels}_{order}_{resize}_{dtype}"
    body = (_MIX if resize == "bilinear" else _PICK).format(pixel=pixel.name, channels=CHANNELS[order])
    if dtype == "float32":
        finish = "*y++ = (float)value / (float)(INT32_C(1) << shift);"
    else:
        low, high = _RANGES[dtype]
        clamped = f"value < {low} ? {low} : value > {high} ? {high} : value"
        finish = f"value >>= shift;\n                *y++ = ({kind})({clamped});"
    return Kernel(
        name,
        f"""\
/* Rows and columns are (first, weight of the next); affine is (multiplier, bias) of each channel. */
static void {name}(const uint8_t *x, const int16_t *rows, const int16_t *columns,
    const int32_t *affine, {kind} *y, int32_t row_bytes, int out_h, int out_w, int shift)
{{
    for (int row = 0; row < out_h; row++) {{
        const uint8_t *upper = x + FLASH_I16(rows + 2 * row) * row_bytes;
        for (int column = 0; column < out_w; column++) {{
            int at = FLASH_I16(columns + 2 * column);
{body}\
                int32_t value = channel * FLASH_I32(affine + 2 * c) + FLASH_I32(affine + 2 * c + 1);
                {finish}
            }}
        }}
    }}
}}
""",
        (pixel,),
    )
