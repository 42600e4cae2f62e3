"""Graph -> .tflite (schema version 3), as TFLM and LiteRT load it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flatbuffers import Builder, flexbuffers

from tinymaix.graph import Array, Graph, ModelError, Node, Quantization, Tensor, unique
from tinymaix.ops.base import OptionFields
from tinymaix.ops.int4 import pack
from tinymaix.read import tflite_schema as schema
from tinymaix.write.atomic import write_atomic
from tinymaix.write.tflite_pads import spell_pads
from tinymaix.write.tflite_parts import in_parts
from tinymaix.write.tflite_tables import in_tables

Fields = dict[int, tuple[str, Any]]
TYPE_CODES = {name: code for code, name in schema.TENSOR_TYPES.items()}
ALIGNMENT = 16  # of constants, so that an interpreter can use them where they lie

VERSIONS = {130: 2}
"""Versions of operators by code, where the first is not that of a builtin: BROADCAST_TO."""

PREPEND = {
    "i8": Builder.PrependInt8,
    "u8": Builder.PrependUint8,
    "i32": Builder.PrependInt32,
    "u32": Builder.PrependUint32,
    "f32": Builder.PrependFloat32,
    "flag": Builder.PrependBool,
    "offset": Builder.PrependUOffsetTRelative,
}


def write_tflite(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write the graph as a .tflite that both TFLM and LiteRT can run, whole or not at all.

    int8 functions that one of them lacks are written as tables.

    Raises:
        ModelError: a .tflite has no way to say it, see `tflite_bytes`.
        OSError: the file cannot be written.
    """
    write_atomic(path, tflite_bytes(in_tables(graph)))


def tflite_bytes(graph: Graph) -> bytes:
    """The graph as the bytes of a .tflite.

    A tensor that is neither constant nor input nor computed is written as a variable: it keeps its value between runs.
    What has no operator there is written in parts, see `tinymaix.write.tflite_parts`.

    Raises:
        ModelError: one sentence for each operator or tensor type that a .tflite does not know.
    """
    graph = in_parts(graph)
    _check(graph)
    graph = spell_pads(graph)
    builder = Builder(1024)
    spelled = [_spell(node) for node in graph.nodes]
    links = [t for (_, inputs), node in zip(spelled, graph.nodes, strict=True) for t in (*inputs, *node.outputs) if t]
    within = {id(node): node.op.tflite_intermediates(node) for node in graph.nodes}
    intermediates = [t for listed in within.values() for t in listed]
    tensors = unique([*graph.inputs, *links, *graph.outputs, *intermediates])
    index = {id(tensor): i for i, tensor in enumerate(tensors)}
    codes = list(dict.fromkeys(_code(node) for node in graph.nodes))
    computed = {id(t) for t in (*graph.inputs, *intermediates, *(t for node in graph.nodes for t in node.outputs))}

    buffers = [_table(builder, {})]  # by convention buffer 0 is empty: the buffer of all tensors without data
    data_index: dict[bytes, int] = {}
    tensor_tables = []
    for tensor in tensors:
        buffer = 0
        if tensor.data is not None:
            data = _stored(tensor, tensor.data)
            buffer = data_index.setdefault(data, len(buffers))
            if buffer == len(buffers):
                buffers.append(_table(builder, {schema.Buffer.DATA: ("offset", _aligned(builder, data))}))
        is_variable = tensor.data is None and id(tensor) not in computed
        tensor_tables.append(_tensor(builder, tensor, buffer, is_variable))

    operators = [
        _operator(builder, node, codes.index(_code(node)), fields, inputs, within[id(node)], index)
        for node, (fields, inputs) in zip(graph.nodes, spelled, strict=True)
    ]
    subgraph: Fields = {
        schema.SubGraph.TENSORS: ("offset", _offsets(builder, tensor_tables)),
        schema.SubGraph.INPUTS: ("offset", _indices(builder, graph.inputs, index)),
        schema.SubGraph.OUTPUTS: ("offset", _indices(builder, graph.outputs, index)),
        schema.SubGraph.OPERATORS: ("offset", _offsets(builder, operators)),
        schema.SubGraph.NAME: ("offset", builder.CreateString(graph.name)),
    }
    subgraphs = _offsets(builder, [_table(builder, subgraph)])
    model: Fields = {
        schema.Model.VERSION: ("u32", schema.SCHEMA_VERSION),
        schema.Model.OPERATOR_CODES: ("offset", _offsets(builder, [_operator_code(builder, *code) for code in codes])),
        schema.Model.SUBGRAPHS: ("offset", subgraphs),
        schema.Model.BUFFERS: ("offset", _offsets(builder, buffers)),
    }
    builder.Finish(_table(builder, model), file_identifier=schema.FILE_IDENTIFIER)
    return bytes(builder.Output())


def _code(node: Node) -> tuple[int, str]:
    """(BuiltinOperator code, name of a custom operator)."""
    name = node.op.tflite_custom
    return (schema.CUSTOM_OPERATOR, name) if name else (node.op.tflite[0], "")


