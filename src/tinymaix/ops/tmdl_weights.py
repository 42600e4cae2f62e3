"""Bodies of .tmdl layers with weights: scales, weights and biases, and the parameters of convolutions.

``axes`` permute an operator's weights into the file's order: out channel, in channel, kernel row, kernel column.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Quantization, Shape, Tensor
from tinymaix.ops.fixed_point import ACTIVATIONS, INT32_MAX, INT32_MIN
from tinymaix.ops.tmdl import LAYER_HEAD_SIZE, Dims, LayerToWrite, ModelType, StoredLayer, Struct, align8
from tinymaix.ops.window import Window

Axes = tuple[int, ...]
U8_MAX = 0xFF


class WindowBody(NamedTuple):
    """The body of a convolution, depthwise or not; offsets count from the start of the layer."""

    kernel_w: int
    kernel_h: int
    stride_w: int
    stride_h: int
    dilation_w: int
    dilation_h: int
    act: int
    pad: Dims  # top, bottom, left, right
    depth_mul: int
    ws_oft: int
    w_oft: int
    b_oft: int


WINDOW_BODY = Struct("6BH4BI4xIII", (7,))


def window_problems(node: Node, model: ModelType, window: Window, axes: Axes) -> list[str]:
    """Weights, biases and parameters of a convolution that its body cannot hold."""
    numbers = (*window.kernel, *window.stride, *window.dilation, *window.padding)
    problems = weight_problems(node, model, axes)
    if max(numbers) > U8_MAX:
        problems.append(f"kernel, stride, dilation or padding is {max(numbers)}; a .tmdl takes up to {U8_MAX}")
    return problems


def window_body(layer: LayerToWrite, window: Window, activation: str, axes: Axes, depth_mul: int = 0) -> bytes:
    """The body of a convolution; only a depthwise one has a ``depth_mul``."""
    node = layer.node
    channels = node.output.shape[3]
    scales = np.broadcast_to(node.input(1).q.scale, channels) if layer.model.is_integer else None
    offsets, blocks = weight_blocks(layer, WINDOW_BODY, scales, axes)
    body = WindowBody(
        kernel_w=window.kernel[1],
        kernel_h=window.kernel[0],
        stride_w=window.stride[1],
        stride_h=window.stride[0],
        dilation_w=window.dilation[1],
        dilation_h=window.dilation[0],
        act=ACTIVATIONS.index(activation),
        pad=window.padding,
        depth_mul=depth_mul,
        ws_oft=offsets[0],
        w_oft=offsets[1],
        b_oft=offsets[2],
    )
    return layer.body(WINDOW_BODY, body) + blocks


def read_window(
    layer: StoredLayer, x: Tensor, y: Tensor, axes: Axes, depthwise: bool
) -> tuple[Window, str, list[Tensor]]:
    """Window, fused activation, weights and bias of a convolution, checked."""
    body = WindowBody(*layer.body(WINDOW_BODY))
    if body.act >= len(ACTIVATIONS):
        codes = ", ".join(f"{code} {name}" for code, name in enumerate(ACTIVATIONS))
        raise ModelError(f"activation code {body.act} is not supported; the codes are {codes}")
    if len(x.shape) != 4 or len(y.shape) != 4:
        raise ModelError(f"it turns {list(x.shape)} into {list(y.shape)}; both must have height, width and channels")
    channels, kernel = y.shape[3], (body.kernel_h, body.kernel_w)
    if body.depth_mul * x.shape[3] != (channels if depthwise else 0):
        raise ModelError(
            f"depth multiplier {body.depth_mul} does not fit {x.shape[3]} input and {channels} output channels"
        )
    window = Window(kernel, (body.stride_h, body.stride_w), (body.dilation_h, body.dilation_w), body.pad)
    stored = (channels, 1 if depthwise else x.shape[3], *kernel)
    constants = read_weights(layer, x, (body.ws_oft, body.w_oft, body.b_oft), stored, axes)
    return window, ACTIVATIONS[body.act], constants


def weight_problems(node: Node, model: ModelType, axes: Axes) -> list[str]:
    """Weights and biases that the model type cannot hold."""
    arrays = [(t.name, np.asarray(t.data)) for t in (node.input(1), node.optional(2)) if t is not None]
    if model.is_integer:
        bias = _folded_bias(node, axes)
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


def weight_blocks(
    layer: LayerToWrite, body: Struct, scales: Array | None, axes: Axes
) -> tuple[tuple[int, int, int], bytes]:
    """Offsets and bytes of weight scales, weights and biases, which follow the ``body``."""
    model, order, offset = layer.model, layer.order, LAYER_HEAD_SIZE + body.size()
    weights, bias = np.asarray(layer.node.input(1).data).transpose(axes), _folded_bias(layer.node, axes)
    scale_data = b"" if scales is None else scales.astype(order + "f4").tobytes()
    if scales is not None:
        scale_data = scale_data.ljust(align8(4 * len(weights)), b"\0")
    weight_data = model.store(weights, model.weight, order)
    bias_data = model.store(bias, model.bias, order)
    offsets = offset, offset + len(scale_data), offset + len(scale_data) + len(weight_data)
    return offsets, scale_data + weight_data + bias_data


def _folded_bias(node: Node, axes: Axes) -> Array:
    """The bias, zeros where there is none; in integer models less zero point times the sum of the channel's weights."""
    weights, bias = np.asarray(node.input(1).data).transpose(axes), node.optional(2)
    values = np.zeros(len(weights)) if bias is None else np.asarray(bias.data).reshape(-1)
    if weights.dtype.kind == "f":
        return values.astype(np.float32)
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    return np.asarray(values.astype(np.int64) - node.input(0).q.z * sums)


def read_weights(
    layer: StoredLayer, x: Tensor, offsets: tuple[int, int, int], stored: Shape, axes: Axes
) -> list[Tensor]:
    """Weights and bias, checked. ``stored`` is the weights' shape in the file."""
    model, channels = layer.model, stored[0]
    scales_at, weights_at, bias_at = offsets
    weights = layer.array("weights", weights_at, prod(stored), model.weight).reshape(stored)
    bias = layer.array("biases", bias_at, channels, model.bias)
    own = weights.transpose([axes.index(axis) for axis in range(len(axes))])
    if not model.is_integer:
        if not np.isfinite(weights).all() or not np.isfinite(bias).all():
            raise ModelError("weights or biases are not finite")
        return [_constant(f"{layer.name}_weights", own), _constant(f"{layer.name}_bias", bias)]
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
        _constant(f"{layer.name}_weights", own, Quantization.of(scales, axis=axes[0])),
        _constant(
            f"{layer.name}_bias",
            whole.astype(np.int64 if x.dtype == np.int16 else np.int32),
            Quantization.of(scales * x.q.scale),
        ),
    ]


def _constant(name: str, data: Array, quantization: Quantization | None = None) -> Tensor:
    return Tensor(name, data.shape, data.dtype, quantization, np.ascontiguousarray(data))
