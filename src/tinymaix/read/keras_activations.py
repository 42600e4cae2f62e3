"""Activations of Keras, as names and as layers, in terms of operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinymaix.graph import ModelError, Tensor
from tinymaix.read import functions
from tinymaix.read.channels_first import Builder
from tinymaix.read.keras_layer import Layer
from tinymaix.read.layers import clip

Activation = Callable[[Layer, Tensor], Tensor]


def activate(layer: Layer, x: Tensor, key: str = "activation") -> Tensor:
    """x behind the activation that the layer's config names under ``key``; a missing one is none."""
    value: Any = layer.config.get(key)
    if isinstance(value, dict):  # an activation of Keras that was serialized as a function or an object
        value = value.get("config") if value.get("class_name") == "function" else value.get("class_name")
    if value is None:
        return x
    function = ACTIVATIONS.get(_plain(value)) if isinstance(value, str) else None
    if function is None:
        raise ModelError(f"activation '{str(value)[:80]}' is not supported; supported are {', '.join(ACTIVATIONS)}")
    return function(layer, x)


def _plain(name: str) -> str:
    """relu for relu, ReLU and keras.activations>relu."""
    return name.split(">")[-1].lower()


def _relu(layer: Layer, x: Tensor) -> Tensor:
    return layer.op("RELU", x)


def _sigmoid(layer: Layer, x: Tensor) -> Tensor:
    return layer.op("LOGISTIC", x)


def _silu(layer: Layer, x: Tensor) -> Tensor:
    return layer.op("MUL", x, layer.op("LOGISTIC", x))


def _hard_sigmoid(layer: Layer, x: Tensor) -> Tensor:
    """relu6(x + 3) / 6 in Keras 3; before, 0.2 x + 0.5 between 0 and 1."""
    if layer.keras >= 3:
        return layer.op(
            "MUL", layer.op("ADD", x, layer.constant("three", 3), activation="relu6"), _number(layer, 1 / 6)
        )
    y = layer.op("ADD", layer.op("MUL", x, _number(layer, 0.2)), _number(layer, 0.5), activation="relu")
    return layer.op("MINIMUM", y, _number(layer, 1))


def _shared(function: Callable[[Builder, Tensor], Tensor]) -> Activation:
    return lambda layer, x: function(layer.b, x)


def _leaky(slope: float) -> Activation:
    return lambda layer, x: layer.op("LEAKY_RELU", x, alpha=slope)


def _number(layer: Layer, value: float) -> Tensor:
    return layer.constant(f"{value:g}", value)


def _hard_tanh(layer: Layer, x: Tensor) -> Tensor:
    return clip(layer.b, x, -1.0, 1.0)


def _squareplus(layer: Layer, x: Tensor) -> Tensor:
    """(x + sqrt(x^2 + 4)) / 2"""
    root = layer.op("SQRT", layer.op("ADD", layer.op("MUL", x, x), _number(layer, 4)))
    return layer.op("MUL", layer.op("ADD", x, root), _number(layer, 0.5))


def _sparse_plus(layer: Layer, x: Tensor) -> Tensor:
    """0 below -1, x above 1, (x + 1)^2 / 4 between."""
    part = layer.op("ADD", clip(layer.b, x, -1.0, 1.0), _number(layer, 1))
    square = layer.op("MUL", layer.op("MUL", part, part), _number(layer, 0.25))
    return layer.op("ADD", square, layer.op("RELU", layer.op("SUB", x, _number(layer, 1))))


def _sparse_sigmoid(layer: Layer, x: Tensor) -> Tensor:
    """(x + 1) / 2 between 0 and 1"""
    part = layer.op("ADD", clip(layer.b, x, -1.0, 1.0), _number(layer, 1))
    return layer.op("MUL", part, _number(layer, 0.5))


ACTIVATIONS: dict[str, Activation] = {
    "linear": lambda layer, x: x,
    "relu": _relu,
    "relu6": lambda layer, x: layer.op("RELU6", x),
    "sigmoid": _sigmoid,
    "tanh": lambda layer, x: layer.op("TANH", x),
    "softmax": lambda layer, x: layer.op("SOFTMAX", x),
    "log_softmax": lambda layer, x: layer.op("LOG_SOFTMAX", x),
    "silu": _silu,
    "swish": _silu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda layer, x: layer.op("HARD_SWISH", x),
    "hard_swish": lambda layer, x: layer.op("HARD_SWISH", x),
    "leaky_relu": _leaky(0.2),
    "elu": _shared(functions.elu),
    "selu": lambda layer, x: functions.elu(layer.b, x, functions.SELU_ALPHA, functions.SELU_SCALE),
    "gelu": lambda layer, x: layer.op("GELU", x),
    "exponential": lambda layer, x: layer.op("EXP", x),
    "softplus": _shared(functions.softplus),
    "softsign": _shared(functions.softsign),
    "mish": _shared(functions.mish),
    "celu": _shared(functions.elu),
    "glu": _shared(functions.glu),
    "hard_tanh": _hard_tanh,
    "hard_shrink": _shared(functions.hard_shrink),
    "soft_shrink": _shared(functions.soft_shrink),
    "tanh_shrink": lambda layer, x: layer.op("SUB", x, layer.op("TANH", x)),
    "log_sigmoid": _shared(functions.log_sigmoid),
    "squareplus": _squareplus,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _sparse_sigmoid,
}


def relu_layer(layer: Layer, x: Tensor) -> Tensor:
    """ReLU with a largest value, a slope below the threshold, and the threshold."""
    slope, threshold = layer.number("negative_slope", 0.0), layer.number("threshold", 0.0)
    largest = layer.number("max_value", math.inf) if layer.config.get("max_value") is not None else math.inf
    if threshold:
        above = layer.op("GREATER_EQUAL", x, _number(layer, threshold), dtype="bool")
        below = layer.op("MUL", layer.op("SUB", x, _number(layer, threshold)), _number(layer, slope))
        return clip(layer.b, layer.op("SELECT_V2", above, x, below, dtype="float32"), -math.inf, largest)
    if largest == 6 and not slope:
        return layer.op("RELU6", x)
    return clip(layer.b, layer.op("LEAKY_RELU", x, alpha=slope) if slope else _relu(layer, x), -math.inf, largest)


def thresholded_relu(layer: Layer, x: Tensor) -> Tensor:
    """x where it is above theta, else 0."""
    return functions.thresholded(layer.b, x, layer.number("theta", 1.0))


def leaky_relu_layer(layer: Layer, x: Tensor) -> Tensor:
    """The slope is called alpha in Keras 2."""
    key = "alpha" if "alpha" in layer.config else "negative_slope"
    return layer.op("LEAKY_RELU", x, alpha=layer.number(key, 0.3))


def prelu_layer(layer: Layer, x: Tensor) -> Tensor:
    (alpha,) = layer.weights.take("alpha")
    if alpha.ndim != len(x.shape) - 1 or any(
        a not in (1, size) for a, size in zip(alpha.shape, x.shape[1:], strict=True)
    ):
        raise ModelError(f"its slopes {list(alpha.shape)} do not fit an input {list(x.shape)}")
    return layer.op("PRELU", x, layer.constant("alpha", alpha))


def softmax(layer: Layer, x: Tensor) -> Tensor:
    """Over one axis, -1 unless the config says otherwise."""
    axes = layer.axes("axis", len(x.shape))
    if len(axes) != 1:
        raise ModelError(f"a softmax over the axes {list(axes)} is not supported; over one axis it is")
    return layer.b.at_last_axis("SOFTMAX", x, axes[0])
