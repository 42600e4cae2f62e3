"""Ranges by every method, and the scales that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quantize.one_layer import IMAGE, one, samples
from tinymaix.graph import Array, ModelError
from tinymaix.quantize.observe import BINS, Observed, observe
from tinymaix.quantize.ranges import METHODS, Range, find_ranges, quantization
from tinymaix.quantize.scheme import RANGES

REACH = st.floats(1e-6, 1e6)


def observed(values: Array) -> Observed:
    low, high = float(values.min()), float(values.max())
    return Observed(low, high, np.histogram(values, BINS, (low, high))[0])


def whole(values: Array) -> Range:
    return Range(min(float(values.min()), 0.0), max(float(values.max()), 0.0))


@given(low=REACH, high=REACH, side=st.integers(0, 2))
def test_zero_is_exact_and_the_range_is_covered(low: float, high: float, side: int) -> None:
    r = Range(0.0 if side == 0 else -low, 0.0 if side == 1 else high)
    q = quantization(r, "int8")
    assert -128 <= q.z <= 127
    for end in r:
        raw = np.rint(end / q.s) + q.z
        assert -129 <= raw <= 128, "at most one step beyond, where the zero point was nudged"
    wide = quantization(r, "int16")
    assert wide.z == 0
    assert max(-r.low, r.high) / wide.s == pytest.approx(32767, rel=1e-5)


def test_a_range_of_nothing_has_a_scale() -> None:
    for kind in ("int8", "int16"):
        q = quantization(Range(0.0, 0.0), kind)
        assert q.s > 0
        assert np.isfinite(q.s)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_methods_leave_outliers_out(method: str) -> None:
    """One value in 100,000 is 60 times the others' spread: a step of the whole range would be half of the spread."""
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(size=200_000), [60.0, -60.0])
    found = METHODS[method](observed(values), whole(values))
    assert found.high < 45
    assert found.low > -45
    assert found.high > 2


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("shape", ["uniform", "relu"])
def test_methods_keep_what_is_evenly_spread(method: str, shape: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(-3, 5, 5000)
    if shape == "relu":
        values = np.maximum(rng.uniform(-5, 5, 5000), 0)
    found = METHODS[method](observed(values), whole(values))
    assert found.high > 4.5
    assert found.low <= 0
    assert (found.low == 0) == (shape == "relu")


def test_least_squares_is_no_worse_than_all_values() -> None:
    rng = np.random.default_rng(1)
    for values in (rng.laplace(size=20_000), np.maximum(rng.normal(size=20_000) ** 3, 0)):

        def error(r: Range, values: Array = values) -> float:
            q = quantization(r, "int8")
            raw = np.clip(np.rint(values / q.s) + q.z, -128, 127)
            return float((((raw - q.z) * q.s - values) ** 2).sum())

        assert error(METHODS["mse"](observed(values), whole(values))) <= 1.01 * error(whole(values))


def test_inputs_keep_all_their_values() -> None:
    graph = one("TANH", IMAGE)
    data = samples(graph, 40)
    seen = observe(graph, data.inputs, histograms=True)
    x = graph.inputs[0]
    for method in RANGES:
        found = find_ranges(graph, seen, method)
        assert found.of(x, "int8") == found.of(x, "int16") == found.whole[id(x)]


def test_tensors_together_have_one_range() -> None:
    graph = one("ADD", IMAGE, (1, 1, 1, 1))
    seen = observe(graph, samples(graph).inputs)
    a, b = graph.inputs
    found = find_ranges(graph, seen, "minmax", [[a, b]])
    assert found.of(a, "int8") == found.of(b, "int8")
    assert found.of(a, "int8").high == max(seen[id(a)].high, seen[id(b)].high)


def test_histograms_stream() -> None:
    """The counts of samples in parts are those of all at once."""
    graph = one("TANH", IMAGE)
    data = samples(graph, 30)
    seen = observe(graph, data.inputs, histograms=True)[id(graph.outputs[0])]
    values = np.tanh(np.stack([s[0] for s in data.inputs]))
    assert seen.counts.sum() == values.size
    expected = np.histogram(values, BINS, (seen.low, seen.high))[0]
    assert np.abs(np.cumsum(seen.counts) - np.cumsum(expected)).max() <= 3, "but for values on an edge"


def test_layers_that_give_no_number() -> None:
    graph = one("LOG", IMAGE)
    with pytest.raises(ModelError, match=r"LOG 'n0' gives NaN or infinity for sample 0"):
        observe(graph, samples(graph).inputs)
