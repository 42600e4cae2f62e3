"""The layers of Keras that are read, each as a function of the layer and its inputs that adds nodes to the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import keras_windows as windows
from tinymaix.read.keras_activations import (
    activate,
    elu,
    leaky_relu_layer,
    prelu_layer,
    relu_layer,
    softmax_layer,
)
from tinymaix.read.keras_layer import Layer, rank, weight_shape
from tinymaix.read.keras_recurrent import bidirectional, recurrent

OneInput = Callable[[Layer, Tensor], Tensor]
ManyInputs = Callable[[Layer, Sequence[Tensor]], Tensor]


def convert(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """The output of a layer whose class is among `SUPPORTED`.

    Raises:
        ModelError: a sentence about its config, its weights or its inputs.
    """
    many = MERGES.get(layer.kind)
    if many is not None:
        if not inputs:
            raise ModelError("it is called without an input")
        return many(layer, inputs)
    if len(inputs) != 1:
        raise ModelError(f"it is called with {len(inputs)} inputs; one is supported")
    return LAYERS[layer.kind](layer, inputs[0])


def dense(layer: Layer, x: Tensor) -> Tensor:
    """Over the last axis; kernel (in, units)."""
    units = layer.size("units")
    use_bias = layer.flag("use_bias", True)
    if len(x.shape) < 2:
        raise ModelError(f"its input has shape {list(x.shape)}; it takes at least two dimensions")
    kernel, *bias = layer.weights.take("kernel", *(["bias"] if use_bias else []))
    kernel = weight_shape(kernel, (x.shape[-1], units), "kernel")
    constant = layer.constant("bias", weight_shape(bias[0], (units,), "bias")) if bias else None
    keep = len(x.shape) > 2
    return activate(
        layer, layer.op("FULLY_CONNECTED", x, layer.constant("kernel", kernel.T), constant, keep_num_dims=keep)
    )


def batch_normalization(layer: Layer, x: Tensor) -> Tensor:
    """A product and a sum with constants, which a rewrite folds into the layer before."""
    names = [name for name, key in (("gamma", "scale"), ("beta", "center")) if layer.flag(key, True)]
    values = dict(
        zip((*names, "mean", "variance"), layer.weights.take(*names, "moving_mean", "moving_variance"), strict=True)
    )
    axis = positive_axis(layer.whole("axis", -1), len(x.shape))
    channels = x.shape[axis]
    for name, value in values.items():
        weight_shape(value, (channels,), name)
    with np.errstate(all="ignore"):
        deviation = np.sqrt(values["variance"] + np.float32(layer.number("epsilon", 1e-3)))
        scale = values.get("gamma", np.float32(1)) * (np.float32(1) / deviation)  # in the order of TensorFlow
        offset = values.get("beta", np.float32(0)) - values["mean"] * scale
    return _affine(layer, x, scale, offset, axis)


def _affine(layer: Layer, x: Tensor, scale: Array, offset: Array, axis: int) -> Tensor:
    """scale * x + offset, a value for each index along the axis."""
    shape = (-1,) + (1,) * (len(x.shape) - 1 - axis)
    y = layer.op("MUL", x, layer.constant("scale", np.asarray(scale, np.float32).reshape(shape)))
    return layer.op("ADD", y, layer.constant("offset", np.asarray(offset, np.float32).reshape(shape)))


def layer_normalization(layer: Layer, x: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axis."""
    if layer.whole("axis", -1) not in (-1, len(x.shape) - 1):
        raise ModelError("a normalization over another axis than the last is not supported")
    names = [name for name, key in (("gamma", "scale"), ("beta", "center")) if layer.flag(key, True)]
    values = dict(zip(names, layer.weights.take(*names), strict=True))
    y = layer.op("LAYER_NORM", x, epsilon=layer.number("epsilon", 1e-3))
    if "gamma" in values:
        y = layer.op("MUL", y, layer.constant("gamma", weight_shape(values["gamma"], x.shape[-1:], "gamma")))
    if "beta" in values:
        y = layer.op("ADD", y, layer.constant("beta", weight_shape(values["beta"], x.shape[-1:], "beta")))
    return y


def rescaling(layer: Layer, x: Tensor) -> Tensor:
    """scale * x + offset."""
    scale, offset = layer.number("scale", 1.0), layer.number("offset", 0.0)
    y = layer.op("MUL", layer.cast(x, "float32"), layer.constant("scale", scale))
    return layer.op("ADD", y, layer.constant("offset", offset)) if offset else y


