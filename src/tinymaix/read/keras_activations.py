"""Activations of Keras, as names and as layers, in terms of operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinymaix.graph import ModelError, Tensor
from tinymaix.read.keras_layer import Layer
from tinymaix.read.layers import clip, split

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""Klambauer et al. 2017 (arXiv 1706.02515)."""

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


def _leaky(slope: float) -> Activation:
    return lambda layer, x: layer.op("LEAKY_RELU", x, alpha=slope)


def elu(layer: Layer, x: Tensor, alpha: float = 1.0, scale: float = 1.0) -> Tensor:
    """scale * x above 0, scale * alpha * (e^x - 1) below."""
    if alpha == scale == 1.0:
        return layer.op("ELU", x)
    below = layer.op("MUL", layer.op("ELU", layer.op("MINIMUM", x, _number(layer, 0))), _number(layer, alpha * scale))
    above = layer.op("RELU", x) if scale == 1.0 else layer.op("MUL", layer.op("RELU", x), _number(layer, scale))
    return layer.op("ADD", above, below)


def _softplus(layer: Layer, x: Tensor) -> Tensor:
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which cannot overflow."""
    tail = layer.op("EXP", layer.op("NEG", layer.op("ABS", x)))
    return layer.op("ADD", layer.op("RELU", x), layer.op("LOG", layer.op("ADD", tail, _number(layer, 1))))


def _softsign(layer: Layer, x: Tensor) -> Tensor:
    return layer.op("DIV", x, layer.op("ADD", layer.op("ABS", x), _number(layer, 1)))


def _mish(layer: Layer, x: Tensor) -> Tensor:
    return layer.op("MUL", x, layer.op("TANH", _softplus(layer, x)))


def _number(layer: Layer, value: float) -> Tensor:
    return layer.constant(f"{value:g}", value)


def _glu(layer: Layer, x: Tensor) -> Tensor:
    """One half of the last axis, weighted by the sigmoid of the other."""
    if x.shape[-1] % 2:
        raise ModelError(f"the last axis of an input {list(x.shape)} has no halves")
    a, gate = split(layer.b, x, [x.shape[-1] // 2] * 2, -1)
    return layer.op("MUL", a, layer.op("LOGISTIC", gate))


def _hard_tanh(layer: Layer, x: Tensor) -> Tensor:
    return clip(layer.b, x, -1.0, 1.0)


def _soft_shrink(layer: Layer, x: Tensor) -> Tensor:
    """x without its part between -0.5 and 0.5."""
    return layer.op("SUB", x, clip(layer.b, x, -0.5, 0.5))


def _hard_shrink(layer: Layer, x: Tensor) -> Tensor:
    """x where it is beyond -0.5 or 0.5, else 0."""
    far = layer.op("GREATER", layer.op("ABS", x), _number(layer, 0.5), dtype="bool")
    return layer.op("SELECT_V2", far, x, _number(layer, 0), dtype="float32")


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
    "elu": elu,
    "selu": lambda layer, x: elu(layer, x, SELU_ALPHA, SELU_SCALE),
    "gelu": lambda layer, x: layer.op("GELU", x),
    "exponential": lambda layer, x: layer.op("EXP", x),
    "softplus": _softplus,
    "softsign": _softsign,
    "mish": _mish,
    "celu": elu,
    "glu": _glu,
    "hard_tanh": _hard_tanh,
    "hard_shrink": _hard_shrink,
    "soft_shrink": _soft_shrink,
    "tanh_shrink": lambda layer, x: layer.op("SUB", x, layer.op("TANH", x)),
    "log_sigmoid": lambda layer, x: layer.op("NEG", _softplus(layer, layer.op("NEG", x))),
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
    above = layer.op("GREATER", x, _number(layer, layer.number("theta", 1.0)), dtype="bool")
    return layer.op("SELECT_V2", above, x, _number(layer, 0), dtype="float32")


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
