"""Let a reduction read and give the shapes on the other side of the views around it.

Keras averages an image to (1, channels) in one layer; PyTorch and ONNX to (1, channels, 1, 1), flattened by another. A
1-D model reduces (1, steps, channels), a view of what its convolutions make. All become one reduction without views.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, Node, Shape, Tensor
from tinymaix.ops.reduction import Reduction
from tinymaix.rewrite.fold import drop_dead
from tinymaix.rewrite.identity import same_quantization
from tinymaix.rewrite.readers import read_once


def fuse_reduced_shape(graph: Graph) -> Graph:
    """The graph without the views before and behind reductions that do no more than add and drop axes of size 1.

    No bit of any output changes. Views that add axes stay in integer models, whose .tmdl has a layer for each.
    """
    once = read_once(graph)
    views = [node for node in graph.nodes if node.op.is_view and not node.input(0).is_constant]
    views = [view for view in views if same_quantization(view.input(0), view.output)]
    makers = {id(view.output): view for view in views}
    readers = {id(view.input(0)): view for view in views if id(view.input(0)) in once}
    nodes: list[Node] = []
    dropped: set[int] = set()  # ids of views behind reductions
    for node in graph.nodes:
        if isinstance(node.op, Reduction):
            before, after = makers.get(id(node.input(0))), readers.get(id(node.output))
            node = _between(node, before.input(0), node.output) or node if before else node
            other = _between(node, node.input(0), after.output) if after and not _kept(after) else None
            if other:
                dropped.add(id(after))
                node = other
        if id(node) not in dropped:
            nodes.append(node)
    return drop_dead(replace(graph, nodes=nodes))


def _kept(view: Node) -> bool:
    return view.output.dtype != np.float32 and len(view.output.shape) > len(view.input(0).shape)


def _between(node: Node, x: Tensor, y: Tensor) -> Node | None:
    """The reduction from a view of the node's input to a view of its output, or None where it says something else."""
    assert isinstance(node.op, Reduction)
    shape = node.input(0).shape
    reduced = node.op.reduced(len(shape))
    places = [axis for axis, size in enumerate(x.shape) if size != 1]
    owners = [axis for axis, size in enumerate(shape) if size != 1]
    if [x.shape[axis] for axis in places] != [shape[axis] for axis in owners]:
        return None
    inner = {place for place, owner in zip(places, owners, strict=True) if owner in reduced}
    if not inner:
        return None
    keep = y.shape == tuple(1 if axis in inner else size for axis, size in enumerate(x.shape))
    axes = sorted(inner) if keep else _dropped(x.shape, inner, y.shape)
    if axes is None:
        return None
    return replace(node, op=replace(node.op, axes=tuple(axes), keep_dims=keep), inputs=[x], outputs=[y])


def _dropped(shape: Shape, inner: set[int], target: Shape) -> list[int] | None:
    """The axes to drop, those of size 1 as needed, so that the target is left; None where nothing leaves that."""
    axes = []
    left = list(target)
    for axis, size in enumerate(shape):
        if axis not in inner and left[:1] == [size]:
            left.pop(0)
        elif axis in inner or size == 1:
            axes.append(axis)
        else:
            return None
    return None if left else axes
