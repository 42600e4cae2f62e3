"""Graph -> .tmdl, byte for byte as the original converter writes it; the operators spell their layers."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.ops import tmdl as schema
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.tmdl import Head, LayerHead, LayerToWrite, ModelType, dims_of
from tinymaix.ops.window import same_padding
from tinymaix.plan.ping_pong import PingPong, ping_pong
from tinymaix.rewrite.fold import fold_constants
from tinymaix.rewrite.fuse_pad import fuse_pad
from tinymaix.write.atomic import write_atomic
from tinymaix.write.header import header_text
from tinymaix.write.tmdl_more import VERSION, stored_layers

U16_MAX, U32_MAX = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True)
class TmdlLayer:
    """What the log says of a layer: operator, header as written, reserved bytes, and how it pads, if it does."""

    kind: str
    head: LayerHead
    in_size: int
    out_size: int
    padding: str | None


@dataclass(frozen=True)
class Tmdl:
    """A .tmdl: its bytes and what they say."""

    data: bytes
    model_type: ModelType
    head: Head
    layers: list[TmdlLayer]

    @property
    def layer_buffer(self) -> int:
        """Bytes that the runtime needs to hold one layer at a time: the file's header and the largest layer."""
        return schema.HEAD_SIZE + max(layer.head.size for layer in self.layers)

    def log(self, path: str | os.PathLike[str]) -> str:
        """`convert_log` for a model that was written to ``path``."""
        return convert_log(self, [str(path), str(header_path(path))])

    def as_dict(self) -> dict[str, Any]:
        """The figures of the log, for JSON. Sizes and offsets in bytes."""
        return {
            "model_type": self.model_type.name,
            "out_deq": bool(self.head.out_deq),
            "in_dims": list(self.head.in_dims),
            "out_dims": list(self.head.out_dims),
            "model_size": len(self.data),
            "buffer_size": self.head.buf_size,
            "layer_buffer_size": self.layer_buffer,
            "layers": [
                {
                    "kind": layer.kind,
                    "in_dims": list(layer.head.in_dims),
                    "out_dims": list(layer.head.out_dims),
                    "in_offset": layer.head.in_oft,
                    "in_size": layer.in_size,
                    "out_offset": layer.head.out_oft,
                    "out_size": layer.out_size,
                    "padding": layer.padding,
                    "size": layer.head.size,
                }
                for layer in self.layers
            ],
        }


def write_tmdl(
    graph: Graph,
    path: str | os.PathLike[str],
    *,
    out_deq: bool = True,
    big_endian: bool = False,
    mdl_type: str | None = None,
    more_layers: bool = False,
) -> Tmdl:
    """Write the graph as a .tmdl, and a C header with the same bytes beside it under the same name with .h.

    Raises:
        ModelError: the format cannot say it, see `tmdl_bytes`.
        OSError: a file cannot be written.
    """
    if Path(path) == header_path(path):
        raise ModelError(f"'{path}' is where the C header would go; name the model file with .tmdl")
    tmdl = tmdl_bytes(graph, out_deq=out_deq, big_endian=big_endian, mdl_type=mdl_type, more_layers=more_layers)
    write_atomic(path, tmdl.data)
    write_atomic(header_path(path), header_text(tmdl))
    return tmdl


def header_path(path: str | os.PathLike[str]) -> Path:
    """Where the C header of a .tmdl goes."""
    return Path(path).with_suffix(".h")


def tmdl_bytes(
    graph: Graph,
    *,
    out_deq: bool = True,
    big_endian: bool = False,
    mdl_type: str | None = None,
    more_layers: bool = False,
) -> Tmdl:
    """The graph as a .tmdl.

    Args:
        out_deq: the runtime turns the output into float32.
        big_endian: for a big-endian chip.
        mdl_type: "int8", "int16" or "fp32" as the graph is, or "fp16", "fp8_143" or "fp8_152" for a float graph.
        more_layers: where the original's seven layers in a chain do not do, write version 2 with more types of layers,
            for a runtime that is built with TM_MORE_LAYERS.

    Raises:
        ModelError: one sentence for everything that the format has no way to say.
    """
    graph = fuse_pad(fold_constants(graph))
    model = _model_type(graph, mdl_type)
    try:
        return _original(graph, model, out_deq, ">" if big_endian else "<")
    except ModelError:
        if not more_layers:
            raise
        return _more(graph, model, out_deq, ">" if big_endian else "<")


