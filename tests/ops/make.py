"""Tensors and strategies that the tests of operators share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.oracles import one_op
from tinymaix.graph import Array, Graph, Quantization, Shape, Tensor
from tinymaix.ops.base import Operator

Value = TypeVar("Value")

SEEDS = st.integers(0, 2**32 - 1)
ZERO_POINTS = st.integers(-128, 127)
SCALES = st.floats(2.0**-10, 0.5, width=32)
ACTIVATIONS = st.sampled_from(["none", "relu", "relu_n1_to_1", "relu6"])


def int8(name: str, shape: Shape, scale: float = 0.05, zero_point: int = 0, data: Array | None = None) -> Tensor:
    return Tensor(name, shape, np.dtype(np.int8), Quantization.of(scale, zero_point), data)


def float32(name: str, shape: Shape, data: Array | None = None) -> Tensor:
    return Tensor(name, shape, np.dtype(np.float32), None, None if data is None else data.astype(np.float32))


def int32(name: str, shape: Shape, data: Array | None = None) -> Tensor:
    return Tensor(name, shape, np.dtype(np.int32), None, data)


def weights_int8(rng: np.random.Generator, shape: Shape, scales: int = 1, axis: int = 0) -> Tensor:
    """Constant symmetric weights with ``scales`` different scales along ``axis``."""
    data = rng.integers(-127, 128, shape, dtype=np.int8)
    return Tensor("weights", shape, data.dtype, Quantization.of(rng.uniform(0.002, 0.02, scales), 0, axis), data)


def bias_int32(rng: np.random.Generator, x: Tensor, weights: Tensor, channels: int, sums: int) -> Tensor:
    """A constant bias as large as a sum of ``sums`` products usually is, with the scale that TFLite prescribes."""
    size = 5000 * int(sums**0.5)
    data = rng.integers(-size, size, channels, dtype=np.int32)
    return Tensor("bias", (channels,), data.dtype, Quantization.of(x.q.s * weights.q.scale.astype(np.float64)), data)


def output_scale(x: Tensor, weights: Tensor, sums: int) -> float:
    """An output scale under which sums of ``sums`` random products fill int8, and some saturate."""
    return float(x.q.s * weights.q.scale.mean() * 100.0 * sums**0.5)


def constant(rng: np.random.Generator, tensor: Tensor) -> Tensor:
    """The tensor with random data."""
    if tensor.dtype.kind == "f":
        tensor.data = rng.uniform(-1, 1, tensor.shape).astype(tensor.dtype)
    else:
        info = np.iinfo(tensor.dtype)
        tensor.data = rng.integers(info.min, info.max, tensor.shape, tensor.dtype, endpoint=True)
    return tensor


def shapes(rank: Sequence[int] | range = range(1, 5), largest: int = 5) -> st.SearchStrategy[Shape]:
    """Shapes of a rank among ``rank`` with sizes up to ``largest``."""
    return st.sampled_from(list(rank)).flatmap(lambda n: st.tuples(*[st.integers(1, largest)] * n))


def sample(strategy: st.SearchStrategy[Value], count: int = 25) -> list[Value]:
    """Values of a strategy, the same ones each time: for checks that are too slow to run once a value."""
    values: list[Value] = []

    @settings(max_examples=count, phases=[Phase.generate])
    @given(strategy)
    def collect(value: Value) -> None:
        values.append(value)

    collect()
    return values


def weighted(
    draw: st.DrawFn, rng: np.random.Generator, op: Operator, dtype: str, shape: Shape, weight_shape: Shape
) -> Graph:
    """A layer with weights (out_c, ...), one scale or one for each output channel, and a bias or none."""
    out_c, sums = weight_shape[0], int(np.prod(weight_shape[1:]))
    if dtype == "float32":
        x = float32("x", shape)
        weights = float32("weights", weight_shape, rng.uniform(-1, 1, weight_shape))
        bias = float32("bias", (out_c,), rng.uniform(-1, 1, out_c))
        y = float32("y", op.infer([x, weights])[0])
    else:
        x = int8("x", shape, 0.05, draw(ZERO_POINTS))
        weights = weights_int8(rng, weight_shape, draw(st.sampled_from([1, out_c])))
        bias = bias_int32(rng, x, weights, out_c, sums)
        y = int8("y", op.infer([x, weights])[0], output_scale(x, weights, sums), draw(ZERO_POINTS))
    return one_op(op, [x, weights, bias if draw(st.booleans()) else None], [y])
