"""Bias correction gives every layer's sums the mean that they have in the float network."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quantize.float_nets import random_samples, residual_net
from tinymaix.graph import Array, Graph
from tinymaix.quantize import Scheme, matrices, quantize
from tinymaix.quantize.agreement import agreement
from tinymaix.quantize.correct import certain_mean, real_bias, sum_errors
from tinymaix.quantize.matrices import before_products, matrix_of, rows_of, sample_means, weights_of
from tinymaix.quantize.samples import Samples


def lacking(graph: Graph, integers: Graph, samples: Samples) -> list[Array]:
    """For each layer what the sums of its channels lack in each sample, (channels, samples), in steps of the sums."""
    pairs = zip(before_products(graph, samples.inputs), before_products(integers, samples.inputs), strict=True)
    result = []
    for (real, real_x), (node, x) in pairs:
        bias = node.input(2)
        scale = bias.q.scale.astype(np.float64)
        missing = real_bias(real) - np.asarray(bias.data) * scale
        result.append((sum_errors(real, real_x, node, x) + missing[:, None]) / scale[:, None])
    return result


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_what_is_left_of_a_mean_error_may_be_chance(activations: str) -> None:
    graph = residual_net(uneven=False)
    samples = random_samples(graph, 16)
    plain, corrected = (
        quantize(graph, samples, Scheme(activations=activations, correct_bias=on)) for on in (False, True)
    )
    before, after = (lacking(graph, integers, samples) for integers in (plain, corrected))
    assert max(float(np.abs(errors.mean(axis=1)).max()) for errors in before) > 10
    for errors in after:
        chance = errors.std(axis=1, ddof=1) / 4
        assert (np.abs(errors.mean(axis=1)) <= chance + 1).all()
    assert "biases corrected" in corrected.notes[-1]
    assert plain.nodes[0].input(2).data is not corrected.nodes[0].input(2).data


def test_a_mean_is_taken_as_far_as_it_is_certain() -> None:
    same, none, half = [3.0, 3, 3, 3], [-1.0, 1, -1, 1], [0.0, 2, 0, 2]
    found = certain_mean(np.array([same, none, half]))
    assert np.allclose(found, [3, 0, 1 - 1 / 3])
    assert certain_mean(np.array([[2.0]])) == 2
    assert certain_mean(np.zeros((2, 4))).tolist() == [0, 0]


def test_sample_means_are_those_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where not all rows are drawn: of each sample those that are."""
    graph = residual_net(uneven=False)
    layers = list(before_products(graph, random_samples(graph, 5).inputs))
    for node, x in layers:
        rows = rows_of(node, x)
        expected = rows.reshape(len(rows), 5, -1, rows.shape[2]).mean(axis=2, dtype=np.float64)
        assert np.allclose(sample_means(node, x), expected)
    monkeypatch.setattr(matrices, "ROWS", 40)
    for node, x in layers:
        assert sample_means(node, np.ones_like(x)).max() <= 1
        assert sample_means(node, x).shape[1] == 5


def test_it_helps_at_four_bits() -> None:
    graph = residual_net(uneven=False)
    samples, other = random_samples(graph, 32), random_samples(graph, 32, seed=7)
    plain, corrected = (quantize(graph, samples, Scheme(weights="int4", correct_bias=on)) for on in (False, True))
    assert agreement(graph, corrected, other).sqnr > agreement(graph, plain, other).sqnr + 1


def test_products_are_the_layers_sums() -> None:
    graph = residual_net(uneven=False)
    for node, x in before_products(graph, random_samples(graph, 3).inputs):
        weights = np.asarray(node.input(1).data)
        assert np.array_equal(weights_of(node, matrix_of(node, weights)), weights)
        sums = np.matmul(rows_of(node, x), matrix_of(node, weights).transpose(0, 2, 1))
        op = node.op
        given = [x[0], weights, np.zeros(node.input(2).shape, np.float32)]
        expected = type(op)(**{**op.__dict__, "activation": "none"}).reference(node, given)[0]
        ours = sums.transpose(1, 0, 2).reshape(3, *node.output.shape)[0]
        assert np.allclose(ours, expected, atol=1e-5)
