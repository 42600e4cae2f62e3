"""A .tflite file -> Graph, without TensorFlow.

The file is hostile until shown otherwise: all offsets go through `tinymaix.read.flatbuffer`, every index is checked
here, and shapes are inferred from the inputs rather than believed. All problems of a model are reported at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Quantization, Shape, Tensor, unique
from tinymaix.ops import OPERATORS, TFLITE_OPERATORS, Operator
from tinymaix.ops.pooling import Pool2D
from tinymaix.read import flatbuffer
from tinymaix.read import tflite_schema as schema
from tinymaix.read.flatbuffer import Table
from tinymaix.read.tflite_names import builtin_name

MAX_TENSOR_BYTES = 2**30
MAX_FOLDED_BYTES = 2**24
MAX_FOLDED_MACS = 2**24
"""What folding constants may add up to in one file: a small file can describe a lot of work."""
MAX_RANK = 8
MAX_NAME = 1000
MAX_PROBLEMS = 100


def read_tflite(data: bytes, name: str = "model") -> Graph:
    """Read the first subgraph of a .tflite.

    Args:
        data: the whole file.
        name: what to call the graph.

    Raises:
        ModelError: one sentence for everything that is damaged or not supported.
    """
    if data[4:8] != schema.FILE_IDENTIFIER:
        raise ModelError("not a .tflite file: the identifier TFL3 is not at byte 4")
    model = flatbuffer.Buffer(data).root("the model")
    version = model.u32(schema.Model.VERSION)
    if version != schema.SCHEMA_VERSION:
        raise ModelError(f"the .tflite has schema version {version}; only version {schema.SCHEMA_VERSION} is in use")
    subgraphs = model.tables(schema.Model.SUBGRAPHS, "subgraph")
    if not subgraphs:
        raise ModelError("the .tflite holds no subgraph")
    return _Reader(model, subgraphs[0], name).graph()


class _NoOptions:
    """The options of an operator that has none: every field at its default."""

    def i8(self, slot: int, default: int = 0) -> int:
        return default

    i32 = i8

    def f32(self, slot: int, default: float = 0.0) -> float:
        return default

    def flag(self, slot: int, default: bool = False) -> bool:
        return default

    def ints(self, slot: int) -> list[int]:
        return []


class _Reader:
    """One subgraph while it is read. ``problems`` collects sentences; `graph` raises them together."""

    def __init__(self, model: Table, subgraph: Table, name: str) -> None:
        self.name = name
        self.subgraph = subgraph
        self.problems: list[str] = []
        self.missing: set[str] = set()
        self.buffers = model.tables(schema.Model.BUFFERS, "buffer")
        self.codes = [_operator_code(code) for code in model.tables(schema.Model.OPERATOR_CODES, "operator code")]
        self.data = model.buffer.data
        self.tensors = [
            self._tensor(i, table) for i, table in enumerate(subgraph.tables(schema.SubGraph.TENSORS, "tensor"))
        ]
        self.known = {id(tensor) for tensor in self.tensors if tensor.is_constant}
        self.bytes_left, self.macs_left = MAX_FOLDED_BYTES, MAX_FOLDED_MACS

    def graph(self) -> Graph:
        inputs = self._pick(self.subgraph.ints(schema.SubGraph.INPUTS), "the inputs of the model")
        self.known |= {id(tensor) for tensor in inputs}
        if any(tensor.is_constant for tensor in inputs) or len({id(t) for t in inputs}) < len(inputs):
            self.problems.append("an input of the model is a constant or is named twice")
        nodes = []
        for i, table in enumerate(self.subgraph.tables(schema.SubGraph.OPERATORS, "operator")):
            node = self._node(i, table)
            if node is not None:
                nodes.append(node)
            if len(self.problems) >= MAX_PROBLEMS:
                break
        outputs = self._pick(self.subgraph.ints(schema.SubGraph.OUTPUTS), "the outputs of the model")
        self.problems += [
            f"output '{tensor.name}' of the model is never computed"
            for tensor in outputs
            if id(tensor) not in self.known
        ]
        if not inputs or not outputs:
            self.problems.append("the model needs at least one input and one output")
        if self.missing:
            self.problems.append(f"supported operators are: {', '.join(sorted(OPERATORS))}")
        if self.problems:
            raise ModelError(list(dict.fromkeys(self.problems)))
        return Graph(nodes, inputs, outputs, self.name)

    def _tensor(self, index: int, table: Table) -> Tensor:
        name = table.text(schema.Tensor.NAME)[:MAX_NAME] or f"tensor {index}"
        code = table.i8(schema.Tensor.TYPE)
        dtype = np.dtype(schema.TENSOR_TYPES.get(code, "int8"))
        tensor = Tensor(name, self._shape(name, table), dtype)
        if code not in schema.TENSOR_TYPES:
            kind = schema.FOREIGN_TENSOR_TYPES.get(code, f"type code {code}")
            self.problems.append(f"tensor '{name}' is {kind}, which is not supported")
        elif tensor.nbytes > MAX_TENSOR_BYTES:
            self.problems.append(f"tensor '{name}' of shape {list(tensor.shape)} is larger than any chip's memory")
        else:
            tensor.data = self._constant(tensor, table)
        if table.table(schema.Tensor.SPARSITY, "sparsity") is not None:
            self.problems.append(f"tensor '{name}' is stored sparsely; convert the model without sparsity")
        tensor.quantization = self._quantization(tensor, table)
        return tensor

    def _shape(self, name: str, table: Table) -> Shape:
        """The shape; a size that the file leaves open (-1, as converters write for the batch) is read as 1."""
        shape = table.ints(schema.Tensor.SHAPE)
        if len(shape) > MAX_RANK:
            self.problems.append(f"tensor '{name}' has {len(shape)} dimensions; at most {MAX_RANK} are supported")
            return ()
        if math.prod(max(size, 1) for size in shape) > MAX_TENSOR_BYTES:
            self.problems.append(f"tensor '{name}' of shape {shape} is larger than any chip's memory")
            return ()
        return tuple(1 if size < 0 else size for size in shape)

    def _constant(self, tensor: Tensor, table: Table) -> Array | None:
        index = table.u32(schema.Tensor.BUFFER)
        if index >= len(self.buffers):
            self.problems.append(f"tensor '{tensor.name}' uses buffer {index}, but there are {len(self.buffers)}")
            return None
        raw = self._bytes(self.buffers[index])
        if raw is None or not len(raw):
            empty = tensor.elements == 0 and index > 0
            return np.zeros(tensor.shape, tensor.dtype) if empty else None
        if len(raw) != tensor.nbytes:
            self.problems.append(
                f"tensor '{tensor.name}' of shape {list(tensor.shape)} needs {tensor.nbytes} bytes of data, "
                f"but its buffer {index} has {len(raw)}"
            )
            return None
        table.buffer.charge(tensor.nbytes)
        stored = np.frombuffer(raw, tensor.dtype.newbyteorder("<"))
        return stored.astype(tensor.dtype).reshape(tensor.shape)

    def _bytes(self, buffer: Table) -> memoryview | None:
        """The data of a buffer: inside the FlatBuffer, or behind it in files above 2 GB."""
        offset, size = buffer.u64(schema.Buffer.OFFSET), buffer.u64(schema.Buffer.SIZE)
        if offset > 1:
            if offset + size > len(self.data):
                raise ModelError(f"damaged file: {buffer.what} lies outside the file")
            return memoryview(self.data)[offset : offset + size]
        values = buffer.vector(schema.Buffer.DATA, "u1")
        return None if values is None else values.data

    def _quantization(self, tensor: Tensor, table: Table) -> Quantization | None:
        parameters = table.table(schema.Tensor.QUANTIZATION, f"the quantization of tensor '{tensor.name}'")
        if parameters is None:
            return None
        scale = parameters.vector(schema.QuantizationParameters.SCALE, "f4")
        if scale is None or not scale.size:
            return None
        points = parameters.vector(schema.QuantizationParameters.ZERO_POINT, "i8")
        zero_point = np.zeros(1, np.int64) if points is None or not points.size else points.astype(np.int64)
        parameters.buffer.charge(scale.nbytes * 4)
        if zero_point.size not in (1, scale.size) or not np.isfinite(scale).all() or (scale < 0).any():
            self.problems.append(f"tensor '{tensor.name}' has a damaged quantization; convert the model again")
            return None
        if tensor.dtype.kind in "iu" and tensor.dtype.itemsize < 4:
            limits = np.iinfo(tensor.dtype)
            if (zero_point < limits.min).any() or (zero_point > limits.max).any():
                self.problems.append(f"tensor '{tensor.name}' has a zero point outside the range of {tensor.dtype}")
                return None
        if not scale.all() and not tensor.is_constant:
            return None
        rank = len(tensor.shape)
        axis = parameters.i32(schema.QuantizationParameters.QUANTIZED_DIMENSION)
        if scale.size == 1 or rank == 1:  # old converters gave a bias the axis of its weights
            axis = 0
        elif not 0 <= axis < rank or tensor.shape[axis] != scale.size:
            self.problems.append(
                f"tensor '{tensor.name}' of shape {list(tensor.shape)} has {scale.size} scales along axis {axis}; "
                "it must have one, or one for each index along an axis"
            )
            return None
        return Quantization.of(scale.astype(np.float32), zero_point, axis)

    def _pick(self, indices: Sequence[int], what: str) -> list[Tensor]:
        wrong = [index for index in indices if not 0 <= index < len(self.tensors)]
        if wrong:
            self.problems.append(f"{what} name tensor {wrong[0]}, but there are {len(self.tensors)}")
        return [self.tensors[index] for index in indices if 0 <= index < len(self.tensors)]

    def _node(self, index: int, table: Table) -> Node | None:
        """One operator, or None where it is folded into constants or has problems."""
        kind, operator = self._operator(index, table)
        indices = table.ints(schema.Operator.INPUTS)
        what = f"operator {index} {kind}"
        present = iter(self._pick([i for i in indices if i != -1], f"the inputs of {what}"))
        inputs = [None if i == -1 else next(present, None) for i in indices]
        outputs = self._pick(table.ints(schema.Operator.OUTPUTS), f"the outputs of {what}")
        label = f"{what} (output '{outputs[0].name}')" if outputs else what
        self.problems += [
            f"{label} reads '{t.name}' before it is computed"
            for t in unique(t for t in inputs if t is not None)
            if id(t) not in self.known
        ]
        if (
            not outputs
            or any(id(tensor) in self.known for tensor in outputs)
            or len(set(map(id, outputs))) < len(outputs)
        ):
            self.problems.append(f"{label} must write tensors that nothing else defines")
            return None
        self.known |= {id(tensor) for tensor in outputs}
        if operator is None:
            return None
        try:
            return self._apply(operator, table, inputs, outputs)
        except ModelError as error:
            self.problems += [f"{label}: {problem}" for problem in error.problems]
        except (ArithmeticError, LookupError, ValueError, TypeError) as error:
            self.problems.append(f"{label}: its attributes make no sense ({error})")
        return None

    def _operator(self, index: int, table: Table) -> tuple[str, type[Operator] | None]:
        code_index = table.u32(schema.Operator.OPCODE_INDEX)
        if code_index >= len(self.codes):
            self.problems.append(f"operator {index} has code index {code_index}, but there are {len(self.codes)} codes")
            return "?", None
        code, kind = self.codes[code_index]
        operator = TFLITE_OPERATORS.get(code)
        if operator is None:
            self.missing.add(kind)
            names = self._pick(table.ints(schema.Operator.OUTPUTS), "outputs")
            tensor = f" (output '{names[0].name}')" if names else ""
            self.problems.append(
                f"operator {index} {kind}{tensor} is not supported; build the model without it, "
                "or define it in Python as a tinymaix.ops.Operator"
            )
        return kind, operator

    def _apply(
        self, operator: type[Operator], table: Table, inputs: list[Tensor | None], outputs: list[Tensor]
    ) -> Node | None:
        options = table.table(schema.Operator.BUILTIN_OPTIONS, f"the options of {table.what}") or _NoOptions()
        op = operator.from_tflite(options, inputs, outputs)
        kept = list(operator.tflite_inputs(inputs))
        shapes = op.infer(kept)
        if len(shapes) != len(outputs):
            raise ModelError(f"it has {len(outputs)} outputs, but {operator.kind} gives {len(shapes)}")
        for tensor, shape in zip(outputs, shapes, strict=True):
            tensor.shape = tuple(int(size) for size in shape)
            if tensor.nbytes > MAX_TENSOR_BYTES:
                raise ModelError(f"its output of shape {list(shape)} is larger than any chip's memory")
        node = Node(op, kept, outputs, outputs[0].name)
        if _is_known(node) and self._affordable(node):
            values = op.reference(node, [None if t is None else _value(t) for t in node.inputs])
            for tensor, value in zip(outputs, values, strict=True):
                tensor.data = value
            return None
        problems = op.problems(node)
        if problems:
            raise ModelError(problems)
        return node

    def _affordable(self, node: Node) -> bool:
        """Whether to compute a constant now, charged to what the whole file may ask for. A pool counts no MACs."""
        size, macs = sum(tensor.nbytes for tensor in node.outputs), node.op.macs(node)
        if size > self.bytes_left or macs > self.macs_left or isinstance(node.op, Pool2D):
            return False
        self.bytes_left -= size
        self.macs_left -= macs
        return True


def _is_known(node: Node) -> bool:
    """Whether the outputs follow from the file alone: all inputs are constants, or only their shape matters."""
    return node.op.kind == "SHAPE" or not node.activations


def _value(tensor: Tensor) -> Array:
    """A constant's value; for SHAPE any array of the shape will do, and this one takes no memory."""
    return tensor.data if tensor.data is not None else np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape)


def _operator_code(table: Table) -> tuple[int, str]:
    """(BuiltinOperator code, name). The newer field holds codes above 127; the older one is a signed byte."""
    code = max(table.i8(schema.OperatorCode.DEPRECATED_BUILTIN_CODE), table.i32(schema.OperatorCode.BUILTIN_CODE))
    if code == schema.CUSTOM_OPERATOR:
        return code, f"CUSTOM '{table.text(schema.OperatorCode.CUSTOM_CODE)}'"
    return code, builtin_name(code)
