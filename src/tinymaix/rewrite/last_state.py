"""Compute only the last hidden state of a recurrent layer where nothing else of its sequence is read.

PyTorch and ONNX have no layer that returns the last state alone: models slice it out of the sequence.
"""

from __future__ import annotations

from dataclasses import replace

from tinymaix.graph import Graph, Node
from tinymaix.ops.recurrent import Recurrent
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.slice import Slice
from tinymaix.rewrite.readers import read_once


def keep_last_state(graph: Graph) -> Graph:
    """The graph with each recurrent layer, of whose sequence one SLICE takes the step computed last, giving that step.

    No bit of any output changes.
    """
    once = read_once(graph)
    slices = {id(node.input(0)): node for node in graph.nodes if isinstance(node.op, Slice)}
    nodes: list[Node] = []
    done: set[int] = set()
    for node in graph.nodes:
        reader = slices.get(id(node.output))
        if isinstance(node.op, Recurrent) and id(node.output) in once and reader is not None and _is_last(node, reader):
            batch, _, units = node.output.shape
            last = replace(node.output, name=reader.output.name, shape=(batch, units))
            nodes.append(replace(node, op=replace(node.op, sequences=False), outputs=[last]))
            nodes.append(Node(Reshape(reader.output.shape), [last], reader.outputs, reader.name))
            done.add(id(reader))
        elif id(node) not in done:
            nodes.append(node)
    return replace(graph, nodes=nodes)


def _is_last(layer: Node, reader: Node) -> bool:
    assert isinstance(layer.op, Recurrent)
    assert isinstance(reader.op, Slice)
    batch, steps, units = layer.output.shape if layer.op.sequences else (0, 0, 0)
    at = 0 if layer.op.reverse else steps - 1
    return reader.op.begin == (0, at, 0) and reader.output.shape == (batch, 1, units)
