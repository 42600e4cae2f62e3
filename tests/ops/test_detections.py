"""Decoders of boxes: against floating point and LiteRT, and C against numpy, on the host and on an emulated chip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS
from tests.oracles import check_compiled, expect_same, litert, one_op, random_inputs
from tinymaix.chips import ToolError, find_chip
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph, ModelError, Quantization, Shape, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.detection_postprocess import DetectionPostprocess
from tinymaix.ops.detections import COLUMNS, ONE, detections_tensor
from tinymaix.ops.fomo import Fomo
from tinymaix.ops.nms import NonMaxSuppression
from tinymaix.ops.ssd_boxes import SsdBoxes
from tinymaix.ops.topk_v2 import TopK
from tinymaix.ops.yolo import STYLES, Yolo

ANCHORS = ((9000, 5000), (20000, 16000), (2000, 40000))
POSTPROCESS = DetectionPostprocess(6, 1, 4, 0.3, 0.4, (10.0, 10.0, 5.0, 5.0))


def tensor(name: str, shape: Shape, dtype: str = "int8", scale: float = 0.1, zero: int = 0) -> Tensor:
    return Tensor(name, shape, np.dtype(dtype), None if dtype == "float32" else Quantization.of(scale, zero))


def detector(op: Operator, *inputs: Tensor) -> Graph:
    ((_, rows, _),) = op.infer(inputs)
    graph = one_op(op, inputs, [detections_tensor("found", rows)])
    assert graph.nodes[0].op.problems(graph.nodes[0]) == []
    return graph


def yolo(style: str = "v2", rows: int = 200, threshold: int = 4000) -> Graph:
    return detector(Yolo(ANCHORS, style, rows, threshold), tensor("x", (1, 5, 7, 3 * 8), scale=0.04, zero=-10))


def ssd(order: str = "yxhw", logits: bool = False, rows: int = 60) -> Graph:
    rng = np.random.default_rng(4)
    data = np.concatenate([rng.integers(0, ONE, (60, 2)), rng.integers(500, 20000, (60, 2))], axis=1).astype(np.int16)
    anchors = Tensor("anchors", data.shape, data.dtype, None, data)
    scores = tensor("scores", (1, 60, 4), scale=1 / 30 if logits else 1 / 256, zero=0 if logits else -128)
    op = SsdBoxes(rows, 9000, 1, order, (10.0, 5.0), logits)
    return detector(op, tensor("x", (1, 60, 4), scale=0.1, zero=3), scores, anchors)


def fomo(rows: int = 50) -> Graph:
    return detector(Fomo(rows, 12000), tensor("x", (1, 9, 8, 3), scale=1 / 256, zero=-128))


def suppression(across: bool = False, rows: int = 9) -> Graph:
    return detector(NonMaxSuppression(rows, 10000, across), detections_tensor("x", 40))


def boxes(seed: int, count: int = 40) -> Array:
    rng = np.random.default_rng(seed)
    corner, size = rng.integers(0, 20000, (count, 2)), rng.integers(0, 12000, (count, 2))
    scores, classes = rng.integers(0, 4, count) * 8000, rng.integers(0, 2, count)
    return np.column_stack([scores, classes, corner, corner + size]).astype(np.int16)[None]


def real_yolo(graph: Graph, x: Array, style: str) -> Array:
    """Rows as `Yolo` gives them, in floating point and unsorted."""
    q = graph.inputs[0].q
    _, height, width, _ = x.shape
    values = ((x.astype(np.float64) - q.z) * q.s).reshape(height, width, 3, 8)
    logistic = 1 / (1 + np.exp(-values))
    classes = np.exp(values[..., 5:])
    share = classes / classes.sum(axis=-1, keepdims=True) if style == "v2" else logistic[..., 5:]
    scores = logistic[..., 4] * share.max(axis=-1)
    row, column = np.indices((height, width))[..., None]
    sides = np.array(ANCHORS) / ONE
    if style == "v5":
        centre, stretch = 2 * logistic[..., :2] - 0.5, (2 * logistic[..., 2:4]) ** 2
    else:
        centre, stretch = logistic[..., :2], np.exp(values[..., 2:4])
    y, x_ = (row + centre[..., 1]) / height, (column + centre[..., 0]) / width
    h, w = stretch[..., 1] * sides[:, 0], stretch[..., 0] * sides[:, 1]
    edges = np.clip(np.stack([y - h / 2, x_ - w / 2, y + h / 2, x_ + w / 2], axis=-1), 0, 1)
    rows = np.concatenate([scores[..., None], share.argmax(axis=-1)[..., None], edges], axis=-1)
    return rows.reshape(-1, COLUMNS)


@pytest.mark.parametrize("style", STYLES)
@given(SEEDS)
def test_yolo_is_close_to_floating_point(style: str, seed: int) -> None:
    graph = yolo(style)
    x = random_inputs(graph, seed)
    found = graph.run(x)[0][0].astype(np.float64)
    found = found[found[:, 0] > 0]
    expected = real_yolo(graph, x[0], style)
    assert len(found) == pytest.approx((expected[:, 0] > 4000 / ONE).sum(), abs=2)
    assert (np.diff(found[:, 0]) <= 0).all()
    for row in found:
        close = np.abs(expected - row / [ONE, 1, ONE, ONE, ONE, ONE]) < [2e-3, 0.5, 4e-3, 4e-3, 4e-3, 4e-3]
        assert close.all(axis=1).any(), row


@given(SEEDS, st.sampled_from(["yxhw", "xywh"]), st.booleans())
def test_ssd_is_close_to_floating_point(seed: int, order: str, logits: bool) -> None:
    graph = ssd(order, logits)
    offsets, scores = random_inputs(graph, seed)
    node = graph.nodes[0]
    real = (offsets[0].astype(np.float64) - node.input(0).q.z) * node.input(0).q.s
    y, x, h, w = real.T if order == "yxhw" else real.T[[1, 0, 3, 2]]
    anchors = np.asarray(node.input(2).data) / ONE
    chances = (scores[0].astype(np.float64) - node.input(1).q.z) * node.input(1).q.s
    chances = 1 / (1 + np.exp(-chances)) if logits else chances
    top = chances[:, 1:].max(axis=1)
    cy, cx = anchors[:, 0] + y / 10 * anchors[:, 2], anchors[:, 1] + x / 10 * anchors[:, 3]
    hh, hw = np.exp(h / 5) * anchors[:, 2] / 2, np.exp(w / 5) * anchors[:, 3] / 2
    edges = np.clip(np.column_stack([cy - hh, cx - hw, cy + hh, cx + hw]), 0, 1)
    found = graph.run([offsets, scores])[0][0].astype(np.float64)
    found = found[found[:, 0] > 0] / ONE
    assert len(found) == pytest.approx((top > 9000 / ONE).sum(), abs=1)
    for row in found:
        near = np.abs(np.column_stack([top, edges]) - row[[0, 2, 3, 4, 5]]).max(axis=1)
        assert near.min() < 4e-3


@given(SEEDS, st.booleans())
def test_suppression_keeps_what_overlaps_no_better_one(seed: int, across: bool) -> None:
    x = boxes(seed)
    found = suppression(across, 40).run([x])[0][0].astype(np.int64)
    found = found[found[:, 0] > 0]

    def overlap(a: Array, b: Array) -> float:
        if a[1] != b[1] and not across:
            return 0.0
        common = np.prod(np.maximum(np.minimum(a[4:], b[4:]) - np.maximum(a[2:4], b[2:4]), 0))
        total = np.prod(a[4:] - a[2:4]) + np.prod(b[4:] - b[2:4]) - common
        return float(common / total) if total else 0.0

    limit = 10000 / ONE
    for i, row in enumerate(found):
        assert all(overlap(row, other) <= limit for other in found[:i])
    for row in x[0][x[0][:, 0] > 0].astype(np.int64):
        better = found[found[:, 0] >= row[0]]
        assert any((row == other).all() or overlap(row, other) > limit for other in better)


def test_fomo_puts_cells_together() -> None:
    x = np.full((1, 9, 8, 3), -128, np.int8)
    x[..., 0] = 100
    for row, column, kind, score in [(1, 1, 1, 120), (2, 2, 1, 127), (2, 3, 1, 110), (7, 7, 2, 125), (6, 0, 1, 105)]:
        x[0, row, column, kind] = score
    found = fomo().run([x])[0][0].tolist()
    share = [round((v + 128) * ONE / 256) for v in (127, 125, 105)]
    assert found[:3] == [
        [share[0], 0, ONE // 9, ONE // 8, 3 * ONE // 9, 4 * ONE // 8],
        [share[1], 1, 7 * ONE // 9, 7 * ONE // 8, 8 * ONE // 9, ONE - 1],
        [share[2], 0, 6 * ONE // 9, 0, 7 * ONE // 9, ONE // 8],
    ]
    assert not any(map(any, found[3:]))


def postprocess(op: DetectionPostprocess, dtype: str = "uint8", count: int = 40, background: int = 1) -> Graph:
    rng = np.random.default_rng(8)
    zero = 128 if dtype == "uint8" else 0
    x = tensor("x", (1, count, 4), dtype, 0.08, zero)
    scores = tensor("scores", (1, count, op.classes + background), dtype, 1 / 256, 0 if dtype == "uint8" else -128)
    anchors = tensor("anchors", (count, 4), dtype, 1 / 200, 0)
    if dtype == "float32":
        anchors.data = rng.uniform(0.05, 0.9, (count, 4)).astype(np.float32)
    else:
        anchors.data = rng.integers(5, 127, (count, 4)).astype(dtype)
    outputs = [tensor(f"y{i}", shape, "float32") for i, shape in enumerate(op.infer([x, scores, anchors]))]
    graph = one_op(op, [x, scores, anchors], outputs)
    assert op.problems(graph.nodes[0]) == []
    return graph


WAYS = [
    POSTPROCESS,
    replace(POSTPROCESS, classes_each=2),
    replace(POSTPROCESS, per_class=True, detections_each=3),
    replace(POSTPROCESS, per_class=True, detections=30),
]


def different_scores(graph: Graph, seed: int) -> list[Array]:
    """Inputs; the scores are all different, since LiteRT's partial sort leaves the order of equal ones open."""
    rng = np.random.default_rng(seed)
    x, scores = random_inputs(graph, seed)
    if scores.dtype == np.float32:
        return [x, np.abs(scores)]
    low = int(np.iinfo(scores.dtype).min)
    return [x, (rng.permutation(256)[: scores.size].reshape(scores.shape) + low).astype(scores.dtype)]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_postprocess_is_that_of_litert(way: int, dtype: str) -> None:
    graph = postprocess(WAYS[way], dtype)
    for seed in range(4):
        inputs = different_scores(graph, seed)
        found, expected = graph.run(inputs), litert(graph, inputs)
        count = int(expected[3][0]) * (1 if WAYS[way].per_class else WAYS[way].classes_each)
        expect_same([found[3]], [expected[3]], "number of detections")
        for a, b in zip(found[:3], expected[:3], strict=True):
            expect_same([a[:, :count]], [b[:, :count]], f"{WAYS[way]}", 1e-6)


