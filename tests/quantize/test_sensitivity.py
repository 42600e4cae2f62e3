"""Sensitivities put the layers in an order in which int4 and int16 pay."""

from __future__ import annotations

import numpy as np

from tests.quantize.float_nets import random_samples, residual_net
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.agreement import agreement
from tinymaix.quantize.sensitivity import activation_noise, layers_of, weight_noise


def test_int4_first_where_it_saves_most_for_least() -> None:
    graph = residual_net(uneven=False)
    samples = random_samples(graph, 16)
    ranked = weight_noise(graph, samples)
    assert sorted(s.layers[0] for s in ranked) == sorted(n.name for n in graph.nodes if len(n.inputs) == 3)
    assert [s.noise / s.bytes for s in ranked] == sorted(s.noise / s.bytes for s in ranked)
    half = len(ranked) // 2
    few, bad = (
        agreement(graph, quantize(graph, samples, Scheme(layers=layers_of(part, "int4"))), samples).sqnr
        for part in (ranked[:half], ranked[half:])
    )
    assert few > bad


def test_the_estimate_of_one_layer_is_what_it_does() -> None:
    graph = residual_net(uneven=False)
    samples = random_samples(graph, 32)
    base = agreement(graph, quantize(graph, samples, Scheme(activations="int16")), samples).sqnr
    for one in weight_noise(graph, samples):
        if one.noise < 1e-3:
            continue
        made = quantize(graph, samples, Scheme(correct_bias=False, layers=layers_of([one], "int4")))
        assert abs(agreement(graph, made, samples).sqnr + 10 * np.log10(one.noise)) < 1.5
    assert base > 30


def test_int16_where_int8_hurts() -> None:
    graph = residual_net()  # channels a hundred times apart
    samples = random_samples(graph, 16)
    ranked = activation_noise(graph, samples)
    plain = agreement(graph, quantize(graph, samples), samples).sqnr
    mixed = quantize(graph, samples, Scheme(layers=layers_of(ranked[:2], "int16")))
    assert agreement(graph, mixed, samples).sqnr > plain + 3
    assert {t.dtype.name for n in mixed.nodes for t in n.outputs} == {"int8", "int16"}


def test_a_graph_without_names_has_nothing_to_choose() -> None:
    graph = residual_net()
    for node in graph.nodes:
        node.name = ""
    samples = random_samples(graph, 4)
    assert weight_noise(graph, samples) == activation_noise(graph, samples) == []
