"""Detections against the boxes that are there: mean average precision."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinymaix.graph import Array, ModelError
from tinymaix.quantize.samples_source import read_file

OVERLAP = 0.5
"""Intersection over union from which a detection has found a box."""


def load_boxes(path: Path) -> dict[str, Array]:
    """By name of sample the boxes that are there: rows of class, top, left, bottom, right, from a .csv with rows of
    name, class, top, left, bottom, right; edges are shares of the picture, as the decoders give them.

    Raises:
        ModelError: a row is no box.
        OSError: the file cannot be read.
    """
    found: dict[str, list[list[float]]] = {}
    try:
        rows = list(csv.reader(read_file(path).decode("utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"{path} is no .csv with boxes ({error})") from None
    for i, row in enumerate(rows):
        try:
            numbers = [float(cell) for cell in row[1:]]
        except ValueError:
            numbers = []
        if len(numbers) == 5 and np.isfinite(numbers).all():
            found.setdefault(row[0], []).append(numbers)
        elif row and i:  # the first may be a header
            raise ModelError(f"{path}: row {i + 1} must be name, class, top, left, bottom, right")
    return {name: np.array(boxes) for name, boxes in found.items()}


def detections_of(outputs: Sequence[Array]) -> list[Array]:
    """For each sample rows of score, class, top, left, bottom, right, from a decoder's outputs: detections in one
    tensor, or the boxes, classes, scores and number of TFLite_Detection_PostProcess.

    Raises:
        ModelError: the outputs are none of these.
    """
    if len(outputs) == 1 and outputs[0].shape[-1] == 6 and outputs[0].ndim == 4:
        # the class is a whole number beside fractions of 32768, so that its real value is too small by that
        rows = outputs[0][:, 0] * np.array([1, 32768, 1, 1, 1, 1])
        return [each[each[:, 0] > 0] for each in rows]
    if len(outputs) == 4 and outputs[0].shape[-1] == 4:
        boxes, classes, values, counts = outputs
        joined = np.concatenate([values[:, 0, :, None], classes[:, 0, :, None], boxes[:, 0]], 2)
        return [each[: int(count)] for each, count in zip(joined, counts.reshape(-1), strict=True)]
    shapes = ", ".join(str(list(array.shape[1:])) for array in outputs)
    raise ModelError(f"boxes are compared with detections, but the outputs are {shapes}; decode them in the model")


def mean_average_precision(found: Sequence[Array], truth: Sequence[Array], overlap: float = OVERLAP) -> float:
    """Mean over the classes of the area under precision against recall, as PASCAL VOC has it since 2010; a detection
    finds the box that it overlaps most of those not found yet, as in COCO.

    Args:
        found: for each picture rows of score, class, top, left, bottom, right.
        truth: for each picture rows of class, top, left, bottom, right.
    """
    classes = sorted({int(c) for boxes in truth for c in boxes[:, 0]})
    return float(np.mean([_average_precision(found, truth, c, overlap) for c in classes])) if classes else 0.0


def _average_precision(found: Sequence[Array], truth: Sequence[Array], kind: int, overlap: float) -> float:
    """Of one class: detections of all pictures, the surest first; each box is found once."""
    there = [boxes[boxes[:, 0] == kind][:, 1:] for boxes in truth]
    rows = [(row[0], i, row[2:]) for i, each in enumerate(found) for row in each if int(row[1]) == kind]
    rows.sort(key=lambda row: -row[0])
    taken = [np.zeros(len(boxes), bool) for boxes in there]
    hits = []
    for _, picture, box in rows:
        shares = np.where(taken[picture], 0.0, _overlaps(box, there[picture]))
        best = int(shares.argmax()) if shares.size else -1
        hits.append(best >= 0 and shares[best] >= overlap)
        if hits[-1]:
            taken[picture][best] = True
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[np.array(hits, bool)].sum() / sum(map(len, there)))


def _overlaps(box: Array, boxes: Array) -> Array:
    """Intersection over union of a box with each of several: top, left, bottom, right."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return np.asarray(both / np.maximum(areas - both, 1e-12))