def _more(graph: Graph, model: ModelType, out_deq: bool, order: str) -> Tmdl:
    """Version 2."""
    problems = [f"{node.op.kind} '{node.name}': {p}" for node in graph.nodes for p in node.op.problems(node)]
    tensors = [*graph.inputs, *(t for node in graph.nodes for t in node.outputs)]
    problems = problems or [p for tensor in tensors for p in _tensor_problems(tensor, model)]
    if problems:
        raise ModelError(problems)
    parts, size = stored_layers(graph, model, order, out_deq)
    head = Head(
        schema.MAGIC,
        model.code,
        int(out_deq),
        len(graph.inputs),
        len(graph.outputs),
        len(parts),
        size,
        0,
        dims_of(graph.inputs[0].shape),
        dims_of(graph.outputs[0].shape),
    )
    data = bytearray(schema.HEAD.pack(head, model, order))
    struct.pack_into(order + "I", data, schema.HEAD_SIZE - schema.RESERVED, VERSION)
    for _, record, body in parts:
        data += schema.LAYER_HEAD.pack(record, model, order) + body
    layers = [
        TmdlLayer(layer.kind, record, layer.x.elements * model.unit, layer.y.elements * model.unit, None)
        for layer, record, _ in parts
    ]
    return Tmdl(bytes(data), model, head, layers)


def _original(graph: Graph, model: ModelType, out_deq: bool, order: str) -> Tmdl:
    """Version 1, as the original converter writes it."""
    problems = [problem for node in graph.nodes for problem in _layer_problems(node, model)]
    try:
        plan = ping_pong(graph, model.unit, float_output=out_deq and model.name != "fp32")
    except ModelError as error:
        raise ModelError(problems + [f"a .tmdl holds a chain of layers: {p}" for p in error.problems]) from None
    if not 1 <= len(graph.nodes) <= U16_MAX or plan.size > U32_MAX:
        problems.append(
            f"the model has {len(graph.nodes)} layers and needs {plan.size} bytes of buffer; "
            f"a .tmdl takes 1 to {U16_MAX} layers and {U32_MAX} bytes"
        )
    if problems:
        raise ModelError(problems)

    sources = [graph.inputs[0], *(node.output for node in graph.nodes)]
    layers, parts = [], []
    for node, previous in zip(graph.nodes, sources, strict=False):
        layer = LayerToWrite(node, previous, model, order, lambda tensor: plan.place(tensor).offset)
        body = node.op.to_tmdl(layer)
        record = _record(layer, plan, len(body), is_out=node is graph.nodes[-1])
        layers.append(record)
        parts += [schema.LAYER_HEAD.pack(record.head, model, order), body]
    head = Head(
        magic=schema.MAGIC,
        mdl_type=model.code,
        out_deq=int(out_deq),
        input_cnt=1,
        output_cnt=1,
        layer_cnt=len(layers),
        buf_size=plan.size,
        sub_size=0,
        in_dims=dims_of(graph.inputs[0].shape),
        out_dims=dims_of(graph.outputs[0].shape),
    )
    return Tmdl(schema.HEAD.pack(head, model, order) + b"".join(parts), model, head, layers)


def _model_type(graph: Graph, name: str | None) -> ModelType:
    """The model type of that name, which must suit the activations; None: int8 or fp32 as they are."""
    types = {model.name: model for model in schema.MODEL_TYPES}
    found = sorted({t.dtype.name for t in (*graph.inputs, *graph.outputs)})
    natural = {"int8": "int8", "int16": "int16", "float32": "fp32"}.get(" and ".join(found))
    if natural is None:
        raise ModelError(
            f"a .tmdl is int8, int16 or float throughout, but inputs and outputs are {' and '.join(found)}"
        )
    if name is None:
        return types[natural]
    if name not in types:
        raise ModelError(f"there is no model type '{name}'; there are {', '.join(types)}")
    if name != natural and (types[name].is_integer or natural != "fp32"):
        raise ModelError(
            f"the model is {found[0]}, so it cannot be written as {name}; quantize it, or start from floats"
        )
    return types[name]


