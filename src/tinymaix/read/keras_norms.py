"""Layers of Keras that scale, shift and normalize."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import layers
from tinymaix.read.keras_layer import Layer, weight_shape


def batch_normalization(layer: Layer, x: Tensor) -> Tensor:
    """A product and a sum with constants, which a rewrite folds into the layer before."""
    if layer.whole("mode", 0) != 0:
        raise ModelError("its mode computes statistics of each batch, which a chip does not see; use mode 0")
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
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over one or several axes."""
    if layer.flag("rms_scaling", False):
        raise ModelError("rms_scaling is not supported; use the layer RMSNormalization")
    axes, epsilon = layer.axes("axis", len(x.shape)), layer.number("epsilon", 1e-3)
    if axes == tuple(range(len(x.shape) - len(axes), len(x.shape))):
        y = layer.op("LAYER_NORM", x, last=len(axes), epsilon=epsilon)
    else:
        y = layers.normalized(layer.b, x, axes, epsilon)
    return _scaled(layer, y, axes)


def rms_normalization(layer: Layer, x: Tensor) -> Tensor:
    """x / sqrt(mean of squares + epsilon) * scale."""
    axes = layer.axes("axis", len(x.shape))
    y = layers.normalized(layer.b, x, axes, layer.number("epsilon", 1e-6), centered=False)
    (scale,) = layer.weights.take("scale|gamma")
    return layer.op("MUL", y, layer.constant("scale", _along(scale, x, axes, "scale")))


def group_normalization(layer: Layer, x: Tensor) -> Tensor:
    """Normalized over the spatial axes and each group of channels."""
    axis = positive_axis(layer.whole("axis", -1), len(x.shape))
    order = (0, axis, *(i for i in range(1, len(x.shape)) if i != axis))
    groups = layer.whole("groups", 32)
    first = layer.b.transpose(x, order)
    y = layers.group_norm(
        layer.b, first, x.shape[axis] if groups == -1 else groups, layer.number("epsilon", 1e-3), None, None
    )
    return _scaled(layer, layer.b.transpose(y, [int(i) for i in np.argsort(order)]), (axis,))


def _scaled(layer: Layer, y: Tensor, axes: Sequence[int]) -> Tensor:
    """y * gamma + beta, where the layer has them, with values along the axes."""
    names = [name for name, key in (("gamma", "scale"), ("beta", "center")) if layer.flag(key, True)]
    for name, value in zip(names, layer.weights.take(*names), strict=True):
        y = layer.op("MUL" if name == "gamma" else "ADD", y, layer.constant(name, _along(value, y, axes, name)))
    return y


def _along(values: Array, x: Tensor, axes: Sequence[int], what: str) -> Array:
    """Values with the shape of x's axes, so that they stand along these axes of x."""
    weight_shape(values, [x.shape[axis] for axis in axes], what)
    return values.reshape([size if i in axes else 1 for i, size in enumerate(x.shape)][min(axes) :])


def unit_normalization(layer: Layer, x: Tensor) -> Tensor:
    """x divided by its Euclidean length along an axis."""
    axes = layer.axes("axis", len(x.shape))
    if len(axes) != 1:
        raise ModelError(f"a length over the axes {list(axes)} is not supported; over one axis it is")
    return layer.b.at_last_axis("L2_NORMALIZATION", x, axes[0])


def rescaling(layer: Layer, x: Tensor) -> Tensor:
    """scale * x + offset; one number, or one a channel."""
    x = layer.cast(x, "float32")
    scale, offset = (numbers(layer, key) if key in layer.config else default for key, default in _RESCALING)
    if any(value.size not in (1, x.shape[-1]) for value in (scale, offset)):
        raise ModelError(f"its {scale.size} scales do not fit the last axis of an input {list(x.shape)}")
    y = layer.op("MUL", x, layer.constant("scale", scale))
    return layer.op("ADD", y, layer.constant("offset", offset)) if np.any(offset) else y


_RESCALING = (("scale", np.ones(1, np.float32)), ("offset", np.zeros(1, np.float32)))


def normalization(layer: Layer, x: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance), both learned from data (`adapt`) or given; the other way around where inverted."""
    given = [layer.config.get(key) for key in ("mean", "variance")]
    if all(value is not None for value in given):
        mean, variance = (numbers(layer, key) for key in ("mean", "variance"))
    else:
        mean, variance = layer.weights.take("mean", "variance")
    mean, variance = mean.reshape(-1), variance.reshape(-1)
    if mean.size not in (1, x.shape[-1]) or variance.size != mean.size:
        raise ModelError(f"its {mean.size} means do not fit the last axis of an input {list(x.shape)}")
    deviation = np.maximum(np.sqrt(variance), np.float32(1e-7))
    scale, offset = (deviation, mean) if layer.flag("invert", False) else (1 / deviation, -mean / deviation)
    return _affine(layer, layer.cast(x, "float32"), scale, offset, len(x.shape) - 1)


def numbers(layer: Layer, key: str) -> Array:
    """Numbers of the config as float32, in one dimension or more."""
    try:
        return np.atleast_1d(np.asarray(layer.listed(layer.config[key]), np.float32))
    except (TypeError, ValueError):
        raise layer.wrong(key, "numbers") from None
