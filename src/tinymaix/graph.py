"""The one structure that every room of the house shares: Tensor, Quantization, Node, Graph.

A reader makes a Graph, a rewrite changes it, a plan places it, a compiler or writer hands it on.
Tensors and nodes are compared by identity: two tensors with equal fields are still two tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tinymaix.ops.base import Operator

Shape = tuple[int, ...]
Array = npt.NDArray[Any]


class ModelError(ValueError):
    """A model that cannot be used as it is. ``problems`` has one sentence for each thing that is wrong."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale * (q - zero_point), one pair for the tensor or one for each index along ``axis``."""

    scale: Array  # float32, shape (1,) or (shape[axis],)
    zero_point: Array  # int64, same shape as scale
    axis: int = 0

    @staticmethod
    def of(
        scale: float | Sequence[float] | Array, zero_point: int | Sequence[int] | Array = 0, axis: int = 0
    ) -> Quantization:
        """A Quantization from plain numbers; one zero point is repeated for every scale."""
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        points = np.broadcast_to(np.atleast_1d(np.asarray(zero_point, np.int64)), scales.shape)
        return Quantization(scales, points, axis)

    @property
    def per_channel(self) -> bool:
        return self.scale.size > 1

    @property
    def s(self) -> float:
        """The one scale of a per-tensor quantization, as the exact value of its float32."""
        return float(self.scale[0])

    @property
    def z(self) -> int:
        """The one zero point of a per-tensor quantization."""
        return int(self.zero_point[0])


@dataclass(eq=False)
class Tensor:
    """A value that flows between nodes, a constant when ``data`` is there (``data.shape == shape``), or a state.

    A state keeps its value from one run to the next and has no producer: nodes that take it as an input change it.
    ``initial`` is its value before the first run. ``is_int4``: an int8 constant whose values fit 4 bits and that files
    and flash hold two in a byte, the lower half first.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    quantization: Quantization | None = None
    data: Array | None = None
    initial: Array | None = None
    is_int4: bool = False

    def __post_init__(self) -> None:
        self.dtype = np.dtype(self.dtype)

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return (self.elements + 1) // 2 if self.is_int4 else self.elements * self.dtype.itemsize

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_state(self) -> bool:
        return self.initial is not None

    @property
    def q(self) -> Quantization:
        """The quantization of a tensor that must have one.

        Raises:
            ModelError: the tensor has none.
        """
        if self.quantization is None:
            raise ModelError(f"tensor '{self.name}' ({self.dtype}) has no quantization; quantize the model again")
        return self.quantization

    def __repr__(self) -> str:
        kind = "int4" if self.is_int4 else self.dtype
        return f"<{self.name} {'x'.join(map(str, self.shape)) or 'scalar'} {kind}>"


@dataclass(eq=False)
class Node:
    """One operator applied: ``op`` holds the attributes, an optional input that is absent is None."""

    op: Operator
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    name: str = ""

    def input(self, index: int) -> Tensor:
        """Input ``index``, which must be there."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise ModelError(f"{self.op.kind} '{self.name}' lacks its input {index}")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        """Input ``index``, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def output(self) -> Tensor:
        return self.outputs[0]

    @property
    def present(self) -> list[Tensor]:
        """The inputs that are there."""
        return [tensor for tensor in self.inputs if tensor is not None]

    @property
    def activations(self) -> list[Tensor]:
        """The inputs that are computed at run time."""
        return [tensor for tensor in self.present if not tensor.is_constant and not tensor.is_state]

    @property
    def states(self) -> list[Tensor]:
        """The inputs that are states, which the node may change."""
        return [tensor for tensor in self.present if tensor.is_state]


@dataclass(eq=False)
class Graph:
    """A network: nodes in an order in which they can run, its inputs and its outputs."""

    nodes: list[Node]
    inputs: list[Tensor]
    outputs: list[Tensor]
    name: str = "model"
    notes: list[str] = field(default_factory=list)  # what a reader or rewrite wants the user to know

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor once: inputs first, then in the order of the nodes."""
        return unique([*self.inputs, *(t for n in self.nodes for t in (*n.present, *n.outputs)), *self.outputs])

    @property
    def constants(self) -> list[Tensor]:
        return [tensor for tensor in self.tensors if tensor.is_constant]

    @property
    def states(self) -> list[Tensor]:
        """Every state once, in the order of the nodes."""
        return unique(tensor for node in self.nodes for tensor in node.states)

    def producer(self, tensor: Tensor) -> Node | None:
        return next((node for node in self.nodes if any(t is tensor for t in node.outputs)), None)

    def consumers(self, tensor: Tensor) -> list[Node]:
        return [node for node in self.nodes if any(t is tensor for t in node.present)]

    @property
    def macs(self) -> int:
        return sum(node.op.macs(node) for node in self.nodes)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once on the numpy reference, from the initial states. Values are raw ones in the tensors' own types.

        Raises:
            ModelError: the number, a shape or a type of the inputs is not what the graph takes.
        """
        return self.run_sequence([inputs])[0]

    def run_sequence(self, sequence: Iterable[Sequence[Array]]) -> list[list[Array]]:
        """Run on each inputs in turn; states begin at their initial values and go on from run to run.

        Raises: as `run`.
        """
        states = self.initial_states()
        outputs = []
        for inputs in sequence:
            values = dict(states)
            values.update((id(t), v) for t, v in zip(self.inputs, self.check_inputs(inputs), strict=True))
            for _, results in self.steps(values):
                values.update(results)
            outputs.append([self._value(values, tensor) for tensor in self.outputs])
        return outputs

    def initial_states(self) -> dict[int, Array]:
        """An array for each state, by id of the tensor, which runs change in place."""
        return {id(t): np.array(t.initial) for t in self.states}

    def steps(self, values: dict[int, Array]) -> Iterator[tuple[Node, dict[int, Array]]]:
        """Run node by node: yields each node and its outputs by id of tensor, to be put into ``values``."""
        for node in self.nodes:
            arrays = [None if t is None else self._value(values, t) for t in node.inputs]
            yield node, {id(t): a for t, a in zip(node.outputs, node.op.reference(node, arrays), strict=True)}

    def check_inputs(self, inputs: Sequence[Array]) -> list[Array]:
        """The inputs, checked against the graph's own.

        Raises:
            ModelError: one sentence for each input that does not fit.
        """
        if len(inputs) != len(self.inputs):
            raise ModelError(f"the model takes {len(self.inputs)} inputs but was given {len(inputs)}")
        problems = []
        for i, (tensor, array) in enumerate(zip(self.inputs, inputs, strict=True)):
            if array.shape != tensor.shape or array.dtype != tensor.dtype:
                problems.append(
                    f"input {i} ('{tensor.name}') takes {tensor.dtype} of shape {list(tensor.shape)}, "
                    f"not {array.dtype} of shape {list(array.shape)}"
                )
        if problems:
            raise ModelError(problems)
        return list(inputs)

    @staticmethod
    def _value(values: dict[int, Array], tensor: Tensor) -> Array:
        return tensor.data if tensor.data is not None else values[id(tensor)]


def unique(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The tensors without repeats, in order of first appearance."""
    return list({id(tensor): tensor for tensor in tensors}.values())
