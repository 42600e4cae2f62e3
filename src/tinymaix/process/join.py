"""Graphs put one behind the other, and windows that slide over what comes in step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Quantization, Shape, Tensor
from tinymaix.ops.audio_features import AudioFeatures
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.dequantize import Dequantize
from tinymaix.ops.image import Image
from tinymaix.ops.quantize import Quantize
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.slice import Slice
from tinymaix.ops.variables import NOTHING, AssignVariable, ReadVariable


def only_input(graph: Graph) -> Tensor:
    """The one input of a graph. Raises ModelError where it has several."""
    if len(graph.inputs) != 1:
        names = ", ".join(f"'{t.name}'" for t in graph.inputs)
        raise ModelError(f"the model has {len(graph.inputs)} inputs ({names}); processing needs a model with one")
    return graph.inputs[0]


def quantized_input(graph: Graph) -> Graph:
    """The graph from behind the QUANTIZE that its one float input goes to; itself where there is none."""
    x = only_input(graph)
    readers = graph.consumers(x)
    if x.dtype != np.float32 or len(readers) != 1 or not isinstance(readers[0].op, Quantize):
        return graph
    if any(tensor is x for tensor in graph.outputs):
        return graph
    nodes = [node for node in graph.nodes if node is not readers[0]]
    return replace(graph, nodes=nodes, inputs=[readers[0].output])


def quantized_outputs(graph: Graph) -> Graph:
    """The graph with what is in front of DEQUANTIZE as its outputs, where there is one."""
    makers = {id(t): node for node in graph.nodes for t in node.outputs if isinstance(node.op, Dequantize)}
    outputs = [makers[id(t)].input(0) if id(t) in makers else t for t in graph.outputs]
    used = {id(t) for node in graph.nodes for t in node.present} | {id(t) for t in outputs}
    nodes = [node for node in graph.nodes if id(node.output) in used or id(node.output) not in makers]
    return replace(graph, nodes=nodes, outputs=outputs)


def network(graph: Graph) -> Graph:
    """The graph without the camera or microphone that a description has put in front of it, which files do not hold;
    itself where there is none."""
    front = [node for node in graph.nodes if isinstance(node.op, Image | AudioFeatures)]
    if len(front) != 1 or front[0].input(0) is not only_input(graph):
        return graph
    nodes = [node for node in graph.nodes if node is not front[0]]
    return replace(graph, nodes=nodes, inputs=[front[0].output])


def prepend(front: Graph, graph: Graph) -> Graph:
    """``front`` and then ``graph``, whose one input the only output of ``front`` becomes.

    Other shapes of as many elements, and other scales, are matched by RESHAPE and QUANTIZE.

    Raises:
        ModelError: the output and the input do not fit.
    """
    target = only_input(graph)
    if len(front.outputs) != 1:
        raise ModelError(f"'{front.name}' has {len(front.outputs)} outputs; the model behind it takes one")
    source = front.outputs[0]
    bridge, last = _bridge(source, target)
    nodes = [*front.nodes, *bridge, *(_renamed(node, target, last) for node in graph.nodes)]
    outputs = [last if tensor is target else tensor for tensor in graph.outputs]
    return Graph(nodes, list(front.inputs), outputs, graph.name, [*front.notes, *graph.notes])


def _bridge(source: Tensor, target: Tensor) -> tuple[list[Node], Tensor]:
    """Nodes from one tensor to one like the other."""
    nodes: list[Node] = []
    last = source
    if source.elements != target.elements:
        raise ModelError(
            f"'{source.name}' {list(source.shape)} has {source.elements} elements, "
            f"but the model takes {list(target.shape)}"
        )
    same_type = source.dtype == target.dtype
    if source.shape != target.shape or (source.quantization is None and same_type):
        quantization = source.quantization or (target.quantization if same_type else None)  # raw values, or real ones
        last = replace(source, name=f"{target.name}_shaped", shape=target.shape, quantization=quantization)
        nodes.append(Node(Reshape(target.shape), [source], [last], last.name))
    if last.dtype != target.dtype or _pair(last) != _pair(target):
        if last.quantization is None or target.quantization is None:
            raise ModelError(
                f"'{source.name}' is {source.dtype} and the model takes {target.dtype}; only quantized "
                "values can be converted to another scale"
            )
        converted = replace(target, name=f"{target.name}_scaled")
        nodes.append(Node(Quantize(), [last], [converted], converted.name))
        last = converted
    return nodes, last


def _pair(tensor: Tensor) -> tuple[float, int] | None:
    q = tensor.quantization
    return None if q is None or tensor.dtype.kind == "f" else (q.s, q.z)


def _renamed(node: Node, old: Tensor, new: Tensor) -> Node:
    inputs = [new if tensor is old else tensor for tensor in node.inputs]
    return Node(node.op, inputs, list(node.outputs), node.name)


def remember(x: Tensor, size: int, axis: int) -> tuple[Tensor, list[Node]]:
    """The last ``size`` elements along ``axis`` of all that came in, ``x`` the newest of them; before the first run
    they were 0, or the zero point.

    Returns:
        the tensor, and the nodes that make it and keep what the next run needs.
    """
    step = x.shape[axis]
    if size == step:
        return x, []
    if size < step:
        return _tail(x, size, axis, f"{x.name}_last")
    kept = _resized(x, axis, size - step)
    start = np.full(kept, x.quantization.z if x.quantization is not None else 0, x.dtype)
    state = replace(x, name=f"{x.name}_before", shape=kept, initial=start)
    before = replace(x, name=f"{x.name}_read", shape=kept)
    whole = replace(x, name=f"{x.name}_window", shape=_resized(x, axis, size))
    newest, cut = _tail(whole, size - step, axis, f"{x.name}_kept")
    nodes = [
        Node(ReadVariable(), [state], [before], before.name),
        Node(Concatenation(axis), [before, x], [whole], whole.name),
        *cut,
        Node(AssignVariable(), [state, newest], [Tensor(f"{state.name}_set", NOTHING, x.dtype)], state.name),
    ]
    return whole, nodes


def _tail(x: Tensor, size: int, axis: int, name: str) -> tuple[Tensor, list[Node]]:
    """The last ``size`` elements along an axis."""
    y = replace(x, name=name, shape=_resized(x, axis, size))
    begin = tuple(x.shape[axis] - size if i == axis else 0 for i in range(len(x.shape)))
    return y, [Node(Slice(begin, y.shape), [x], [y], name)]


def _resized(x: Tensor, axis: int, size: int) -> Shape:
    return (*x.shape[:axis], size, *x.shape[axis + 1 :])


def overlapping(front: Graph, hop: int) -> Graph:
    """The graph that takes the ``hop`` newest of what ``front`` takes along its input's last axis, and remembers the
    rest: what is 0, or the zero point, before the first run.

    Raises:
        ModelError: the input has no such axis, or is not as long.
    """
    target = only_input(front)
    if not target.shape or not 1 <= hop <= target.shape[-1]:
        raise ModelError(f"a hop of {hop} does not fit an input of {list(target.shape)}")
    axis = len(target.shape) - 1
    x = replace(target, name=f"{target.name}_new", shape=_resized(target, axis, hop))
    whole, nodes = remember(x, target.shape[-1], axis)
    return prepend(Graph(nodes, [x], [whole], front.name), front)


def sliding(front: Graph, count: int) -> Graph:
    """The graph whose output holds the last ``count`` outputs of ``front``, as (1, count, elements of one)."""
    if len(front.outputs) != 1:
        raise ModelError(f"'{front.name}' has {len(front.outputs)} outputs; a sliding window needs one")
    output = front.outputs[0]
    row = replace(output, name=f"{output.name}_row", shape=(1, 1, output.elements))
    nodes = [] if output.shape == row.shape else [Node(Reshape(row.shape), [output], [row], row.name)]
    row = row if nodes else output
    whole, more = remember(row, count, 1)
    return Graph([*front.nodes, *nodes, *more], list(front.inputs), [whole], front.name, list(front.notes))


def image_scale() -> Quantization:
    """Of pixels as cameras give them: 0 to 255 for 0 to 1."""
    return Quantization.of(1 / 255)
