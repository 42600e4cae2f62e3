"""ONNX operators that are functions of others: activations, reductions, sums after Einstein, codes of categories."""

from __future__ import annotations

from collections.abc import Callable

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import functions, layers
from tinymaix.read.onnx_attributes import OnnxLayer
from tinymaix.read.products import einsum

Lower = Callable[[OnnxLayer], Tensor]


def reduced_axes(n: OnnxLayer) -> tuple[int, ...] | None:
    """The axes of a reduction, all where none are given; None where it is asked to do nothing then."""
    axes = n.integers_or_input("axes", 1)
    if not axes and n.integer("noop_with_empty_axes", 0):
        return None
    rank = len(n.x.shape)
    return tuple(positive_axis(axis, rank) for axis in axes) if axes and rank else tuple(range(rank))


def reduce(kind: str, before: str = "", after: str = "") -> Lower:
    """A reduction, of what a function makes of the input, and a function of its result."""

    def lower(n: OnnxLayer) -> Tensor:
        axes = reduced_axes(n)
        x = n.b.op("MUL", n.x, n.x) if before == "SQUARE" else n.b.op(before, n.x) if before else n.x
        if axes:  # a scalar has none
            x = n.b.op(kind, x, axes=axes, keep_dims=n.integer("keepdims", 1) != 0)
        return n.b.op(after, x) if after else x

    return lower


def _log_sum_exp(n: OnnxLayer) -> Tensor:
    axes = reduced_axes(n)
    return functions.log_sum_exp(n.b, n.x, axes, n.integer("keepdims", 1) != 0) if axes else n.x


def _shrink(n: OnnxLayer) -> Tensor:
    """x + bias below -lambd, x - bias above it, else 0."""
    width, bias = n.number("lambd", 0.5), n.number("bias", 0.0)
    if bias not in (0.0, width):
        raise ModelError(f"a bias of {bias:g} is not supported; 0 and lambd ({width:g}) are")
    return (functions.soft_shrink if bias else functions.hard_shrink)(n.b, n.x, width)


def _swish(n: OnnxLayer) -> Tensor:
    alpha = n.number("alpha", 1.0)
    x = n.x if alpha == 1.0 else layers.scalar(n.b, "MUL", n.x, alpha)
    return n.b.op("MUL", n.x, n.b.op("LOGISTIC", x))


def _einsum(n: OnnxLayer) -> Tensor:
    if len(n.inputs) != 2:
        raise ModelError(f"a summation over {len(n.inputs)} operands is not supported; two are")
    return einsum(n.b, n.text("equation", ""), n.x, n.input(1))


def _cumsum(n: OnnxLayer) -> Tensor:
    axis = positive_axis(int(n.constant(1, "its axis").reshape(-1)[0]), len(n.x.shape))
    exclusive, reverse = n.integer("exclusive", 0) != 0, n.integer("reverse", 0) != 0
    return n.b.op("CUMSUM", n.x, axis=axis, exclusive=exclusive, reverse=reverse)


def _one_hot(n: OnnxLayer) -> Tensor:
    depth = int(n.constant(1, "its depth").reshape(-1)[0])
    return functions.one_hot(n.b, n.x, depth, n.constant(2, "its values"), n.integer("axis", -1))


def _lp_normalization(n: OnnxLayer) -> Tensor:
    """x divided by the sum of its magnitudes (p = 1) or by its length (p = 2) along an axis."""
    axis = positive_axis(n.integer("axis", -1), len(n.x.shape))
    if n.integer("p", 2) == 2:
        total = n.b.op("SQRT", n.b.op("SUM", n.b.op("MUL", n.x, n.x), axes=(axis,), keep_dims=True))
    else:
        total = n.b.op("SUM", n.b.op("ABS", n.x), axes=(axis,), keep_dims=True)
    return n.b.op("DIV", n.x, total)


def _mean_variance(n: OnnxLayer) -> Tensor:
    axes = n.integers("axes") or [0, 2, 3]
    return layers.normalized(n.b, n.x, [positive_axis(axis, len(n.x.shape)) for axis in axes], 1e-9)


def _rms_norm(n: OnnxLayer) -> Tensor:
    rank = len(n.x.shape)
    axes = range(positive_axis(n.integer("axis", -1), rank), rank)
    y = layers.normalized(n.b, n.x, axes, n.number("epsilon", 1e-5), centered=False)
    return n.b.op("MUL", y, n.input(1))


LAYERS: dict[str, Lower] = {
    "Elu": lambda n: functions.elu(n.b, n.x, n.number("alpha", 1.0)),
    "Selu": lambda n: functions.elu(
        n.b, n.x, n.number("alpha", functions.SELU_ALPHA), n.number("gamma", functions.SELU_SCALE)
    ),
    "Celu": lambda n: functions.celu(n.b, n.x, n.number("alpha", 1.0)),
    "ThresholdedRelu": lambda n: functions.thresholded(n.b, n.x, n.number("alpha", 1.0)),
    "Softplus": lambda n: functions.softplus(n.b, n.x), "Softsign": lambda n: functions.softsign(n.b, n.x),
    "Mish": lambda n: functions.mish(n.b, n.x), "Shrink": _shrink, "Swish": _swish,
    "Sign": lambda n: n.b.op("SIGN", n.x), "Xor": lambda n: n.b.op("NOT_EQUAL", n.x, n.input(1), dtype=bool),
    "ReduceMean": reduce("MEAN"), "ReduceSum": reduce("SUM"), "ReduceMax": reduce("REDUCE_MAX"),
    "ReduceMin": reduce("REDUCE_MIN"), "ReduceProd": reduce("REDUCE_PROD"), "ReduceL1": reduce("SUM", "ABS"),
    "ReduceL2": reduce("SUM", "SQUARE", "SQRT"), "ReduceSumSquare": reduce("SUM", "SQUARE"),
    "ReduceLogSum": reduce("SUM", "", "LOG"), "ReduceLogSumExp": _log_sum_exp,
    "Einsum": _einsum, "CumSum": _cumsum, "OneHot": _one_hot, "LpNormalization": _lp_normalization,
    "MeanVarianceNormalization": _mean_variance, "RMSNormalization": _rms_norm,
}  # fmt: skip
