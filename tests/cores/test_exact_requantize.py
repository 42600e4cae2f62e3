"""The fast requantization against TFLM's on every sum of small intervals, and at every step of large ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.conftest import model_files
from tinymaix import api
from tinymaix.cores.exact_requantize import FastRequant, prove, prove_node, sum_interval
from tinymaix.graph import Array
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fixed_point import quantize_multiplier, quantize_multipliers, requantize
from tinymaix.ops.fully_connected import FullyConnected


def exact(total: Array, multiplier: Array | int, shift: Array | int, zero: int, low: int, high: int) -> Array:
    return np.asarray(np.clip(requantize(total, multiplier, shift) + zero, low, high))


def fast_values(fast: FastRequant, total: Array, low: int, high: int) -> Array:
    values = fast.apply(total)
    return np.clip(values, low, high) if fast.clamp else values


ranges = st.sampled_from([(-128, 127), (-128, 100), (-5, 127), (-5, 60), (3, 3)])


@given(st.floats(1e-7, 0.9), st.integers(-128, 127), ranges, st.integers(-5000, 5000), st.integers(0, 9000))
def test_every_sum_of_a_small_interval(real: float, zero: int, limits: tuple[int, int], first: int, size: int) -> None:
    multiplier, shift = quantize_multiplier(real)
    one = np.ones(1, np.int64)
    fast = prove(one * multiplier, one * shift, zero, *limits, one * first, one * (first + size))
    assume(fast is not None)
    assert fast is not None
    total = np.arange(first, first + size + 1)[:, None]
    assert (fast_values(fast, total, *limits) == exact(total, multiplier, shift, zero, *limits)).all()


@given(
    st.lists(st.floats(1e-6, 2e-2), min_size=1, max_size=20),
    st.integers(-128, 127),
    ranges,
    st.integers(1, 2**22),
    st.integers(0, 2**32),
)
def test_layers_with_one_shift(reals: list[float], zero: int, limits: tuple[int, int], reach: int, seed: int) -> None:
    multiplier, shift = quantize_multipliers(np.array(reals))
    generator = np.random.default_rng(seed)
    ends = np.sort(generator.integers(-reach, reach + 1, (2, len(reals))), axis=0)
    fast = prove(multiplier, shift, zero, *limits, ends[0], ends[1])
    assume(fast is not None)
    assert fast is not None
    random = generator.integers(ends[0], ends[1] + 1, (3000, len(reals)))
    # The sums around every step: the middle between two values, give or take a few.
    middles = (np.arange(-300, 301)[:, None] + 0.5) / np.array(reals)
    near = (np.rint(middles)[:, None] + np.arange(-3, 4)[:, None]).astype(np.int64).reshape(-1, len(reals))
    total = np.concatenate([random, np.clip(near, ends[0], ends[1]), ends])
    assert (fast_values(fast, total, *limits) == exact(total, multiplier, shift, zero, *limits)).all()


def test_one_constant_serves_outputs_of_one_sign_and_a_sign_serves_both() -> None:
    multiplier, shift = quantize_multipliers(np.array([0.0017]))
    reach = np.array([2**17])
    relu = prove(multiplier, shift, -128, -128, 127, -reach, reach)
    both = prove(multiplier, shift, 0, -128, 127, -reach, reach)
    assert relu is not None
    assert (relu.signed, relu.clamp) == (False, False)
    assert both is not None
    assert both.signed


def test_bias_moves_into_the_constant() -> None:
    multiplier, shift = quantize_multipliers(np.array([0.003, 0.001]))
    bias, reach = np.array([1234, -777]), np.array([50000, 60000])
    fast = prove(multiplier, shift, -128, -128, 127, bias - reach, bias + reach)
    assert fast is not None
    total = np.arange(-50000, 50001, 7)[:, None] * np.ones(2, np.int64)
    moved = np.clip((total * fast.multiplier + fast.folded(bias)) >> (32 + fast.shift), -128, 127)
    assert (moved == exact(total + bias, multiplier, shift, -128, -128, 127)).all()


@given(st.floats(0.01, 1.9), st.integers(-128, 127), st.integers(2, 64))
def test_scaled_sums_reach_larger_multipliers(real: float, zero: int, scale: int) -> None:
    multiplier, shift = quantize_multipliers(np.array([real]))
    reach = np.array([40000])
    fast = prove(multiplier, shift, zero, -128, 127, -reach, reach, scale=scale)
    assert fast is not None or real > scale / 2.01
    if fast is not None:
        total = np.arange(-40000, 40001)[:, None]
        assert (fast.apply(scale * total) == exact(total, multiplier, shift, zero, -128, 127)).all()


def test_what_cannot_be_proven_is_refused() -> None:
    one = np.ones(1, np.int64)
    assert prove(one * 2**30, one * 2, 0, -128, 127, one * -(2**28), one * 2**28) is None  # wraps
    assert prove(one * 2**30, one * 1, 0, -128, 127, one * -100, one * 100) is None  # no 31-bit multiplier


def test_sum_interval() -> None:
    low, high = sum_interval(np.array([[1, -2], [0, 0]]), np.array([10, 5]))
    assert (low.tolist(), high.tolist()) == ([10 - 128 - 254, 5], [10 + 127 + 256, 5])


@pytest.mark.parametrize("name", ["kws_ref_model", "vww_96_int8", "pretrainedResnet_quant", "ad01_int8", "cifar10_q"])
def test_every_layer_of_real_models_is_proven(name: str) -> None:
    files = model_files(f"**/{name}.tflite")
    if not files:
        pytest.skip("the shared models are absent")
    for node in api.read(files[0]).nodes:
        if isinstance(node.op, (Conv2D, DepthwiseConv2D, FullyConnected)):
            axis = 3 if isinstance(node.op, DepthwiseConv2D) else 0
            assert prove_node(node, node.op.activation, axis)[1] is not None, node.name
