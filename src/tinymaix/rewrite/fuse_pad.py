"""Turn a PAD in front of a convolution into padding of the convolution: one tensor and one pass over it less."""

from __future__ import annotations

from dataclasses import replace

from tinymaix.graph import Graph, Node, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.pad import Pad


def fuse_pad(graph: Graph) -> Graph:
    """The graph without each PAD or PADV2 that only a convolution reads and that pads height and width with zeros.

    No bit of any output changes: a convolution pads with zeros too, which in integer models are zero points.
    """
    pads = {id(node.output): node for node in graph.nodes if isinstance(node.op, Pad)}
    fused: dict[int, Node] = {}  # convolutions that take in a PAD, by id of the node
    for node in graph.nodes:
        pad = pads.get(id(node.present[0])) if node.present else None
        if pad is not None and _fits(graph, pad, node):
            fused[id(node)] = pad
    if not fused:
        return graph
    dropped = {id(pad) for pad in fused.values()}
    nodes = [
        _padded(node, fused[id(node)]) if id(node) in fused else node for node in graph.nodes if id(node) not in dropped
    ]
    return fuse_pad(replace(graph, nodes=nodes))  # there may be another PAD in front of that


def _fits(graph: Graph, pad: Node, node: Node) -> bool:
    if not isinstance(node.op, Conv2D | DepthwiseConv2D) or not isinstance(pad.op, Pad):
        return False
    others = len(graph.consumers(pad.output)) > 1 or any(t is pad.output for t in graph.outputs)
    pads = pad.op.pads
    flat = len(pads) == 4 and pads[0] == pads[3] == (0, 0)
    return not others and flat and not pad.op.problems(pad) and pad.op.fill(pad.output) == _zero(pad.output)


def _zero(tensor: Tensor) -> int:
    return 0 if tensor.dtype.kind == "f" else tensor.q.z


def _padded(node: Node, pad: Node) -> Node:
    assert isinstance(node.op, Conv2D | DepthwiseConv2D)
    assert isinstance(pad.op, Pad)
    (top, bottom), (left, right) = pad.op.pads[1:3]
    own = node.op.padding
    padding = own[0] + top, own[1] + bottom, own[2] + left, own[3] + right
    return replace(node, op=replace(node.op, padding=padding), inputs=[pad.input(0), *node.inputs[1:]])
