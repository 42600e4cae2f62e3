"""Figures of whole models: areas under curves, precision, accuracy, agreement."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.compare.accuracy import area_under_curve, decibels, scores, shares_right
from tinymaix.compare.boxes import detections_of, load_boxes, mean_average_precision
from tinymaix.graph import Array, Graph, ModelError, Tensor
from tinymaix.quantize.samples import Samples

FLOAT = np.dtype("float32")


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=40))
def test_area_under_curve_counts_pairs(pairs: list[tuple[bool, int]]) -> None:
    labels, values = (np.array(column) for column in zip(*pairs, strict=True))
    ones, zeros = values[labels], values[~labels]
    if not ones.size or not zeros.size:
        return
    won = (ones[:, None] > zeros).sum() + 0.5 * (ones[:, None] == zeros).sum()
    assert area_under_curve(labels.astype(int), values) == pytest.approx(won / (ones.size * zeros.size))


def test_decibels() -> None:
    assert decibels(100, 1) == pytest.approx(20)
    assert decibels(1, 0) == decibels(0, 0) == 200
    assert decibels(0, 1) == -200


def graph_of(inputs: int, outputs: int) -> Graph:
    return Graph([], [Tensor("x", (1, inputs), FLOAT)], [Tensor("y", (1, outputs), FLOAT)])


def named(inputs: int, real: Array, ours: Array, labels: Array | None) -> dict[str, tuple[Any, Any]]:
    data = Samples([[np.zeros((1, inputs), np.float32)] for _ in real], labels, [str(i) for i in range(len(real))])
    found = scores(graph_of(inputs, real.shape[1]), [(real, ours)], data)
    return {score.name: (score.real, score.ours) for score in found}


def test_scores_of_classes() -> None:
    real = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    ours = np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1.0]])
    found = named(4, real, ours, np.array([1, 0, 0]))
    assert found["accuracy"] == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert found["first class is float's"] == (None, pytest.approx(2 / 3))
    assert named(4, real, ours, None).keys() == {"first class is float's"}
    assert named(4, real, ours, np.array([1, 0, 7])).keys() == {"first class is float's"}  # labels of something else


def test_shares_right_of_classes_that_have_samples() -> None:
    ours = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0.0]])
    assert shares_right([(ours, ours)], np.array([1, 0, 0])) == {0: 0.5, 1: 1.0}
    assert shares_right([(ours, ours)], None) == shares_right([(ours, ours)], np.array([0.5, 1, 2])) == {}


def test_scores_of_two_classes_and_of_one_value() -> None:
    real, ours = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]), np.array([[0.9, 0.1], [0.2, 0.8], [0.95, 0.05]])
    assert named(4, real, ours, np.array([0, 1, 1]))["AUC"] == (1.0, 0.5)
    assert named(4, real[:, 1:], ours[:, 1:], np.array([0, 1, 1])) == {"AUC": (1.0, 0.5)}


def test_scores_among_the_best_five() -> None:
    real = np.tile(np.arange(100.0), (2, 1))
    assert named(4, real, -real, np.array([95, 3]))["among the best 5"] == (0.5, 0.5)


def test_scores_of_an_autoencoder() -> None:
    real = np.array([[0.0, 0.1], [2.0, 2.0], [0.1, 0.0]])
    found = named(2, real, real[::-1], np.array([0, 1, 0]))
    assert found["AUC of the reconstruction error"] == (1.0, 1.0)
    assert found["mean square of the reconstruction error"][0] == pytest.approx((0.005 + 4 + 0.005) / 3)


def test_scores_of_targets() -> None:
    real = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = named(5, real, real + 1, np.array([[1.5, 2.0], [3.0, 4.0]]))
    assert found["mean absolute error"] == (0.125, pytest.approx(0.875))


def test_mean_average_precision() -> None:
    truth = [np.array([[0, 0, 0, 0.5, 0.5], [1, 0.5, 0.5, 1, 1]]), np.array([[0, 0, 0, 1, 1]])]
    perfect = [np.column_stack([np.full(len(t), 0.9), t]) for t in truth]
    assert mean_average_precision(perfect, truth) == 1.0
    assert mean_average_precision([np.zeros((0, 6))] * 2, truth) == 0.0
    # class 0: a hit (0.9), a second one on the same box (0.8, a miss), a hit (0.7): precisions 1, 1/2, 2/3
    found = [
        np.array([[0.9, 0, 0, 0, 0.5, 0.5], [0.8, 0, 0, 0, 0.5, 0.45], [0.5, 1, 0, 0, 0.4, 0.4]]),
        np.array([[0.7, 0, 0, 0, 1, 0.9]]),
    ]
    assert mean_average_precision(found, truth) == pytest.approx(((1 + 2 / 3) / 2 + 0) / 2)


EDGES = st.tuples(*[st.integers(0, 3)] * 2, *[st.integers(1, 3)] * 2)


def shares(box: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Intersection over union, by counting cells of (top, left, height, width)."""
    cells = [{(y, x) for y in range(b[0], b[0] + b[2]) for x in range(b[1], b[1] + b[3])} for b in (box, other)]
    return len(cells[0] & cells[1]) / len(cells[0] | cells[1])


