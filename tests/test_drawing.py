"""The picture of a graph is well-formed, holds every layer, and its boxes do not overlap."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.graphs import FLOAT, INT8, classifier_graph, conv_graph
from tests.tmdl_graphs import Chain, residual
from tinymaix.cli import main
from tinymaix.drawing import html, svg, write_drawing
from tinymaix.graph import Graph
from tinymaix.ops.add import Add
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.relu import Relu

SVG = "{http://www.w3.org/2000/svg}"


def branches() -> Graph:
    """Edges over many rows, and a row with several boxes."""
    chain = Chain(False, (1, 4))
    first = chain.apply(Relu())
    ends = [chain.apply(Relu(), [first]) for _ in range(5)]
    last = chain.apply(Concatenation(1), [*ends, chain.input])
    for _ in range(4):
        chain.apply(Relu())
    chain.apply(Add(), [chain.end, last])
    return chain.graph()


@pytest.mark.parametrize(
    "graph", [classifier_graph(), conv_graph(INT8), conv_graph(FLOAT), residual(True, blocks=3), branches()]
)
def test_every_layer_has_its_own_place(graph: Graph) -> None:
    root = ElementTree.fromstring(svg(graph))
    boxes = [
        tuple(float(rect.attrib[key]) for key in ("x", "y", "width", "height")) for rect in root.iter(f"{SVG}rect")
    ]
    assert len(boxes) == len(graph.nodes) + len(graph.inputs) + len(graph.outputs)
    for i, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, _, _ in boxes[:i]:
            assert abs(x - other_x) >= width or abs(y - other_y) >= height
    left, top, width, height = (float(v) for v in root.attrib["viewBox"].split())
    assert all(left <= x and x + w <= left + width and top <= y and y + h <= top + height for x, y, w, h in boxes)
    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert all(node.op.kind[:10] in texts for node in graph.nodes)


def test_names_cannot_leave_their_place() -> None:
    graph = classifier_graph()
    graph.name = graph.nodes[0].name = "</title><script>alert(1)</script>\x01&"
    for text in (svg(graph), html(graph)):
        assert "<script" not in text
        assert "\x01" not in text
    ElementTree.fromstring(svg(graph))


def test_page(tmp_path: Path) -> None:
    graph = conv_graph(FLOAT)
    write_drawing(graph, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert f"{graph.macs:,} MACs" in page
    assert not re.search(r'(src|href)="', page)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Path(__file__).parents[1] / "src/tinymaix/data/mnist_demo.tflite"
    assert main(["inspect", str(model), "--graph", str(tmp_path / "m.svg")]) == 0
    ElementTree.parse(tmp_path / "m.svg")
    assert main(["inspect", str(model), "--graph", str(tmp_path / "m.png")]) == 2
    assert "drawn as .svg or .html" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["m.svg"]
