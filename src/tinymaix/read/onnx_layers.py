"""What each ONNX operator is on a `Builder`, by kind. Opset 7 to current; attributes that became inputs are both read.

Specification: https://github.com/onnx/onnx/blob/main/docs/Operators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import (
    layers,
    onnx_axes,
    onnx_functions,
    onnx_ml,
    onnx_quantized,
    onnx_recurrent,
    onnx_trees,
    window_layers,
)
from tinymaix.read.channels_first import kernel_type
from tinymaix.read.onnx_attributes import OnnxLayer
from tinymaix.read.onnx_constants import cast_type

Result = Tensor | list[Tensor]
Lower = Callable[[OnnxLayer], Result]

SQRT_HALF = np.float32(math.sqrt(0.5))


def _conv(n: OnnxLayer) -> Tensor:
    w = n.input(1)
    window = n.window(tuple(n.integers("kernel_shape") or w.shape[2:]))
    return window_layers.convolution(n.b, n.x, w, n.optional(2), window, n.integer("group", 1))


def _conv_transpose(n: OnnxLayer) -> Tensor:
    w = n.input(1)
    window = n.window(tuple(n.integers("kernel_shape") or w.shape[2:]))
    if n.text("auto_pad", "NOTSET") != "NOTSET" or n.integers("output_shape"):
        raise ModelError("an output shape or auto_pad is not supported; export it with pads")
    extra = tuple(n.integers("output_padding") or [0] * len(window.kernel))
    return window_layers.transposed_convolution(n.b, n.x, w, n.optional(2), window, n.integer("group", 1), extra)


def _pool(kind: str) -> Lower:
    def lower(n: OnnxLayer) -> Tensor:
        if len(n.node.outputs) > 1 and n.node.outputs[1]:
            raise ModelError("the indices of a pooling are not supported")
        window = n.window(tuple(n.integers("kernel_shape") or ()))
        return window_layers.pool(
            n.b, kind, n.x, window, n.integer("ceil_mode", 0) != 0, n.integer("count_include_pad", 0) != 0
        )

    return lower


def _gemm(n: OnnxLayer) -> Tensor:
    """alpha * A' * B' + beta * C"""
    a, w, bias = n.x, n.input(1), n.optional(2)
    a = n.b.transpose(a, (1, 0)) if n.integer("transA", 0) else a
    if w.data is None:
        w = n.b.transpose(w, (1, 0)) if n.integer("transB", 0) else w
        y = layers.matmul(n.b, a, w)
    else:
        order = (0, 1) if n.integer("transB", 0) else (1, 0)
        shape = w.shape
        w = n.b.rearranged(w, shape, order, axis=0)
        plain = n.number("alpha", 1.0) == n.number("beta", 1.0) == 1.0
        if plain and bias is not None and bias.data is not None and bias.elements == w.shape[0]:
            return layers.dense(n.b, a, w, n.b.rearranged(bias, (w.shape[0],), (0,), axis=0))
        y = layers.dense(n.b, a, w, None)
    y = layers.scalar(n.b, "MUL", y, n.number("alpha", 1.0)) if n.number("alpha", 1.0) != 1.0 else y
    if bias is None:
        return y
    beta = n.number("beta", 1.0)
    return n.b.op("ADD", y, layers.scalar(n.b, "MUL", bias, beta) if beta != 1.0 else bias)


def _clip(n: OnnxLayer) -> Tensor:
    bounds = []
    for name, index, default in (("min", 1, -math.inf), ("max", 2, math.inf)):
        given = n.optional(index)
        value = n.number(name, default) if given is None else float(n.constant(index, f"its {name}").reshape(-1)[0])
        bounds.append(math.copysign(math.inf, value) if abs(value) > 3.4e38 else value)
    return layers.clip(n.b, n.x, bounds[0], bounds[1])


def _softmax(kind: str) -> Lower:
    def lower(n: OnnxLayer) -> Tensor:
        rank = len(n.x.shape)
        axis = positive_axis(n.integer("axis", -1 if n.opset >= 13 else 1), rank)
        if n.opset >= 13 or math.prod(n.x.shape[axis + 1 :]) == 1:
            return n.b.at_last_axis(kind, n.x, axis)
        rows = n.b.reshape(n.x, (math.prod(n.x.shape[:axis]), math.prod(n.x.shape[axis:])))  # one softmax over the rest
        return n.b.reshape(n.b.op(kind, rows), n.x.shape)

    return lower


def _batch_norm(n: OnnxLayer) -> Tensor:
    return layers.batch_norm(n.b, n.x, [n.input(i) for i in range(1, 5)], n.number("epsilon", 1e-5))


def _layer_norm(n: OnnxLayer) -> Tensor:
    rank = len(n.x.shape)
    axes = range(positive_axis(n.integer("axis", -1), rank), rank)
    return layers.layer_norm(n.b, n.x, axes, n.number("epsilon", 1e-5), n.optional(1), n.optional(2))


def _instance_norm(n: OnnxLayer) -> Tensor:
    return layers.group_norm(n.b, n.x, n.x.shape[1], n.number("epsilon", 1e-5), n.input(1), n.input(2))


def _group_norm(n: OnnxLayer) -> Tensor:
    groups = n.integer("num_groups", 1)
    parameters = [n.input(1), n.input(2)]
    if n.opset < 21:  # one value a group, then
        each = n.x.shape[1] // groups
        parameters = [n.b.constant(np.repeat(n.constant(i, "its scale"), each)) for i in (1, 2)]
    return layers.group_norm(n.b, n.x, groups, n.number("epsilon", 1e-5), *parameters)


def _gelu(n: OnnxLayer) -> Tensor:
    return n.b.op("GELU", n.x, approximate=n.text("approximate", "none") == "tanh")


def _hard_sigmoid(n: OnnxLayer) -> Tensor:
    return layers.hard_sigmoid(n.b, n.x, n.number("alpha", 0.2), n.number("beta", 0.5))


def _arg(kind: str) -> Lower:
    def lower(n: OnnxLayer) -> Tensor:
        if n.integer("select_last_index", 0):
            raise ModelError("select_last_index is not supported")
        axis = positive_axis(n.integer("axis", 0), len(n.x.shape))
        y = n.b.op(kind, n.x, axis=axis, dtype=np.int32)
        return (
            n.b.reshape(y, [1 if i == axis else s for i, s in enumerate(n.x.shape)]) if n.integer("keepdims", 1) else y
        )

    return lower


def _resize(n: OnnxLayer) -> Tensor:
    old = n.kind == "Upsample" or n.opset < 11
    mode = n.text("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    scales = n.numbers("scales")
    place = 1 if old else 2
    given = n.optional(place)
    if given is not None and given.elements:
        scales = [float(v) for v in n.constant(place, "its scales").reshape(-1)]
    if scales is None:
        sizes = [int(v) for v in n.constant(3, "its sizes").reshape(-1)]
        scales = [size / full for size, full in zip(sizes, n.x.shape, strict=True)]
    axes = n.integers("axes")
    if axes is not None:
        by_axis = dict(zip((positive_axis(a, len(n.x.shape)) for a in axes), scales, strict=True))
        scales = [by_axis.get(i, 1.0) for i in range(len(n.x.shape))]
    if len(scales) != len(n.x.shape) or scales[0] != 1 or scales[1] != 1:
        raise ModelError(
            f"scales {scales} do not fit an input of shape {list(n.x.shape)}: only height and width resize"
        )
    size = [math.floor(full * scale + 1e-6) for full, scale in zip(n.x.shape, scales, strict=True)][2:]
    kind = n.text("mode", "nearest")
    if kind not in ("nearest", "linear"):
        raise ModelError(f"resizing of mode '{kind}' is not supported; nearest and linear are")
    if kind == "nearest" and mode == "asymmetric" and n.text("nearest_mode", "round_prefer_floor") != "floor":
        mode = "half_pixel" if not old and all(s in (1, 2) for s in scales) else mode
    if kind == "nearest" and mode == "align_corners" and n.text("nearest_mode", "") != "round_prefer_ceil":
        raise ModelError("nearest resizing with align_corners needs nearest_mode 'round_prefer_ceil'")
    return window_layers.resize(n.b, kind, n.x, (size[0], size[-1]), mode, scales[2:])


def _depth(kind: str) -> Lower:
    def lower(n: OnnxLayer) -> Tensor:
        return window_layers.depth_space(n.b, kind, n.x, n.integer("blocksize", 1), n.text("mode", "DCR"))

    return lower


def _cast(n: OnnxLayer) -> Tensor:
    dtype = kernel_type(cast_type(n))
    return n.x if dtype == n.x.dtype else n.b.op("CAST", n.x, dtype=dtype)


def _constant(n: OnnxLayer) -> Tensor:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if n.node.attributes.get(name) is not None:
            dtype = np.float32 if "float" in name else None
            return n.b.constant(np.asarray(n.node.attributes[name], dtype))
    raise ModelError("its value is not a number or tensor")


def _pow(n: OnnxLayer) -> Tensor:
    exponent = n.input(1)
    if exponent.data is not None and exponent.elements == 1:
        value = float(exponent.data.reshape(-1)[0])
        if value in (2.0, 3.0):
            square = n.b.op("MUL", n.x, n.x)
            return square if value == 2.0 else n.b.op("MUL", square, n.x)
        if value == 0.5:
            return n.b.op("SQRT", n.x)
    return n.b.op("POW", n.x, exponent)


def _divide(n: OnnxLayer) -> Tensor:
    divisor = n.input(1)
    if divisor.data is not None and divisor.dtype == np.float32:
        return n.b.op("MUL", n.x, n.b.constant(np.float32(1) / divisor.data))
    return n.b.op("DIV", n.x, divisor)


def _chain(kind: str) -> Lower:
    """An operator of any number of inputs by one of two."""

    def lower(n: OnnxLayer) -> Tensor:
        y = n.x
        for i in range(1, len(n.inputs)):
            y = n.b.op(kind, y, n.input(i))
        return y

    return lower


def _op(kind: str, dtype: type | None = None) -> Lower:
    """The operator of that name, with the node's inputs."""
    return lambda n: n.b.op(kind, *n.inputs, dtype=dtype)


