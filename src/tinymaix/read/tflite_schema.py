"""Where things stand in a .tflite (schema version 3): field slots of the tables, and the codes of tensor types.

Facts of TensorFlow Lite's schema. Slot n of a FlatBuffers table is field n of the schema; a union takes two.
"""

from __future__ import annotations

from enum import IntEnum

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
CUSTOM_OPERATOR = 32
"""BuiltinOperator code of an operator that is known by its ``OperatorCode.CUSTOM_CODE`` alone."""
LAST_DEPRECATED_CODE = 127
"""A builtin code above this stands in ``OperatorCode.BUILTIN_CODE`` only; the older field then holds this value."""


CALL_ONCE, VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE = 129, 142, 143, 144
VARIABLE_OPERATORS = (CALL_ONCE, VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE)
"""BuiltinOperator codes of variables: they are states in a Graph, see `tinymaix.read.tflite_states`."""
RESOURCE = 13
"""TensorType code of a handle of a variable."""
INT4 = 17
"""TensorType code of constants of four bits, which are read as int8."""


class Model(IntEnum):
    VERSION = 0  # uint32
    OPERATOR_CODES = 1  # [OperatorCode]
    SUBGRAPHS = 2  # [SubGraph]
    DESCRIPTION = 3  # string
    BUFFERS = 4  # [Buffer]
    METADATA = 6  # [Metadata]


class SubGraph(IntEnum):
    TENSORS = 0  # [Tensor]
    INPUTS = 1  # [int32], indices of tensors
    OUTPUTS = 2  # [int32], indices of tensors
    OPERATORS = 3  # [Operator]
    NAME = 4  # string


class Tensor(IntEnum):
    SHAPE = 0  # [int32]
    TYPE = 1  # int8, see TENSOR_TYPES; default 0
    BUFFER = 2  # uint32, index of a buffer; 0 is the empty one
    NAME = 3  # string
    QUANTIZATION = 4  # QuantizationParameters
    IS_VARIABLE = 5  # bool: keeps its value from one inference to the next
    SPARSITY = 6  # SparsityParameters; there only where the data are packed sparsely
    SHAPE_SIGNATURE = 7  # [int32], as the shape but -1 for an unknown size


class Operator(IntEnum):
    OPCODE_INDEX = 0  # uint32, index of an operator code
    INPUTS = 1  # [int32], indices of tensors; -1 is an absent input
    OUTPUTS = 2  # [int32], indices of tensors
    BUILTIN_OPTIONS_TYPE = 3  # uint8, member of the union BuiltinOptions
    BUILTIN_OPTIONS = 4  # table
    CUSTOM_OPTIONS = 5  # [uint8]
    INTERMEDIATES = 8  # [int32], indices of tensors


class CallOnceOptions(IntEnum):
    INIT_SUBGRAPH_INDEX = 0  # int32


class VarHandleOptions(IntEnum):
    CONTAINER = 0  # string
    SHARED_NAME = 1  # string


class OperatorCode(IntEnum):
    DEPRECATED_BUILTIN_CODE = 0  # int8; the real code is the larger of the two
    CUSTOM_CODE = 1  # string
    VERSION = 2  # int32, default 1
    BUILTIN_CODE = 3  # int32


class Buffer(IntEnum):
    DATA = 0  # [uint8]
    OFFSET = 1  # uint64: with SIZE, data that stand outside the FlatBuffer (above 1, from the start of the file)
    SIZE = 2  # uint64


class QuantizationParameters(IntEnum):
    SCALE = 2  # [float32]
    ZERO_POINT = 3  # [int64]
    QUANTIZED_DIMENSION = 6  # int32


TENSOR_TYPES: dict[int, str] = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "bool",
    7: "int16",
    8: "complex64",
    9: "int8",
    10: "float64",
    11: "complex128",
    12: "uint64",
    15: "uint32",
    16: "uint16",
}
"""TensorType code -> name of the numpy dtype."""

FOREIGN_TENSOR_TYPES: dict[int, str] = {5: "string", 13: "resource", 14: "variant", 17: "int4", 18: "bfloat16"}
"""TensorType codes that numpy has no dtype for, by their names."""