def _layer_problems(node: Node, model: ModelType) -> list[str]:
    """One sentence for everything about the node that a .tmdl of that type has no way to say."""
    where = f"{node.op.kind} '{node.name or node.output.name}'"
    if node.op.tmdl is None:
        known = sorted(kind for kind, operator in OPERATORS.items() if operator.tmdl)
        return [f"{where}: a .tmdl has no such layer; it has {', '.join(known)}"]
    problems = node.op.problems(node) or [
        *(p for tensor in (*node.activations, *node.outputs) for p in _tensor_problems(tensor, model)),
        *node.op.tmdl_problems(node, model),
    ]
    return [f"{where}: {problem}" for problem in problems]


def _tensor_problems(tensor: Tensor, model: ModelType) -> list[str]:
    if not 2 <= len(tensor.shape) <= 4 or tensor.shape[0] != 1 or max(tensor.shape) > U16_MAX or min(tensor.shape) < 1:
        return [
            f"'{tensor.name}' has shape {list(tensor.shape)}; a .tmdl takes a batch of 1 and then one to three "
            f"dimensions of 1 to {U16_MAX}"
        ]
    if tensor.dtype != (model.name if model.is_integer else np.float32):
        return [f"'{tensor.name}' is {tensor.dtype} in a model that is {model.name}"]
    return []


def _record(layer: LayerToWrite, plan: PingPong, body_size: int, is_out: bool) -> TmdlLayer:
    x, y = layer.node.activations[0], layer.node.output
    source, target = plan.place(layer.previous), plan.place(y)
    # The original gives an addition the offset of the operand computed last with the scale of the operand named first.
    (in_s, in_zp), (out_s, out_zp) = layer.quantization(x), layer.quantization(y)
    assert layer.node.op.tmdl is not None
    head = LayerHead(
        type=layer.node.op.tmdl[0],
        is_out=int(is_out),
        size=schema.LAYER_HEAD_SIZE + body_size,
        in_oft=source.offset,
        out_oft=target.offset,
        in_dims=dims_of(x.shape),
        out_dims=dims_of(y.shape),
        in_s=in_s,
        in_zp=in_zp,
        out_s=out_s,
        out_zp=out_zp,
    )
    return TmdlLayer(layer.node.op.kind, head, source.size, target.size, _padding(layer.node))


def _padding(node: Node) -> str | None:
    """How a convolution pads, as the log says it: "valid", "same", or top, bottom, left, right."""
    op = node.op
    if not isinstance(op, Conv2D | DepthwiseConv2D):
        return None
    if not any(op.padding):
        return "valid"
    height, width = node.input(0).shape[1:3]
    if op.padding == same_padding(height, width, op.window(node).kernel, op.stride, op.dilation):
        return "same"
    return f"{list(op.padding)}"


def convert_log(tmdl: Tmdl, saved: Sequence[str] = ()) -> str:
    """What the original converter prints, in its format; ``saved`` are the files that were written."""
    head, largest = tmdl.head, tmdl.layer_buffer - schema.HEAD_SIZE
    lines = ["================ pack model head ================"]
    lines += [f"{name} ={getattr(head, name)}" for name in Head._fields[1:-2]]
    lines += [f"{name} = {list(getattr(head, name))}" for name in Head._fields[-2:]]
    lines.append("================ pack layers ================")
    for layer in tmdl.layers:
        lines += [layer.kind, f"{list(layer.head.in_dims)} {list(layer.head.out_dims)}"]
        lines += ["OUTPUT!"] if layer.head.is_out else []
        lines.append(
            f"in_oft:{layer.head.in_oft}, size:{layer.in_size}; out_oft:{layer.head.out_oft}, size:{layer.out_size}"
        )
        lines += [f"padding {layer.padding}"] if layer.padding else []
        lines.append(f"layer_size={layer.head.size}")
    lines += [
        "================ pack done! ================",
        f"model size {_kb(len(tmdl.data))} ({len(tmdl.data)} B) FLASH",
        f"buffer size {_kb(head.buf_size)} ({head.buf_size} B) RAM",
        f"single layer mode subbuff size {_kb(tmdl.layer_buffer)} "
        f"({schema.HEAD_SIZE}+{largest}={tmdl.layer_buffer} B) RAM",
    ]
    lines += [f"Saved to {', '.join(saved)}"] if saved else []
    return "\n".join(lines)


def _kb(size: int) -> str:
    return f"{size / 1024:.1f}KB"
