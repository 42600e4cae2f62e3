"""TFLITE_DETECTION_POSTPROCESS: SSD boxes decoded and thinned out, as LiteRT's custom operator does it.

Arithmetic is LiteRT's: centres and extents in double, rounded to float32. LiteRT decodes all boxes and sorts all
scores; here a box is decoded when its score is the best that is left, which selects the same ones. Outputs behind the
number of detections are 0, where LiteRT may leave what was there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import CustomOptions, Operator, array, constant
from tinymaix.ops.detection_postprocess_c import postprocess_kernel
from tinymaix.ops.emit import Argument, LayerCode
from tinymaix.ops.move import input_shape

TYPES = ("uint8", "int8", "float32")


@dataclass(frozen=True)
class DetectionPostprocess(Operator):
    """Inputs: offsets (1, boxes, 4 or more), scores (1, boxes, classes, maybe with a background in front), anchors
    (boxes, 4), a constant of the offsets' type. Outputs, float32: boxes (1, rows, 4), classes (1, rows), scores
    (1, rows), and their number (1,). Rows are detections times ``classes_each``.

    ``scales`` divide y, x, height and width. ``per_class``: boxes compete within their class, each of which keeps
    ``detections_each``; otherwise a box competes with its best class, and gives its ``classes_each`` best.
    """

    detections: int
    classes_each: int
    classes: int
    score: float
    overlap: float
    scales: tuple[float, float, float, float]
    per_class: bool = False
    detections_each: int = 100

    kind: ClassVar[str] = "TFLITE_DETECTION_POSTPROCESS"
    tflite_custom: ClassVar[str] = "TFLite_Detection_PostProcess"

    @classmethod
    def from_custom(
        cls, options: CustomOptions, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> DetectionPostprocess:
        for tensor in outputs:
            tensor.dtype = np.dtype(np.float32)  # a file may leave it open
        y, x, h, w = (options.real(f"{name}_scale") for name in "yxhw")
        return cls(
            options.integer("max_detections"),
            options.integer("max_classes_per_detection"),
            options.integer("num_classes"),
            options.real("nms_score_threshold"),
            options.real("nms_iou_threshold"),
            (y, x, h, w),
            bool(options.integer("use_regular_nms", 0)),
            options.integer("detections_per_class", 100),
        )

    def to_custom(self, node: Node) -> tuple[dict[str, int | float], list[Tensor | None]]:
        options: dict[str, int | float] = {
            "max_detections": self.detections,
            "max_classes_per_detection": self.classes_each,
            "num_classes": self.classes,
            "nms_score_threshold": self.score,
            "nms_iou_threshold": self.overlap,
            "use_regular_nms": self.per_class,
            "detections_per_class": self.detections_each,
        }
        scales = {f"{name}_scale": scale for name, scale in zip("yxhw", self.scales, strict=True)}
        return {**options, **scales}, list(node.inputs)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        boxes, scores = input_shape(inputs), input_shape(inputs, 1)
        anchors = constant(inputs, 2, "the anchors")
        if len(boxes) != 3 or boxes[0] != 1 or boxes[2] < 4 or len(scores) != 3 or scores[:2] != boxes[:2]:
            raise ModelError(f"offsets {list(boxes)} and scores {list(scores)} are not (1, boxes, 4) and classes")
        if anchors.shape != (boxes[1], 4):
            raise ModelError(f"{boxes[1]} boxes need as many anchors of 4 numbers, not {list(anchors.shape)}")
        if not 1 <= self.classes <= scores[2] <= self.classes + 1:
            raise ModelError(f"{self.classes} classes, or one more with a background, need as many scores: {scores[2]}")
        rows = 1 if self.per_class else self.classes_each
        if not (1 <= self.detections <= 4096 and 1 <= rows <= self.classes and self.detections_each >= 1):
            raise ModelError(f"{self.detections} detections of {rows} of {self.classes} classes make no sense")
        if not 0 < self.overlap <= 1 or not all(0 < abs(scale) < float("inf") for scale in self.scales):
            raise ModelError(f"an overlap of {self.overlap} or scales {self.scales} make no sense")
        count = self.detections * self.classes_each
        return [(1, count, 4), (1, count), (1, count), (1,)]

    def problems(self, node: Node) -> list[str]:
        boxes, scores, anchors = (node.input(i) for i in range(3))
        wrong = [
            f"'{t.name}' is {t.dtype}{'' if t.dtype == np.float32 else ' or has not one scale and zero point'}; "
            f"supported are {', '.join(TYPES)}"
            for t in (boxes, scores, anchors)
            if t.dtype.name not in TYPES
            or (t.dtype != np.float32 and (t.quantization is None or t.quantization.per_channel))
        ]
        if wrong:
            return wrong
        if anchors.dtype != boxes.dtype or anchors.data is None:
            wrong.append(f"anchors '{anchors.name}' must be a constant of the type of the offsets, {boxes.dtype}")
        elif (_real(anchors.data, anchors)[:, 2:] < 0).any():
            wrong.append(f"anchors '{anchors.name}' have heights or widths below 0")
        return wrong + [f"'{t.name}' is {t.dtype}; it must be float32" for t in node.outputs if t.dtype != np.float32]

    def macs(self, node: Node) -> int:
        return node.input(1).elements

    def scratch(self, node: Node) -> int:
        """A score for each box; where boxes compete within classes, also the boxes that one class has kept."""
        return 4 * node.input(0).shape[1] + (16 * self._most(node) if self.per_class else 0)

    def _most(self, node: Node) -> int:
        return min(self.detections_each, node.input(0).shape[1])

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        boxes = self._boxes(node, array(inputs[0])[0], array(inputs[2]))
        scores = _real(array(inputs[1])[0], node.input(1))[:, -self.classes :]
        found = self._within_classes(boxes, scores) if self.per_class else self._across_classes(boxes, scores)
        y = [np.zeros(t.shape, np.float32) for t in node.outputs]
        for row, (box, kind, score) in enumerate(found):
            y[0][0, row], y[1][0, row], y[2][0, row] = boxes[box], kind, score
        y[3][0] = len(found) if self.per_class else len(found) // self.classes_each
        return y

    def _boxes(self, node: Node, offsets: Array, anchors: Array) -> Array:
        """(boxes, 4): first and last edges, float32."""
        real = _real(offsets[:, :4], node.input(0)).astype(np.float64) / np.array(self.scales, np.float32).astype(
            np.float64
        )
        place = _real(anchors, node.input(2)).astype(np.float64)
        centres = (real[:, :2] * place[:, 2:] + place[:, :2]).astype(np.float32)
        halves = (0.5 * np.exp(real[:, 2:]) * place[:, 2:]).astype(np.float32)
        return np.concatenate([centres - halves, centres + halves], axis=1)

    def _selected(self, boxes: Array, scores: Array, most: int) -> Iterator[int]:
        """Boxes by falling score, less those that overlap one before."""
        kept: list[int] = []
        order = np.argsort(-scores, kind="stable")
        for i in order[scores[order] >= np.float32(self.score)].tolist():
            if len(kept) == most:
                return
            if not any(_overlap(boxes[i], boxes[k]) > np.float32(self.overlap) for k in kept):
                kept.append(i)
                yield i

    def _across_classes(self, boxes: Array, scores: Array) -> list[tuple[int, int, np.float32]]:
        ranked = np.argsort(-scores, axis=1, kind="stable")[:, : self.classes_each]
        selected = self._selected(boxes, scores.max(axis=1), self.detections)
        return [(box, int(kind), scores[box, kind]) for box in selected for kind in ranked[box]]

    def _within_classes(self, boxes: Array, scores: Array) -> list[tuple[int, int, np.float32]]:
        found: list[tuple[int, int, np.float32]] = []
        for kind in range(self.classes):
            for box in self._selected(boxes, scores[:, kind], self.detections_each):
                found.append((box, kind, scores[box, kind]))
            found = sorted(found, key=lambda row: -row[2])[: self.detections]
        return found

    def emit(self, node: Node, code: LayerCode) -> None:
        boxes, scores, anchors = (node.input(i) for i in range(3))
        if anchors.data is None:
            raise ModelError(f"anchors '{anchors.name}' must be a constant")
        quantization: dict[str, Argument] = {}
        for name, tensor in (("box", boxes), ("score", scores), ("anchor", anchors)):
            real = tensor.dtype == np.float32
            quantization |= {f"{name}_scale": 1.0 if real else tensor.q.s, f"{name}_zero": 0 if real else tensor.q.z}
        scales = np.array(self.scales, np.float32)
        code.call(
            postprocess_kernel(boxes.dtype.name, scores.dtype.name),
            x=code.input(0),
            scores=code.input(1),
            anchors=code.constant("anchors", anchors.data),
            scales=code.constant("scales", scales, None, "of y, x, height, width"),
            values=code.scratch,
            y_boxes=code.output(0),
            y_classes=code.output(1),
            y_scores=code.output(2),
            y_count=code.output(3),
            boxes=boxes.shape[1],
            coordinates=boxes.shape[2],
            columns=scores.shape[2],
            classes=self.classes,
            detections=self.detections,
            classes_each=self.classes_each,
            detections_each=self._most(node),
            per_class=self.per_class,
            threshold=self.score,
            overlap=self.overlap,
            **quantization,
        )


def _real(x: Array, tensor: Tensor) -> Array:
    """float32 of raw values."""
    if tensor.dtype == np.float32:
        return x
    return np.asarray((x.astype(np.float32) - np.float32(tensor.q.z)) * tensor.q.scale[0])


def _overlap(a: Array, b: Array) -> np.float32:
    """Intersection over union of (top, left, bottom, right), float32."""
    areas = [(r[2] - r[0]) * (r[3] - r[1]) for r in (a, b)]
    if min(areas) <= 0:
        return np.float32(0)
    height = max(min(a[2], b[2]) - max(a[0], b[0]), np.float32(0))
    width = max(min(a[3], b[3]) - max(a[1], b[1]), np.float32(0))
    common = height * width
    return np.float32(common / (areas[0] + areas[1] - common))
