"""The tensors of a .tflite's subgraph: shapes, constants, quantization and states, all checked."""

from __future__ import annotations

import math

import numpy as np

from tinymaix.graph import Array, ModelError, Quantization, Shape, Tensor
from tinymaix.ops.int4 import unpack
from tinymaix.read import tflite_schema as schema
from tinymaix.read.flatbuffer import Table

MAX_TENSOR_BYTES = 2**30
MAX_STATE_BYTES = 2**24
MAX_RANK = 8
MAX_NAME = 1000


class TensorReader:
    """Reads tensors; ``problems`` collects a sentence for everything that is wrong."""

    def __init__(self, buffers: list[Table], data: bytes, problems: list[str]) -> None:
        self.buffers, self.data, self.problems = buffers, data, problems
        self.state_bytes_left = MAX_STATE_BYTES

    def tensor(self, index: int, table: Table) -> Tensor:
        name = table.text(schema.Tensor.NAME)[:MAX_NAME] or f"tensor {index}"
        code = table.i8(schema.Tensor.TYPE)
        dtype = np.dtype(schema.TENSOR_TYPES.get(code, "int8"))
        tensor = Tensor(name, self._shape(name, table), dtype)
        if code == schema.RESOURCE:
            tensor.shape = ()
        elif code not in schema.TENSOR_TYPES and code != schema.INT4:
            kind = schema.FOREIGN_TENSOR_TYPES.get(code, f"type code {code}")
            self.problems.append(f"tensor '{name}' is {kind}, which is not supported")
        elif tensor.nbytes > MAX_TENSOR_BYTES:
            self.problems.append(f"tensor '{name}' of shape {list(tensor.shape)} is larger than any chip's memory")
        else:
            tensor.data = self._constant(tensor, table, packed=code == schema.INT4)
            tensor.is_int4 = code == schema.INT4
            if tensor.is_int4 and not tensor.is_constant:
                self.problems.append(f"tensor '{name}' is int4, which only constants may be")
        if table.table(schema.Tensor.SPARSITY, "sparsity") is not None:
            self.problems.append(f"tensor '{name}' is stored sparsely; convert the model without sparsity")
        tensor.quantization = self._quantization(tensor, table)
        if table.flag(schema.Tensor.IS_VARIABLE) and not tensor.is_constant:
            self.make_state(tensor)
        return tensor

    def make_state(self, tensor: Tensor) -> None:
        """Let the tensor keep its value between runs, from a real 0 on."""
        self.state_bytes_left -= tensor.nbytes
        if self.state_bytes_left < 0:
            self.problems.append(f"the states of the model, up to '{tensor.name}', are larger than any chip's memory")
            return
        zero = tensor.q.z if tensor.dtype == np.int8 and tensor.quantization is not None else 0
        tensor.initial = np.full(tensor.shape, zero, tensor.dtype)

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

    def _constant(self, tensor: Tensor, table: Table, packed: bool) -> Array | None:
        """The data of a tensor, None where it has none. ``packed``: two values a byte, the lower half first."""
        index = table.u32(schema.Tensor.BUFFER)
        if index >= len(self.buffers):
            self.problems.append(f"tensor '{tensor.name}' uses buffer {index}, but there are {len(self.buffers)}")
            return None
        raw = self._bytes(self.buffers[index])
        if raw is None or not len(raw):
            empty = tensor.elements == 0 and index > 0
            return np.zeros(tensor.shape, tensor.dtype) if empty else None
        size = (tensor.elements + 1) // 2 if packed else tensor.nbytes
        if len(raw) != size:
            self.problems.append(
                f"tensor '{tensor.name}' of shape {list(tensor.shape)} needs {size} bytes of data, "
                f"but its buffer {index} has {len(raw)}"
            )
            return None
        table.buffer.charge(tensor.nbytes)
        stored = np.frombuffer(raw, tensor.dtype.newbyteorder("<"))
        if packed:
            return unpack(stored, tensor.elements).reshape(tensor.shape)
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
