"""Functions on tensors (`keras.ops`, x + y, x[:, 0]) that Keras 3 stores in functional models beside layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import functions, layers
from tinymaix.read.keras_activations import ACTIVATIONS, softmax
from tinymaix.read.keras_layer import Layer
from tinymaix.read.products import einsum

Operation = Callable[[Layer, Sequence[Tensor]], Tensor | list[Tensor]]


def _one(inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 1:
        raise ModelError(f"it is called with {len(inputs)} tensors; one is supported")
    return inputs[0]


def _unary(kind: str) -> Operation:
    return lambda layer, inputs: layer.op(kind, _one(inputs))


def _activation(name: str) -> Operation:
    return lambda layer, inputs: ACTIVATIONS[name](layer, _one(inputs))


def _same(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return _one(inputs)


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


def _typed(layer: Layer, x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    return layer.cast(x, dtype.name) if x.data is None else layer.b.constant(x.data, x.name, dtype)


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


def _reduced_axes(layer: Layer, x: Tensor) -> tuple[int, ...]:
    axis = layer.config.get("axis")
    if axis is None:
        raise ModelError("it takes in the batch too; give it the axes behind the batch")
    return layer.axes("axis", len(x.shape))


def _reduce(kind: str) -> Operation:
    def lower(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
        x = _one(inputs)
        return layer.op(kind, x, axes=_reduced_axes(layer, x), keep_dims=layer.flag("keepdims", False))

    return lower


def _variance(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    y = functions.variance(layer.b, x, _reduced_axes(layer, x), layer.flag("keepdims", False))
    return layer.op("SQRT", y) if layer.kind.endswith("Std") else y


def _arg(kind: str) -> Operation:
    def lower(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
        x = _one(inputs)
        (axis,) = _reduced_axes(layer, x)
        y = layer.op(kind, x, axis=axis, dtype="int32")
        return (
            layer.reshape(y, [1 if i == axis else n for i, n in enumerate(x.shape)])
            if layer.flag("keepdims", False)
            else y
        )

    return lower


def _transpose(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    axes = layer.config.get("axes")
    return layer.b.transpose(x, tuple(reversed(range(len(x.shape)))) if axes is None else layer.listed(axes))


def _swap_axes(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    order = list(range(len(x.shape)))
    a, b = (positive_axis(layer.whole(key, -1), len(order)) for key in ("axis1", "axis2"))
    order[a], order[b] = order[b], order[a]
    return layer.b.transpose(x, order)


def _move_axis(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    rank = len(x.shape)
    source, target = (
        [positive_axis(axis, rank) for axis in layer.listed(layer.config.get(key))] for key in ("source", "destination")
    )
    order = [axis for axis in range(rank) if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return layer.b.transpose(x, order)


def _reshape(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """The batch that is left open, None or -1, is 1."""
    x = _one(inputs)
    shape = layer.listed(layer.config.get("newshape"))
    return layer.b.reshape_to(x, [-1 if size is None else size for size in shape])


def _expand(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    axes = layer.listed(layer.config.get("axis"))
    rank = len(x.shape) + len(axes)
    places = {positive_axis(axis, rank) for axis in axes}
    sizes = iter(x.shape)
    return layer.reshape(x, [1 if i in places else next(sizes) for i in range(rank)])


def _squeeze(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    axes = layer.axes("axis", len(x.shape)) if layer.config.get("axis") is not None else tuple(range(1, len(x.shape)))
    return layer.reshape(x, [n for i, n in enumerate(x.shape) if i not in axes or n != 1])


def _concatenate(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    axis = positive_axis(layer.whole("axis", -1), len(inputs[0].shape))
    return layer.op("CONCATENATION", *inputs, axis=axis)


def _stack(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    axis = positive_axis(layer.whole("axis", 0), len(inputs[0].shape) + 1)
    shape = list(inputs[0].shape)
    shape.insert(axis, 1)
    return layer.op("CONCATENATION", *(layer.reshape(x, shape) for x in inputs), axis=axis)


def _split(layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Into equal parts, or at given places."""
    x = _one(inputs)
    axis = positive_axis(layer.whole("axis", 0), len(x.shape))
    parts = layer.config.get("indices_or_sections")
    if isinstance(parts, int):
        if parts < 1 or x.shape[axis] % parts:
            raise ModelError(f"{x.shape[axis]} elements do not divide into {parts} parts")
        return layers.split(layer.b, x, [x.shape[axis] // parts] * parts, axis)
    ends = [0, *layer.listed(parts), x.shape[axis]]
    return layers.split(layer.b, x, [b - a for a, b in pairwise(ends)], axis)


def _item(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """x[key], the key made of slices, whole numbers, None and an ellipsis."""
    x = inputs[0]
    key = layer.call.given[1] if len(layer.call.given) > 1 else None
    parts: list[Any] = list(key) if isinstance(key, list) else [key]
    missing = len(x.shape) - sum(part is not None and not _is(part, "__ellipsis__") for part in parts)
    if missing < 0:
        raise ModelError(f"it takes {len(parts)} axes of an input of shape {list(x.shape)}")
    at = next((i for i, part in enumerate(parts) if _is(part, "__ellipsis__")), len(parts))
    parts[at : at + 1] = [slice(None)] * missing
    sizes, shape = iter(x.shape), []
    begin, end, steps = [], [], []
    for part in parts:
        if part is None:
            shape.append(1)
            continue
        size = next(sizes)
        chosen = range(size)[_index(part)]
        kept = chosen if isinstance(chosen, range) else range(chosen, chosen + 1)
        begin.append(kept.start)
        end.append(kept.stop if kept.stop >= 0 else -size - 1)
        steps.append(kept.step)
        shape += [len(kept)] if isinstance(chosen, range) else []
    return layer.reshape(layers.box(layer.b, x, begin, end, steps), shape)


def _is(part: Any, name: str) -> bool:
    return isinstance(part, dict) and part.get("class_name") == name


def _index(part: Any) -> Any:
    """A whole number or a slice."""
    if _is(part, "__slice__"):
        return slice(*(part["config"].get(key) for key in ("start", "stop", "step")))
    if isinstance(part, slice) or (isinstance(part, int) and not isinstance(part, bool)):
        return part
    raise ModelError(f"an index {str(part)[:60]} is not supported; whole numbers and slices are")


def _flip(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    axes, sizes = _reduced_axes(layer, x), x.shape
    begin = [n - 1 if i in axes else 0 for i, n in enumerate(sizes)]
    end = [-n - 1 if i in axes else n for i, n in enumerate(sizes)]
    return layers.box(layer.b, x, begin, end, [-1 if i in axes else 1 for i in range(len(sizes))])


def _tile(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    repeats = layer.listed(layer.config.get("repeats"))
    rank = max(len(x.shape), len(repeats))
    x = layer.reshape(x, (*(1,) * (rank - len(x.shape)), *x.shape))
    return layer.op("TILE", x, repeats=(*(1,) * (rank - len(repeats)), *repeats))


def _repeat(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Each element of an axis several times in a row."""
    x, count = _one(inputs), layer.size("repeats")
    (axis,) = _reduced_axes(layer, x)
    apart = layer.reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    many = layers.broadcast(layer.b, apart, (*x.shape[: axis + 1], count, *x.shape[axis + 1 :]))
    return layer.reshape(many, (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]))


def _broadcast(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return layers.broadcast(layer.b, _one(inputs), layer.listed(layer.config.get("shape")))


def _pad(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = _one(inputs)
    pads = layer.pairs("pad_width", len(x.shape))
    mode = layer.choice("mode", ("constant", "reflect", "symmetric"))
    if mode != "constant":
        return layer.op("MIRROR_PAD", x, pads=pads, symmetric=mode == "symmetric")
    value = float(layer.call.options.get("constant_values", 0))
    return layers.padded(layer.b, x, [p for p, _ in pads], [q for _, q in pads], value)


def _take(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Indices that the config lists are as many numbers among the operands."""
    if len(inputs) < 2 or layer.config.get("axis") is None:
        raise ModelError("it takes a tensor, and indices along one axis")
    x, *rest = inputs
    listed = all(t.data is not None for t in rest)
    indices = (
        layer.b.constant(np.concatenate([np.atleast_1d(t.data) for t in rest if t.data is not None]))
        if listed
        else rest[0]
    )
    return layers.take(layer.b, x, _typed(layer, indices, np.dtype(np.int32)), layer.whole("axis", 0))


def _where(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 3:
        raise ModelError(f"it is called with {len(inputs)} operands; it takes three")
    condition, x, y = inputs
    if condition.dtype != np.bool_:
        condition = layer.op("NOT_EQUAL", condition, layer.b.constant(0, dtype=condition.dtype), dtype="bool")
    return layer.op("SELECT_V2", condition, x, y, dtype=np.float32)


def _clip(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return layers.clip(layer.b, _one(inputs), layer.number("x_min", 0.0), layer.number("x_max", 0.0))


def _cast(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    dtype = layer.choice("dtype", ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "bool"))
    return layer.cast(_one(inputs), "float32" if "float" in dtype else dtype)


def _matmul(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 2:
        raise ModelError(f"it is called with {len(inputs)} operands; it takes two")
    return layers.matmul(layer.b, *inputs)


def _einsum(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if len(inputs) != 2:
        raise ModelError(f"it is called with {len(inputs)} operands; two are supported")
    return einsum(layer.b, layer.text("subscripts", ""), *inputs)


def _round(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    if layer.whole("decimals", 0):
        raise ModelError("rounding to other than whole numbers is not supported")
    return layer.op("ROUND", _one(inputs))


def _reciprocal(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return layer.op("DIV", layer.constant("one", 1), _one(inputs))


_UNARY = (
    "ABS", "CEIL", "COS", "EXP", "FLOOR", "LOG", "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "ERF",
)  # fmt: skip

_COMPARISONS = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")


def _class(name: str) -> str:
    """GreaterEqual for GREATER_EQUAL and for greater_equal."""
    return "".join(word.capitalize() for word in name.lower().split("_"))


OPERATIONS: dict[str, Operation] = {
    **{_class(name): _activation(name) for name in ACTIVATIONS},
    **{_class(kind): _unary(kind) for kind in _UNARY},
    **{_class(kind): _binary(kind, "bool") for kind in _COMPARISONS},
    "Absolute": _unary("ABS"), "Round": _round, "Negative": _unary("NEG"), "Reciprocal": _reciprocal,
    "LogicalAnd": _binary("LOGICAL_AND"), "LogicalOr": _binary("LOGICAL_OR"), "LogicalNot": _unary("LOGICAL_NOT"),
    "Add": _binary("ADD"), "Subtract": _binary("SUB"), "Multiply": _binary("MUL"), "Maximum": _binary("MAXIMUM"),
    "Minimum": _binary("MINIMUM"), "Divide": _divide, "TrueDivide": _divide, "Power": _power,
    "Gelu": lambda layer, inputs: layer.op("GELU", _one(inputs), approximate=layer.flag("approximate", True)),
    "LeakyRelu": lambda layer, inputs: layer.op(
        "LEAKY_RELU", _one(inputs), alpha=layer.number("negative_slope", 0.2)
    ),
    "Elu": lambda layer, inputs: functions.elu(layer.b, _one(inputs), layer.number("alpha", 1.0)),
    "Softmax": lambda layer, inputs: softmax(layer, _one(inputs)),
    "LogSoftmax": lambda layer, inputs: layer.b.at_last_axis("LOG_SOFTMAX", _one(inputs), layer.whole("axis", -1)),
    "Mean": _reduce("MEAN"), "Sum": _reduce("SUM"), "Max": _reduce("REDUCE_MAX"), "Min": _reduce("REDUCE_MIN"),
    "Prod": _reduce("REDUCE_PROD"), "Var": _variance, "Std": _variance, "Argmax": _arg("ARG_MAX"),
    "Argmin": _arg("ARG_MIN"), "Matmul": _matmul, "Einsum": _einsum,
    "Transpose": _transpose, "Swapaxes": _swap_axes, "Moveaxis": _move_axis, "Reshape": _reshape,
    "ExpandDims": _expand, "Squeeze": _squeeze, "Concatenate": _concatenate, "Stack": _stack, "Split": _split,
    "GetItem": _item, "Flip": _flip, "Tile": _tile, "Repeat": _repeat, "BroadcastTo": _broadcast, "Pad": _pad,
    "Take": _take, "Where": _where, "Clip": _clip, "Cast": _cast, "StopGradient": _same, "Copy": _same,
    "Identity": _same,
}  # fmt: skip
"""Functions by the name of their class."""
