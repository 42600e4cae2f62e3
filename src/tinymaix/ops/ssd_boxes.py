"""SSD_BOXES: offsets from anchors and scores of classes -> the best boxes, see `tinymaix.ops.detections`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import array, constant
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
from tinymaix.ops.signal import constant_data


@dataclass(frozen=True)
class SsdBoxes(Detector):
    """Inputs: int8 offsets (1, boxes, 4) of y, x, height, width (``order`` "yxhw") or x, y, width, height ("xywh");
    int8 scores (1, boxes, classes), the first ``background`` of them no objects; anchors int16 (boxes, 4): centre y,
    centre x, height, width in 32768ths.

    A centre moves by offset * anchor / ``variance``[0], a side becomes anchor * e^(offset / ``variance``[1]).
    ``logits``: scores still need a sigmoid.
    """

    rows: int
    threshold: int
    background: int = 1
    order: str = "yxhw"
    variance: tuple[float, float] = (10.0, 5.0)
    logits: bool = False

    kind: ClassVar[str] = "SSD_BOXES"

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        boxes, scores = input_shape(inputs), input_shape(inputs, 1)
        anchors = constant(inputs, 2, "the anchors")
        self.check_rows()
        if len(boxes) != 3 or boxes[0] != 1 or boxes[2] != 4 or len(scores) != 3 or scores[:2] != boxes[:2]:
            raise ModelError(f"offsets are (1, boxes, 4) and scores (1, boxes, classes), not {boxes} and {scores}")
        if anchors.shape != boxes[1:] or anchors.dtype != np.int16 or anchors[:, 2:].min(initial=0) < 0:
            raise ModelError(f"{boxes[1]} boxes need anchors {list(boxes[1:])} in int16, not {list(anchors.shape)}")
        if not 0 <= self.background < scores[2] or self.order not in ("yxhw", "xywh") or min(self.variance) <= 0:
            raise ModelError(f"{self.background} of {scores[2]} classes, order '{self.order}' make no sense")
        return [(1, self.rows, COLUMNS)]

    def macs(self, node: Node) -> int:
        return node.input(0).elements

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        offsets = array(inputs[0])[0].astype(np.int64) + 128
        classes = array(inputs[1])[0, :, self.background :].astype(np.int64) + 128
        anchors = array(inputs[2]).astype(np.int64)
        y, x, h, w = offsets.T if self.order == "yxhw" else offsets.T[[1, 0, 3, 2]]
        chances, moves, stretches = self._tables(node)
        top, bottom = place(anchors[:, 0], anchors[:, 2], moves[y], anchors[:, 2], stretches[h])
        left, right = place(anchors[:, 1], anchors[:, 3], moves[x], anchors[:, 3], stretches[w])
        best = classes.argmax(axis=1)
        scores = chances[np.take_along_axis(classes, best[:, None], 1)[:, 0]]
        return [best_rows([best, top, left, bottom, right], scores, self.rows, self.threshold)]

    def emit(self, node: Node, code: LayerCode) -> None:
        chances, moves, stretches = self._tables(node)
        _, boxes, classes = node.input(1).shape
        code.call(
            SSD_BOXES,
            x=code.input(0),
            scores=code.input(1),
            anchors=code.constant("anchors", constant_data(node, 2), "int16", "centre y, x, height, width in Q15"),
            chances=code.constant("chances", chances, "int16", "score in Q15"),
            moves=code.constant("moves", moves, "int32", "shift by anchors in Q12"),
            stretches=code.constant("stretches", stretches, "int32", "stretch of anchors in Q12"),
            y=code.output(),
            boxes=boxes,
            classes=classes,
            background=self.background,
            at_y=self.order.index("y"),
            at_h=self.order.index("h"),
            rows=self.rows,
            threshold=self.threshold,
        )

    def _tables(self, node: Node) -> tuple[Array, Array, Array]:
        x, scores = node.input(0), node.input(1)
        chances = table(scores, sigmoid if self.logits else lambda p: p, 15, ONE - 1)
        moves = table(x, lambda t: t / self.variance[0], TABLE_BITS, 2**30)
        stretches = table(x, lambda t: exponential(t / self.variance[1]), TABLE_BITS, 2**30)
        return np.maximum(chances, 0), moves, stretches


SSD_BOXES = Kernel(
    "ssd_boxes",
    f"""\
/* Anchors -> the best rows of detections; at_y and at_h are the places of y and height among the offsets */
static void ssd_boxes(const int8_t *x, const int8_t *scores, const int16_t *anchors, const int16_t *chances,
    const int32_t *moves, const int32_t *stretches, int16_t *y, int boxes, int classes, int background, int at_y,
    int at_h, int rows, int threshold)
{{
    memset(y, 0, (size_t)(rows * {COLUMNS}) * sizeof *y);
    for (int i = 0; i < boxes; i++, x += 4, scores += classes, anchors += 4) {{
        int best = background;
        for (int c = background + 1; c < classes; c++)
            best = scores[c] > scores[best] ? c : best;
        int32_t score = FLASH_I16(chances + scores[best] + 128);
        int16_t *spot = score > threshold ? detection_spot(y, rows, score) : NULL;
        if (!spot)
            continue;
        spot[1] = (int16_t)(best - background);
        for (int axis = 0; axis < 2; axis++) {{
            int32_t size = FLASH_I16(anchors + 2 + axis);
            detection_place(spot + 2 + axis, spot + 4 + axis, FLASH_I16(anchors + axis), size,
                            FLASH_I32(moves + x[at_y ^ axis] + 128), size, FLASH_I32(stretches + x[at_h ^ axis] + 128));
        }}
    }}
}}
""",
    (DETECTION_PLACE, DETECTION_SPOT),
)
