"""RESIZE_BILINEAR: NHWC pixels interpolated between four neighbours; int8 in Q10 as TFLM has it, or float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.base import array, same_quantization
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.resize import Resize

ONE = 1 << 10


@dataclass(frozen=True)
class ResizeBilinear(Resize):
    """``size`` is the output's (height, width)."""

    kind: ClassVar[str] = "RESIZE_BILINEAR"
    tflite: ClassVar[tuple[int, int]] = (23, 15)
    first_flag: ClassVar[int] = 2

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or same_quantization(node)

    def macs(self, node: Node) -> int:
        return 4 * node.output.elements

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        is_float = x.dtype == np.float32
        one = np.float32(1) if is_float else ONE
        (y0, y1, v), (x0, x1, u) = (self._sources(x.shape[1 + axis], axis, is_float) for axis in range(2))
        v, u = v[:, None, None], u[:, None]
        values = x if is_float else x.astype(np.int64)
        upper, lower = values[:, y0], values[:, y1]
        total = (
            upper[:, :, x0] * (one - v) * (one - u)
            + lower[:, :, x0] * v * (one - u)
            + upper[:, :, x1] * (one - v) * u
            + lower[:, :, x1] * v * u
        )
        if is_float:
            return [total.astype(np.float32)]
        half = ONE * ONE // 2
        rounded = np.sign(total) * ((np.abs(total) + half) // (ONE * ONE))
        return [rounded.astype(x.dtype)]

    def emit(self, node: Node, code: LayerCode) -> None:
        n, in_h, in_w, channels = node.input(0).shape
        is_float = node.output.dtype == np.float32
        rows, columns = self._sources(in_h, 0, is_float), self._sources(in_w, 1, is_float)
        code.call(
            RESIZE_BILINEAR_F32 if is_float else RESIZE_BILINEAR_S8,
            x=code.input(0),
            y=code.output(),
            rows=code.constant("rows", np.stack(rows[:2], axis=1), "int16", "the two rows of each output row"),
            columns=code.constant("columns", np.stack(columns[:2], axis=1), "int16", "the two columns of each column"),
            row_weights=code.constant("row_weights", rows[2], None if is_float else "int16"),
            column_weights=code.constant("column_weights", columns[2], None if is_float else "int16"),
            batches=n,
            in_h=in_h,
            in_w=in_w,
            out_h=self.size[0],
            out_w=self.size[1],
            channels=channels,
        )

    def _sources(self, size: int, axis: int, is_float: bool) -> tuple[Array, Array, Array]:
        """First and second index in the input for each index of the output, and the weight of the second."""
        target = self.size[axis]
        aligned = self.align_corners and target > 1
        spans = (size - 1, target - 1) if aligned else (size, target)
        if is_float:
            scale, at = np.float32(spans[0]) / np.float32(spans[1]), np.arange(target).astype(np.float32)
            half = np.float32(0.5)
            places = (at + half) * scale - half if self.half_pixel_centers else at * scale
            first = np.maximum(np.floor(places).astype(np.int64), 0)
            second = np.minimum(np.ceil(places).astype(np.int64), size - 1)
            return np.minimum(first, size - 1), np.maximum(second, 0), places - first.astype(np.float32)
        q10 = (ONE * spans[0] + spans[1] // 2) // spans[1]
        spot = np.arange(target) * q10
        if self.half_pixel_centers:
            spot = spot + q10 // 2 - ONE // 2
        first = np.clip(spot // ONE, 0, size - 1)  # negative places are above -1, so rounding them down or to 0 is one
        return first, np.minimum((spot + ONE - 1) // ONE, size - 1), spot - ONE * first


def _kernel(name: str, c_type: str, weight: str, flash: str, sum_type: str, one: str, finish: str) -> Kernel:
    return Kernel(
        name,
        f"""\
/* Each output pixel from two rows and two columns, weighted; NHWC. */
static void {name}(const {c_type} *x, {c_type} *y, const int16_t *rows, const int16_t *columns,
    const {weight} *row_weights, const {weight} *column_weights, int batches, int in_h, int in_w, int out_h, int out_w,
    int channels)
{{
    for (int n = 0; n < batches; n++, x += in_h * in_w * channels)
        for (int row = 0; row < out_h; row++) {{
            const {c_type} *upper = x + FLASH_I16(rows + 2 * row) * in_w * channels;
            const {c_type} *lower = x + FLASH_I16(rows + 2 * row + 1) * in_w * channels;
            {sum_type} v = {flash}(row_weights + row);
            for (int column = 0; column < out_w; column++) {{
                int left = FLASH_I16(columns + 2 * column) * channels;
                int right = FLASH_I16(columns + 2 * column + 1) * channels;
                {sum_type} u = {flash}(column_weights + column);
                for (int c = 0; c < channels; c++) {{
                    {sum_type} sum = upper[left + c] * ({one} - v) * ({one} - u) + lower[left + c] * v * ({one} - u)
                        + upper[right + c] * ({one} - v) * u + lower[right + c] * v * u;
                    *y++ = {finish};
                }}
            }}
        }}
}}
""",
    )


RESIZE_BILINEAR_S8 = _kernel(
    "resize_bilinear_s8",
    "int8_t",
    "int16_t",
    "FLASH_I16",
    "int32_t",
    "1024",
    "(int8_t)((sum + (sum > 0 ? INT32_C(524288) : -INT32_C(524288))) / INT32_C(1048576))",
)

RESIZE_BILINEAR_F32 = _kernel("resize_bilinear_f32", "float", "float", "FLASH_F32", "float", "1.0f", "sum")
