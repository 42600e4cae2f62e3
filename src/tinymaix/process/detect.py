"""What stands behind a network: its raw outputs decoded to detections, or to the best classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Tensor
from tinymaix.ops.arg_max import ArgMax
from tinymaix.ops.base import Operator
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.detections import ONE, detections_tensor
from tinymaix.ops.fomo import Fomo
from tinymaix.ops.nms import NonMaxSuppression
from tinymaix.ops.ssd_boxes import SsdBoxes
from tinymaix.ops.topk_v2 import TopK
from tinymaix.ops.yolo import Yolo
from tinymaix.process.join import only_input, quantized_outputs

UNITS = ("cells", "pixels", "picture")
Anchors = Sequence[Sequence[float]]


def with_yolo(
    graph: Graph,
    anchors: Anchors | Sequence[Anchors],
    *,
    style: str = "v2",
    unit: str = "",
    threshold: float = 0.5,
    overlap: float = 0.45,
    detections: int = 10,
    candidates: int = 50,
    across: bool = False,
) -> Graph:
    """The graph with detections instead of the heads of a YOLO network, see `tinymaix.ops.detections`.

    Args:
        graph: int8; its outputs are heads (1, height, width, anchors * (5 + classes)). Give it before its camera.
        anchors: (width, height) of each anchor, or a list of them for each output.
        style: "v2" (softmax over classes), "v3" (and v4: sigmoids) or "v5", see `tinymaix.ops.yolo.STYLES`.
        unit: of anchors: "cells" of the head, "pixels" of the model's input, or shares of the "picture"; cells for v2
            and pixels for the others where it is left out.
        threshold, overlap: the least score, and the overlap (intersection over union) above which the worse box goes.
        detections, candidates: rows of the output, and boxes of each head that compete for them.
        across: boxes of different classes compete too.

    Raises:
        ModelError: an output is no such head, or an argument makes no sense; one sentence.
    """
    graph = quantized_outputs(graph)
    unit = unit or ("cells" if style == "v2" else "pixels")
    if unit not in UNITS:
        raise ModelError(f"unit '{unit}' of anchors is none of {', '.join(UNITS)}")
    sets = _anchor_sets(anchors, graph)
    nodes, found = [], []
    for i, (head, pairs) in enumerate(zip(graph.outputs, sets, strict=True)):
        sides = _sides(pairs, unit, head, graph)
        op = Yolo(sides, style, candidates, _share(threshold, "threshold"))
        node = _detector(op, [head], f"candidates{i}", candidates)
        nodes.append(node)
        found.append(node.output)
    return _suppressed(graph, nodes, found, detections, overlap, across)


def with_ssd(
    graph: Graph,
    anchors: Array,
    *,
    background: int = 1,
    order: str = "yxhw",
    variance: tuple[float, float] = (10.0, 5.0),
    logits: bool = False,
    threshold: float = 0.5,
    overlap: float = 0.45,
    detections: int = 10,
    candidates: int = 50,
    across: bool = False,
) -> Graph:
    """The graph with detections instead of an SSD network's offsets (1, boxes, 4) and scores (1, boxes, classes).

    Args:
        anchors: (boxes, 4): centre y, centre x, height and width as shares of the picture.
        background, order, variance, logits: as of `tinymaix.ops.ssd_boxes.SsdBoxes`.
        threshold, overlap, detections, candidates, across: as for `with_yolo`.

    Raises: as `with_yolo`.
    """
    graph = quantized_outputs(graph)
    if len(graph.outputs) != 2:
        raise ModelError(f"the model has {len(graph.outputs)} outputs; SSD has offsets and scores")
    offsets, scores = graph.outputs
    if offsets.shape[-1] != 4 or (scores.shape[-1] == 4 and order != "yxhw"):
        offsets, scores = scores, offsets
    places: Array = np.asarray(anchors, np.float64)
    if places.ndim != 2 or places.shape[1] != 4 or not np.isfinite(places).all():
        raise ModelError(f"anchors are numbers (boxes, 4), not {list(places.shape)}")
    data = np.clip(np.round(places * ONE), -ONE, ONE - 1).astype(np.int16)
    tensor = Tensor("anchors", data.shape, data.dtype, None, data)
    op = SsdBoxes(candidates, _share(threshold, "threshold"), background, order, variance, logits)
    node = _detector(op, [offsets, scores, tensor], "candidates", candidates)
    return _suppressed(graph, [node], [node.output], detections, overlap, across)


def with_fomo(graph: Graph, *, threshold: float = 0.5, detections: int = 10) -> Graph:
    """The graph with detections instead of a map of scores (1, height, width, classes with the background first).

    Raises: as `with_yolo`.
    """
    graph = quantized_outputs(graph)
    op = Fomo(detections, _share(threshold, "threshold"))
    node = _detector(op, [_only_output(graph)], "detections", detections)
    return _behind(graph, [node], [node.output])


def with_top_k(graph: Graph, k: int) -> Graph:
    """The graph with the ``k`` largest of its output's last axis, and their int16 indices, as its two outputs."""
    graph = quantized_outputs(graph)
    scores = _only_output(graph)
    op = TopK(k)
    values, places = op.infer([scores])
    outputs = [replace(scores, name="best", shape=values), Tensor("classes", places, np.dtype(np.int16))]
    return _behind(graph, [Node(op, [scores], outputs, "top_k")], outputs)


