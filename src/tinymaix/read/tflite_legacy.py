"""Operators as older or half-quantizing converters write them, rewritten to what operators compute here.

- Hybrid layers (float activations, int8 weights, "dynamic range quantization"): the weights become floats.
- uint8 activations: int8 with a zero point that is lower by 128, where that gives the same bits; the inputs and outputs
  of the model keep their type. An operator with its own meaning of uint8 is computed on uint8.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Graph, Node, Quantization, Tensor
from tinymaix.ops.asymmetric import asymmetric
from tinymaix.ops.move import Move
from tinymaix.ops.quantize import Quantize

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
HYBRID = (*WEIGHTED, "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BATCH_MATMUL")
"""Kinds whose float form may have integer weights in a file."""
SHIFTABLE = (
    *WEIGHTED, "ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "MAX_POOL_2D", "SOFTMAX", "RELU", "RELU6", "QUANTIZE",
    "DEQUANTIZE", "HARD_SWISH", "ARG_MAX", "ARG_MIN", "LEAKY_RELU",
)  # fmt: skip
"""Kinds whose reference kernels give for uint8 what they give for int8 with all values less 128."""


def modernize(graph: Graph) -> None:
    """Rewrite the graph's nodes in place."""
    _dequantize_weights(graph)
    legacy = [n for n in graph.nodes if n.op.kind in SHIFTABLE and any(map(_is_uint8, (*n.present, *n.outputs)))]
    if any(not isinstance(node.op, Quantize) for node in legacy):
        _Shift(graph).run()


def _dequantize_weights(graph: Graph) -> None:
    floats: dict[int, Tensor] = {}
    for node in graph.nodes:
        if node.op.kind not in HYBRID or node.output.dtype != np.float32:
            continue
        for i, weights in enumerate(node.inputs):
            if weights is None or weights.data is None or weights.dtype.itemsize > 1 or weights.quantization is None:
                continue
            if id(weights) not in floats:
                real = _real(weights)
                floats[id(weights)] = replace(weights, dtype=real.dtype, quantization=None, data=real, is_int4=False)
            node.inputs[i] = floats[id(weights)]
    if floats:
        graph.notes.append(
            f"{len(floats)} weights are stored as integers (dynamic range quantization) and computed as floats; "
            "quantize the whole model for smaller and faster code"
        )


def _real(weights: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """scale * (q - zero_point) in float32."""
    assert weights.data is not None
    q = weights.q
    along = [1] * len(weights.shape)
    if q.per_channel:
        along[q.axis] = -1
    raw = weights.data.astype(np.int64) - q.zero_point.reshape(along)
    return np.asarray(q.scale.reshape(along) * raw.astype(np.float32), np.float32)


class _Shift:
    """Every quantized uint8 tensor of a graph as int8, with QUANTIZE nodes where uint8 stays."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.twins: dict[int, Tensor] = {}  # int8, by id of the uint8 tensor
        self.nodes: list[Node] = []

    def run(self) -> None:
        inputs = {id(t) for t in self.graph.inputs if _is_uint8(t)}
        for tensor in self.graph.inputs:
            if id(tensor) in inputs:
                self._convert(tensor, self._twin(tensor))
        for node in self.graph.nodes:
            if self._keeps_uint8(node):
                self._around(node)
                continue
            node.inputs = [self._twin(t) if t is not None and _is_uint8(t) else t for t in node.inputs]
            node.outputs = [self._twin(t) if _is_uint8(t) else t for t in node.outputs]
            weights = node.optional(1)
            if node.op.kind in WEIGHTED and weights is not None and weights.q.zero_point.any():
                node.op = asymmetric(node).op
            self.nodes.append(node)
        for tensor in self.graph.outputs:
            if id(tensor) in self.twins and id(tensor) not in inputs:
                self._convert(self.twins[id(tensor)], tensor)
        self.graph.nodes[:] = self.nodes

    def _keeps_uint8(self, node: Node) -> bool:
        """Whether the operator must see uint8: it has a meaning of its own for it, or none that is known."""
        return node.op.kind not in SHIFTABLE and not isinstance(node.op, Move)

    def _around(self, node: Node) -> None:
        """The node on uint8 with conversions before and behind it."""
        for i, tensor in enumerate(node.inputs):
            if tensor is not None and id(tensor) in self.twins and not tensor.is_constant:
                copy = replace(tensor, name=f"{tensor.name}_uint8")
                self._convert(self.twins[id(tensor)], copy)
                node.inputs[i] = copy
        made = [t for t in node.outputs if _is_uint8(t)]
        copies = {id(t): replace(t, name=f"{t.name}_uint8") for t in made}
        node.outputs = [copies.get(id(t), t) for t in node.outputs]
        self.nodes.append(node)
        for tensor in made:
            self._convert(copies[id(tensor)], self._twin(tensor))

    def _convert(self, source: Tensor, target: Tensor) -> None:
        self.nodes.append(Node(Quantize(), [source], [target], target.name))

    def _twin(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self.twins:
            q = tensor.q
            data = None if tensor.data is None else (tensor.data ^ 0x80).view(np.int8)
            lower = Quantization(q.scale, q.zero_point - 128, q.axis)
            self.twins[id(tensor)] = Tensor(f"{tensor.name}_int8", tensor.shape, np.dtype(np.int8), lower, data)
        return self.twins[id(tensor)]


def _is_uint8(tensor: Tensor) -> bool:
    return tensor.dtype == np.uint8 and tensor.quantization is not None