def precision_at_recalls(found: list[Any], truth: list[Any], recalls: list[Fraction]) -> float:
    """The mean over recalls of the best precision at such a recall or above: COCO's average precision."""
    free, points, right = [list(boxes) for boxes in truth], [], 0
    for seen, (picture, box) in enumerate(found, 1):
        near = max(free[picture], key=lambda b: shares(box, b), default=None)
        if near is not None and shares(box, near) >= 0.5:
            free[picture].remove(near)
            right += 1
        points.append((Fraction(right, sum(map(len, truth))), right / seen))
    return float(np.mean([max((p for r, p in points if r >= recall), default=0.0) for recall in recalls]))


@given(st.lists(st.lists(EDGES, max_size=3), min_size=1, max_size=3), st.lists(st.tuples(st.integers(0, 2), EDGES)))
def test_mean_average_precision_is_that_of_coco_at_every_recall(truth: list[Any], raw: list[Any]) -> None:
    found = [(picture % len(truth), box) for picture, box in raw]
    if not (count := sum(map(len, truth))):
        return
    there = [np.array([[0, t, x, t + h, x + w] for t, x, h, w in boxes]).reshape(-1, 5) for boxes in truth]
    rows: list[list[list[float]]] = [[] for _ in truth]
    for i, (picture, (t, x, h, w)) in enumerate(found):
        rows[picture].append([1 - i / 1000, 0, t, x, t + h, x + w])
    ours = mean_average_precision([np.array(each).reshape(-1, 6) for each in rows], there)
    assert ours == pytest.approx(precision_at_recalls(found, truth, [Fraction(i, count) for i in range(1, count + 1)]))
    coco = precision_at_recalls(found, truth, [Fraction(i, 100) for i in range(101)])
    assert abs(ours - coco) <= 0.02


def test_detections_of_decoders() -> None:
    rows = np.zeros((1, 1, 3, 6))
    rows[0, 0, 0] = [0.9, 2 / 32768, 0.1, 0.2, 0.3, 0.4]  # as reals of an int16 tensor in fractions of 32768
    assert detections_of([rows])[0].tolist() == [[0.9, 2, 0.1, 0.2, 0.3, 0.4]]
    boxes = np.arange(8.0).reshape(1, 1, 2, 4)
    found = detections_of([boxes, np.array([[[3.0, 4.0]]]), np.array([[[0.5, 0.4]]]), np.array([[1.0]])])
    assert found[0].tolist() == [[0.5, 3, 0, 1, 2, 3]]
    with pytest.raises(ModelError, match="decode them in the model"):
        detections_of([np.zeros((1, 1, 10))])


def test_load_boxes(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("name,class,top,left,bottom,right\na.png,1,0,0,1,1\na.png,0,0,0,.5,.5\nb.png,2,0,0,1,1\n")
    assert {name: boxes.shape for name, boxes in load_boxes(path).items()} == {"a.png": (2, 5), "b.png": (1, 5)}
    path.write_text("a.png,1,0,0,1,1\na.png,1,0,0,1\n")
    with pytest.raises(ModelError, match="row 2 must be name, class"):
        load_boxes(path)
