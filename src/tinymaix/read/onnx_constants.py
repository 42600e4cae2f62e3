"""ONNX operators on constants, in numpy: the arithmetic that exporters do with shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError
from tinymaix.read.onnx_attributes import OnnxLayer
from tinymaix.read.onnx_file import MAX_RANK, TYPES

MAX_ELEMENTS = 1 << 24


def _divide(layer: OnnxLayer, a: Array, b: Array) -> Array:
    """Integers are truncated towards zero."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


def _filled(layer: OnnxLayer, shape: Array) -> Array:
    value = layer.node.attributes.get("value", np.zeros(1, np.float32))
    sizes = _affordable(tuple(int(size) for size in shape.reshape(-1)))
    return np.full(sizes, np.asarray(value).reshape(-1)[0])


def _range(layer: OnnxLayer, start: Array, limit: Array, step: Array) -> Array:
    first, last, by = (v.reshape(-1)[0] for v in (start, limit, step))
    _affordable((int(max(0, (last - first) / by)) + 1,))
    return np.arange(first, last, by)


def _affordable(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) > MAX_RANK or min(shape, default=0) < 0 or np.prod([float(size) for size in shape]) > MAX_ELEMENTS:
        raise ModelError(f"a constant of shape {list(shape)} is larger than any chip's memory")
    return shape


def cast_type(layer: OnnxLayer) -> np.dtype[Any]:
    """The type that a Cast gives."""
    code = layer.integer("to", 0)
    if code not in TYPES:
        raise ModelError(f"a cast to type {code} is not supported")
    return np.dtype(TYPES[code])


def _binary(compute: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    return lambda layer, a, b: compute(a, b)


def _unary(compute: Callable[[Array], Array]) -> Callable[..., Array]:
    return lambda layer, a: compute(a)


CONSTANTS: dict[str, Callable[..., Array]] = {
    "Add": _binary(np.add), "Sub": _binary(np.subtract), "Mul": _binary(np.multiply), "Div": _divide,
    "Mod": _binary(np.mod), "Pow": lambda layer, a, b: np.power(a, b).astype(a.dtype),
    "Equal": _binary(np.equal), "Less": _binary(np.less), "Greater": _binary(np.greater),
    "LessOrEqual": _binary(np.less_equal), "GreaterOrEqual": _binary(np.greater_equal),
    "And": _binary(np.logical_and), "Or": _binary(np.logical_or), "Not": _unary(np.logical_not),
    "Min": lambda layer, *arrays: np.minimum.reduce(arrays), "Max": lambda layer, *arrays: np.maximum.reduce(arrays),
    "Neg": _unary(np.negative), "Abs": _unary(np.abs), "Sqrt": _unary(np.sqrt), "Exp": _unary(np.exp),
    "Log": _unary(np.log), "Floor": _unary(np.floor), "Ceil": _unary(np.ceil), "Reciprocal": _unary(np.reciprocal),
    "Where": lambda layer, c, a, b: np.asarray(np.where(c, a, b)), "Cast": lambda layer, a: a.astype(cast_type(layer)),
    "ConstantOfShape": _filled, "Range": _range,
}  # fmt: skip
"""By kind: a function of the layer and its inputs' values."""
