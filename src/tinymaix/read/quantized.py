"""QUANTIZE and DEQUANTIZE as ONNX and PyTorch write them, on a `Builder`: uint8 becomes int8 by shifting it by 128."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import ModelError, Quantization, Tensor
from tinymaix.read.channels_first import Builder, constant_data

INTEGERS = ("int8", "uint8", "int16", "int32")


def quantization(scale: np.ndarray, zero: np.ndarray, stored: str, axis: int) -> Quantization:
    """Scale and zero point of a type in the file, as int8 has them.

    Raises:
        ModelError: a scale is not positive, or the type is not supported.
    """
    if stored not in INTEGERS:
        raise ModelError(f"a quantization to {stored or 'this type'} is not supported; {', '.join(INTEGERS)} are")
    if not scale.size or not np.all(np.isfinite(scale) & (scale > 0)) or zero.size not in (1, scale.size):
        raise ModelError("its scales must be positive, with one zero point each")
    return Quantization.of(scale.astype(np.float32), zero.astype(np.int64) - (128 if stored == "uint8" else 0), axis)


def integers(tensor: Tensor, stored: str, q: Quantization) -> Tensor:
    """A constant of integers with its quantization, uint8 as int8."""
    data = constant_data(tensor, "a quantized constant")
    if stored == "uint8":
        data = (data.astype(np.int16) - 128).astype(np.int8)
    return Tensor(tensor.name, data.shape, data.dtype, q, data)


def quantize(b: Builder, x: Tensor, stored: str, q: Quantization) -> Tensor:
    """x in integers; a constant that an exporter left to be quantized at run time is quantized now."""
    _check_axis(x, q)
    dtype = np.dtype("int8" if stored == "uint8" else stored)
    if x.data is not None:
        info = np.iinfo(dtype)
        along = [-1 if i == q.axis else 1 for i in range(len(x.shape))] if q.per_channel else []
        raw = np.rint(x.data / q.scale.reshape(along)) + q.zero_point.reshape(along)
        data = np.clip(raw, info.min, info.max).astype(dtype)
        return Tensor(x.name, data.shape, dtype, q, data)
    if q.per_channel:
        raise ModelError("an activation with a scale for each channel is not supported; quantize it with one scale")
    y = b.op("QUANTIZE", x, dtype=dtype)
    y.quantization = q
    return y


def dequantize(b: Builder, x: Tensor, stored: str, q: Quantization) -> Tensor:
    """The reals that integers stand for; a constant remembers the integers."""
    _check_axis(x, q)
    if x.data is not None:
        return b.dequantized(replace(x) if x.quantization is not None else integers(x, stored, q))
    if x.quantization is None:
        x.quantization = q  # an input of the graph
    elif (x.q.s, x.q.z) != (q.s, q.z):
        x = b.op("RESHAPE", x, shape=x.shape)  # the same integers, read with another scale
        x.quantization = q
    return b.op("DEQUANTIZE", x, dtype=np.float32)


def _check_axis(x: Tensor, q: Quantization) -> None:
    if q.per_channel and (q.axis >= len(x.shape) or x.shape[q.axis] != q.scale.size):
        raise ModelError(f"{q.scale.size} scales do not fit axis {q.axis} of a tensor of shape {list(x.shape)}")