def test_postprocess_without_background() -> None:
    graph = postprocess(POSTPROCESS, background=0)
    inputs = different_scores(graph, 1)
    expect_same(graph.run(inputs), litert(graph, inputs), "no background", 1e-6)


@given(SEEDS, st.integers(1, 7), st.sampled_from(["int8", "int32", "float32"]))
def test_top_k_is_that_of_litert(seed: int, k: int, dtype: str) -> None:
    x = tensor("x", (2, 7), dtype)
    graph = one_op(TopK(k), [x], [replace(x, name="v", shape=(2, k)), Tensor("i", (2, k), np.dtype(np.int32))])
    inputs = [np.random.default_rng(seed).integers(-3, 4, (2, 7)).astype(dtype)]
    expect_same(graph.run(inputs), litert(graph, inputs), f"the {k} largest")


def cases() -> dict[str, tuple[Graph, list[list[Array]]]]:
    graphs = {f"YOLO {style}": yolo(style, 12) for style in STYLES}
    graphs |= {"SSD": ssd(rows=10), "SSD logits": ssd("xywh", True, 70), "FOMO": fomo(), "FOMO few": fomo(2)}
    found = {name: (graph, [random_inputs(graph, seed) for seed in range(2)]) for name, graph in graphs.items()}
    for across in (False, True):
        found[f"NMS {across}"] = suppression(across), [[boxes(seed)] for seed in range(3)]
    for i, way in enumerate(WAYS):
        for dtype in ("uint8", "int8", "float32"):
            graph = postprocess(way, dtype)
            found[f"postprocess {i} {dtype}"] = graph, [different_scores(graph, seed) for seed in range(2)]
    for index in ("int32", "int16"):
        x = tensor("x", (3, 7))
        outputs = [tensor("v", (3, 4)), Tensor("i", (3, 4), np.dtype(index))]
        graph = one_op(TopK(4), [x], outputs)
        found[f"top k {index}"] = graph, [[np.random.default_rng(1).integers(-3, 4, (3, 7)).astype(np.int8)]]
    return found


