"""Make integer layers of float layers that stand between QUANTIZE and DEQUANTIZE (QDQ in ONNX, PT2E in PyTorch).

A tensor that is quantized and at once dequantized has a scale and zero point: the pair is a remark, not work. Operators
that only move elements, and activations, hand the remark on. An operator whose computed inputs and outputs all have one
computes with integers; for others the values are converted at the edge. Integer arithmetic is that of TFLite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinymaix.graph import Array, Graph, Node, Quantization, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.move import Move
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.ops.pooling import Pool2D
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.read.channels_first import Builder

INT32 = np.iinfo(np.int32)
WEIGHTED = (Conv2D, DepthwiseConv2D, FullyConnected, TransposeConv)
CLAMPS = {"RELU": "relu", "RELU6": "relu6", "RELU_N1_TO_1": "relu_n1_to_1"}
"""Operators that a layer before them can do itself, and what it calls them."""
SHARED = ("MAXIMUM", "MINIMUM")  # compare raw values
FIXED: dict[str, tuple[float, int]] = {
    "LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0), "LOG_SOFTMAX": (16 / 256, 127),
}  # fmt: skip
"""The int8 output (scale, zero point) that an operator always has."""


def to_integers(builder: Builder, outputs: Sequence[Tensor]) -> Graph:
    """The builder's graph, with integer layers where it says how its tensors are quantized."""
    graph = builder.graph(outputs)
    if not any(node.op.kind in ("QUANTIZE", "DEQUANTIZE") for node in graph.nodes):
        return graph
    return _Integers(graph, builder.stored).run()


