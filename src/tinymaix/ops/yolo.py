"""YOLO: a head of a YOLO network -> its best boxes, see `tinymaix.ops.detections`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.detections import (
    COLUMNS,
    DETECTION_PLACE,
    DETECTION_SPOT,
    ONE,
    TABLE_BITS,
    Detector,
    best_rows,
    exponential,
    place,
    sigmoid,
    table,
)
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape

STYLES = ("v2", "v3", "v5")
"""v2: sizes are anchor * e^t, classes share a softmax. v3: the same sizes, each class has a sigmoid. v5: sizes are
anchor * (2 sigmoid(t))^2, centres reach half a cell beyond their cell, each class has a sigmoid."""


@dataclass(frozen=True)
class Yolo(Detector):
    """Input: int8 (1, height, width, anchors * (5 + classes)): x, y, w, h, objectness and the classes of each anchor.

    ``anchors`` are (height, width) of 32768ths of the picture.
    """

    anchors: tuple[tuple[int, int], ...]
    style: str
    rows: int
    threshold: int

    kind: ClassVar[str] = "YOLO"

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        self.check_rows()
        if self.style not in STYLES:
            raise ModelError(f"'{self.style}' is no style of YOLO; known are {', '.join(STYLES)}")
        each = shape[3] // len(self.anchors) if len(shape) == 4 and self.anchors else 0
        if len(shape) != 4 or shape[0] != 1 or each < 6 or each * len(self.anchors) != shape[3]:
            raise ModelError(
                f"a YOLO head of {len(self.anchors)} anchors is (1, height, width, anchors * (5 + classes)), "
                f"not {list(shape)}"
            )
        if not all(0 < side < 2**20 for anchor in self.anchors for side in anchor):
            raise ModelError(f"anchors {self.anchors} are not heights and widths in 32768ths of the picture")
        return [(1, self.rows, COLUMNS)]

    def macs(self, node: Node) -> int:
        return node.input(0).elements

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])
        height, width = x.shape[1:3]
        values = x.reshape(height * width, len(self.anchors), -1).astype(np.int64) + 128
        logistic, centre, extent, falling = self._tables(node.input(0))
        objects, classes = logistic[values[..., 4]], values[..., 5:]
        if self.style == "v2":
            sums = falling[classes.max(axis=2, keepdims=True) - classes].sum(axis=2)
            share = (ONE << 15) // sums
        else:
            share = logistic[classes.max(axis=2)]
        scores = np.minimum(objects * share >> 15, ONE - 1).reshape(-1)
        rows, columns = (part.reshape(-1, 1) for part in np.indices((height, width)))
        sides = np.array(self.anchors, np.int64)
        top, bottom = place(
            rows * ONE // height, ONE // height, centre[values[..., 1]], sides[:, 0], extent[values[..., 3]]
        )
        left, right = place(
            columns * ONE // width, ONE // width, centre[values[..., 0]], sides[:, 1], extent[values[..., 2]]
        )
        found = [part.reshape(-1) for part in (classes.argmax(axis=2), top, left, bottom, right)]
        return [best_rows(found, scores, self.rows, self.threshold)]

    def emit(self, node: Node, code: LayerCode) -> None:
        x = node.input(0)
        logistic, centre, extent, falling = self._tables(x)
        softmax = self.style == "v2"
        code.call(
            YOLO,
            x=code.input(0),
            logistic=code.constant("logistic", logistic, "int16", "sigmoid in Q15"),
            centres=code.constant("centres", centre, "int16", "place in a cell in Q12"),
            extents=code.constant("extents", extent, "int32", "stretch of an anchor in Q12"),
            falling=code.constant("falling", np.minimum(falling, ONE - 1), "int16", "e^-t in Q15")
            if softmax
            else "NULL",
            anchors=code.constant("anchors", np.array(self.anchors), "int32", "height, width in Q15"),
            y=code.output(),
            height=x.shape[1],
            width=x.shape[2],
            anchor_count=len(self.anchors),
            classes=x.shape[3] // len(self.anchors) - 5,
            rows=self.rows,
            threshold=self.threshold,
        )

    def _tables(self, x: Tensor) -> tuple[Array, Array, Array, Array]:
        """Sigmoid, centre, extent for each int8; e^-(t * scale) for each difference t of two of them."""
        logistic = table(x, sigmoid, 15, ONE - 1)
        if self.style == "v5":
            centre = table(x, lambda t: 2 * sigmoid(t) - 0.5, TABLE_BITS, ONE)
            extent = table(x, lambda t: (2 * sigmoid(t)) ** 2, TABLE_BITS, 2**30)
        else:
            centre = table(x, sigmoid, TABLE_BITS, ONE)
            extent = table(x, exponential, TABLE_BITS, 2**30)
        falling = np.round(np.exp(-x.q.s * np.arange(256)) * (ONE - 1)).astype(np.int64)
        return logistic, centre, extent, falling


YOLO = Kernel(
    "yolo",
    f"""\
/* A head's cells and anchors -> the best rows of detections; falling is there where classes share a softmax */
static void yolo(const int8_t *x, const int16_t *logistic, const int16_t *centres, const int32_t *extents,
    const int16_t *falling, const int32_t *anchors, int16_t *y, int height, int width, int anchor_count, int classes,
    int rows, int threshold)
{{
    memset(y, 0, (size_t)(rows * {COLUMNS}) * sizeof *y);
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++)
            for (int a = 0; a < anchor_count; a++, x += 5 + classes) {{
                int best = 0;
                for (int c = 1; c < classes; c++)
                    best = x[5 + c] > x[5 + best] ? c : best;
                int32_t share = FLASH_I16(logistic + x[5 + best] + 128), sum = 0;
                if (falling) {{
                    for (int c = 0; c < classes; c++)
                        sum += FLASH_I16(falling + (x[5 + best] - x[5 + c]));
                    share = (INT32_C(1) << 30) / sum;
                }}
                int32_t score = (int32_t)((int64_t)FLASH_I16(logistic + x[4] + 128) * share >> 15);
                score = score > 32767 ? 32767 : score;
                int16_t *spot = score > threshold ? detection_spot(y, rows, score) : NULL;
                if (!spot)
                    continue;
                spot[1] = (int16_t)best;
                detection_place(spot + 2, spot + 4, (int32_t)((int64_t)row * 32768 / height), INT32_C(32768) / height,
                                FLASH_I16(centres + x[1] + 128), FLASH_I32(anchors + 2 * a),
                                FLASH_I32(extents + x[3] + 128));
                detection_place(spot + 3, spot + 5, (int32_t)((int64_t)column * 32768 / width), INT32_C(32768) / width,
                                FLASH_I16(centres + x[0] + 128), FLASH_I32(anchors + 2 * a + 1),
                                FLASH_I32(extents + x[2] + 128));
            }}
}}
""",
    (DETECTION_PLACE, DETECTION_SPOT),
)