CASES = cases()


def test_compiled() -> None:
    check_compiled(list(CASES.values()))


@pytest.mark.parametrize("name", ["YOLO v2", "SSD", "FOMO", "NMS False", "postprocess 2 uint8", "top k int16"])
def test_on_a_chip(name: str) -> None:
    graph, sequence = CASES[name]
    try:
        deployment = Deployment(graph, find_chip("cortex-m4"))
    except ToolError as error:
        pytest.skip(str(error))
    expect_same(deployment.run(sequence[0])[0], graph.run(sequence[0]), name)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ModelError, match="a YOLO head of 3 anchors"):
        Yolo(ANCHORS, "v2", 5, 0).infer([tensor("x", (1, 5, 7, 25))])
    with pytest.raises(ModelError, match="'v9' is no style of YOLO"):
        Yolo(ANCHORS, "v9", 5, 0).infer([tensor("x", (1, 5, 7, 24))])
    with pytest.raises(ModelError, match="2 to 128 classes"):
        Fomo(5, 0).infer([tensor("x", (1, 5, 7, 1))])
    with pytest.raises(ModelError, match="0 detections"):
        Fomo(0, 0).infer([tensor("x", (1, 5, 7, 3))])
    with pytest.raises(ModelError, match="the 8 largest"):
        TopK(8).infer([tensor("x", (1, 7))])
    with pytest.raises(ModelError, match="need as many scores"):
        replace(POSTPROCESS, classes=9).infer(postprocess(POSTPROCESS).nodes[0].inputs)
    graph = one_op(Fomo(5, 0), [tensor("x", (1, 5, 7, 3), "float32")], [detections_tensor("y", 5)])
    assert "quantize the model first" in graph.nodes[0].op.problems(graph.nodes[0])[0]