@dataclass
class _Integers:
    graph: Graph
    stored: dict[int, Tensor]  # integers behind float constants, by id of the constant
    scales: dict[int, Quantization] = field(default_factory=dict)  # by id of the tensor
    alias: dict[int, Tensor] = field(default_factory=dict)  # a tensor that another one is, by id
    whole: dict[int, Tensor] = field(default_factory=dict)  # tensor in integers, by id of the tensor of the graph
    real: dict[int, Tensor] = field(default_factory=dict)  # tensor in floats, likewise
    nodes: list[Node] = field(default_factory=list)
    floats: list[str] = field(default_factory=list)  # operators that stay as they are
    makers: dict[int, Node] = field(default_factory=dict)  # by id of the tensor
    readers: dict[int, int] = field(default_factory=dict)  # by id of the tensor; the graph's outputs count

    def run(self) -> Graph:
        nodes = self._remarks()
        for tensor in (*(t for node in nodes for t in node.present), *map(self._origin, self.graph.outputs)):
            self.readers[id(tensor)] = self.readers.get(id(tensor), 0) + 1
        self.makers = {id(t): node for node in nodes for t in node.outputs}
        for _ in range(2):  # a remark may go down through a move and up again through another
            self._hand_on(nodes)
        inputs = [self._given(t) for t in self.graph.inputs]
        for node in nodes:
            if not self._fused(node) and not self._integer(node):
                self._float(node)
        outputs = [self._output(t) for t in self.graph.outputs]
        notes = [*self.graph.notes, *self._notes(inputs)]
        return replace(self.graph, nodes=self.nodes, inputs=inputs, outputs=outputs, notes=notes)

    def _remarks(self) -> list[Node]:
        """The nodes without QUANTIZE and DEQUANTIZE, whose scales are noted."""
        nodes = []
        for node in self.graph.nodes:
            node = replace(node, inputs=[t if t is None else self._origin(t) for t in node.inputs])
            if node.op.kind == "QUANTIZE":
                x, q = node.input(0), node.output.q
                if self.scales.setdefault(id(x), q) is q or _equal(self.scales[id(x)], q):
                    self.alias[id(node.output)] = x
                    continue
                self.scales[id(node.output)] = q  # two scales for one tensor: requantized in between
            elif node.op.kind == "DEQUANTIZE":
                x = node.input(0)
                if x.dtype != np.float32:
                    self.scales[id(x)] = x.q
                self.alias[id(node.output)] = x
                continue
            nodes.append(node)
        return nodes

    def _origin(self, tensor: Tensor) -> Tensor:
        while id(tensor) in self.alias:
            tensor = self.alias[id(tensor)]
        return tensor

    def _hand_on(self, nodes: list[Node]) -> None:
        """Give a scale to what is only moved or clamped between a tensor that has one and one that has none."""
        for node in nodes:
            q = self.scales.get(id(node.present[0]))
            if q is not None and _moves(node):
                for tensor in node.outputs:
                    self.scales.setdefault(id(tensor), q)
        for node in reversed(nodes):
            q = self.scales.get(id(node.output))
            if q is not None and (_moves(node) or node.op.kind in CLAMPS):
                for tensor in node.activations:
                    if self.readers[id(tensor)] == 1:
                        self.scales.setdefault(id(tensor), q)

    def _given(self, tensor: Tensor) -> Tensor:
        """An input of the graph in integers, where it has a scale."""
        q = self.scales.get(id(tensor))
        if q is None:
            self.real[id(tensor)] = tensor
            return tensor
        made = self.whole[id(tensor)] = Tensor(tensor.name, tensor.shape, _integer_type(tensor), q)
        return made

    def _fused(self, node: Node) -> bool:
        """Let the layer before a clamp do it, where both have one scale: between them there may be moves."""
        x, target = node.present[0], self.scales.get(id(node.output))
        if node.op.kind not in CLAMPS or target is None:
            return False
        layer = x
        while True:
            maker = self.makers.get(id(layer))
            q = self.scales.get(id(layer))
            if maker is None or q is None or not _equal(q, target) or self.readers[id(layer)] > 1:
                return False
            if maker.op.kind not in ("TRANSPOSE", "RESHAPE"):
                break
            layer = maker.input(0)
        at = next((i for i, made in enumerate(self.nodes) if made.output is self.whole.get(id(layer))), None)
        if at is None or getattr(self.nodes[at].op, "activation", None) != "none":
            return False
        op: Any = self.nodes[at].op
        self.nodes[at] = replace(self.nodes[at], op=replace(op, activation=CLAMPS[node.op.kind]))
        self.whole[id(node.output)] = self.whole[id(x)]
        return True

    def _integer(self, node: Node) -> bool:
        """Add the node in integers, with a QUANTIZE where its rules ask for other scales; False where it cannot be."""
        if any(id(t) not in self.scales for t in (*node.activations, *node.outputs) if t.dtype != np.int32):
            return False
        targets = [self.scales.get(id(t)) for t in node.outputs]
        made = [
            Tensor(t.name, t.shape, t.dtype if q is None else np.dtype(np.int8), self._rule(node, q))
            for t, q in zip(node.outputs, targets, strict=True)
        ]
        before = len(self.nodes)
        inputs = [None if t is None else self._operand(node, i, t, made[0]) for i, t in enumerate(node.inputs)]
        op = node.op
        if isinstance(op, PadV2) and made[0].quantization is not None:
            op = replace(op, value=int(quantized(np.asarray(op.value), made[0].quantization)))
        candidate = Node(op, inputs, made, node.name)
        if any(new is None for new, old in zip(inputs, node.inputs, strict=True) if old is not None):
            del self.nodes[before:]
            return False
        if candidate.op.problems(candidate):
            del self.nodes[before:]
            return False
        self.nodes.append(candidate)
        for tensor, q, new in zip(node.outputs, targets, made, strict=True):
            self.whole[id(tensor)] = new if q is None or _equal(q, new.quantization) else self._requantized(new, q)
        return True

    def _rule(self, node: Node, q: Quantization | None) -> Quantization | None:
        """The quantization of an integer output: the operator's own, its input's, or what the model says."""
        if q is None:
            return None
        if node.op.kind in FIXED:
            return Quantization.of(*FIXED[node.op.kind])
        if isinstance(node.op, Pool2D) or (isinstance(node.op, Move) and node.op.kind != "CONCATENATION"):
            return self.scales.get(id(node.present[0]), q)
        return q

    def _operand(self, node: Node, index: int, tensor: Tensor, output: Tensor) -> Tensor | None:
        """Input ``index`` in integers."""
        if isinstance(node.op, WEIGHTED) and index > 0:
            return self._weights(node, index, tensor)
        if tensor.dtype != np.float32 and tensor.data is not None:
            return tensor
        if tensor.data is not None:
            q = output.quantization if node.op.kind in (*SHARED, "CONCATENATION") else None
            return self._quantized_constant(tensor, q)
        whole = self._whole(tensor)
        if node.op.kind in (*SHARED, "CONCATENATION") and output.quantization is not None:
            return whole if _equal(whole.q, output.quantization) else self._requantized(whole, output.quantization)
        return whole

    def _weights(self, node: Node, index: int, tensor: Tensor) -> Tensor | None:
        """Weights as the file has them in integers; a bias of scale x times scale w."""
        weights = self.stored.get(id(node.input(1)))
        if weights is None or weights.dtype != np.int8:
            return None
        if index == 1:
            return weights
        if tensor.data is None:
            return None
        scale = np.float64(self.scales[id(node.input(0))].s) * weights.q.scale.astype(np.float64)
        integers = self.stored.get(id(tensor))
        if integers is not None and integers.data is not None and np.allclose(integers.q.scale, scale, rtol=1e-6):
            return replace(integers, quantization=Quantization.of(scale))
        data = np.clip(np.rint(tensor.data.reshape(-1) / scale), INT32.min, INT32.max).astype(np.int32)
        return Tensor(tensor.name, data.shape, data.dtype, Quantization.of(scale), data)

    def _quantized_constant(self, tensor: Tensor, q: Quantization | None) -> Tensor:
        """A constant operand: as the file has it in integers, else symmetric with the scale that its range needs."""
        stored = self.stored.get(id(tensor))
        if q is None and stored is not None and stored.dtype == np.int8 and not stored.q.per_channel:
            return stored
        assert tensor.data is not None
        q = q or Quantization.of(max(float(np.abs(tensor.data).max(initial=0)), 1e-9) / 127)
        return Tensor(tensor.name, tensor.shape, np.dtype(np.int8), q, quantized(tensor.data, q))

    def _float(self, node: Node) -> None:
        """Add the node as it is, on floats."""
        if node.op.kind == "QUANTIZE":
            q = self.scales[id(node.output)]
            self.whole[id(node.output)] = self._requantized(self._whole(node.input(0)), q)
            return
        inputs = [t if t is None or t.data is not None else self._real(t) for t in node.inputs]
        self.nodes.append(replace(node, inputs=inputs))
        self.floats.append(f"{node.op.kind} '{node.name}'" if not isinstance(node.op, Move) else "")
        for tensor in node.outputs:
            self.real[id(tensor)] = tensor

    def _whole(self, tensor: Tensor) -> Tensor:
        """A computed tensor in integers."""
        if id(tensor) not in self.whole and tensor.dtype == np.float32:
            made = Tensor(tensor.name, tensor.shape, np.dtype(np.int8), self.scales[id(tensor)])
            self._add("QUANTIZE", self.real[id(tensor)], made)
            self.whole[id(tensor)] = made
        return self.whole.get(id(tensor), tensor)

    def _real(self, tensor: Tensor) -> Tensor:
        """A computed tensor in floats."""
        if id(tensor) in self.real or id(tensor) not in self.whole:
            return self.real.get(id(tensor), tensor)
        made = Tensor(tensor.name, tensor.shape, np.dtype(np.float32))
        self._add("DEQUANTIZE", self.whole[id(tensor)], made)
        self.real[id(tensor)] = made
        return made

    def _requantized(self, tensor: Tensor, q: Quantization) -> Tensor:
        made = Tensor(tensor.name, tensor.shape, tensor.dtype, q)
        self._add("QUANTIZE", tensor, made)
        return made

    def _add(self, kind: str, x: Tensor, y: Tensor) -> None:
        operator: Any = OPERATORS[kind]
        self.nodes.append(Node(operator(), [x], [y], y.name))

    def _output(self, tensor: Tensor) -> Tensor:
        origin = self._origin(tensor)
        return self.whole[id(origin)] if id(origin) in self.whole else self.real.get(id(origin), origin)

    def _notes(self, inputs: list[Tensor]) -> list[str]:
        notes = [
            f"input '{t.name}' takes {t.dtype}: round(real / {t.q.s:.7g}) + {t.q.z}"
            for t, old in zip(inputs, self.graph.inputs, strict=True)
            if t.dtype != old.dtype
        ]
        left = [name for name in self.floats if name]
        return [*notes, f"computed with floats, for lack of scales: {', '.join(left[:10])}"] if left else notes


def quantized(data: Array, q: Quantization) -> Array:
    """Real values as int8, rounded half away from zero as QUANTIZE does it."""
    steps = data.astype(np.float64) / q.s
    raw = np.trunc(steps + np.copysign(0.5, steps)) + q.z
    return np.asarray(np.clip(raw, -128, 127), np.int8)


def _moves(node: Node) -> bool:
    """Whether the outputs hold elements of the inputs alone, so that one scale serves both."""
    return (isinstance(node.op, Move) and not isinstance(node.op, PadV2)) or node.op.kind == "MAX_POOL_2D"


def _equal(a: Quantization, b: Quantization | None) -> bool:
    return b is not None and np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)


def _integer_type(tensor: Tensor) -> np.dtype[Any]:
    return tensor.dtype if tensor.dtype.kind in "iu" else np.dtype(np.int8)
