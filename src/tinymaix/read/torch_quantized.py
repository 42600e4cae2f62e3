"""The operators between which PyTorch's PT2E quantization puts float layers: quantize and dequantize.

uint8 becomes int8 by shifting it by 128; `tinymaix.read.integer` makes integer layers of what stands between.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinymaix.graph import Quantization, Tensor
from tinymaix.read import quantized
from tinymaix.read.channels_first import constant_data
from tinymaix.read.torch_file import TYPES
from tinymaix.read.torch_layer import TorchLayer


def _per_tensor(n: TorchLayer) -> tuple[str, Quantization]:
    scale, zero = (_number(n, name, default) for name, default in (("scale", 1.0), ("zero_point", 0.0)))
    return _quantization(n, np.array([scale]), np.array([int(zero)]), 0)


def _number(n: TorchLayer, name: str, default: float) -> float:
    """A number, or a constant tensor of one."""
    tensor = n.optional(name)
    return n.number(name, default) if tensor is None else float(constant_data(tensor, name).reshape(-1)[0])


def _per_channel(n: TorchLayer) -> tuple[str, Quantization]:
    scales = constant_data(n.tensor("scales"), "its scales")
    points = n.optional("zero_points")
    zeros = np.zeros(scales.size) if points is None else constant_data(points, "its zero points")
    return _quantization(n, scales, zeros, n.integer("axis", 0))


def _quantization(n: TorchLayer, scales: np.ndarray, zeros: np.ndarray, axis: int) -> tuple[str, Quantization]:
    stored = TYPES.get(n.integer("dtype", 0), "")
    return stored, quantized.quantization(scales, zeros, stored, axis)


def _quantize(parameters: Callable[[TorchLayer], tuple[str, Quantization]]) -> Callable[[TorchLayer], Tensor]:
    return lambda n: quantized.quantize(n.b, n.x, *parameters(n))


def _dequantize(parameters: Callable[[TorchLayer], tuple[str, Quantization]]) -> Callable[[TorchLayer], Tensor]:
    return lambda n: quantized.dequantize(n.b, n.x, *parameters(n))


_KINDS = {"quantize": _quantize, "dequantize": _dequantize}
LAYERS: dict[str, Callable[[TorchLayer], Tensor]] = {
    f"quantized_decomposed.{name}_per_{each}": make(parameters)
    for name, make in _KINDS.items()
    for each, parameters in (("tensor", _per_tensor), ("channel", _per_channel))
}
