"""The layers of a .tmdl -> nodes: every code, size and offset of a layer's body is checked here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Quantization, Shape, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fixed_point import ACTIVATIONS, INT32_MAX, INT32_MIN
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.mean import Mean
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.softmax import Softmax
from tinymaix.read import tmdl_schema as schema
from tinymaix.read.tmdl_schema import AddBody, Dims, FullyConnectedBody, LayerHead, ModelType, Struct, WindowBody

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Layer:
    """A layer as it lies in the file, header included; ``name`` is for its tensors."""

    name: str
    head: LayerHead
    data: bytes
    model: ModelType
    order: str

    def body(self, layout: Struct) -> list[object]:
        if len(self.data) < schema.LAYER_HEAD_SIZE + layout.size():
            raise ModelError(f"its {len(self.data)} bytes are too few for its parameters")
        return layout.unpack(self.data, schema.LAYER_HEAD_SIZE, self.model, self.order)

    def array(self, what: str, offset: int, count: int, stored: str | None = None) -> Array:
        """``count`` values at ``offset`` of the layer; weight scales where ``stored`` is None."""
        size = count * np.dtype(stored or "f4").itemsize
        if offset % 4 or offset < schema.LAYER_HEAD_SIZE or offset + size > len(self.data):
            raise ModelError(f"its {size} bytes of {what} at offset {offset} do not lie in its {len(self.data)} bytes")
        if stored is None:
            return np.frombuffer(self.data, self.order + "f4", count, offset).astype(np.float32)
        return self.model.load(self.data, offset, count, stored, self.order)

    def quantization(self, scale: float, zero_point: float) -> Quantization | None:
        """What two fields of an integer model mean; None in a float model, where they mean nothing."""
        if not self.model.is_integer:
            return None
        limits = np.iinfo(np.int8)
        if not SMALLEST_SCALE <= scale < np.inf or not limits.min <= zero_point <= limits.max:
            raise ModelError(f"scale {scale:g} with zero point {zero_point} is not a quantization of int8")
        return Quantization.of(scale, int(zero_point))


def shape_of(dims: Dims) -> Shape:
    """The shape, with a batch of 1, that the dims of a file say."""
    rank, *sizes = dims
    if not 1 <= rank <= 3 or min(sizes) < 1 or any(size != 1 for size in sizes[: 3 - rank]):
        raise ModelError(
            f"{list(dims)} are not dimensions: a rank of 1 to 3, then height, width, channels of at least 1"
        )
    return 1, *sizes[3 - rank :]


Operand = Callable[[int], Tensor]
"""The tensor that lies at an offset of the main buffer with the shape of the layer's input."""


def _window(layer: Layer, x: Tensor, y: Tensor, operand: Operand) -> Node:
    body = WindowBody(*layer.body(schema.WINDOW_BODY))  # type: ignore[arg-type]
    if body.act >= len(ACTIVATIONS):
        raise ModelError(f"activation code {body.act} is not supported; the codes are {_codes()}")
    if len(x.shape) != 4 or len(y.shape) != 4:
        raise ModelError(f"it turns {list(x.shape)} into {list(y.shape)}; both must have height, width and channels")
    channels, kernel = y.shape[3], (body.kernel_h, body.kernel_w)
    depthwise = layer.head.type == schema.DEPTHWISE_CONV_2D
    if body.depth_mul * x.shape[3] != (channels if depthwise else 0):
        raise ModelError(
            f"depth multiplier {body.depth_mul} does not fit {x.shape[3]} input and {channels} output channels"
        )
    op = (DepthwiseConv2D if depthwise else Conv2D)(
        (body.stride_h, body.stride_w), (body.dilation_h, body.dilation_w), body.pad, ACTIVATIONS[body.act]
    )
    stored = (channels, 1 if depthwise else x.shape[3], *kernel)
    axes = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
    inputs = _constants(layer, x, (body.ws_oft, body.w_oft, body.b_oft), stored, axes)
    return Node(op, [x, *inputs], [y], layer.name)


def _codes() -> str:
    return ", ".join(f"{code} {name}" for code, name in enumerate(ACTIVATIONS))


