"""ATen operators that are functions of others: activations, reductions, sums after Einstein."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import functions, layers
from tinymaix.read.products import einsum
from tinymaix.read.torch_layer import TorchLayer

Lower = Callable[[TorchLayer], Tensor | list[Tensor]]


def reduced_axes(n: TorchLayer) -> tuple[int, ...]:
    """The axes of a reduction, all where none are given."""
    return tuple(positive_axis(axis, n.rank) for axis in n.integers("dim")) or tuple(range(n.rank))


def _variance(root: bool) -> Lower:
    def lower(n: TorchLayer) -> Tensor:
        correction = n.number("correction", 1.0 if n.flag("unbiased", True) else 0.0)
        y = functions.variance(n.b, n.x, reduced_axes(n), n.flag("keepdim"), correction)
        return n.b.op("SQRT", y) if root else y

    return lower


def _extreme(kind: str, place: str, pair: str) -> Lower:
    """max and min: of all elements, along an axis (with the places), or of two tensors."""

    def lower(n: TorchLayer) -> Tensor | list[Tensor]:
        if n.optional("other") is not None:
            return n.b.op(pair, n.x, n.tensor("other"))
        axes = reduced_axes(n)
        y = n.b.op(kind, n.x, axes=axes, keep_dims=n.flag("keepdim"))
        if not n.integers("dim"):
            return y
        return [y, n.b.reshape(n.b.op(place, n.x, axis=axes[0], dtype=np.int32), y.shape)]

    return lower


def _einsum(n: TorchLayer) -> Tensor:
    operands = n.tensors("tensors")
    if len(operands) != 2:
        raise ModelError(f"a summation over {len(operands)} operands is not supported; two are")
    return einsum(n.b, n.text("equation", ""), *operands)


def _norm(n: TorchLayer) -> Tensor:
    """The sum of magnitudes (ord 1) or the length (ord 2) along axes."""
    order, axes, keep = n.number("ord", 2.0), reduced_axes(n), n.flag("keepdim")
    if order == 1:
        return n.b.op("SUM", n.b.op("ABS", n.x), axes=axes, keep_dims=keep)
    if order == 2:
        return n.b.op("SQRT", n.b.op("SUM", n.b.op("MUL", n.x, n.x), axes=axes, keep_dims=keep))
    raise ModelError(f"a norm of order {order:g} is not supported; 1 and 2 are")


def _cosine(n: TorchLayer) -> Tensor:
    """The sum of products along an axis by both lengths, which are at least eps."""
    a, b, axis = n.tensor("x1"), n.tensor("x2"), n.integer("dim", 1)
    rows: dict[str, Any] = {"axes": (positive_axis(axis, max(len(a.shape), len(b.shape))),), "keep_dims": False}
    product = n.b.op("SUM", n.b.op("MUL", a, b), **rows)
    lengths = [n.b.op("SQRT", n.b.op("SUM", n.b.op("MUL", t, t), **rows)) for t in (a, b)]
    return n.b.op(
        "DIV", product, n.b.op("MUL", *(layers.scalar(n.b, "MAXIMUM", t, n.number("eps", 1e-8)) for t in lengths))
    )


def _flip(n: TorchLayer) -> Tensor:
    axes = {positive_axis(axis, n.rank) for axis in n.integers("dims")}
    sizes = n.x.shape
    begin = [size - 1 if i in axes else 0 for i, size in enumerate(sizes)]
    end = [-size - 1 if i in axes else size for i, size in enumerate(sizes)]
    return layers.box(n.b, n.x, begin, end, [-1 if i in axes else 1 for i in range(n.rank)])


def _repeat(n: TorchLayer) -> Tensor:
    repeats = n.integers("repeats")
    if len(repeats) < n.rank or min(repeats) < 1:
        raise ModelError(f"repeats {repeats} do not fit an input of {n.rank} axes")
    x = n.b.reshape(n.x, (*(1,) * (len(repeats) - n.rank), *n.x.shape))
    return n.b.op("TILE", x, repeats=tuple(repeats))


def _masked_fill(n: TorchLayer) -> Tensor:
    return n.b.op("SELECT_V2", n.tensor("mask"), n.tensor("value"), n.x, dtype=n.x.dtype)


def _move(n: TorchLayer) -> Tensor:
    source, target = ([positive_axis(axis, n.rank) for axis in n.integers(key)] for key in ("source", "destination"))
    order = [axis for axis in range(n.rank) if axis not in source]
    for place, axis in sorted(zip(target, source, strict=True)):
        order.insert(place, axis)
    return n.b.transpose(n.x, order)


def _cumsum(n: TorchLayer) -> Tensor:
    return n.b.op("CUMSUM", n.x, axis=positive_axis(n.integer("dim", 0), n.rank))


def _softplus(n: TorchLayer) -> Tensor:
    beta = n.number("beta", 1.0)
    if beta == 1.0:
        return functions.softplus(n.b, n.x)
    return layers.scalar(n.b, "MUL", functions.softplus(n.b, layers.scalar(n.b, "MUL", n.x, beta)), 1 / beta)


_ATEN: dict[str, Lower] = {
    "elu": lambda n: functions.elu(n.b, n.x, n.number("alpha", 1.0), n.number("scale", 1.0)),
    "selu": lambda n: functions.elu(n.b, n.x, functions.SELU_ALPHA, functions.SELU_SCALE),
    "celu": lambda n: functions.celu(n.b, n.x, n.number("alpha", 1.0)),
    "glu": lambda n: functions.glu(n.b, n.x, n.integer("dim", -1)), "softplus": _softplus,
    "mish": lambda n: functions.mish(n.b, n.x), "log_sigmoid": lambda n: functions.log_sigmoid(n.b, n.x),
    "softshrink": lambda n: functions.soft_shrink(n.b, n.x, n.number("lambd", 0.5)),
    "hardshrink": lambda n: functions.hard_shrink(n.b, n.x, n.number("lambd", 0.5)),
    "threshold": lambda n: functions.thresholded(n.b, n.x, n.number("threshold", 0.0), n.number("value", 0.0)),
    "sign": lambda n: n.b.op("SIGN", n.x),
    "log1p": lambda n: n.b.op("LOG", layers.scalar(n.b, "ADD", n.x, 1.0)),
    "expm1": lambda n: layers.scalar(n.b, "SUB", n.b.op("EXP", n.x), 1.0),
    "logical_and": lambda n: n.b.op("LOGICAL_AND", n.x, n.tensor("other")),
    "logical_or": lambda n: n.b.op("LOGICAL_OR", n.x, n.tensor("other")),
    "var": _variance(root=False), "std": _variance(root=True),
    "max": _extreme("REDUCE_MAX", "ARG_MAX", "MAXIMUM"), "min": _extreme("REDUCE_MIN", "ARG_MIN", "MINIMUM"),
    "logsumexp": lambda n: functions.log_sum_exp(n.b, n.x, reduced_axes(n), n.flag("keepdim")),
    "prod": lambda n: n.b.op("REDUCE_PROD", n.x, axes=reduced_axes(n), keep_dims=n.flag("keepdim")),
    "linalg_vector_norm": _norm, "cosine_similarity": _cosine, "einsum": _einsum, "cumsum": _cumsum,
    "flip": _flip, "repeat": _repeat, "masked_fill": _masked_fill, "movedim": _move,
}  # fmt: skip

LAYERS: dict[str, Lower] = {f"aten.{name}": lower for name, lower in _ATEN.items()}