def normalization(layer: Layer, x: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance), both learned from data (`adapt`) or given."""
    if layer.flag("invert", False):
        raise ModelError("an inverted normalization is not supported")
    given = [layer.config.get(key) for key in ("mean", "variance")]
    if all(value is not None for value in given):
        mean, variance = (_numbers(layer, key) for key in ("mean", "variance"))
    else:
        mean, variance = layer.weights.take("mean", "variance")
    mean, variance = mean.reshape(-1), variance.reshape(-1)
    if mean.size not in (1, x.shape[-1]) or variance.size != mean.size:
        raise ModelError(f"its {mean.size} means do not fit the last axis of an input {list(x.shape)}")
    scale = 1 / np.maximum(np.sqrt(variance), np.float32(1e-7))
    return _affine(layer, layer.cast(x, "float32"), scale, -mean * scale, len(x.shape) - 1)


def _numbers(layer: Layer, key: str) -> Array:
    try:
        return np.asarray(layer._list(layer.config[key]), np.float32)
    except (TypeError, ValueError):
        raise layer.wrong(key, "numbers") from None


def flatten(layer: Layer, x: Tensor) -> Tensor:
    layer.channels_last()
    return layer.reshape(x, (x.shape[0], int(np.prod(x.shape[1:]))))


def reshape(layer: Layer, x: Tensor) -> Tensor:
    shape = layer.config.get("target_shape")
    if not isinstance(shape, list) or any(isinstance(v, bool) or not isinstance(v, int) or v < -1 for v in shape):
        raise layer.wrong("target_shape", "a list of sizes")
    return layer.op("RESHAPE", x, shape=(x.shape[0], *shape))


def permute(layer: Layer, x: Tensor) -> Tensor:
    return layer.op("TRANSPOSE", x, order=(0, *layer.sizes("dims", len(x.shape) - 1)))


def repeat_vector(layer: Layer, x: Tensor) -> Tensor:
    rank(x, 2)
    count = layer.size("n")
    return layer.op(
        "BROADCAST_TO", layer.reshape(x, (x.shape[0], 1, x.shape[1])), shape=(x.shape[0], count, x.shape[1])
    )


def embedding(layer: Layer, x: Tensor) -> Tensor:
    """A row of the table for each index."""
    (table,) = layer.weights.take("embeddings")
    table = weight_shape(table, (layer.size("input_dim"), layer.size("output_dim")), "table")
    if layer.flag("mask_zero", False):
        raise ModelError("a mask (mask_zero=True) is not supported")
    return layer.op("GATHER", layer.constant("embeddings", table), layer.cast(x, "int32"), axis=0)


def time_distributed(layer: Layer, x: Tensor) -> Tensor:
    """The inner layer on every step, the steps taken for a batch."""
    kind, config = layer.wrapped("layer")
    if kind not in LAYERS:
        raise ModelError(f"it wraps a layer {kind}, which is not supported there")
    if len(x.shape) < 3:
        raise ModelError(f"its input has shape {list(x.shape)}; it takes at least three dimensions")
    inner = layer.inside(kind, config, layer.weights.child("layer"))
    y = LAYERS[kind](inner, layer.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])))
    return layer.reshape(y, (*x.shape[:2], *y.shape[1:]))


def _pairwise(kind: str) -> ManyInputs:
    return lambda layer, inputs: reduce(lambda a, b: layer.op(kind, a, b), inputs)


def average(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    total = _pairwise("ADD")(layer, inputs)
    return layer.op("MUL", total, layer.constant("share", 1 / len(inputs)))


def subtract(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 2:
        raise ModelError(f"it is called with {len(inputs)} inputs; it takes two")
    return layer.op("SUB", *inputs)


def concatenate(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    axis = positive_axis(layer.whole("axis", -1), len(inputs[0].shape))
    return inputs[0] if len(inputs) == 1 else layer.op("CONCATENATION", *inputs, axis=axis)


def _same(layer: Layer, x: Tensor) -> Tensor:
    return x


TRAINING_ONLY = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
    "RandomBrightness", "RandomHeight", "RandomWidth",
)  # fmt: skip
"""Layers that do nothing in an inference."""

LAYERS: dict[str, OneInput] = {
    **dict.fromkeys(TRAINING_ONLY, _same),
    "Dense": dense,
    "Activation": activate,
    "ReLU": relu_layer,
    "LeakyReLU": leaky_relu_layer,
    "ELU": lambda layer, x: elu(layer, x, layer.number("alpha", 1.0)),
    "PReLU": prelu_layer,
    "Softmax": softmax_layer,
    "Conv1D": windows.convolution,
    "Conv2D": windows.convolution,
    "Conv1DTranspose": windows.transposed,
    "Conv2DTranspose": windows.transposed,
    "DepthwiseConv1D": windows.depthwise,
    "DepthwiseConv2D": windows.depthwise,
    "SeparableConv1D": windows.separable,
    "SeparableConv2D": windows.separable,
    "MaxPooling1D": windows.pool,
    "MaxPooling2D": windows.pool,
    "AveragePooling1D": windows.pool,
    "AveragePooling2D": windows.pool,
    "GlobalAveragePooling1D": windows.global_average,
    "GlobalAveragePooling2D": windows.global_average,
    "GlobalMaxPooling1D": windows.global_max,
    "GlobalMaxPooling2D": windows.global_max,
    "ZeroPadding1D": windows.zero_padding,
    "ZeroPadding2D": windows.zero_padding,
    "Cropping1D": windows.cropping,
    "Cropping2D": windows.cropping,
    "UpSampling1D": windows.upsampling,
    "UpSampling2D": windows.upsampling,
    "Resizing": windows.resizing,
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "Rescaling": rescaling,
    "Normalization": normalization,
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "RepeatVector": repeat_vector,
    "Embedding": embedding,
    "LSTM": recurrent,
    "GRU": recurrent,
    "SimpleRNN": recurrent,
    "Bidirectional": bidirectional,
    "TimeDistributed": time_distributed,
}

MERGES: dict[str, ManyInputs] = {
    "Add": _pairwise("ADD"),
    "Subtract": subtract,
    "Multiply": _pairwise("MUL"),
    "Maximum": _pairwise("MAXIMUM"),
    "Minimum": _pairwise("MINIMUM"),
    "Average": average,
    "Concatenate": concatenate,
}

SUPPORTED: dict[str, Any] = {**LAYERS, **MERGES}
