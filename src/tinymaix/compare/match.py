"""Which integer layer stands for which float layer: by name where names agree, else by operator and shape in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from tinymaix.graph import Graph, Node, Shape, Tensor

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True)
class Pair:
    """A float layer and the integer layer that computes the same."""

    real: Node
    ours: Node
    index: int
    """Of the integer layer in its graph."""

    weighted: Node
    """The integer layer, or the one behind its reshaping, where that has the weights."""


def match(graph: Graph, integers: Graph) -> list[Pair]:
    """The pairs in the order of the integer graph. Conversions between types stand for no layer."""
    real = [node for node in graph.nodes if node.op.kind not in CONVERSIONS]
    ours = [(i, node) for i, node in enumerate(integers.nodes) if node.op.kind not in CONVERSIONS]
    named = _by_name(real, ours)
    found = named if 2 * len(named) > min(len(real), len(ours)) else _by_order(real, ours)
    return [Pair(a, b, i, _weighted(integers, a, b)) for a, b, i in found]


def _weighted(graph: Graph, real: Node, ours: Node) -> Node:
    """A fully connected layer may be a convolution between two reshapings."""
    while ours.op.is_view and not real.op.is_view and (before := graph.producer(ours.input(0))) is not None:
        ours = before
    return ours


Found = list[tuple[Node, Node, int]]


def _by_name(real: Sequence[Node], ours: Sequence[tuple[int, Node]]) -> Found:
    """Layers whose first outputs have the same name and shape, but for sizes of 1."""
    names = {_named(node): node for node in real}
    both = [(names.get(_named(node)), node, i) for i, node in ours]
    return [(a, node, i) for a, node, i in both if a is not None]


def _named(node: Node) -> tuple[str, Shape]:
    return node.output.name, _sizes(node.output)


def _by_order(real: Sequence[Node], ours: Sequence[tuple[int, Node]]) -> Found:
    """The longest runs of layers with the same operator, or fully connected and convolution, and output shape."""
    first, second = [_key(node) for node in real], [_key(node) for _, node in ours]
    blocks = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
    return [
        (real[block.a + k], ours[block.b + k][1], ours[block.b + k][0]) for block in blocks for k in range(block.size)
    ]


def _key(node: Node) -> tuple[str, tuple[Shape, ...]]:
    kind = "CONV_2D" if node.op.kind == "FULLY_CONNECTED" else node.op.kind
    return kind, tuple(_sizes(t) for t in node.outputs)


def _sizes(tensor: Tensor) -> Shape:
    return tuple(n for n in tensor.shape if n != 1)