def with_arg_max(graph: Graph) -> Graph:
    """The graph with the index of the largest of its output's last axis, int32, as its output."""
    graph = quantized_outputs(graph)
    scores = _only_output(graph)
    op = ArgMax(len(scores.shape) - 1)
    output = Tensor("class", op.infer([scores])[0], np.dtype(np.int32))
    return _behind(graph, [Node(op, [scores], [output], "arg_max")], [output])


def _share(value: float, what: str) -> int:
    """A share of 1 as one of 32768."""
    if not 0 <= value < 1:
        raise ModelError(f"the {what} is a share from 0 to 1, not {value}")
    return round(value * ONE)


def _anchor_sets(anchors: Any, graph: Graph) -> list[list[tuple[float, float]]]:
    """(width, height) of the anchors of each output."""
    try:
        deep = np.ndim(anchors[0][0]) == 1
        sets = [[(float(w), float(h)) for w, h in one] for one in (anchors if deep else [anchors])]
    except (TypeError, ValueError, IndexError):
        raise ModelError("anchors are pairs of width and height, or a list of such lists for each output") from None
    if len(sets) != len(graph.outputs):
        raise ModelError(f"the model has {len(graph.outputs)} outputs, but there are anchors for {len(sets)}")
    return sets


def _sides(pairs: Sequence[tuple[float, float]], unit: str, head: Tensor, graph: Graph) -> tuple[tuple[int, int], ...]:
    """(height, width) of anchors in 32768ths of the picture."""
    whole = (1.0, 1.0)
    if unit != "picture":
        shape = head.shape if unit == "cells" else only_input(graph).shape
        if len(shape) != 4:
            raise ModelError(f"anchors in {unit} need (1, height, width, channels), not {list(shape)}")
        whole = float(shape[1]), float(shape[2])
    return tuple((round(h / whole[0] * ONE), round(w / whole[1] * ONE)) for w, h in pairs)


def _detector(op: Operator, inputs: Sequence[Tensor], name: str, rows: int) -> Node:
    """A node that gives detections. Raises ModelError where its inputs do not fit."""
    op.infer(inputs)
    node = Node(op, list(inputs), [detections_tensor(name, rows)], name)
    if problems := op.problems(node):
        raise ModelError(problems)
    return node


def _suppressed(
    graph: Graph, nodes: list[Node], found: list[Tensor], detections: int, overlap: float, across: bool
) -> Graph:
    """The graph with the best of all candidates that do not overlap."""
    last = found[0]
    if len(found) > 1:
        last = detections_tensor("candidates", sum(tensor.shape[1] for tensor in found))
        nodes = [*nodes, Node(Concatenation(1), list(found), [last], last.name)]
    op = NonMaxSuppression(detections, _share(overlap, "overlap"), across)
    best = _detector(op, [last], "detections", detections)
    return _behind(graph, [*nodes, best], [best.output])


def _only_output(graph: Graph) -> Tensor:
    if len(graph.outputs) != 1:
        raise ModelError(f"the model has {len(graph.outputs)} outputs; this takes one")
    return graph.outputs[0]


def _behind(graph: Graph, nodes: Sequence[Node], outputs: Sequence[Tensor]) -> Graph:
    return Graph([*graph.nodes, *nodes], list(graph.inputs), list(outputs), graph.name, list(graph.notes))
