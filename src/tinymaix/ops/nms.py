"""NON_MAX_SUPPRESSION: detections without those that overlap a better one, see `tinymaix.ops.detections`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.detections import BOTTOM, CLASS, COLUMNS, LEFT, ONE, RIGHT, SCORE, TOP
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape


@dataclass(frozen=True)
class NonMaxSuppression(Operator):
    """Input: detections (1, rows, 6) in any order. Output: the best ``rows`` of them, of which no two overlap by more
    than ``overlap`` (intersection over union, of 32768). ``across``: also where their classes differ."""

    rows: int
    overlap: int
    across: bool = False

    kind: ClassVar[str] = "NON_MAX_SUPPRESSION"

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if len(shape) != 3 or shape[0] != 1 or shape[2] != COLUMNS or self.rows < 1 or not 0 <= self.overlap <= ONE:
            raise ModelError(f"{list(shape)} are no detections (1, rows, {COLUMNS}), or the overlap is no share")
        return [(1, self.rows, COLUMNS)]

    def problems(self, node: Node) -> list[str]:
        tensors = (node.input(0), node.output)
        return [f"detections '{t.name}' are {t.dtype}; they must be int16" for t in tensors if t.dtype != np.int16]

    def macs(self, node: Node) -> int:
        return self.rows * node.input(0).shape[1]

    def scratch(self, node: Node) -> int:
        return -(-node.input(0).shape[1] // 4) * 4

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x = array(inputs[0])[0].astype(np.int64)
        kept: list[Array] = []
        for row in x[np.argsort(-x[:, SCORE], kind="stable")]:
            if len(kept) == self.rows or row[SCORE] <= 0:
                break
            if not any(self._overlap(row, other) for other in kept):
                kept.append(row)
        found = np.zeros((1, self.rows, COLUMNS), np.int16)
        if kept:
            found[0, : len(kept)] = kept
        return [found]

    def _overlap(self, a: Array, b: Array) -> bool:
        if a[CLASS] != b[CLASS] and not self.across:
            return False
        height = max(0, min(a[BOTTOM], b[BOTTOM]) - max(a[TOP], b[TOP]))
        width = max(0, min(a[RIGHT], b[RIGHT]) - max(a[LEFT], b[LEFT]))
        areas = sum((r[BOTTOM] - r[TOP]) * (r[RIGHT] - r[LEFT]) for r in (a, b))
        return bool(height * width * ONE > self.overlap * (areas - height * width))

    def emit(self, node: Node, code: LayerCode) -> None:
        code.call(
            NON_MAX_SUPPRESSION,
            x=code.input(0),
            used=f"(uint8_t *){code.scratch}",
            y=code.output(),
            count=node.input(0).shape[1],
            rows=self.rows,
            overlap=self.overlap,
            across=self.across,
        )


NON_MAX_SUPPRESSION = Kernel(
    "non_max_suppression",
    f"""\
/* Whether two detections overlap by more than a share of 32768 of their union */
static int detections_overlap(const int16_t *a, const int16_t *b, int32_t overlap)
{{
    int32_t top = a[2] > b[2] ? a[2] : b[2], left = a[3] > b[3] ? a[3] : b[3];
    int32_t bottom = a[4] < b[4] ? a[4] : b[4], right = a[5] < b[5] ? a[5] : b[5];
    int32_t common = bottom > top && right > left ? (bottom - top) * (right - left) : 0;
    int32_t area_a = ((int32_t)a[4] - a[2]) * ((int32_t)a[5] - a[3]);
    int32_t area_b = ((int32_t)b[4] - b[2]) * ((int32_t)b[5] - b[3]);
    return (int64_t)common * 32768 > overlap * ((int64_t)area_a + area_b - common);
}}

/* The best row that is left, again and again, where it overlaps none of those before */
static void non_max_suppression(const int16_t *x, uint8_t *used, int16_t *y, int count, int rows, int32_t overlap,
                                int across)
{{
    int kept = 0;
    memset(used, 0, (size_t)count);
    memset(y, 0, (size_t)(rows * {COLUMNS}) * sizeof *y);
    while (kept < rows) {{
        int best = -1, free = 1;
        for (int i = 0; i < count; i++)
            if (!used[i] && x[{COLUMNS} * i] > (best < 0 ? 0 : x[{COLUMNS} * best]))
                best = i;
        if (best < 0)
            break;
        used[best] = 1;
        const int16_t *row = x + {COLUMNS} * best;
        for (int k = 0; k < kept; k++)
            if ((across || row[1] == y[{COLUMNS} * k + 1]) && detections_overlap(row, y + {COLUMNS} * k, overlap))
                free = 0;
        if (free)
            memcpy(y + {COLUMNS} * kept++, row, {COLUMNS} * sizeof *y);
    }}
}}
""",
)