def _same(n: OnnxLayer) -> Tensor:
    return n.x


def _constant_only(n: OnnxLayer) -> Tensor:
    raise ModelError("it works on values that are computed at run time; export the model with fixed shapes")


LAYERS: dict[str, Lower] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "MaxPool": _pool("MAX_POOL_2D"),
    "AveragePool": _pool("AVERAGE_POOL_2D"), "GlobalAveragePool": lambda n: window_layers.global_pool(n.b, n.x),
    "GlobalMaxPool": lambda n: window_layers.global_pool(n.b, n.x, "MAX_POOL_2D"),
    "Gemm": _gemm, "MatMul": lambda n: layers.matmul(n.b, n.x, n.input(1)),
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm, "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "Relu": _op("RELU"), "Sigmoid": _op("LOGISTIC"), "Tanh": _op("TANH"), "Erf": _op("ERF"),
    "HardSwish": _op("HARD_SWISH"), "HardSigmoid": _hard_sigmoid, "Gelu": _gelu,
    "LeakyRelu": lambda n: n.b.op("LEAKY_RELU", n.x, alpha=n.number("alpha", 0.01)), "Clip": _clip,
    "PRelu": lambda n: n.b.op("PRELU", n.x, n.input(1)),
    "Softmax": _softmax("SOFTMAX"), "LogSoftmax": _softmax("LOG_SOFTMAX"),
    "Abs": _op("ABS"), "Neg": _op("NEG"), "Sqrt": _op("SQRT"), "Exp": _op("EXP"), "Log": _op("LOG"),
    "Floor": _op("FLOOR"), "Ceil": _op("CEIL"), "Round": _op("ROUND"), "Sin": _op("SIN"), "Cos": _op("COS"),
    "Reciprocal": lambda n: n.b.op("DIV", n.b.constant(np.float32(1)), n.x),
    "Add": _op("ADD"), "Sub": _op("SUB"), "Mul": _op("MUL"), "Div": _divide, "Pow": _pow, "Sum": _chain("ADD"),
    "Max": _chain("MAXIMUM"), "Min": _chain("MINIMUM"),
    "Equal": _op("EQUAL", bool), "Less": _op("LESS", bool), "Greater": _op("GREATER", bool),
    "LessOrEqual": _op("LESS_EQUAL", bool), "GreaterOrEqual": _op("GREATER_EQUAL", bool),
    "And": _op("LOGICAL_AND"), "Or": _op("LOGICAL_OR"), "Not": _op("LOGICAL_NOT"),
    "Where": lambda n: n.b.op("SELECT_V2", *n.inputs, dtype=n.input(1).dtype),
    "ArgMax": _arg("ARG_MAX"), "ArgMin": _arg("ARG_MIN"),
    "Identity": _same, "Dropout": _same, "Resize": _resize, "Upsample": _resize,
    "DepthToSpace": _depth("DEPTH_TO_SPACE"), "SpaceToDepth": _depth("SPACE_TO_DEPTH"),
    "Cast": _cast, "Constant": _constant,
    "ConstantOfShape": _constant_only, "Range": _constant_only, "Mod": _constant_only,
    **onnx_axes.LAYERS, **onnx_functions.LAYERS, **onnx_recurrent.LAYERS, **onnx_quantized.LAYERS, **onnx_ml.LAYERS,
    **onnx_trees.LAYERS,
}  # fmt: skip
