"""Bias correction gives every layer's sums the mean that they have in the float network."""

from __future__ import annotations

import numpy as np
import pytest

from tests.quantize.float_nets import random_samples, residual_net
from tinymaix.graph import Graph
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.agreement import agreement
from tinymaix.quantize.correct import correct_biases, real_bias, real_weights
from tinymaix.quantize.matrices import before_products, matrix_of, rows_of, weights_of
from tinymaix.quantize.samples import Samples


def mean_errors(graph: Graph, integers: Graph, samples: Samples) -> list[float]:
    """For each layer the largest difference of a channel's mean sum, in steps of that channel's sums."""
    errors = []
    pairs = zip(before_products(graph, samples.inputs), before_products(integers, samples.inputs), strict=True)
    for (real, real_x), (node, x) in pairs:
        wanted, given = (
            np.einsum("gmk,gk->gm", real_weights(n), rows_of(n, a).mean(axis=1, dtype=np.float64)).reshape(-1)
            for n, a in ((real, real_x), (node, x))
        )
        bias = node.input(2)
        steps = (wanted + real_bias(real) - given) / bias.q.scale.astype(np.float64) - np.asarray(bias.data)
        errors.append(float(np.abs(steps).max()))
    return errors


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_the_mean_of_every_channel_is_that_of_the_float_layer(activations: str) -> None:
    graph = residual_net(uneven=False)
    samples = random_samples(graph, 16)
    plain = quantize(graph, samples, Scheme(activations=activations))
    corrected = correct_biases(graph, plain, samples)
    assert max(mean_errors(graph, plain, samples)) > 10
    assert max(mean_errors(graph, corrected, samples)) < 1
    assert "biases corrected" in corrected.notes[-1]
    assert plain.nodes[0].input(2).data is not corrected.nodes[0].input(2).data


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
