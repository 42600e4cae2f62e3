"""Functions on tensors of Keras 3 that move elements: other shapes and orders of axes, slices, joins, padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import layers
from tinymaix.read.keras_layer import Layer

Operation = Callable[[Layer, Sequence[Tensor]], Tensor | list[Tensor]]


def one(inputs: Sequence[Tensor]) -> Tensor:
    """The only input. Raises ModelError where there are others."""
    if len(inputs) != 1:
        raise ModelError(f"it is called with {len(inputs)} tensors; one is supported")
    return inputs[0]


def reduced_axes(layer: Layer, x: Tensor) -> tuple[int, ...]:
    """The axes that the config names, none of them the batch."""
    axis = layer.config.get("axis")
    if axis is None:
        raise ModelError("it takes in the batch too; give it the axes behind the batch")
    return layer.axes("axis", len(x.shape))


def typed(layer: Layer, x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """x in another type."""
    return layer.cast(x, dtype.name) if x.data is None else layer.b.constant(x.data, x.name, dtype)


def _transpose(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
    axes = layer.config.get("axes")
    return layer.b.transpose(x, tuple(reversed(range(len(x.shape)))) if axes is None else layer.listed(axes))


def _swap_axes(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
    order = list(range(len(x.shape)))
    a, b = (positive_axis(layer.whole(key, -1), len(order)) for key in ("axis1", "axis2"))
    order[a], order[b] = order[b], order[a]
    return layer.b.transpose(x, order)


def _move_axis(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
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
    x = one(inputs)
    shape = layer.listed(layer.config.get("newshape"))
    return layer.b.reshape_to(x, [-1 if size is None else size for size in shape])


def _expand(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
    axes = layer.listed(layer.config.get("axis"))
    rank = len(x.shape) + len(axes)
    places = {positive_axis(axis, rank) for axis in axes}
    sizes = iter(x.shape)
    return layer.reshape(x, [1 if i in places else next(sizes) for i in range(rank)])


def _squeeze(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
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
    x = one(inputs)
    axis = positive_axis(layer.whole("axis", 0), len(x.shape))
    parts = layer.config.get("indices_or_sections")
    if isinstance(parts, int):
        if parts < 1 or x.shape[axis] % parts:
            raise ModelError(f"{x.shape[axis]} elements do not divide into {parts} parts")
        return layers.split(layer.b, x, [x.shape[axis] // parts] * parts, axis)
    ends = [0, *layer.listed(parts), x.shape[axis]]
    sizes = [b - a for a, b in pairwise(ends)]
    if min(sizes) < 1:
        raise ModelError(f"it splits {x.shape[axis]} elements at {ends[1:-1]}")
    return layers.split(layer.b, x, sizes, axis)


def _item(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """x[key], the key made of slices, whole numbers, None and an ellipsis."""
    x = inputs[0]
    key = layer.call.given[1] if len(layer.call.given) > 1 else layer.call.options.get("slice_spec")
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
    if isinstance(part, dict):
        bounds = part.get("config") if _is(part, "__slice__") else part
        if isinstance(bounds, dict) and set(bounds) == {"start", "stop", "step"}:  # Keras 2 stores just these
            return slice(*(bounds[key] for key in ("start", "stop", "step")))
    if isinstance(part, slice) or (isinstance(part, int) and not isinstance(part, bool)):
        return part
    raise ModelError(f"an index {str(part)[:60]} is not supported; whole numbers and slices are")


def _flip(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
    axes, sizes = reduced_axes(layer, x), x.shape
    begin = [n - 1 if i in axes else 0 for i, n in enumerate(sizes)]
    end = [-n - 1 if i in axes else n for i, n in enumerate(sizes)]
    return layers.box(layer.b, x, begin, end, [-1 if i in axes else 1 for i in range(len(sizes))])


def _tile(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
    repeats = layer.listed(layer.config.get("repeats"))
    rank = max(len(x.shape), len(repeats))
    x = layer.reshape(x, (*(1,) * (rank - len(x.shape)), *x.shape))
    return layer.op("TILE", x, repeats=(*(1,) * (rank - len(repeats)), *repeats))


def _repeat(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Each element of an axis several times in a row."""
    x, count = one(inputs), layer.size("repeats")
    (axis,) = reduced_axes(layer, x)
    apart = layer.reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    many = layers.broadcast(layer.b, apart, (*x.shape[: axis + 1], count, *x.shape[axis + 1 :]))
    return layer.reshape(many, (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]))


def _broadcast(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    return layers.broadcast(layer.b, one(inputs), layer.listed(layer.config.get("shape")))


def _pad(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    x = one(inputs)
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
    return layers.take(layer.b, x, typed(layer, indices, np.dtype(np.int32)), layer.whole("axis", 0))


OPERATIONS: dict[str, Operation] = {
    "Transpose": _transpose, "Swapaxes": _swap_axes, "Moveaxis": _move_axis, "Reshape": _reshape,
    "ExpandDims": _expand, "Squeeze": _squeeze, "Concatenate": _concatenate, "Stack": _stack, "Split": _split,
    "GetItem": _item, "Flip": _flip, "Tile": _tile, "Repeat": _repeat, "BroadcastTo": _broadcast, "Pad": _pad,
    "Take": _take,
}  # fmt: skip
"""By the name of the class."""
