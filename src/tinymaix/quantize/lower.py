"""Float Graph and ranges -> integer Graph: each float node becomes an integer node with scales on its tensors.

A node that has no integer form stays, between DEQUANTIZE and QUANTIZE, and a note says why. Tensors that nodes of
different types share are converted once for each type. The scales follow `tinymaix.quantize.rules`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Quantization, Tensor
from tinymaix.ops.dequantize import Dequantize
from tinymaix.ops.pad_v2 import PadV2
from tinymaix.ops.quantize import Quantize
from tinymaix.quantize import rules
from tinymaix.quantize.prepare import Prepared
from tinymaix.quantize.ranges import Range, Ranges, quantization
from tinymaix.quantize.recurrent import LstmWithCell, integer_lstm
from tinymaix.quantize.scheme import Scheme
from tinymaix.quantize.types import NodeTypes, node_types
from tinymaix.quantize.weights import quantized_bias, quantized_weights, weight_quantization

FLOAT = "float32"


def lower(prepared: Prepared, ranges: Ranges, scheme: Scheme) -> Graph:
    """The prepared graph in integers: the same nodes in the same order, and conversions between them.

    Raises:
        ModelError: weights hold NaN.
    """
    return _Lowering(prepared.graph, ranges, scheme, node_types(prepared.graph, scheme, prepared.wide)).run()


@dataclass
class _Lowering:
    graph: Graph
    ranges: Ranges
    scheme: Scheme
    types: NodeTypes
    forms: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # by id of the float tensor and type; home first
    roots: dict[int, Tensor] = field(default_factory=dict)  # by id: the tensor whose range a tensor is to have
    constants: dict[tuple[int, bytes, str], Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # why nodes are not as the scheme asks

    def run(self) -> Graph:
        self._hand_back()
        inputs = [self._given(t) for t in self.graph.inputs]
        for node in self.graph.nodes:
            if not any(t.dtype == np.float32 for t in (*node.present, *node.outputs)):
                self._keep(node)
            elif isinstance(node.op, LstmWithCell):
                self._lstm(node)
            elif node.states:
                self.notes.append(f"computed with floats, as it keeps a state: {node.op.kind} '{node.name}'")
                self._float(node)
            elif not self._integer(node, self.types[node]):
                self._float(node)
        outputs = [self._result(t) for t in self.graph.outputs]
        notes = [*self.graph.notes, *self._notes(inputs)]
        return replace(self.graph, nodes=self.nodes, inputs=inputs, outputs=outputs, notes=notes)

    def _hand_back(self) -> None:
        """Give the range of what several tensors are put together to, to each that goes nowhere else."""
        readers: dict[int, int] = {}
        for t in (*(t for node in self.graph.nodes for t in node.present), *self.graph.outputs):
            readers[id(t)] = readers.get(id(t), 0) + 1
        for node in reversed(self.graph.nodes):
            if not rules.shares(node) and not (rules.follows(node) and id(node.output) in self.roots):
                continue
            for t in node.activations:
                if t.dtype == np.float32 and readers[id(t)] == 1:
                    self.roots[id(t)] = self.roots.get(id(node.output), node.output)

    def _given(self, tensor: Tensor) -> Tensor:
        """An input of the graph, in the type that the scheme asks for."""
        if tensor.dtype != np.float32:
            return self._home(tensor, tensor)
        kind = self.scheme.activations if self.scheme.io == "same" else self.scheme.io
        return self._home(tensor, self._made(tensor, kind, None if kind == FLOAT else self._range_of(tensor, kind)))

    def _result(self, tensor: Tensor) -> Tensor:
        home = next(iter(self.forms[id(tensor)].values())) if id(tensor) in self.forms else tensor
        if tensor.dtype != np.float32 or tensor.is_constant:
            return home
        kind = self.scheme.io
        if kind == "same":
            kind = home.dtype.name if home.dtype != np.float32 else self.scheme.activations
        return self._as(tensor, kind)

    def _home(self, tensor: Tensor, made: Tensor) -> Tensor:
        self.forms[id(tensor)] = {made.dtype.name: made}
        return made

    @staticmethod
    def _made(tensor: Tensor, kind: str, q: Quantization | None) -> Tensor:
        return Tensor(tensor.name, tensor.shape, np.dtype(kind), q)

    def _range_of(self, tensor: Tensor, kind: str) -> Quantization:
        return quantization(self.ranges.of(self.roots.get(id(tensor), tensor), kind), kind)

    def _as(self, tensor: Tensor, kind: str, q: Quantization | None = None) -> Tensor:
        """A computed tensor in a type, and with a scale where one is given."""
        forms = self.forms[id(tensor)]
        if kind not in forms:
            home = next(iter(forms.values()))
            made = self._made(tensor, kind, None if kind == FLOAT else q or self._range_of(tensor, kind))
            forms[kind] = self._converted(home, made)
        found = forms[kind]
        return found if q is None or _equal(found.q, q) else self._converted(found, self._made(tensor, kind, q))

    def _converted(self, x: Tensor, y: Tensor) -> Tensor:
        op = Dequantize() if y.dtype == np.float32 else Quantize()
        y.name = f"{y.name}_{y.dtype}"
        self.nodes.append(Node(op, [x], [y], y.name))
        return y

    def _keep(self, node: Node) -> None:
        """A node without floats, as it is."""
        self.nodes.append(node)
        for t in node.outputs:
            self._home(t, t)

    def _integer(self, node: Node, kind: str) -> bool:
        """Add the node in integers; False where it has no such form, which a note will say."""
        if kind == FLOAT:
            if self.types.wanted(node) != FLOAT:
                self.notes.append(f"computed with floats, as it has no integer form: {node.op.kind} '{node.name}'")
            return False
        if kind != self.types.wanted(node):
            self.notes.append(
                f"computed with {kind}, as it has no {self.types.wanted(node)}: {node.op.kind} '{node.name}'"
            )
        before, forms = len(self.nodes), {id(t): dict(self.forms.get(id(t), {})) for t in node.activations}
        candidate = self._candidate(node, kind)
        if problems := candidate.op.problems(candidate):
            del self.nodes[before:]
            self.forms.update(forms)
            self.notes.append(f"computed with floats: {node.op.kind} '{node.name}', since {problems[0]}")
            return False
        self.nodes.append(candidate)
        for tensor, made in zip(node.outputs, candidate.outputs, strict=True):
            self._home(tensor, made)
        return True

    def _candidate(self, node: Node, kind: str) -> Node:
        """The node with inputs and outputs in integers; its rules may still refuse them."""
        outputs = [self._made(t, kind, None) if t.dtype == np.float32 else t for t in node.outputs]
        q = self._output_scale(node, kind)
        inputs = [None if t is None else self._operand(node, i, t, kind, q) for i, t in enumerate(node.inputs)]
        if rules.is_weighted(node) and node.optional(2) is None and node.input(1).data is not None:
            inputs = [*inputs[:2], self._weights(node, kind)[1]]
        if q is None and inputs[0] is not None:
            q = inputs[0].quantization
        for made in outputs:
            if made.dtype.name == kind:
                made.quantization = q
        if made_range := self._widened(node, inputs, kind):
            outputs[0].quantization = quantization(made_range, kind)
        op = node.op
        if isinstance(op, PadV2) and q is not None:
            op = replace(op, value=int(quantized(np.asarray(op.value), q, kind)))
        return Node(op, inputs, outputs, node.name)

    def _lstm(self, node: Node) -> None:
        """TFLite's int8 LSTM, which keeps its states from run to run."""
        y, cell = node.outputs
        made = self._made(y, "int8", self._range_of(y, "int8"))
        layer = integer_lstm(node, self._as(node.input(0), "int8"), made, self.ranges.of(cell, "int16"))
        if problems := layer.op.problems(layer):
            raise ModelError(
                f"{node.name}: {problems[0]}; let the layer stay as it is with --layer {node.name}=float32"
            )
        self.nodes.append(layer)
        self._home(y, made)
        self.notes.append(f"LSTM '{node.name}' keeps its states from run to run: reset them before each sequence")

    def _output_scale(self, node: Node, kind: str) -> Quantization | None:
        """The quantization of the outputs; None where it is that of input 0."""
        if rules.compares(node):
            return quantization(reduce(Range.union, (self._any_range(t, kind) for t in node.present)), kind)
        if rules.follows(node) or node.output.dtype != np.float32:
            return None
        if (fixed := rules.fixed(node, kind)) is not None:
            return fixed
        if rules.shares(node) and all(id(t) in self.forms for t in node.present if t.dtype == np.float32):
            scales = [next(iter(self.forms[id(t)].values())) for t in node.activations if t.dtype == np.float32]
            if all(t.dtype.name == kind and _equal(t.q, scales[0].q) for t in scales):
                return scales[0].quantization
        return self._range_of(node.output, kind)

    def _widened(self, node: Node, inputs: list[Tensor | None], kind: str) -> Range | None:
        if rules.fixed(node, kind) or inputs[0] is None or rules.follows(node) or node.output.dtype != np.float32:
            return None
        own = self.ranges.of(self.roots.get(id(node.output), node.output), kind)
        wider = rules.widened(node, own, inputs[0])
        return None if wider is own else wider

    def _operand(self, node: Node, index: int, tensor: Tensor, kind: str, q: Quantization | None) -> Tensor:
        """Input ``index`` in integers. ``q``: the output's scale."""
        if rules.is_weighted(node) and index > 0 and node.input(1).data is not None:
            return self._weights(node, kind)[index - 1] or tensor
        if tensor.dtype != np.float32:
            return self._as(tensor, tensor.dtype.name) if id(tensor) in self.forms else tensor
        shared = q if rules.shares(node) or rules.compares(node) else None
        if tensor.data is not None:
            return self._constant(tensor, kind, shared)
        return self._as(tensor, kind, shared)

    def _weights(self, node: Node, kind: str) -> tuple[Tensor, Tensor | None]:
        """Weights and bias of a layer."""
        x = self._as(node.input(0), kind)
        bits = self.types.bits(node)
        q = weight_quantization(node, x.q.s, bits=bits, per_channel=self.scheme.per_channel, kind=kind)
        given = node.input(1)
        key = (id(given), q.scale.tobytes(), f"{node.op.kind} {bits}")
        if key not in self.constants:
            self.constants[key] = quantized_weights(node, q, bits=bits)
        return self.constants[key], quantized_bias(node, x.q.s, q, kind)

    def _constant(self, tensor: Tensor, kind: str, q: Quantization | None) -> Tensor:
        """A constant operand with its own scale, or the one that it must share."""
        assert tensor.data is not None
        if not np.isfinite(tensor.data).all():
            raise ModelError(f"constant '{tensor.name}' holds NaN or infinity; the model cannot be quantized")
        q = q or quantization(self._any_range(tensor, kind), kind)
        key = (id(tensor), q.scale.tobytes() + q.zero_point.tobytes(), kind)
        if key not in self.constants:
            data = quantized(tensor.data, q, kind)
            self.constants[key] = Tensor(tensor.name, tensor.shape, data.dtype, q, data)
        return self.constants[key]

    def _any_range(self, tensor: Tensor, kind: str) -> Range:
        """The range of a computed tensor or of a constant."""
        if tensor.data is None:
            return self.ranges.of(tensor, kind)
        return Range(float(tensor.data.min(initial=0)), float(tensor.data.max(initial=0)))

    def _float(self, node: Node) -> None:
        """Add the node as it is, on floats."""
        inputs = [t if t is None or id(t) not in self.forms else self._as(t, t.dtype.name) for t in node.inputs]
        self.nodes.append(replace(node, inputs=inputs))
        for t in node.outputs:
            self._home(t, t)

    def _notes(self, inputs: list[Tensor]) -> list[str]:
        notes = [
            f"input '{t.name}' takes {t.dtype}: round(real / {t.q.s:.7g}) + {t.q.z}"
            for t, old in zip(inputs, self.graph.inputs, strict=True)
            if t.dtype != old.dtype
        ]
        return [*notes, *self.notes]


def quantized(data: Array, q: Quantization, kind: str) -> Array:
    """Real values in integers, rounded half away from zero as QUANTIZE does it."""
    limits = np.iinfo(kind)
    steps = data.astype(np.float64) / q.s
    raw = np.trunc(steps + np.copysign(0.5, steps)) + q.z
    return np.asarray(np.clip(raw, limits.min, limits.max), kind)


def _equal(a: Quantization, b: Quantization) -> bool:
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)
