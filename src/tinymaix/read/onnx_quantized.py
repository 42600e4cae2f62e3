"""Quantized ONNX: QuantizeLinear and DequantizeLinear are QUANTIZE and DEQUANTIZE, QLinear* float layers between them.

`tinymaix.read.integer` makes integer layers of what stands between them. uint8 becomes int8 by shifting it by 128.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tinymaix.graph import ModelError, Quantization, Shape, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import layers, quantized, window_layers
from tinymaix.read.channels_first import Builder
from tinymaix.read.onnx_attributes import OnnxLayer
from tinymaix.read.onnx_file import OnnxFile


def quantized_input(file: OnnxFile, name: str, shape: Shape, dtype: str, b: Builder) -> Tensor:
    """An input of the graph; one of uint8 is int8 here, 128 less."""
    if dtype == "uint8":
        b.notes.append(f"input '{name}' is int8: the model's uint8 less 128")
    return b.input(name, shape, "int8" if dtype == "uint8" else dtype)


def _parameters(n: OnnxLayer, at: int, rank: int, stored: str = "uint8") -> tuple[str, Quantization]:
    """(type in the file, quantization) from scale and zero point, inputs ``at`` and ``at + 1``."""
    scale = n.constant(at, "its scale").reshape(-1)
    point = n.optional(at + 1)
    zero = np.zeros(1) if point is None else n.constant(at + 1, "its zero point").reshape(-1)
    axis = positive_axis(n.integer("axis", 1), rank) if scale.size > 1 else 0
    stored = stored if point is None else point.dtype.name
    return stored, quantized.quantization(scale, zero, stored, axis)


def _quantize(n: OnnxLayer) -> Tensor:
    return quantized.quantize(n.b, n.x, *_parameters(n, 1, len(n.x.shape)))


def _dequantize(n: OnnxLayer) -> Tensor:
    if n.integer("block_size", 0):
        raise ModelError("scales for blocks of weights are not supported; quantize with a scale for each channel")
    return quantized.dequantize(n.b, n.x, *_parameters(n, 1, len(n.x.shape), n.x.dtype.name))


def _real(n: OnnxLayer, at: int) -> Tensor:
    """The float that a quantized input of a QLinear operator stands for: input ``at``, its scale and zero point."""
    x = n.input(at)
    return quantized.dequantize(n.b, x, *_parameters(n, at + 1, len(x.shape)))


def _between(n: OnnxLayer, y: Tensor, at: int) -> Tensor:
    """A float result quantized by the scale and zero point at input ``at``."""
    return quantized.quantize(n.b, y, *_parameters(n, at, len(y.shape)))


def _weights(n: OnnxLayer, at: int, axis: int) -> Tensor:
    """Weights at input ``at``, with the axis that their scales run along; computed ones have one scale."""
    w = n.input(at)
    stored, q = _parameters(n, at + 1, max(len(w.shape), 2))
    q = Quantization(q.scale, q.zero_point, axis)
    return quantized.dequantize(n.b, w, stored, q)


def _bias(n: OnnxLayer, at: int) -> Tensor | None:
    """An int32 bias at input ``at``, whose scale is the input's times the weights' (inputs 1 and 4)."""
    if n.optional(at) is None:
        return None
    data = n.constant(at, "its bias").reshape(-1)
    scale = n.constant(1, "its scale").astype(np.float64).reshape(-1) * n.constant(4, "its scale").reshape(-1)
    return n.b.dequantized(Tensor(n.input(at).name, data.shape, data.dtype, Quantization.of(scale), data))


def _qlinear_conv(n: OnnxLayer) -> Tensor:
    inner = replace(n, inputs=[_real(n, 0), _weights(n, 3, axis=0), _bias(n, 8)])
    window = inner.window(tuple(n.integers("kernel_shape") or inner.input(1).shape[2:]))
    y = window_layers.convolution(n.b, inner.x, inner.input(1), inner.optional(2), window, n.integer("group", 1))
    return _between(n, y, 6)


def _qlinear_matmul(n: OnnxLayer) -> Tensor:
    return _between(n, layers.matmul(n.b, _real(n, 0), _weights(n, 3, axis=len(n.input(3).shape) - 1)), 6)


def _qgemm(n: OnnxLayer) -> Tensor:
    """com.microsoft QGemm: A, B and an int32 C, then the output's scale and zero point."""
    if n.integer("transA", 0) or n.number("alpha", 1.0) != 1.0 or n.optional(7) is None:
        raise ModelError("a QGemm with transA, alpha or a float output is not supported")
    order = (0, 1) if n.integer("transB", 0) else (1, 0)
    w = _weights(n, 3, axis=order[0])
    w = n.b.rearranged(w, w.shape, order, axis=0)
    return _between(n, layers.dense(n.b, _real(n, 0), w, _bias(n, 6)), 7)


def _binary(kind: str) -> Callable[[OnnxLayer], Tensor]:
    return lambda n: _between(n, n.b.op(kind, _real(n, 0), _real(n, 3)), 6)


def _unary(lower: Callable[[OnnxLayer, Tensor], Tensor]) -> Callable[[OnnxLayer], Tensor]:
    """Inputs x, its scale and zero point, the output's scale and zero point."""
    return lambda n: _between(n, lower(n, _real(n, 0)), 3)


def _average_pool(n: OnnxLayer, x: Tensor) -> Tensor:
    _no_channels_last(n)
    window = replace(n, inputs=[x]).window(tuple(n.integers("kernel_shape") or ()))
    return window_layers.pool(
        n.b, "AVERAGE_POOL_2D", x, window, n.integer("ceil_mode", 0) != 0, n.integer("count_include_pad", 0) != 0
    )


def _global_average_pool(n: OnnxLayer, x: Tensor) -> Tensor:
    _no_channels_last(n)
    return window_layers.global_pool(n.b, x)


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
