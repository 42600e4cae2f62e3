"""Quantized ONNX: QuantizeLinear and DequantizeLinear are QUANTIZE and DEQUANTIZE, QLinear* float layers between them.

`tinymaix.read.integer` makes integer layers of what stands between them. uint8 becomes int8 by shifting it by 128.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tinymaix.graph import ModelError, Quantization, Shape, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import layers
from tinymaix.read.channels_first import Builder, constant_data
from tinymaix.read.onnx_attributes import OnnxLayer
from tinymaix.read.onnx_file import OnnxFile

INTEGERS = ("int8", "uint8", "int16", "int32")


def quantized_input(file: OnnxFile, name: str, shape: Shape, dtype: str, b: Builder) -> Tensor:
    """An input of the graph; one of uint8 is int8 here, 128 less."""
    if dtype == "uint8":
        b.notes.append(f"input '{name}' is int8: the model's uint8 less 128")
    return b.input(name, shape, "int8" if dtype == "uint8" else dtype)


def _parameters(n: OnnxLayer, at: int, shape: Shape, dtype: np.dtype[np.generic] | None) -> tuple[str, Quantization]:
    """(type in the file, quantization as int8 has it) from scale and zero point, inputs ``at`` and ``at + 1``."""
    scale = constant_data(n.optional(at), "its scale").astype(np.float32).reshape(-1)
    point = n.optional(at + 1)
    zero = np.zeros(scale.size) if point is None else constant_data(point, "its zero point").reshape(-1)
    stored = (dtype or np.dtype(np.uint8)).name if point is None else point.dtype.name
    if stored not in INTEGERS or not np.all(np.isfinite(scale) & (scale > 0)):
        raise ModelError(f"its scale must be positive and its type one of {', '.join(INTEGERS)}, not {stored}")
    if scale.size > 1 and scale.size not in shape:
        raise ModelError(f"{scale.size} scales do not fit a tensor of shape {list(shape)}")
    axis = positive_axis(n.integer("axis", 1), len(shape)) if scale.size > 1 else 0
    if stored == "uint8":
        zero = zero.astype(np.int64) - 128
    return stored, Quantization.of(scale, zero.astype(np.int64), axis)


def _stored(tensor: Tensor, stored: str, q: Quantization) -> Tensor:
    """A constant of integers with its quantization, uint8 as int8."""
    data = constant_data(tensor, "a quantized constant")
    if stored == "uint8":
        data = (data.astype(np.int16) - 128).astype(np.int8)
    return Tensor(tensor.name, data.shape, data.dtype, q, data)


def quantize(b: Builder, x: Tensor, stored: str, q: Quantization) -> Tensor:
    """x in integers; a constant stays the float that these stand for."""
    if q.per_channel:
        raise ModelError("an activation with a scale for each channel is not supported; quantize it with one scale")
    y = b.op("QUANTIZE", x, dtype="int8" if stored == "uint8" else stored)
    y.quantization = q
    return y


def dequantize(b: Builder, x: Tensor, stored: str, q: Quantization) -> Tensor:
    if x.data is not None:
        return b.dequantized(_stored(x, stored, q))
    if x.quantization is None:
        x.quantization = q  # an input of the graph
    elif (x.q.s, x.q.z) != (q.s, q.z):
        x = b.op("RESHAPE", x, shape=x.shape)  # the same integers, read with another scale
        x.quantization = q
    return b.op("DEQUANTIZE", x, dtype=np.float32)


def _quantize(n: OnnxLayer) -> Tensor:
    x = n.x
    if x.data is not None:  # an exporter left a constant to be quantized at run time
        stored, q = _parameters(n, 1, x.shape, None)
        info = np.iinfo("int8" if stored == "uint8" else stored)
        along = [-1 if i == q.axis else 1 for i in range(len(x.shape))] if q.per_channel else []
        raw = np.rint(x.data / q.scale.reshape(along)) + q.zero_point.reshape(along)
        data = np.clip(raw, info.min, info.max).astype(info.dtype)
        return Tensor(x.name, data.shape, data.dtype, q, data)
    return quantize(n.b, x, *_parameters(n, 1, x.shape, None))


def _dequantize(n: OnnxLayer) -> Tensor:
    if n.integer("block_size", 0):
        raise ModelError("scales for blocks of weights are not supported; quantize with a scale for each channel")
    stored, q = _parameters(n, 1, n.x.shape, n.x.dtype)
    if n.x.data is not None and n.x.quantization is not None:
        return n.b.dequantized(replace(n.x))
    return dequantize(n.b, n.x, stored, q)


def _real(n: OnnxLayer, at: int) -> Tensor:
    """The float that a quantized input of a QLinear operator stands for: input ``at``, its scale and zero point."""
    x = n.input(at)
    return dequantize(n.b, x, *_parameters(n, at + 1, x.shape, None))


def _between(n: OnnxLayer, y: Tensor, at: int) -> Tensor:
    """A float result quantized by the scale and zero point at input ``at``."""
    return quantize(n.b, y, *_parameters(n, at, y.shape, None))


def _qlinear_conv(n: OnnxLayer) -> Tensor:
    x, w = _real(n, 0), n.input(3)
    stored, q = _parameters(n, 4, w.shape, None)
    w = n.b.dequantized(_stored(w, stored, Quantization(q.scale, q.zero_point, 0)))
    bias = n.optional(8)
    if bias is not None:
        scale = np.float64(_parameters(n, 1, x.shape, None)[1].s) * q.scale.astype(np.float64)
        data = constant_data(bias, "its bias")
        bias = n.b.dequantized(Tensor(bias.name, data.shape, data.dtype, Quantization.of(scale), data))
    inner = replace(n, inputs=[x, w, bias])
    window = inner.window(tuple(n.integers("kernel_shape") or w.shape[2:]))
    return _between(n, layers.convolution(n.b, x, w, bias, window, n.integer("group", 1)), 6)


def _qlinear_matmul(n: OnnxLayer) -> Tensor:
    w = n.input(3)
    stored, q = _parameters(n, 4, w.shape, None)
    q = Quantization(q.scale, q.zero_point, len(w.shape) - 1)
    right = n.b.dequantized(_stored(w, stored, q)) if w.data is not None else dequantize(n.b, w, stored, q)
    return _between(n, layers.matmul(n.b, _real(n, 0), right), 6)


def _qgemm(n: OnnxLayer) -> Tensor:
    """com.microsoft QGemm: A, B and an int32 C, then the output's scale and zero point."""
    x, w = _real(n, 0), n.input(3)
    if n.integer("transA", 0) or n.number("alpha", 1.0) != 1.0 or len(n.inputs) < 8:
        raise ModelError("a QGemm with transA, alpha or a float output is not supported")
    stored, q = _parameters(n, 4, w.shape, None)
    flip = n.integer("transB", 0) == 0
    w = n.b.dequantized(_stored(w, stored, Quantization(q.scale, q.zero_point, 1 if flip else 0)))
    w = n.b.rearranged(w, w.shape, (1, 0) if flip else (0, 1), axis=0)
    bias = n.optional(6)
    if bias is not None:
        scale = np.float64(_parameters(n, 1, x.shape, None)[1].s) * q.scale.astype(np.float64)
        data = constant_data(bias, "its bias").reshape(-1)
        bias = n.b.dequantized(Tensor(bias.name, data.shape, data.dtype, Quantization.of(scale), data))
    return _between(n, layers.dense(n.b, x, w, bias), 7)


