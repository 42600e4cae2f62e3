"""RESIZE_NEAREST_NEIGHBOR: NHWC pixels repeated or skipped; which ones is known at compile time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.base import array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import Move
from tinymaix.ops.resize import Resize


@dataclass(frozen=True)
class ResizeNearestNeighbor(Resize, Move):
    """``size`` is the output's (height, width)."""

    kind: ClassVar[str] = "RESIZE_NEAREST_NEIGHBOR"
    tflite: ClassVar[tuple[int, int]] = (97, 74)
    first_flag: ClassVar[int] = 0

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        return [x[:, self._sources(x.shape[1], 0)][:, :, self._sources(x.shape[2], 1)]]

    def emit(self, node: Node, code: LayerCode) -> None:
        batches, in_h, in_w, channels = node.input(0).shape
        code.call(
            RESIZE_NEAREST,
            x=code.input(0),
            y=code.output(),
            rows=code.constant("rows", self._sources(in_h, 0), "int16", "input row of each output row"),
            columns=code.constant("columns", self._sources(in_w, 1), "int16", "input column of each output column"),
            batches=batches,
            in_h=in_h,
            in_w=in_w,
            out_h=self.size[0],
            out_w=self.size[1],
            bytes=channels * node.output.dtype.itemsize,
        )

    def _sources(self, size: int, axis: int) -> Array:
        """Index in the input for each index of the output, in float32 as the reference kernel computes it."""
        target = self.size[axis]
        aligned = self.align_corners and target > 1
        scale = np.float32(size - 1) / np.float32(target - 1) if aligned else np.float32(size) / np.float32(target)
        places = (np.arange(target).astype(np.float32) + np.float32(0.5 if self.half_pixel_centers else 0)) * scale
        rounded = np.floor(places.astype(np.float64) + (0.5 if self.align_corners else 0))
        return np.minimum(rounded.astype(np.int64), size - 1)


RESIZE_NEAREST = Kernel(
    "resize_nearest",
    """\
/* y[row][column] = x[rows[row]][columns[column]], NHWC pixels of `bytes` */
static void resize_nearest(const void *x, void *y, const int16_t *rows, const int16_t *columns, int batches, int in_h,
                           int in_w, int out_h, int out_w, int bytes)
{
    const int8_t *image = (const int8_t *)x;
    int8_t *target = (int8_t *)y;
    for (int n = 0; n < batches; n++, image += in_h * in_w * bytes)
        for (int row = 0; row < out_h; row++) {
            const int8_t *source = image + FLASH_I16(rows + row) * in_w * bytes;
            for (int column = 0; column < out_w; column++, target += bytes)
                memcpy(target, source + FLASH_I16(columns + column) * bytes, (size_t)bytes);
        }
}
""",
)
