"""The layers of Keras that are read, each as a function of the layer and its inputs that adds nodes to the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import functions
from tinymaix.read import keras_attention as attention
from tinymaix.read import keras_norms as norms
from tinymaix.read import keras_recurrent as recurrent
from tinymaix.read import keras_windows as windows
from tinymaix.read.keras_activations import (
    activate,
    leaky_relu_layer,
    prelu_layer,
    relu_layer,
    softmax,
    thresholded_relu,
)
from tinymaix.read.keras_config import OPERATION
from tinymaix.read.keras_layer import Layer, rank, weight_shape
from tinymaix.read.keras_ops import OPERATIONS

OneInput = Callable[[Layer, Tensor], Tensor]
ManyInputs = Callable[[Layer, Sequence[Tensor]], Tensor | list[Tensor]]


def convert(layer: Layer, inputs: Sequence[Tensor]) -> Tensor | list[Tensor]:
    """The outputs of a layer whose class is among `SUPPORTED`.

    Raises:
        ModelError: a sentence about its config, its weights or its inputs.
    """
    if layer.call.options.get("training") is True and ("Dropout" in layer.kind or layer.kind == "BatchNormalization"):
        raise ModelError("it is called with training=True, which computes what a chip does not; leave that out")
    if any("mask" in name and name != "attention_mask" for name in layer.call.names):
        raise ModelError(f"it is called with a mask, which is not supported; {WITHOUT_MASKS}")
    many = OTHERS.get(layer.kind)
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


def flatten(layer: Layer, x: Tensor) -> Tensor:
    """In the order of channels-last elements whatever the data_format, but in Keras 1."""
    if layer.keras > 1 and layer.channels_first() and len(x.shape) > 2:
        x = layer.b.transpose(x, (0, *range(2, len(x.shape)), 1))
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
        raise ModelError(f"its mask (mask_zero=True) is not supported; {WITHOUT_MASKS}")
    return layer.op("GATHER", layer.constant("embeddings", table), layer.cast(x, "int32"), axis=0, dtype="float32")


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


def spectral_normalization(layer: Layer, x: Tensor) -> Tensor:
    """The inner layer: its kernel is divided by its norm in training only."""
    kind, config = layer.wrapped("layer")
    if kind not in LAYERS:
        raise ModelError(f"it wraps a layer {kind}, which is not supported there")
    return LAYERS[kind](layer.inside(kind, config, layer.weights.child("layer")), x)


def category_encoding(layer: Layer, x: Tensor) -> Tensor:
    """Numbers of categories as vectors with a 1, or the count, at each."""
    tokens = layer.size("num_tokens")
    mode = layer.choice("output_mode", ("multi_hot", "one_hot", "count"))
    x = layer.cast(x, "int32")
    if mode == "one_hot":
        x = layer.reshape(x, x.shape[:-1]) if len(x.shape) > 1 and x.shape[-1] == 1 else x
        return functions.one_hot(layer.b, x, tokens)
    hot = functions.one_hot(layer.b, x, tokens)
    kind = "SUM" if mode == "count" else "REDUCE_MAX"
    return hot if len(hot.shape) < 3 else layer.op(kind, hot, axes=(len(hot.shape) - 2,), keep_dims=False)


def _pairwise(kind: str) -> ManyInputs:
    return lambda layer, inputs: reduce(lambda a, b: layer.op(kind, a, b), inputs)


def average(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    total = reduce(lambda a, b: layer.op("ADD", a, b), inputs)
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


WITHOUT_MASKS = "give sequences of one length, padded with what the model has learned to ignore"

TRAINING_ONLY = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
    "RandomBrightness", "RandomHeight", "RandomWidth", "RandomColorDegeneration", "RandomColorJitter", "RandomErasing",
    "RandomElasticTransform", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective",
    "RandomPosterization", "RandomSaturation", "RandomSharpness", "RandomShear", "RandAugment", "AugMix", "CutMix",
    "MixUp", "Identity",
)  # fmt: skip
"""Layers that do nothing in an inference."""

LAYERS: dict[str, OneInput] = {
    **dict.fromkeys(TRAINING_ONLY, _same),
    "Dense": dense,
    "Activation": activate,
    "ReLU": relu_layer,
    "LeakyReLU": leaky_relu_layer,
    "ThresholdedReLU": thresholded_relu,
    "ELU": lambda layer, x: functions.elu(layer.b, x, layer.number("alpha", 1.0)),
    "PReLU": prelu_layer,
    "Softmax": softmax,
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
    "AdaptiveAveragePooling1D": windows.adaptive_pool,
    "AdaptiveAveragePooling2D": windows.adaptive_pool,
    "AdaptiveMaxPooling1D": windows.adaptive_pool,
    "AdaptiveMaxPooling2D": windows.adaptive_pool,
    "ZeroPadding1D": windows.zero_padding,
    "ZeroPadding2D": windows.zero_padding,
    "Cropping1D": windows.cropping,
    "Cropping2D": windows.cropping,
    "UpSampling1D": windows.upsampling,
    "UpSampling2D": windows.upsampling,
    "CenterCrop": windows.center_crop,
    "Resizing": windows.resizing,
    "BatchNormalization": norms.batch_normalization,
    "LayerNormalization": norms.layer_normalization,
    "GroupNormalization": norms.group_normalization,
    "RMSNormalization": norms.rms_normalization,
    "UnitNormalization": norms.unit_normalization,
    "Rescaling": norms.rescaling,
    "Normalization": norms.normalization,
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "RepeatVector": repeat_vector,
    "Embedding": embedding,
    "EinsumDense": attention.einsum_dense,
    "CategoryEncoding": category_encoding,
    "TimeDistributed": time_distributed,
    "SpectralNormalization": spectral_normalization,
}

OTHERS: dict[str, ManyInputs] = {
    "LSTM": recurrent.recurrent,
    "GRU": recurrent.recurrent,
    "SimpleRNN": recurrent.recurrent,
    "RNN": recurrent.rnn,
    "Bidirectional": recurrent.bidirectional,
    "MultiHeadAttention": attention.multi_head_attention,
    "GroupQueryAttention": attention.grouped_query_attention,
    "GroupedQueryAttention": attention.grouped_query_attention,
    "Attention": attention.dot_attention,
    "AdditiveAttention": attention.dot_attention,
    "Dot": attention.dot,
    "Add": _pairwise("ADD"),
    "Subtract": subtract,
    "Multiply": _pairwise("MUL"),
    "Maximum": _pairwise("MAXIMUM"),
    "Minimum": _pairwise("MINIMUM"),
    "Average": average,
    "Concatenate": concatenate,
    **{f"{OPERATION}{name}": lower for name, lower in OPERATIONS.items()},
}
"""Layers of several inputs or outputs, and functions on tensors."""

SUPPORTED = sorted(name for name in (*LAYERS, *OTHERS) if name not in TRAINING_ONLY and not name.startswith(OPERATION))
"""Classes of layers that compute something."""