def _fully_connected(layer: Layer, x: Tensor, y: Tensor, operand: Operand) -> Node:
    body = FullyConnectedBody(*layer.body(schema.FULLY_CONNECTED_BODY))  # type: ignore[arg-type]
    inputs = _constants(layer, x, body, (y.shape[-1], x.elements), (0, 1))
    return Node(FullyConnected(keep_num_dims=len(y.shape) > 2), [x, *inputs], [y], layer.name)


def _constants(
    layer: Layer, x: Tensor, offsets: tuple[int, int, int], stored: Shape, axes: tuple[int, ...]
) -> list[Tensor]:
    """Weights and bias. ``stored`` is the weights' shape in the file, output channels first; ``axes`` permute it."""
    model, channels = layer.model, stored[0]
    scales_at, weights_at, bias_at = offsets
    weights = layer.array("weights", weights_at, prod(stored), model.weight).reshape(stored)
    bias = layer.array("biases", bias_at, channels, model.bias)
    if not model.is_integer:
        if not np.isfinite(weights).all() or not np.isfinite(bias).all():
            raise ModelError("weights or biases are not finite")
        return [_constant(f"{layer.name}_weights", weights.transpose(axes)), _constant(f"{layer.name}_bias", bias)]
    scales = layer.array("weight scales", scales_at, channels)
    if not np.isfinite(scales).all() or (scales < 0).any():
        raise ModelError("weight scales are negative or not finite")
    if len(axes) == 2 and not scales[1:].any():
        scales = scales[:1]  # a fully connected layer with one scale for all channels
    sums = weights.reshape(channels, -1).sum(axis=1, dtype=np.int64)
    whole = bias.astype(np.int64) + x.q.z * sums
    if whole.min() < INT32_MIN or whole.max() > INT32_MAX:
        raise ModelError("biases exceed 32 bits without the zero point that is folded into them")
    return [
        _constant(f"{layer.name}_weights", weights.transpose(axes), Quantization.of(scales, axis=axes.index(0))),
        _constant(f"{layer.name}_bias", whole.astype(np.int32), Quantization.of(scales * x.q.scale)),
    ]


def _constant(name: str, data: Array, quantization: Quantization | None = None) -> Tensor:
    return Tensor(name, data.shape, data.dtype, quantization, np.ascontiguousarray(data))


def _add(layer: Layer, x: Tensor, y: Tensor, operand: Operand) -> Node:
    """The original's files have the scales of the operands in the order of the addition, but the offset of the operand
    computed last always comes first. So what the operands' own layers say of their scales decides which is which."""
    body = AddBody(*layer.body(schema.ADD_BODY))  # type: ignore[arg-type]
    first = layer.quantization(layer.head.in_s, layer.head.in_zp)
    second = layer.quantization(body.in_s1, body.in_zp1)
    kept = operand(body.in_oft1)
    for inputs in ([x, kept], [kept, x]):
        if same_quantization(inputs[0], first) and same_quantization(inputs[1], second):
            return Node(Add(), list(inputs), [y], layer.name)
    raise ModelError(f"its scales are not those that '{x.name}' and '{kept.name}' were computed with")


def same_quantization(tensor: Tensor, stated: Quantization | None) -> bool:
    """Whether a layer states the quantization that its operand has, which in float models is none."""
    own = tensor.quantization
    return own is stated is None or (own is not None and stated is not None and (own.s, own.z) == (stated.s, stated.z))


def _without_body(make: Callable[[Tensor], Operator]) -> Callable[[Layer, Tensor, Tensor, Operand], Node]:
    """The builder of a layer that is all header; ``make`` gives the operator for an output."""
    return lambda layer, x, y, operand: Node(make(y), [x], [y], layer.name)


BUILDERS: dict[int, Callable[[Layer, Tensor, Tensor, Operand], Node]] = {
    schema.CONV_2D: _window,
    schema.DEPTHWISE_CONV_2D: _window,
    schema.FULLY_CONNECTED: _fully_connected,
    schema.GAP: _without_body(lambda y: Mean((1, 2), keep_dims=len(y.shape) == 4)),
    schema.SOFTMAX: _without_body(lambda y: Softmax()),
    schema.RESHAPE: _without_body(lambda y: Reshape(y.shape)),
    schema.ADD: _add,
}
"""By type of layer: the node, given the layer, its input and output, and a way to find a second operand."""
