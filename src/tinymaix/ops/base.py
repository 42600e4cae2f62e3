"""What every operator is: attributes, shape rule, MACs, numpy reference, C, and its spelling in each file format.

A subclass is a frozen dataclass whose fields are the attributes. Defining it registers it under its ``kind``, so a new
operator is one new file, in this folder or in a user's own package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.emit import LayerCode
from tinymaix.ops.tmdl import LayerToWrite, ModelType, Operand, StoredLayer

OPERATORS: dict[str, type[Operator]] = {}
TFLITE_OPERATORS: dict[int, type[Operator]] = {}
CUSTOM_OPERATORS: dict[str, type[Operator]] = {}
"""By the name that a .tflite gives a custom operator."""
TMDL_OPERATORS: dict[int, type[Operator]] = {}
"""By type of layer: the operators that it is read as."""


class Options(Protocol):
    """An operator's option table in a .tflite: scalars by their slot in the schema, with the schema's default."""

    def i8(self, slot: int, default: int = 0) -> int: ...
    def i32(self, slot: int, default: int = 0) -> int: ...
    def f32(self, slot: int, default: float = 0.0) -> float: ...
    def flag(self, slot: int, default: bool = False) -> bool: ...
    def ints(self, slot: int) -> list[int]: ...


class CustomOptions(Protocol):
    """The options of a custom operator in a .tflite: numbers by name. Raises ModelError where one without a default is
    absent or is no number."""

    def integer(self, name: str, default: int | None = None) -> int: ...
    def real(self, name: str, default: float | None = None) -> float: ...


OptionFields = dict[int, tuple[str, int | float | bool | Sequence[int]]]
"""What a writer puts into the table: slot -> (kind as in `Options`: "i8", "i32", "f32", "flag", "ints"; value)."""


class Operator:
    """Base of all operators."""

    kind: ClassVar[str] = ""
    """The field's name of the operator, as TFLite spells it: CONV_2D."""

    types: ClassVar[tuple[str, ...]] = ("int8", "float32")
    """Types of activations that it computes with; all inputs and outputs share one unless `problems` says else."""

    is_view: ClassVar[bool] = False
    """The output is the first input's bytes under another shape; it costs nothing at run time."""

    takes_states: ClassVar[bool] = False
    """Some of its inputs may be states."""

    tflite: ClassVar[tuple[int, int]]
    """(BuiltinOperator code, BuiltinOptions union type; 0 where the operator has no options)."""

    tflite_custom: ClassVar[str] = ""
    """The name of the operator where a .tflite has it as a custom one."""

    tmdl: ClassVar[tuple[int, str] | None] = None
    """(type of its layer in a .tmdl, the layer's name); None where the format has no such layer."""

    def __init_subclass__(cls) -> None:
        if cls.kind:
            OPERATORS[cls.kind] = cls
            if "tflite" in cls.__dict__:
                TFLITE_OPERATORS[cls.tflite[0]] = cls
            if cls.tflite_custom:
                CUSTOM_OPERATORS[cls.tflite_custom] = cls
            if cls.tmdl and "from_tmdl" in cls.__dict__:
                TMDL_OPERATORS[cls.tmdl[0]] = cls

    @classmethod
    def from_tflite(cls, options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Operator:
        """The operator as a .tflite spells it. Raises ModelError with a sentence where it cannot be expressed."""
        return cls()

    @classmethod
    def from_custom(
        cls, options: CustomOptions, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> Operator:
        """`from_tflite` of a custom operator, whose options have names."""
        return cls()

    def to_custom(self, node: Node) -> tuple[dict[str, int | float], list[Tensor | None]]:
        """`to_tflite` of a custom operator."""
        return {}, list(node.inputs)

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """The inputs that stay tensors: an operator that turns constant inputs into attributes drops them here."""
        return inputs

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        """Option fields and inputs for a .tflite: the reverse of `from_tflite` and `tflite_inputs`."""
        return {}, list(node.inputs)

    def tflite_intermediates(self, node: Node) -> list[Tensor]:
        """Tensors that a .tflite lists with the node only to say how LiteRT is to quantize values within it."""
        return []

    @classmethod
    def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
        """The node as a .tmdl spells it, given the layer, its input and output, and a way to find a second operand.
        Defining it makes this the operator that the type of layer is read as. Raises ModelError with a sentence."""
        raise NotImplementedError(f"{cls.kind} is not read from a .tmdl")

    def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
        """One sentence for everything about a computable node that its layer in a .tmdl of that type cannot say."""
        return []

    def to_tmdl(self, layer: LayerToWrite) -> bytes:
        """The layer behind its header, a multiple of 8 bytes, where there are no `tmdl_problems`."""
        return b""

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        """Shapes of the outputs. Raises ModelError with a sentence where the inputs do not fit."""
        raise NotImplementedError(f"{self.kind} has no shape rule")

    def problems(self, node: Node) -> list[str]:
        """One sentence for everything that keeps this node from being computed exactly, and what would mend it."""
        wrong = [t for t in (*node.activations, *node.outputs) if t.dtype.name not in self.types]
        if wrong:
            names = ", ".join(f"'{t.name}' is {t.dtype}" for t in wrong)
            return [f"{names}; supported are {' and '.join(self.types)}"]
        if len({t.dtype for t in (*node.activations, *node.outputs)}) > 1:
            names = ", ".join(f"'{t.name}' is {t.dtype}" for t in (*node.activations, *node.outputs))
            return [f"inputs and outputs have different types ({names}); quantize all of them or none"]
        return [
            f"'{t.name}' is {t.dtype} without one scale and zero point; convert with full integer quantization"
            for t in (*node.activations, *node.outputs)
            if t.dtype.kind in "iu" and t.dtype.itemsize <= 2 and (t.quantization is None or t.quantization.per_channel)
        ]

    def macs(self, node: Node) -> int:
        """Multiply-accumulates of one inference."""
        return 0

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        """The meaning of the operator: the outputs' raw values, bit for bit as TFLM's reference kernel has them.

        The array of an input that is a state is changed in place.
        """
        raise NotImplementedError(f"{self.kind} has no reference")

    def overwrites(self, node: Node) -> list[int]:
        """Indices of the inputs at whose address the first output may begin: an output element is written only after
        the input elements in its place were read for the last time."""
        return []

    def scratch(self, node: Node) -> int:
        """Bytes of working memory while the node runs (4-byte aligned), beside inputs and outputs."""
        return 0

    def emit(self, node: Node, code: LayerCode) -> None:
        """Add the node's C to ``code``: kernels, constants, calls."""
        raise NotImplementedError(f"{self.kind} has no C kernel")


def array(value: Array | None) -> Array:
    """An input of `Operator.reference` that must be there."""
    if value is None:
        raise ModelError("a required input is missing")
    return value


def constant(inputs: Sequence[Tensor | None], index: int, what: str) -> Array:
    """The value of an input that must be a constant, such as a shape or an axis.

    Raises:
        ModelError: it is absent or computed at run time.
    """
    tensor = inputs[index] if index < len(inputs) else None
    if tensor is None:
        raise ModelError(f"{what} (input {index}) is missing")
    if tensor.data is None:
        raise ModelError(f"{what} ('{tensor.name}') is computed at run time; export the model with fixed shapes")
    return tensor.data


def constant_ints(inputs: Sequence[Tensor | None], index: int, what: str) -> tuple[int, ...]:
    """`constant` as a flat tuple of ints."""
    data = constant(inputs, index, what)
    if data.dtype.kind not in "iu":
        raise ModelError(f"{what} (input {index}) must be integers, not {data.dtype}")
    return tuple(int(v) for v in np.asarray(data).reshape(-1))


def int_tensor(name: str, values: Sequence[int] | int) -> Tensor:
    """An int32 constant, for writers that spell an attribute as an input."""
    data = np.asarray(values, np.int32)
    return Tensor(name, data.shape, data.dtype, None, data)


def positive_axis(axis: int, rank: int) -> int:
    """The axis counted from the front. Raises ModelError where it is outside the rank."""
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} is outside a tensor of rank {rank}")
    return axis % rank


def same_quantization(node: Node) -> list[str]:
    """A sentence for each quantized input that does not share the output's scale and zero point, for operators that
    only compare or move raw values; none where all of them are whole numbers without a scale."""
    output = node.output
    if output.quantization is None and all(t.quantization is None for t in node.present):
        return []
    return [
        f"{node.op.kind} input '{t.name}' has scale {t.q.s:.7g} and zero point {t.q.z} but output '{output.name}' has "
        f"{output.q.s:.7g} and {output.q.z}; they must be equal: insert a QUANTIZE before it or convert the model again"
        for t in node.present
        if output.dtype in (np.int8, np.int16)
        and t.dtype == output.dtype
        and (t.q.s, t.q.z) != (output.q.s, output.q.z)
    ]
