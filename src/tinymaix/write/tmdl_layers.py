"""How a .tmdl spells each operator: its type code, what it cannot say, and the bytes behind the layer's header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinymaix.graph import Array, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fixed_point import ACTIVATIONS, INT32_MAX, INT32_MIN, quantized_range
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.mean import Mean
from tinymaix.ops.softmax import Softmax
from tinymaix.plan.ping_pong import PingPong
from tinymaix.read import tmdl_schema as schema
from tinymaix.read.tmdl_schema import AddBody, FullyConnectedBody, ModelType, WindowBody, align8

U8_MAX, U16_MAX = 0xFF, 0xFFFF


@dataclass(frozen=True)
class Layer:
    """A node and what its bytes depend on: the tensor computed just before it, and the byte order "<" or ">"."""

    node: Node
    previous: Tensor
    model: ModelType
    plan: PingPong
    order: str

    def quantization(self, tensor: Tensor) -> tuple[float, float]:
        """Scale and zero point, which in float models are 1 and 0."""
        return (tensor.q.s, tensor.q.z) if self.model.is_integer else (1.0, 0)

    @property
    def other(self) -> Tensor:
        """The second operand, which is the kept one."""
        return next(t for t in self.node.activations if t is not self.previous)


@dataclass(frozen=True)
class Spelling:
    """``problems`` are sentences for what the layer cannot say; ``body`` is only called where there are none."""

    type: int
    problems: Callable[[Node, ModelType], list[str]]
    body: Callable[[Layer], bytes]


def layer_problems(node: Node, model: ModelType) -> list[str]:
    """One sentence for everything about the node that a .tmdl of that type has no way to say."""
    spelling = SPELLINGS.get(node.op.kind)
    where = f"{node.op.kind} '{node.name or node.output.name}'"
    if spelling is None:
        return [f"{where}: a .tmdl has no such layer; it has {', '.join(sorted(SPELLINGS))}"]
    problems = node.op.problems(node) or [
        *(p for tensor in (*node.activations, *node.outputs) for p in _tensor_problems(tensor, model)),
        *spelling.problems(node, model),
    ]
    return [f"{where}: {problem}" for problem in problems]


def _tensor_problems(tensor: Tensor, model: ModelType) -> list[str]:
    if not 2 <= len(tensor.shape) <= 4 or tensor.shape[0] != 1 or max(tensor.shape) > U16_MAX or min(tensor.shape) < 1:
        return [
            f"'{tensor.name}' has shape {list(tensor.shape)}; a .tmdl takes a batch of 1 and then one to three "
            f"dimensions of 1 to {U16_MAX}"
        ]
    if tensor.dtype != (np.int8 if model.is_integer else np.float32):
        return [f"'{tensor.name}' is {tensor.dtype} in a model that is {model.name}"]
    return []


def _weight_problems(node: Node, model: ModelType) -> list[str]:
    """Weights and biases that the model type cannot hold."""
    arrays = [(t.name, np.asarray(t.data)) for t in (node.input(1), node.optional(2)) if t is not None]
    if model.is_integer:
        bias = _folded_bias(node)
        if bias.min() < INT32_MIN or bias.max() > INT32_MAX:
            return ["the bias with the input's zero point folded in exceeds 32 bits; quantize the model again"]
        return []
    problems = [f"'{name}' has values that are not finite" for name, data in arrays if not np.isfinite(data).all()]
    if model.name == "fp16" and not problems:
        largest = float(np.finfo(np.float16).max)
        problems = [
            f"'{name}' has values beyond the {largest:.0f} that fp16 reaches; write the model as fp32"
            for name, data in arrays
            if np.abs(data).max(initial=0) > largest
        ]
    return problems


def _window_problems(node: Node, model: ModelType) -> list[str]:
    op = node.op
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    numbers = (*op.window(node).kernel, *op.stride, *op.dilation, *op.padding)
    problems = _weight_problems(node, model)
    if max(numbers) > U8_MAX:
        problems.append(f"kernel, stride, dilation or padding is {max(numbers)}; a .tmdl takes up to {U8_MAX}")
    if isinstance(op, Conv2D) and node.input(1).shape[3] != node.input(0).shape[3]:
        problems.append("it is a grouped convolution, which a .tmdl does not have")
    return problems


def _fully_connected_problems(node: Node, model: ModelType) -> list[str]:
    op = node.op
    assert isinstance(op, FullyConnected)
    problems = _weight_problems(node, model) + _activation_problems(node, op.activation)
    if node.input(0).elements != node.input(1).shape[1]:
        problems.append(f"it takes {node.input(0).elements // node.input(1).shape[1]} rows at once; a .tmdl takes one")
    return problems


def _activation_problems(node: Node, activation: str) -> list[str]:
    """A fused activation is fine only where the output's range does all of it."""
    y = node.output
    limits = np.iinfo(np.int8)
    if activation == "none" or (y.dtype == np.int8 and quantized_range(activation, y) == (limits.min, limits.max)):
        return []
    return [f"it fuses {activation}, for which its .tmdl layer has no field; leave the activation out of this layer"]


def _mean_problems(node: Node, model: ModelType) -> list[str]:
    op, x = node.op, node.input(0)
    assert isinstance(op, Mean)
    if len(x.shape) == 4 and sorted(axis % 4 for axis in op.axes) == [1, 2]:
        return []
    return [
        f"it takes the mean over axes {list(op.axes)} of {list(x.shape)}; a .tmdl takes it over height and width only"
    ]


