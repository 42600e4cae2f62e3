"""Weights and biases in integers: symmetric scales of one output channel or of all, in 8 or 4 bits."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Quantization, Tensor

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
"""The axis of output channels in the weights of each layer that has them."""

INT4_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Layers whose weights may be int4, in TFLM as here."""

LARGE_KINDS = ("CONV_2D", "FULLY_CONNECTED")
"""Those of them that are worth it: a depthwise layer's few weights stay int8 unless the layer is named."""

LARGEST = {8: 127, 4: 7}
LARGEST_BIAS = {"int8": 2.0**29, "int16": 2.0**45}
BIAS_TYPES = {"int8": "int32", "int16": "int64"}
SHRINKS = np.linspace(1.0, 0.5, 26)
"""The shares of the largest weight that are tried as the range of int4 weights."""


def weight_quantization(
    node: Node, x_scale: float, *, bits: int = 8, per_channel: bool = True, kind: str = "int8"
) -> Quantization:
    """The scales of a layer's weights.

    8 bits reach to the largest weight, 4 bits to where the squared error is least. A channel whose weights are tiny
    beside its bias gets a scale with which the bias still fits its integers.

    Raises:
        ModelError: the weights are not constant numbers.
    """
    rows = channel_rows(node)
    if not np.isfinite(rows).all():
        raise ModelError(f"the weights of {node.op.kind} '{node.name}' hold NaN or infinity")
    if not per_channel:
        rows = rows.reshape(1, -1)
    scales = _best_scales(rows, bits) if bits == 4 else np.abs(rows).max(axis=1, initial=0) / LARGEST[bits]
    bias = node.optional(2)
    if bias is not None and bias.data is not None:
        least = np.abs(bias.data.reshape(-1).astype(np.float64)) / (x_scale * LARGEST_BIAS[kind])
        scales = np.maximum(scales, least if per_channel else least.max(initial=0))
    scales = np.where(scales > 0, scales, scales.max(initial=0) or 1.0)
    return Quantization.of(np.maximum(scales, np.finfo(np.float32).tiny), 0, CHANNEL_AXIS[node.op.kind])


def channel_rows(node: Node) -> Array:
    """The weights of a layer as (output channels, weights of each), float64."""
    weights = node.input(1)
    if weights.data is None:
        raise ModelError(f"the weights of {node.op.kind} '{node.name}' are computed at run time")
    axis = CHANNEL_AXIS[node.op.kind]
    return np.moveaxis(weights.data, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)


def quantized_weights(node: Node, q: Quantization, *, bits: int = 8) -> Tensor:
    """The layer's weights in integers, the nearest ones."""
    weights = node.input(1)
    assert weights.data is not None
    along = [-1 if i == q.axis else 1 for i in range(len(weights.shape))] if q.per_channel else []
    raw = np.rint(weights.data / q.scale.astype(np.float64).reshape(along))
    data = np.clip(raw, -LARGEST[bits], LARGEST[bits]).astype(np.int8)
    return Tensor(weights.name, weights.shape, data.dtype, q, data, is_int4=bits == 4)


def quantized_bias(node: Node, x_scale: float, weights: Quantization, kind: str) -> Tensor | None:
    """The layer's bias in steps of x's scale times the weights'; zeros where there is none and int16 insists."""
    bias = node.optional(2)
    if bias is None and kind == "int8":
        return None
    channels = node.input(1).shape[CHANNEL_AXIS[node.op.kind]]
    real = np.zeros(channels) if bias is None or bias.data is None else bias.data.reshape(-1).astype(np.float64)
    scale = np.float64(np.float32(x_scale)) * weights.scale.astype(np.float64)
    data = np.rint(real / scale).astype(BIAS_TYPES[kind])
    name = f"{node.output.name}_bias" if bias is None else bias.name
    return Tensor(name, data.shape, data.dtype, Quantization.of(scale), data)


def _best_scales(rows: Array, bits: int) -> Array:
    """For each row the scale with the least squared error."""
    top = np.abs(rows).max(axis=1, initial=0, keepdims=True) / LARGEST[bits]
    best = np.full(len(rows), np.inf)
    result: Array = top[:, 0].copy()
    for shrink in SHRINKS:
        scale = np.maximum(top * shrink, np.finfo(np.float64).tiny)
        real = np.clip(np.rint(rows / scale), -LARGEST[bits], LARGEST[bits]) * scale
        error = ((real - rows) ** 2).sum(axis=1)
        better = error < best
        best[better], result[better] = error[better], scale[better, 0]
    return result
