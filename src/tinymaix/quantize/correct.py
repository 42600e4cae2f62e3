"""Bias correction: take the mean error of each output channel, measured on calibration data, out of its bias.

Rounded weights and inputs shift the mean of a channel's sums; the bias is where that can be put right at no cost
(Nagel et al. 2019, arXiv 1906.04721, section 4.2, in its empirical form). Layers are corrected in order, so that each
sees what the corrected ones before it give. How far a mean error is more than chance is known from how it differs
between samples: only that part of it is taken out (the positive-part estimate of James and Stein 1961, for each
channel).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, Node, Quantization, Tensor
from tinymaix.quantize.matrices import before_products, by_output, copied, matrix_of, sample_means
from tinymaix.quantize.samples import Samples


def correct_biases(float_graph: Graph, graph: Graph, samples: Samples) -> Graph:
    """The integer graph with biases under which every layer's sums have the mean that they have in the float one.

    Args:
        float_graph: what ``graph`` was lowered from: the same layers in the same order.

    Graphs with states stay as they are: what a sample does there depends on those before.
    """
    if graph.states:
        return graph
    result = copied(graph)
    pairs = zip(before_products(float_graph, samples.inputs), before_products(result, samples.inputs), strict=True)
    for (real, real_x), (node, x) in pairs:
        if node.output.dtype.kind != "i":
            continue
        set_bias(node, real_bias(real) + certain_mean(sum_errors(real, real_x, node, x)))
    return replace(result, notes=[*result.notes, "biases corrected by the mean error on the calibration data"])


def sum_errors(real: Node, real_x: Array, node: Node, x: Array) -> Array:
    """What the sums without bias lack in each sample, in the mean of its places: (channels, samples), in reals."""
    means, weights = (sample_means(real, real_x), sample_means(node, x)), (real_weights(real), real_weights(node))
    wanted, given = (np.einsum("gmk,gnk->gmn", w, mean) for w, mean in zip(weights, means, strict=True))
    return np.asarray((wanted - given).reshape(-1, wanted.shape[-1]))


def certain_mean(errors: Array) -> Array:
    """The mean of each row, less what chance may have put there; of one sample nothing is known but its error."""
    mean = errors.mean(axis=1)
    count = errors.shape[1]
    if count < 2:
        return np.asarray(mean)
    variance = errors.var(axis=1, ddof=1) / count
    power = np.maximum(mean**2, np.finfo(np.float64).tiny)
    return np.asarray(mean * np.maximum(1 - variance / power, 0))


def real_weights(node: Node) -> Array:
    """The weights as real numbers, (groups, outputs of a group, taps)."""
    weights = node.input(1)
    matrix = matrix_of(node, np.asarray(weights.data, np.float64))
    return matrix if weights.quantization is None else matrix * by_output(node, weights.q.scale.astype(np.float64))


def real_bias(node: Node) -> Array:
    """The bias of a float layer, one a channel."""
    bias = node.optional(2)
    return np.zeros(1) if bias is None else np.asarray(bias.data, np.float64).reshape(-1)


def set_bias(node: Node, bias: Array) -> None:
    """Give an integer layer a real bias, in the steps of its sums."""
    x, weights, old = node.input(0), node.input(1), node.optional(2)
    dtype = np.dtype(np.int32 if x.dtype == np.int8 else np.int64)
    scale = np.float64(x.q.s) * weights.q.scale.astype(np.float64)
    limit = 2.0**29 if dtype == np.int32 else 2.0**45
    data = np.clip(np.rint(bias / scale), -limit, limit).astype(dtype)
    name = f"{node.output.name}_bias" if old is None else old.name
    node.inputs = [x, weights, Tensor(name, data.shape, dtype, Quantization.of(scale), data)]
