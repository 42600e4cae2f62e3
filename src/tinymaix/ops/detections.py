"""Detections: what the operators that decode boxes give, in integers; and what they share, in numpy and in C.

A tensor int16 (1, rows, 6), the best first: score, class, top, left, bottom, right. The score and the edges are
fractions of 32768 (edges of the picture's height and width, within it); rows that are not used are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Quantization, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.emit import Kernel

SCORE, CLASS, TOP, LEFT, BOTTOM, RIGHT = range(6)
COLUMNS = 6
ONE = 32768
TABLE_BITS = 12
"""Fractional bits of the tables that move and stretch a box."""


def detections_tensor(name: str, rows: int) -> Tensor:
    return Tensor(name, (1, rows, COLUMNS), np.dtype(np.int16), Quantization.of(1 / ONE))


class Detector(Operator):
    """An operator from int8 to detections."""

    rows: int
    """Rows of the output: as many of the best candidates are kept."""
    threshold: int
    """Scores at and below it are left out; of 32768."""

    def check_rows(self) -> None:
        if not 1 <= self.rows <= 4096 or not 0 <= self.threshold < ONE:
            raise ModelError(f"{self.rows} detections above {self.threshold} of {ONE}; 1 to 4096 are supported")

    def problems(self, node: Node) -> list[str]:
        wrong = [
            f"'{t.name}' is {t.dtype}; {self.kind} decodes int8: quantize the model first"
            for t in node.activations
            if t.dtype != np.int8 or t.quantization is None or t.quantization.per_channel
        ]
        if node.output.dtype != np.int16:
            wrong.append(f"detections '{node.output.name}' are {node.output.dtype}; they must be int16")
        return wrong


def table(x: Tensor, function: Callable[[float], float], bits: int, top: int) -> Array:
    """function(real value) with fractional bits for each of the 256 values of an int8 tensor, -128 first."""
    reals = [x.q.s * (q - x.q.z) for q in range(-128, 128)]
    return np.array([min(top, max(-top, round(min(function(r), 1e9) * 2.0**bits))) for r in reals], np.int64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def exponential(x: float) -> float:
    return math.exp(min(x, 20.0))


def place(base: Array, step: Array | int, moved: Array, size: Array, stretched: Array) -> tuple[Array, Array]:
    """(first edge, last edge) along an axis: centre base + moved * step, extent stretched * size; all of int64."""
    centre = base + np.right_shift(moved * step, TABLE_BITS)
    half = stretched * size >> (TABLE_BITS + 1)
    return np.clip(centre - half, 0, ONE - 1), np.clip(centre + half, 0, ONE - 1)


def best_rows(candidates: Sequence[Array], scores: Array, rows: int, threshold: int) -> Array:
    """The rows of the best scores above a threshold, the earlier of equal ones first. ``candidates`` are the columns
    behind the score."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > threshold][:rows]
    found = np.zeros((1, rows, COLUMNS), np.int16)
    for column, values in enumerate([scores, *candidates]):
        found[0, : order.size, column] = values[order]
    return found


DETECTION_PLACE = Kernel(
    "detection_place",
    f"""\
/* Edges along an axis from base + moved * step and stretched * size, within the picture */
static void detection_place(int16_t *first, int16_t *last, int32_t base, int32_t step, int32_t moved, int32_t size,
                            int32_t stretched)
{{
    int32_t centre = base + (int32_t)((int64_t)moved * step >> {TABLE_BITS});
    int64_t half = (int64_t)stretched * size >> {TABLE_BITS + 1};
    int64_t from = centre - half, to = centre + half;
    *first = (int16_t)(from < 0 ? 0 : from > 32767 ? 32767 : from);
    *last = (int16_t)(to < 0 ? 0 : to > 32767 ? 32767 : to);
}}
""",
)

DETECTION_SPOT = Kernel(
    "detection_spot",
    f"""\
/* The row for a new score among rows that are sorted, those below moved down; NULL where it is not among the best */
static int16_t *detection_spot(int16_t *y, int rows, int32_t score)
{{
    int at = rows - 1;
    if (score <= y[{COLUMNS} * at])
        return NULL;
    for (; at > 0 && y[{COLUMNS} * (at - 1)] < score; at--)
        memcpy(y + {COLUMNS} * at, y + {COLUMNS} * (at - 1), {COLUMNS} * sizeof *y);
    y[{COLUMNS} * at + {SCORE}] = (int16_t)score;
    return y + {COLUMNS} * at;
}}
""",
)
