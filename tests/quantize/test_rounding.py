"""Learned rounding finds integers that give a layer's sums better than the nearest ones do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quantize.float_nets import Net, random_samples, residual_net, unequal_mobilenet
from tinymaix.graph import Array
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.agreement import agreement
from tinymaix.quantize.rounding import descend


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_no_single_step_would_be_better(seed: int, taps: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(2, 12, taps))
    gram = np.matmul(inputs.transpose(0, 2, 1), inputs)
    wanted = rng.uniform(-7, 7, (2, 3, taps))
    target, start = np.matmul(wanted, gram), np.rint(wanted)

    def error(weights: Array) -> Array:
        return np.asarray((np.matmul(weights, gram) * weights - 2 * weights * target).sum(axis=2))

    found = descend(gram, target, start, reach=1, limit=7)
    assert np.abs(found - start).max() <= 1
    assert np.abs(found).max() <= 7
    assert (error(found) <= error(start) + 1e-9).all()
    for k, step in itertools.product(range(taps), (-1, 1)):
        moved = found.copy()
        moved[:, :, k] = np.clip(
            moved[:, :, k] + step, np.maximum(start - 1, -7)[:, :, k], np.minimum(start + 1, 7)[:, :, k]
        )
        assert (error(moved) >= error(found) - 1e-9).all()


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_samples_that_were_not_learned_from_gain_too(weights: str) -> None:
    graph = residual_net(uneven=False)
    samples, other = random_samples(graph, 64), random_samples(graph, 64, seed=7)
    nearest, learned = (
        quantize(graph, samples, Scheme(weights=weights, round=how, correct_bias=False))
        for how in ("nearest", "learned")
    )
    gain = agreement(graph, learned, other).sqnr - agreement(graph, nearest, other).sqnr
    assert gain > (2 if weights == "int4" else -0.2)  # at 8 bits the activations' steps are what is lost
    assert all(t.data is None or not t.is_int4 or np.abs(t.data).max() <= 7 for t in learned.tensors)
    assert "learned rounding" in learned.notes[-1]


def test_four_bits_are_enough_for_an_equalized_mobilenet() -> None:
    graph, calibration, test = unequal_mobilenet()
    nearest, learned = (
        agreement(graph, quantize(graph, calibration, Scheme(weights="int4", equalize=True, round=how)), test)
        for how in ("nearest", "learned")
    )
    assert learned.accuracy is not None
    assert nearest.accuracy is not None
    assert learned.sqnr > nearest.sqnr + 3
    assert learned.accuracy >= nearest.accuracy


def test_weights_that_two_layers_share_stay() -> None:
    net = Net((1, 6))
    net.layer(FullyConnected("relu"), 6)
    first = net.nodes[0]
    net.add(FullyConnected(), net.last, first.input(1), first.input(2))
    graph = net.graph()
    samples = random_samples(graph, 16)
    learned = quantize(graph, samples, Scheme(round="learned"))
    nearest = quantize(graph, samples)
    layers = [[node for node in g.nodes if node.op.kind == "CONV_2D"] for g in (learned, nearest)]
    assert layers[0][0].input(1) is layers[0][1].input(1)
    for ours, theirs in zip(*layers, strict=True):
        assert np.array_equal(np.asarray(ours.input(1).data), np.asarray(theirs.input(1).data))
