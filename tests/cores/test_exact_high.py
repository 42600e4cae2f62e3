"""Requantization by a high word against TFLM's, on every sum of small intervals and on real layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.conftest import model_files
from tinymaix import api
from tinymaix.cores.exact_high import prove_high, prove_high_node
from tinymaix.ops.accumulate import finish
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fixed_point import quantize_multipliers, requantize
from tinymaix.ops.fully_connected import FullyConnected


@given(
    st.lists(st.floats(1e-6, 0.4), min_size=1, max_size=6),
    st.integers(-128, 127),
    st.sampled_from([(-128, 127), (-128, 100), (-5, 127), (3, 3)]),
    st.integers(-5000, 5000),
    st.integers(1, 20000),
)
def test_every_sum_of_a_small_interval(
    reals: list[float], zero: int, limits: tuple[int, int], bias: int, reach: int
) -> None:
    multiplier, shift = quantize_multipliers(np.array(reals))
    ones = np.ones(len(reals), np.int64)
    fast = prove_high(multiplier, shift, zero, *limits, ones * (bias - reach), ones * (bias + reach), ones * bias)
    assume(fast is not None)
    assert fast is not None
    total = np.arange(-reach, reach + 1)[:, None] * ones
    expected = np.clip(requantize(total + bias, multiplier, shift) + zero, *limits)
    values = np.clip(fast.apply(total), *limits) if fast.clamp else fast.apply(total)
    assert (values == expected).all()


def test_a_sign_where_outputs_of_both_signs_occur() -> None:
    multiplier, shift = quantize_multipliers(np.array([0.0017]))
    reach, zero = np.array([2**17]), np.array([0])
    relu = prove_high(multiplier, shift, -128, -128, 127, -reach, reach, zero)
    both = prove_high(multiplier, shift, 0, -128, 127, -reach, reach, zero)
    assert relu is not None
    assert both is not None
    assert (relu.signed, both.signed) == (False, True)


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
