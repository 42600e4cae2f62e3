"""FOMO: a map of class scores -> objects: neighbouring cells of one class put together, see `ops.detections`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array
from tinymaix.ops.detections import COLUMNS, DETECTION_SPOT, ONE, Detector, best_rows, table
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape


@dataclass(frozen=True)
class Fomo(Detector):
    """Input: int8 scores (1, height, width, classes), the first class the background. A cell belongs to its best class
    where that is none of the background and above the threshold.

    A detection is the rectangle around cells of one class that touch, also at corners; its score is the best of theirs,
    its centre the object's place. Of equal scores the object whose first cell comes first is first.
    """

    rows: int
    threshold: int

    kind: ClassVar[str] = "FOMO"

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        self.check_rows()
        if len(shape) != 4 or shape[0] != 1 or not 2 <= shape[3] <= 128 or shape[1] * shape[2] > 32767:
            raise ModelError(f"a map of scores is (1, height, width, 2 to 128 classes), not {list(shape)}")
        return [(1, self.rows, COLUMNS)]

    def macs(self, node: Node) -> int:
        return node.input(0).elements

    def scratch(self, node: Node) -> int:
        """The class of each cell, and the cells that an object's flood has still to visit."""
        cells = node.input(0).shape[1] * node.input(0).shape[2]
        return -(-cells // 4) * 4 + -(-cells // 2) * 4

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])[0]
        height, width, _ = x.shape
        best = x.argmax(axis=2)
        chances = self._chances(node)[x.max(axis=2).astype(np.int64) + 128]
        left = np.where(chances > self.threshold, best, 0)
        objects = []
        for start in range(height * width):
            row, column = divmod(start, width)
            if left[row, column]:
                cells = _flood(left, row, column)
                (top, first), (bottom, last) = cells.min(axis=0), cells.max(axis=0) + 1
                score = chances[tuple(cells.T)].max()
                edges = [v * ONE // n for v, n in ((top, height), (first, width), (bottom, height), (last, width))]
                objects.append([score, best[row, column] - 1, *np.minimum(edges, ONE - 1)])
        scores, *columns = np.array(objects, np.int64).reshape(-1, COLUMNS).T
        return [best_rows(columns, scores, self.rows, self.threshold)]

    def emit(self, node: Node, code: LayerCode) -> None:
        _, height, width, classes = node.input(0).shape
        code.call(
            FOMO,
            x=code.input(0),
            chances=code.constant("chances", self._chances(node), "int16", "score in Q15"),
            scratch=f"(uint8_t *){code.scratch}",
            y=code.output(),
            height=height,
            width=width,
            classes=classes,
            rows=self.rows,
            threshold=self.threshold,
        )

    @staticmethod
    def _chances(node: Node) -> Array:
        return np.maximum(table(node.input(0), lambda p: p, 15, ONE - 1), 0)


def _flood(left: Array, row: int, column: int) -> Array:
    """Cells (count, 2) of a class that touch; they are taken off the map."""
    kind, waiting, cells = left[row, column], [(row, column)], []
    left[row, column] = 0
    while waiting:
        row, column = waiting.pop()
        cells.append((row, column))
        for r in range(max(row - 1, 0), min(row + 2, left.shape[0])):
            for c in range(max(column - 1, 0), min(column + 2, left.shape[1])):
                if left[r, c] == kind:
                    left[r, c] = 0
                    waiting.append((r, c))
    return np.array(cells)


FOMO = Kernel(
    "fomo",
    f"""\
/* Cells of a class that touch -> rows of detections. Scratch: the class of each cell, then cells still to visit. */
static void fomo(const int8_t *x, const int16_t *chances, uint8_t *scratch, int16_t *y, int height, int width,
                 int classes, int rows, int threshold)
{{
    int cells = height * width;
    int16_t *waiting = (int16_t *)(void *)(scratch + (cells + 3) / 4 * 4);
    memset(y, 0, (size_t)(rows * {COLUMNS}) * sizeof *y);
    for (int i = 0; i < cells; i++) {{
        const int8_t *scores = x + i * classes;
        int best = 0;
        for (int c = 1; c < classes; c++)
            best = scores[c] > scores[best] ? c : best;
        scratch[i] = FLASH_I16(chances + scores[best] + 128) > threshold ? (uint8_t)best : 0;
    }}
    for (int i = 0; i < cells; i++) {{
        int kind = scratch[i], count = 1, score = 0, top = height, left = width, bottom = 0, right = 0;
        if (!kind)
            continue;
        waiting[0] = (int16_t)i;
        scratch[i] = 0;
        while (count) {{
            int cell = waiting[--count], row = cell / width, column = cell % width;
            int chance = FLASH_I16(chances + x[cell * classes + kind] + 128);
            score = chance > score ? chance : score;
            top = row < top ? row : top;
            left = column < left ? column : left;
            bottom = row + 1 > bottom ? row + 1 : bottom;
            right = column + 1 > right ? column + 1 : right;
            for (int r = row > 0 ? row - 1 : 0; r <= row + 1 && r < height; r++)
                for (int c = column > 0 ? column - 1 : 0; c <= column + 1 && c < width; c++)
                    if (scratch[r * width + c] == kind) {{
                        scratch[r * width + c] = 0;
                        waiting[count++] = (int16_t)(r * width + c);
                    }}
        }}
        int16_t *spot = detection_spot(y, rows, score);
        if (!spot)
            continue;
        int32_t edges[4] = {{(int32_t)top * 32768 / height, (int32_t)left * 32768 / width,
                            (int32_t)((int64_t)bottom * 32768 / height), (int32_t)((int64_t)right * 32768 / width)}};
        spot[1] = (int16_t)(kind - 1);
        for (int k = 0; k < 4; k++)
            spot[2 + k] = (int16_t)(edges[k] > 32767 ? 32767 : edges[k]);
    }}
}}
""",
    (DETECTION_SPOT,),
)
