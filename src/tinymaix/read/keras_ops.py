"""Functions on tensors (`keras.ops`, x + y, x[:, 0]) that Keras 3 stores in functional models beside layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.read import functions, layers
from tinymaix.read.keras_activations import ACTIVATIONS, softmax
from tinymaix.read.keras_layer import Layer
from tinymaix.read.keras_ops_axes import OPERATIONS as AXES
from tinymaix.read.keras_ops_axes import Operation, one, reduced_axes
from tinymaix.read.products import einsum


def _unary(kind: str) -> Operation:
    return lambda layer, inputs: layer.op(kind, one(inputs))


def _activation(name: str) -> Operation:
    return lambda layer, inputs: ACTIVATIONS[name](layer, one(inputs))


def _same(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return one(inputs)


def _binary(kind: str, dtype: str | None = None) -> Operation:
    def lower(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
        if len(inputs) != 2:
            raise ModelError(f"it is called with {len(inputs)} operands; it takes two")
        types = {t.dtype for t in inputs if not t.is_constant}
        common = next(iter(types)) if len(types) == 1 else np.dtype(np.float32)
        x, y = (
            layer.b.constant(t.data, t.name, common) if t.data is not None else layer.cast(t, common.name)
            for t in inputs
        )
        return layer.op(kind, x, y, dtype=dtype)

    return lower


def _divide(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) == 2 and inputs[1].data is not None and np.all(inputs[1].data):
        return layer.op("MUL", inputs[0], layer.constant("inverse", np.float32(1) / inputs[1].data))
    return _result(_binary("DIV")(layer, inputs))


def _power(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) == 2 and inputs[1].data is not None and np.all(inputs[1].data == 2):
        return layer.op("MUL", inputs[0], inputs[0])
    return _result(_binary("POW")(layer, inputs))


def _result(value: Tensor | list[Tensor]) -> Tensor:
    assert isinstance(value, Tensor)
    return value


def _reduce(kind: str) -> Operation:
    def lower(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
        x = one(inputs)
        return layer.op(kind, x, axes=reduced_axes(layer, x), keep_dims=layer.flag("keepdims", False))

    return lower


def _variance(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
    y = functions.variance(layer.b, x, reduced_axes(layer, x), layer.flag("keepdims", False))
    return layer.op("SQRT", y) if layer.kind.endswith("Std") else y


def _arg(kind: str) -> Operation:
    def lower(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
        x = one(inputs)
        (axis,) = reduced_axes(layer, x)
        y = layer.op(kind, x, axis=axis, dtype="int32")
        return (
            layer.reshape(y, [1 if i == axis else n for i, n in enumerate(x.shape)])
            if layer.flag("keepdims", False)
            else y
        )

    return lower


def _where(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 3:
        raise ModelError(f"it is called with {len(inputs)} operands; it takes three")
    condition, x, y = inputs
    if condition.dtype != np.bool_:
        condition = layer.op("NOT_EQUAL", condition, layer.b.constant(0, dtype=condition.dtype), dtype="bool")
    return layer.op("SELECT_V2", condition, x, y, dtype=np.float32)


def _clip(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return layers.clip(layer.b, one(inputs), layer.number("x_min", 0.0), layer.number("x_max", 0.0))


def _cast(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    dtype = layer.choice("dtype", ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "bool"))
    return layer.cast(one(inputs), "float32" if "float" in dtype else dtype)


def _matmul(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 2:
        raise ModelError(f"it is called with {len(inputs)} operands; it takes two")
    x, y = (
        layer.b.transpose(t, (*range(len(t.shape) - 2), -1, -2)) if layer.call.options.get(key) is True else t
        for key, t in zip(("transpose_a", "transpose_b"), inputs, strict=True)
    )
    return layers.matmul(layer.b, x, y)


def _einsum(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 2:
        raise ModelError(f"it is called with {len(inputs)} operands; two are supported")
    return einsum(layer.b, layer.text("subscripts", ""), *inputs)


def _round(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if layer.whole("decimals", 0):
        raise ModelError("rounding to other than whole numbers is not supported")
    return layer.op("ROUND", one(inputs))


def _reciprocal(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return layer.op("DIV", layer.constant("one", 1), one(inputs))


_UNARY = (
    "ABS", "CEIL", "COS", "EXP", "FLOOR", "LOG", "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "ERF",
)  # fmt: skip

_COMPARISONS = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")


def _class(name: str) -> str:
    """GreaterEqual for GREATER_EQUAL and for greater_equal."""
    return "".join(word.capitalize() for word in name.lower().split("_"))


OPERATIONS: dict[str, Operation] = {
    **AXES,
    **{_class(name): _activation(name) for name in ACTIVATIONS},
    **{_class(kind): _unary(kind) for kind in _UNARY},
    **{_class(kind): _binary(kind, "bool") for kind in _COMPARISONS},
    "Absolute": _unary("ABS"), "Round": _round, "Negative": _unary("NEG"), "Reciprocal": _reciprocal,
    "LogicalAnd": _binary("LOGICAL_AND"), "LogicalOr": _binary("LOGICAL_OR"), "LogicalNot": _unary("LOGICAL_NOT"),
    "Add": _binary("ADD"), "Subtract": _binary("SUB"), "Multiply": _binary("MUL"), "Maximum": _binary("MAXIMUM"),
    "Minimum": _binary("MINIMUM"), "Divide": _divide, "TrueDivide": _divide, "Power": _power,
    "Gelu": lambda layer, inputs: layer.op("GELU", one(inputs), approximate=layer.flag("approximate", True)),
    "LeakyRelu": lambda layer, inputs: layer.op(
        "LEAKY_RELU", one(inputs), alpha=layer.number("negative_slope", 0.2)
    ),
    "Elu": lambda layer, inputs: functions.elu(layer.b, one(inputs), layer.number("alpha", 1.0)),
    "Softmax": lambda layer, inputs: softmax(layer, one(inputs)),
    "LogSoftmax": lambda layer, inputs: layer.b.at_last_axis("LOG_SOFTMAX", one(inputs), layer.whole("axis", -1)),
    "Mean": _reduce("MEAN"), "Sum": _reduce("SUM"), "Max": _reduce("REDUCE_MAX"), "Min": _reduce("REDUCE_MIN"),
    "Prod": _reduce("REDUCE_PROD"), "Var": _variance, "Std": _variance, "Argmax": _arg("ARG_MAX"),
    "Argmin": _arg("ARG_MIN"), "Matmul": _matmul, "Einsum": _einsum,
        "Where": _where, "Clip": _clip, "Cast": _cast, "StopGradient": _same, "Copy": _same,
    "Identity": _same,
}  # fmt: skip
"""Functions by the name of their class."""