def _pool_problems(node: Node, model: ModelType) -> list[str]:
    op, x = node.op, node.input(0)
    assert isinstance(op, AveragePool2D)
    problems = _activation_problems(node, op.activation)
    if op.pool != x.shape[1:3] or any(op.padding):
        problems.append(f"a window of {op.pool} on {list(x.shape)} is not global, and a .tmdl has no other pooling")
    if model.is_integer and op.pool != (1, 1):
        problems.append(
            "int8 AVERAGE_POOL_2D does not round as the global average pool of a .tmdl does, which is MEAN; "
            "build the model with GlobalAveragePooling2D"
        )
    return problems


def _softmax_problems(node: Node, model: ModelType) -> list[str]:
    assert isinstance(node.op, Softmax)
    return [] if node.op.beta == 1.0 else [f"its beta is {node.op.beta:g}; a .tmdl takes 1 only"]


def _add_problems(node: Node, model: ModelType) -> list[str]:
    assert isinstance(node.op, Add)
    problems = _activation_problems(node, node.op.activation)
    if len(node.activations) < 2 or any(t.shape != node.output.shape for t in node.activations):
        shapes = " and ".join(str(list(t.shape)) for t in node.present)
        problems.append(f"it adds {shapes}; a .tmdl adds two computed tensors of one shape")
    return problems


def _no_problems(node: Node, model: ModelType) -> list[str]:
    return []


def _window_body(layer: Layer) -> bytes:
    node, op = layer.node, layer.node.op
    assert isinstance(op, Conv2D | DepthwiseConv2D)
    window = op.window(node)
    channels = node.output.shape[3]
    scales = np.broadcast_to(node.input(1).q.scale, channels) if layer.model.is_integer else None
    offset = schema.LAYER_HEAD_SIZE + schema.WINDOW_BODY.size()
    offsets, blocks = _blocks(layer, offset, channels, scales)
    body = WindowBody(
        kernel_w=window.kernel[1],
        kernel_h=window.kernel[0],
        stride_w=op.stride[1],
        stride_h=op.stride[0],
        dilation_w=op.dilation[1],
        dilation_h=op.dilation[0],
        act=ACTIVATIONS.index(op.activation),
        pad=op.padding,
        depth_mul=channels // node.input(0).shape[3] if isinstance(op, DepthwiseConv2D) else 0,
        ws_oft=offsets[0],
        w_oft=offsets[1],
        b_oft=offsets[2],
    )
    return schema.WINDOW_BODY.pack(body, layer.model, layer.order) + blocks


def _fully_connected_body(layer: Layer) -> bytes:
    weights = layer.node.input(1)
    offset = schema.LAYER_HEAD_SIZE + schema.FULLY_CONNECTED_BODY.size()
    scales = weights.q.scale if layer.model.is_integer else None
    offsets, blocks = _blocks(layer, offset, weights.shape[0], scales)
    return schema.FULLY_CONNECTED_BODY.pack(FullyConnectedBody(*offsets), layer.model, layer.order) + blocks


def _blocks(layer: Layer, offset: int, channels: int, scales: Array | None) -> tuple[tuple[int, int, int], bytes]:
    """Offsets and bytes of weight scales, weights and biases, which begin at ``offset``."""
    model, order = layer.model, layer.order
    scale_data = b"" if scales is None else scales.astype(order + "f4").tobytes()
    if scales is not None:
        scale_data = scale_data.ljust(align8(4 * channels), b"\0")
    weight_data = model.store(_channels_first(layer.node), model.weight, order)
    bias_data = model.store(_folded_bias(layer.node), model.bias, order)
    offsets = offset, offset + len(scale_data), offset + len(scale_data) + len(weight_data)
    return offsets, scale_data + weight_data + bias_data


def _channels_first(node: Node) -> Array:
    """The weights with all of one output channel together: (out channel, in channel, kernel row, kernel column)."""
    weights = np.asarray(node.input(1).data)
    return weights if weights.ndim == 2 else weights.transpose(_OUT_FIRST[node.op.kind])


_OUT_FIRST = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}


def _folded_bias(node: Node) -> Array:
    """The bias, zeros where there is none; in integer models less zero point times the sum of the channel's weights."""
    weights, bias = _channels_first(node), node.optional(2)
    values = np.zeros(len(weights)) if bias is None else np.asarray(bias.data).reshape(-1)
    if weights.dtype.kind == "f":
        return values.astype(np.float32)
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    return np.asarray(values.astype(np.int64) - node.input(0).q.z * sums)


def _add_body(layer: Layer) -> bytes:
    scale, zero_point = layer.quantization(layer.node.input(1))
    body = AddBody(layer.plan.place(layer.other).offset, scale, zero_point)
    return schema.ADD_BODY.pack(body, layer.model, layer.order)


def _no_body(layer: Layer) -> bytes:
    return b""


SPELLINGS = {
    "CONV_2D": Spelling(schema.CONV_2D, _window_problems, _window_body),
    "DEPTHWISE_CONV_2D": Spelling(schema.DEPTHWISE_CONV_2D, _window_problems, _window_body),
    "FULLY_CONNECTED": Spelling(schema.FULLY_CONNECTED, _fully_connected_problems, _fully_connected_body),
    "MEAN": Spelling(schema.GAP, _mean_problems, _no_body),
    "AVERAGE_POOL_2D": Spelling(schema.GAP, _pool_problems, _no_body),
    "SOFTMAX": Spelling(schema.SOFTMAX, _softmax_problems, _no_body),
    "RESHAPE": Spelling(schema.RESHAPE, _no_problems, _no_body),
    "ADD": Spelling(schema.ADD, _add_problems, _add_body),
}
"""By kind of operator."""
