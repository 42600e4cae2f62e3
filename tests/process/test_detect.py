"""Decoded outputs behind networks: heads put together, boxes thinned out, classes ranked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.ops.make import int8
from tests.oracles import check_compiled, one_op, random_inputs
from tinymaix.graph import Array, Graph, ModelError, Node
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.slice import Slice
from tinymaix.process import with_arg_max, with_fomo, with_ssd, with_top_k, with_yolo


def heads(*shapes: tuple[int, int, int]) -> Graph:
    """A network whose outputs are slices of its one input (1, 32, 32, channels)."""
    x, nodes, outputs = int8("x", (1, 32, 32, 24), 0.05, -20), [], []
    for i, (height, width, depth) in enumerate(shapes):
        y = int8(f"y{i}", (1, height, width, depth), 0.05, -20)
        nodes.append(Node(Slice((0, i, i, 0), y.shape), [x], [y], y.name))
        outputs.append(y)
    return Graph(nodes, [x], outputs)


def ssd_network(count: int = 30) -> Graph:
    x, y = int8("x", (1, count, 7), 1 / 256, -128), int8("a", (1, count, 4), 1 / 256, -128)
    scores = int8("b", (1, count, 3), 1 / 256, -128)
    offsets, classes = Node(Slice((0, 0, 0), y.shape), [x], [y]), Node(Slice((0, 0, 4), scores.shape), [x], [scores])
    return Graph([offsets, classes], [x], [scores, y])


def anchors(count: int = 30) -> Array:
    return np.random.default_rng(3).uniform(0.1, 0.8, (count, 4))


def classifier() -> Graph:
    return one_op(Reshape((1, 10)), [int8("x", (10,))], [int8("y", (1, 10))])


def test_units_of_anchors_mean_the_same() -> None:
    graph = heads((4, 8, 8))
    cells = with_yolo(graph, [(2.0, 1.0)], style="v3", unit="cells")
    pixels = with_yolo(graph, [(8.0, 8.0)], style="v3")
    share = with_yolo(graph, [(0.25, 0.25)], style="v3", unit="picture")
    assert cells.nodes[1].op == pixels.nodes[1].op == share.nodes[1].op


def test_several_heads_compete() -> None:
    graph = heads((4, 4, 14), (8, 8, 14))
    sizes = [[(10.0, 12.0), (20.0, 8.0)], [(4.0, 4.0), (6.0, 6.0)]]
    decoded = with_yolo(graph, sizes, style="v5", threshold=0.2, overlap=0.3, detections=12, candidates=20)
    x = random_inputs(graph, 4)
    found = decoded.run(x)[0][0]
    alone = with_yolo(heads((4, 4, 14)), sizes[0], style="v5", threshold=0.2, overlap=0.3).run(x)[0][0]
    assert decoded.outputs[0].shape == (1, 12, 6)
    assert (np.diff(found[:, 0].astype(int)) <= 0).all()
    assert found[0, 0] >= alone[0, 0]
    check_compiled([(decoded, [x])])


def test_ssd_finds_which_output_is_which() -> None:
    graph = ssd_network()
    decoded = with_ssd(graph, anchors(), threshold=0.5, detections=5)
    x = random_inputs(graph, 1)
    swapped = Graph(graph.nodes, graph.inputs, graph.outputs[::-1])
    assert (decoded.run(x)[0] == with_ssd(swapped, anchors(), threshold=0.5, detections=5).run(x)[0]).all()
    assert (decoded.run(x)[0][0, :, 0] > 0).any()
    check_compiled([(decoded, [x])])


def test_classes_are_ranked() -> None:
    x = np.array([3, 9, -5, 9, 0, 1, 2, 8, -128, 127], np.int8)
    values, places = with_top_k(classifier(), 4).run([x])
    assert values.tolist() == [[127, 9, 9, 8]]
    assert places.tolist() == [[9, 1, 3, 7]]
    assert with_arg_max(classifier()).run([x])[0].tolist() == [9]


def test_faces_of_nxp(shared: Path) -> None:
    """A real network with three heads; of noise it finds no certain face, and all there is with no threshold."""
    graph = tinymaix.read(shared / "models" / "zoo" / "nxp__yolo_face_detect.tflite")
    sizes = [[(size, size) for size in row] for row in ((40.0, 60.0, 90.0), (16.0, 24.0, 32.0), (4.0, 6.0, 9.0))]
    decoded = with_yolo(graph, sizes, style="v3", threshold=0.0, detections=10)
    found = decoded.run(random_inputs(graph))[0]
    assert (found[0, :, 0] > 0).all()


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: with_yolo(heads((4, 4, 14)), []), "pairs of width and height"),
        (lambda: with_yolo(heads((4, 4, 14)), [(1.0, 2.0), (3.0,)]), "pairs of width and height"),
        (lambda: with_yolo(heads((4, 4, 14), (8, 8, 14)), [(1.0, 2.0)]), "has 2 outputs, but there are anchors for 1"),
        (lambda: with_yolo(heads((4, 4, 14)), [(1.0, 2.0)], unit="miles"), "unit 'miles'"),
        (lambda: with_yolo(heads((4, 4, 14)), [(1.0, 2.0)], threshold=1.5), "the threshold is a share"),
        (lambda: with_ssd(ssd_network(), anchors(29)), "30 boxes need anchors"),
        (lambda: with_ssd(classifier(), anchors()), "SSD has offsets and scores"),
        (lambda: with_fomo(classifier()), "a map of scores"),
        (lambda: with_top_k(classifier(), 11), "the 11 largest"),
        (lambda: with_arg_max(ssd_network()), "2 outputs; this takes one"),
    ],
)
def test_what_does_not_fit_is_said(build: object, sentence: str) -> None:
    assert callable(build)
    with pytest.raises(ModelError, match=sentence):
        build()
