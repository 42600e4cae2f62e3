"""Requantization by a high word against TFLM's, on every sum of small intervals and on real layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.conftest import model_files
from tinymaix import api
from tinymaix.cores.exact_high import CENTERED, PLAIN, SHIFTS, SIGNED, prove_high, prove_high_node
from tinymaix.ops.accumulate import finish
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fixed_point import quantize_multipliers, requantize
from tinymaix.ops.fully_connected import FullyConnected

ranges = st.sampled_from([(-128, 127), (-128, 100), (-5, 127), (3, 3)])


@given(
    st.lists(st.floats(1e-6, 0.4), min_size=1, max_size=6),
    st.integers(-128, 127),
    ranges,
    st.integers(-5000, 5000),
    st.integers(1, 20000),
    st.booleans(),
    st.sampled_from([256, 128]),
    st.sampled_from([(PLAIN, SIGNED), (CENTERED, SIGNED)]),
)
def test_every_sum_of_a_small_interval(
    reals: list[float],
    zero: int,
    limits: tuple[int, int],
    bias: int,
    reach: int,
    varied: bool,
    scale: int,
    forms: tuple[tuple[bool, bool], ...],
) -> None:
    multiplier, shift = quantize_multipliers(np.array(reals))
    ones = np.ones(len(reals), np.int64)
    ends = ones * (bias - reach), ones * (bias + reach)
    shifts = () if varied else SHIFTS
    fast = prove_high(multiplier, shift, zero, *limits, *ends, ones * bias, shifts, varied, scale, forms)
    assume(fast is not None)
    assert fast is not None
    total = np.arange(-reach, reach + 1)[:, None] * ones
    expected = np.clip(requantize(total + bias, multiplier, shift) + zero, *limits)
    values = np.clip(fast.apply(total), *limits) if fast.clamp else fast.apply(total)
    assert (values == expected).all()


@given(
    st.lists(st.floats(-17.0, -5.0), min_size=1, max_size=20),
    st.integers(-128, 127),
    ranges,
    st.integers(1, 2**22),
    st.integers(0, 2**32),
)
def test_layers_with_very_different_multipliers(
    exponents: list[float], zero: int, limits: tuple[int, int], reach: int, seed: int
) -> None:
    reals = np.exp2(np.array(exponents))
    multiplier, shift = quantize_multipliers(reals)
    generator = np.random.default_rng(seed)
    ends = np.sort(generator.integers(-reach, reach + 1, (2, len(reals))), axis=0)
    fast = prove_high(multiplier, shift, zero, *limits, ends[0], ends[1], 0 * ends[0], varied=True)
    assume(fast is not None)
    assert fast is not None
    random = generator.integers(ends[0], ends[1] + 1, (3000, len(reals)))
    # The sums around every step: the middle between two values, give or take a few.
    middles = (np.arange(-300, 301)[:, None] + 0.5) / reals
    near = (np.rint(middles)[:, None] + np.arange(-3, 4)[:, None]).astype(np.int64).reshape(-1, len(reals))
    total = np.concatenate([random, np.clip(near, ends[0], ends[1]), ends])
    expected = np.clip(requantize(total, multiplier, shift) + zero, *limits)
    values = np.clip(fast.apply(total), *limits) if fast.clamp else fast.apply(total)
    assert (values == expected).all()


def test_a_shift_of_each_channel_where_one_for_all_does_not_serve() -> None:
    multiplier, shift = quantize_multipliers(np.array([2e-5, 0.03]))
    reach = np.array([2**22, 2**13])
    assert prove_high(multiplier, shift, -128, -128, 127, -reach, reach, 0 * reach) is None
    fast = prove_high(multiplier, shift, -128, -128, 127, -reach, reach, 0 * reach, varied=True)
    assert fast is not None
    assert fast.varied
    assert fast.constants.shape == (2, 2 + fast.signed)


def test_a_sign_where_outputs_of_both_signs_occur() -> None:
    multiplier, shift = quantize_multipliers(np.array([0.0017]))
    reach, zero = np.array([2**17]), np.array([0])
    relu = prove_high(multiplier, shift, -128, -128, 127, -reach, reach, zero)
    both = prove_high(multiplier, shift, 0, -128, 127, -reach, reach, zero)
    assert relu is not None
    assert both is not None
    assert (relu.signed, both.signed) == (False, True)


def test_a_center_where_the_zero_point_is_far_from_the_outputs_of_a_channel() -> None:
    multiplier, shift = quantize_multipliers(np.array([1.3e-5]))
    low, high = np.array([700_000]), np.array([850_000])
    around = multiplier, shift, -128, -128, 127, low, high, low
    centered = prove_high(*around, forms=(PLAIN, CENTERED, SIGNED))
    assert centered is not None
    assert (centered.signed, centered.centered, centered.constants.shape) == (False, True, (1, 1))
    assert prove_high(*around, forms=(PLAIN,)) is None
    total = np.arange(150_001)[:, None]
    assert (centered.apply(total) == np.clip(requantize(total + low, multiplier, shift) - 128, -128, 127)).all()


def test_sums_that_do_not_fit_32_bits_with_eight_more_below_the_point_are_refused() -> None:
    multiplier, shift = quantize_multipliers(np.array([1e-5]))
    reach = np.array([2**23])
    assert prove_high(multiplier, shift, 0, -128, 127, -reach, reach, 0 * reach) is None


@pytest.mark.parametrize("name", ["kws_ref_model", "vww_96_int8", "pretrainedResnet_quant", "ad01_int8", "cifar10_q"])
def test_every_layer_of_real_models(name: str) -> None:
    files = model_files(f"**/{name}.tflite")
    if not files:
        pytest.skip("the shared models are absent")
    generator = np.random.default_rng(0)
    for node in api.read(files[0]).nodes:
        if not isinstance(node.op, (Conv2D, FullyConnected)):
            continue
        fast = prove_high_node(node, node.op.activation, 0)
        assert fast is not None, node.name
        weights, bias = node.input(1).data, node.input(2).data
        assert weights is not None
        flat = weights.reshape(len(weights), -1).astype(np.int64)
        x = (generator.integers(-128, 128, (500, flat.shape[1])) * generator.random((500, 1))).astype(np.int64)
        expected = finish(node, (x - node.input(0).q.z) @ flat.T, bias, node.op.activation)
        assert (fast.apply(x @ flat.T) == expected).all(), node.name
