"""Build a Graph from the layers of a channels-first framework (ONNX, PyTorch): NCHW in, NHWC operators within.

Every layer is written down as it is: a convolution becomes TRANSPOSE, CONV_2D, TRANSPOSE. `tinymaix.rewrite.layout`
removes the transposes again. Only the graph's own inputs and outputs are decided here: those that layers with channels
reach through operators that keep the axes become channels-last, with a note.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tinymaix.graph import Array, Graph, ModelError, Node, Quantization, Shape, Tensor
from tinymaix.ops import OPERATORS, Operator
from tinymaix.ops.elementwise import Binary
from tinymaix.ops.lookup import Unary

TO_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1)}
TO_FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2)}
"""Orders of the axes by rank: channels-first to channels-last, and back."""
KEEP_AXES = (
    "QUANTIZE", "DEQUANTIZE", "CAST", "PRELU", "PAD", "PADV2", "MIRROR_PAD", "LAYER_NORM", "CONCATENATION", "SLICE",
)  # fmt: skip
"""Operators beside unary and binary ones that leave every axis in its place."""
RESIZE = ("PAD", "PADV2", "MIRROR_PAD", "CONCATENATION", "SLICE")
"""Those of them that make an axis longer or shorter."""

MAX_TENSOR_BYTES = 2**30
MAX_FOLDED_BYTES = 2**28
MAX_FOLDED_MACS = 2**24
"""What computing constants may add up to in one file: a small file can describe a lot of work."""


@dataclass
class Builder:
    """A graph in the making. Shapes and axes of its methods are the framework's: channels first."""

    name: str
    inputs: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stored: dict[int, Tensor] = field(default_factory=dict)  # integers that a float constant was made from, by its id
    label: str = ""  # what new tensors and nodes are named after
    bytes_left: int = MAX_FOLDED_BYTES
    macs_left: int = MAX_FOLDED_MACS
    channelled: set[int] = field(default_factory=set)  # ids of tensors at the edge of a layer with channels
    states: list[Tensor] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)  # so that no id in `stored` or `channelled` is used twice

    @contextmanager
    def named(self, label: str) -> Iterator[None]:
        """What is built within is named after ``label``."""
        before, self.label = self.label, label
        yield
        self.label = before

    def input(self, name: str, shape: Shape, dtype: npt.DTypeLike, quantization: Quantization | None = None) -> Tensor:
        """An input of the graph; types that no kernel has become those that there are."""
        tensor = Tensor(name, shape, kernel_type(np.dtype(dtype)), quantization)
        self.inputs.append(tensor)
        return tensor

    def state(self, name: str, initial: Array) -> tuple[Tensor, Tensor]:
        """A state that begins as ``initial``, and its value when a run begins."""
        made = Tensor(
            name, initial.shape, kernel_type(initial.dtype), initial=np.array(initial, kernel_type(initial.dtype))
        )
        self.states.append(made)
        return made, self.op("READ_VARIABLE", made)

    def constant(self, data: npt.ArrayLike, name: str = "", dtype: npt.DTypeLike | None = None) -> Tensor:
        """A constant; 64-bit integers are cut to the range of int32, which no size in a small model leaves."""
        array = np.asarray(data, dtype)
        if array.dtype.kind in "iu" and array.dtype.itemsize > 4:
            array = np.clip(array, -(2**31), 2**31 - 1)
        array = array.astype(kernel_type(array.dtype))
        return Tensor(name or self.label, array.shape, array.dtype, None, array)

    def op(self, kind: str, *inputs: Tensor | None, dtype: npt.DTypeLike | None = None, **attributes: Any) -> Tensor:
        """The one output of an operator by its TFLite name; a constant where all inputs are."""
        return self.ops(kind, *inputs, dtype=dtype, **attributes)[0]

    def ops(
        self, kind: str, *inputs: Tensor | None, dtype: npt.DTypeLike | None = None, **attributes: Any
    ) -> list[Tensor]:
        """All outputs of an operator, of the first input's type unless ``dtype`` is given."""
        operator = OPERATORS.get(kind)
        if operator is None:
            raise ModelError(f"it needs the operator {kind}, which is not supported")
        op = operator(**attributes)
        first = next((t for t in inputs if t is not None and not t.is_constant), inputs[0])
        assert first is not None
        outputs = []
        for shape in op.infer(inputs):
            sizes = tuple(int(size) for size in shape)
            outputs.append(Tensor(self.label, sizes, np.dtype(dtype or first.dtype)))
            if outputs[-1].nbytes > MAX_TENSOR_BYTES:
                raise ModelError(f"its output of shape {list(sizes)} is larger than any chip's memory")
        node = Node(op, list(inputs), outputs, self.label)
        if node.activations or node.states or not self._folds(node):
            self.nodes.append(node)
        return outputs

    def _folds(self, node: Node) -> bool:
        """Compute a node of constants, charged to what one file may ask for."""
        size, macs = sum(t.nbytes for t in node.outputs), node.op.macs(node)
        if size > self.bytes_left or macs > self.macs_left or node.op.problems(node):
            return False
        self.bytes_left, self.macs_left = self.bytes_left - size, self.macs_left - macs
        with np.errstate(all="ignore"):
            values = node.op.reference(node, [None if t is None else t.data for t in node.inputs])
        for tensor, value in zip(node.outputs, values, strict=True):
            tensor.data = np.ascontiguousarray(value).reshape(tensor.shape)
        return True

    # Axes

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        order = tuple(axis % len(x.shape) for axis in order)
        return x if order == tuple(range(len(x.shape))) else self.op("TRANSPOSE", x, order=order)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return x if tuple(shape) == x.shape else self.op("RESHAPE", x, shape=tuple(int(size) for size in shape))

    def reshape_to(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """`reshape` where one size may be -1: what the others leave."""
        return x if tuple(shape) == x.shape else self.op("RESHAPE", x, shape=tuple(shape))

    def to_last(self, x: Tensor) -> Tensor:
        """NCHW -> NHWC in front of a layer with channels."""
        self.remember(x)
        return self.transpose(x, TO_LAST[len(x.shape)])

    def to_first(self, x: Tensor) -> Tensor:
        """NHWC -> NCHW behind a layer with channels."""
        y = self.transpose(x, TO_FIRST[len(x.shape)])
        self.remember(y)
        return y

    def remember(self, tensor: Tensor) -> None:
        """Note a tensor as one that a layer with channels reads or makes."""
        self.channelled.add(id(tensor))
        self.kept.append(tensor)

    def at_last_axis(self, kind: str, x: Tensor, axis: int, **attributes: Any) -> Tensor:
        """An operator of the last axis along another one."""
        rank = len(x.shape)
        order = [i for i in range(rank) if i != axis % rank] + [axis % rank]
        y = self.op(kind, self.transpose(x, order), **attributes)
        return self.transpose(y, list(np.argsort(order)))

    # Integers behind floats

    def dequantized(self, integers: Tensor) -> Tensor:
        """A float constant that remembers the integers it was made from."""
        assert integers.data is not None
        q = integers.q
        along = [-1 if i == q.axis else 1 for i in range(len(integers.shape))] if q.per_channel else []
        scale, zero = q.scale.reshape(along), q.zero_point.reshape(along)
        real = self.constant((integers.data.astype(np.int64) - zero) * scale.astype(np.float64), integers.name)
        self.stored[id(real)] = integers
        self.kept.append(real)
        return real

    def rearranged(self, tensor: Tensor, shape: Shape, order: Sequence[int], axis: int) -> Tensor:
        """Constant weights reshaped, then transposed, with the integers behind them; channels get to ``axis``."""
        assert tensor.data is not None
        data = np.ascontiguousarray(tensor.data.reshape(shape).transpose(order))
        result = Tensor(tensor.name, data.shape, data.dtype, None, data)
        integers = self.stored.get(id(tensor))
        if integers is not None and integers.data is not None:
            raw = np.ascontiguousarray(integers.data.reshape(shape).transpose(order))
            q = Quantization(integers.q.scale, integers.q.zero_point, axis)
            self.stored[id(result)] = Tensor(tensor.name, raw.shape, raw.dtype, q, raw)
            self.kept.append(result)
        return result

    # The end

    def graph(self, outputs: Sequence[Tensor]) -> Graph:
        """The graph with channels-last inputs, outputs and states where layers with channels meet them.

        Raises:
            ModelError: an output is a constant.
        """
        constant = [f"output '{t.name}' is the same for every input" for t in outputs if t.is_constant]
        if constant:
            raise ModelError(constant)
        self.inputs = [self._input_last(x) for x in self.inputs]
        for state in self.states:
            self._state_last(state)
        results = [self._output_last(y) for y in outputs]
        return Graph(self.nodes, self.inputs, results, self.name, self.notes)

    def _input_last(self, x: Tensor) -> Tensor:
        if len(x.shape) not in TO_LAST or not self._reaches(x, forward=True):
            return x
        order = TO_LAST[len(x.shape)]
        last = Tensor(x.name, tuple(x.shape[i] for i in order), x.dtype, x.quantization)
        self.nodes.insert(0, Node(_transpose(TO_FIRST[len(x.shape)]), [last], [x], x.name))
        if x.shape[1] != math.prod(x.shape[1:]):
            self.notes.append(f"input '{x.name}' is channels-last: {list(last.shape)}, not {list(x.shape)}")
        return last

    def _state_last(self, state: Tensor) -> None:
        """Keep a state channels-last, where what reads it is a layer with channels."""
        touched = [node for node in self.nodes if any(t is state for t in node.states)]
        reads = [node for node in touched if node.op.kind == "READ_VARIABLE"]
        if len(state.shape) not in TO_LAST or not any(self._reaches(node.output, forward=True) for node in reads):
            return
        assert state.initial is not None
        last, first = TO_LAST[len(state.shape)], TO_FIRST[len(state.shape)]
        state.initial = np.ascontiguousarray(state.initial.transpose(last))
        state.shape = state.initial.shape
        for node in touched:
            at = next(i for i, other in enumerate(self.nodes) if other is node)
            moved = Tensor(state.name, state.shape, state.dtype)
            if node in reads:
                self.nodes.insert(at + 1, Node(_transpose(first), [moved], node.outputs, state.name))
                node.outputs = [moved]
            else:
                self.nodes.insert(at, Node(_transpose(last), [node.input(1)], [moved], state.name))
                node.inputs = [state, moved]

    def _output_last(self, y: Tensor) -> Tensor:
        if len(y.shape) not in TO_LAST or not self._reaches(y, forward=False):
            return y
        order = TO_LAST[len(y.shape)]
        last = Tensor(y.name, tuple(y.shape[i] for i in order), y.dtype, y.quantization)
        self.nodes.append(Node(_transpose(order), [y], [last], y.name))
        if y.shape[1] != math.prod(y.shape[1:]):
            self.notes.append(f"output '{y.name}' is channels-last: {list(last.shape)}, not {list(y.shape)}")
        return last

    def _reaches(self, tensor: Tensor, forward: bool) -> bool:
        """Whether operators that keep the axes lead from a tensor to a layer with channels."""
        seen: set[int] = set()
        waiting = [tensor]
        neighbours: dict[int, list[Tensor]] = {}
        for node in self.nodes:
            if _keeps_axes(node.op):
                for source in node.activations:
                    a, b = (source, node.output) if forward else (node.output, source)
                    if source.shape == node.output.shape or node.op.kind in RESIZE:
                        neighbours.setdefault(id(a), []).append(b)
        while waiting:
            here = waiting.pop()
            if id(here) in self.channelled:
                return True
            if id(here) not in seen:
                seen.add(id(here))
                waiting += neighbours.get(id(here), [])
        return False


def _transpose(order: Shape) -> Operator:
    operator: Any = OPERATORS["TRANSPOSE"]
    made: Operator = operator(order=order)
    return made


def _keeps_axes(op: Operator) -> bool:
    return isinstance(op, Unary | Binary) or op.kind in KEEP_AXES


def kernel_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that kernels compute with for a framework's: float32 for all floats, int32 for wide integers."""
    if dtype.kind == "f":
        return np.dtype(np.float32)
    if dtype.kind in "iu" and dtype.itemsize > 2:
        return np.dtype(np.int32)
    return dtype


def constant_data(tensor: Tensor | None, what: str) -> Array:
    """The value of a tensor that must be a constant.

    Raises:
        ModelError: it is absent or computed at run time.
    """
    if tensor is None:
        raise ModelError(f"{what} is missing")
    if tensor.data is None:
        raise ModelError(f"{what} ('{tensor.name}') is computed at run time; only a constant is supported")
    return tensor.data