def _binary(kind: str) -> Callable[[OnnxLayer], Tensor]:
    return lambda n: _between(n, n.b.op(kind, _real(n, 0), _real(n, 3)), 6)


def _unary(lower: Callable[[OnnxLayer, Tensor], Tensor]) -> Callable[[OnnxLayer], Tensor]:
    """Inputs x, its scale and zero point, the output's scale and zero point."""
    return lambda n: _between(n, lower(n, _real(n, 0)), 3)


def _average_pool(n: OnnxLayer, x: Tensor) -> Tensor:
    _no_channels_last(n)
    window = replace(n, inputs=[x]).window(tuple(n.integers("kernel_shape") or ()))
    return layers.pool(
        n.b, "AVERAGE_POOL_2D", x, window, n.integer("ceil_mode", 0) != 0, n.integer("count_include_pad", 0) != 0
    )


def _global_average_pool(n: OnnxLayer, x: Tensor) -> Tensor:
    _no_channels_last(n)
    return layers.global_pool(n.b, x)


def _no_channels_last(n: OnnxLayer) -> None:
    if n.integer("channels_last", 0):
        raise ModelError("channels_last is not supported; export the model as channels-first")


def _concat(n: OnnxLayer) -> Tensor:
    """Scale and zero point of the output, then each input with its own."""
    parts: Sequence[Tensor] = [_real(n, i) for i in range(2, len(n.inputs), 3)]
    return _between(
        n, n.b.op("CONCATENATION", *parts, axis=positive_axis(n.integer("axis", 0), len(parts[0].shape))), 0
    )


def _softmax(n: OnnxLayer, x: Tensor) -> Tensor:
    return n.b.at_last_axis("SOFTMAX", x, n.integer("axis", -1))


LAYERS: dict[str, Callable[[OnnxLayer], Tensor]] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul, "QGemm": _qgemm, "QLinearAdd": _binary("ADD"), "QLinearMul": _binary("MUL"),
    "QLinearSigmoid": _unary(lambda n, x: n.b.op("LOGISTIC", x)),
    "QLinearLeakyRelu": _unary(lambda n, x: n.b.op("LEAKY_RELU", x, alpha=n.number("alpha", 0.01))),
    "QLinearAveragePool": _unary(_average_pool), "QLinearGlobalAveragePool": _unary(_global_average_pool),
    "QLinearConcat": _concat, "QLinearSoftmax": _unary(_softmax),
}  # fmt: skip