def _spell(node: Node) -> tuple[OptionFields | bytes, list[Tensor | None]]:
    """Options, a custom operator's as a FlexBuffer, and inputs."""
    if not node.op.tflite_custom:
        return node.op.to_tflite(node)
    options, inputs = node.op.to_custom(node)
    return bytes(flexbuffers.Dumps(options)), inputs


def _check(graph: Graph) -> None:
    problems = [
        f"{node.op.kind} '{node.name}' has no spelling in a .tflite; compile the model to C or write another format"
        for node in graph.nodes
        if not hasattr(node.op, "tflite") and not node.op.tflite_custom
    ]
    problems += [
        f"tensor '{t.name}' is {t.dtype}, a type that a .tflite does not know; it knows {', '.join(TYPE_CODES)}"
        for t in graph.tensors
        if t.dtype.name not in TYPE_CODES
    ]
    if problems:
        raise ModelError(problems)


def _stored(tensor: Tensor, data: Array) -> bytes:
    """The bytes of a constant, little-endian; of int4 two values in each."""
    if tensor.is_int4:
        return pack(data.reshape(-1)).tobytes()
    return data.astype(tensor.dtype.newbyteorder("<")).tobytes()


def _tensor(builder: Builder, tensor: Tensor, buffer: int, is_variable: bool) -> int:
    fields: Fields = {
        schema.Tensor.SHAPE: ("ints", tensor.shape),
        schema.Tensor.TYPE: ("i8", schema.INT4 if tensor.is_int4 else TYPE_CODES[tensor.dtype.name]),
        schema.Tensor.BUFFER: ("u32", buffer),
        schema.Tensor.NAME: ("offset", builder.CreateString(tensor.name)),
        schema.Tensor.IS_VARIABLE: ("flag", is_variable),
    }
    if tensor.quantization is not None:
        fields[schema.Tensor.QUANTIZATION] = ("offset", _quantization(builder, tensor.quantization))
    return _table(builder, fields)


def _quantization(builder: Builder, quantization: Quantization) -> int:
    scale = builder.CreateNumpyVector(quantization.scale.astype(np.float32))
    zero_point = builder.CreateNumpyVector(quantization.zero_point.astype(np.int64))
    fields: Fields = {
        schema.QuantizationParameters.SCALE: ("offset", scale),
        schema.QuantizationParameters.ZERO_POINT: ("offset", zero_point),
        schema.QuantizationParameters.QUANTIZED_DIMENSION: ("i32", quantization.axis),
    }
    return _table(builder, fields)


def _operator(
    builder: Builder,
    node: Node,
    opcode_index: int,
    options: OptionFields | bytes,
    inputs: Sequence[Tensor | None],
    intermediates: Sequence[Tensor],
    index: Mapping[int, int],
) -> int:
    fields: Fields = {
        schema.Operator.OPCODE_INDEX: ("u32", opcode_index),
        schema.Operator.INPUTS: ("offset", _indices(builder, inputs, index)),
        schema.Operator.OUTPUTS: ("offset", _indices(builder, node.outputs, index)),
    }
    if intermediates:
        fields[schema.Operator.INTERMEDIATES] = ("offset", _indices(builder, intermediates, index))
    if isinstance(options, bytes):
        fields[schema.Operator.CUSTOM_OPTIONS] = ("offset", builder.CreateByteVector(options))
    elif union_type := node.op.tflite[1]:
        fields[schema.Operator.BUILTIN_OPTIONS_TYPE] = ("u8", union_type)
        fields[schema.Operator.BUILTIN_OPTIONS] = ("offset", _table(builder, dict(options)))
    return _table(builder, fields)


def _operator_code(builder: Builder, code: int, custom: str) -> int:
    fields: Fields = {
        schema.OperatorCode.DEPRECATED_BUILTIN_CODE: ("i8", min(code, schema.LAST_DEPRECATED_CODE)),
        schema.OperatorCode.VERSION: ("i32", VERSIONS.get(code, 1)),
        schema.OperatorCode.BUILTIN_CODE: ("i32", code),
    }
    if custom:
        fields[schema.OperatorCode.CUSTOM_CODE] = ("offset", builder.CreateString(custom))
    return _table(builder, fields)


def _table(builder: Builder, fields: Fields) -> int:
    """A table of (kind, value) by slot. Every field is written, also where it equals the schema's default."""
    ready = {
        slot: ("offset", builder.CreateNumpyVector(np.asarray(value, np.int32))) if kind == "ints" else (kind, value)
        for slot, (kind, value) in fields.items()
    }
    builder.StartObject(max(ready, default=-1) + 1)
    for slot, (kind, value) in ready.items():
        PREPEND[kind](builder, value)
        builder.Slot(slot)
    return int(builder.EndObject())


def _indices(builder: Builder, tensors: Sequence[Tensor | None], index: Mapping[int, int]) -> int:
    numbers = [-1 if tensor is None else index[id(tensor)] for tensor in tensors]
    return int(builder.CreateNumpyVector(np.asarray(numbers, np.int32)))


def _offsets(builder: Builder, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def _aligned(builder: Builder, data: bytes) -> int:
    builder.StartVector(1, len(data), ALIGNMENT)
    builder.head -= len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    return int(builder.EndVector())
