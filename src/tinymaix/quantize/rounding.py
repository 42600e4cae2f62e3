"""Learned rounding: round each weight up or down as the layer's outputs on calibration data ask for it.

The nearest integers are not the best ones: errors of the weights of one channel can cancel on the inputs that occur
(AdaRound, Nagel et al. 2020, arXiv 2004.10568, whose objective this is: the squared error of the sums, of inputs as the
integer layers before give them). It is a quadratic form of the weights, which is brought down here one weight after
another to the best integer given all others (coordinate descent, as in Nair and Suggala 2024, arXiv 2406.17542), which
needs no step size, no schedule and no random start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, Node
from tinymaix.quantize.correct import real_bias, real_weights, set_bias
from tinymaix.quantize.matrices import before_products, by_output, copied, is_product, matrix_of, rows_of, weights_of
from tinymaix.quantize.samples import Samples
from tinymaix.quantize.weights import LARGEST

SWEEPS = 20
"""Times that every weight of a layer is looked at; most layers settle in fewer."""
REACH = 1
"""A weight may go this many steps from the nearest integer, as inputs that were not seen may need it there."""
RIDGE, FEW = 0.03, 0.3
"""How much a weight's own error counts, as a part of the mean energy of the inputs, and how much more for each tap that
comes on a row of inputs: where data says little, the nearest."""


def learn_rounding(
    float_graph: Graph, graph: Graph, samples: Samples, progress: Callable[[str], None] | None = None
) -> Graph:
    """The integer graph with weights and biases that give the sums of the float graph's layers best on the samples.

    Args:
        float_graph: what ``graph`` was lowered from: the same layers in the same order.
        progress: called with a sentence before each layer.

    Scales stay as they are. Graphs with states stay as they are: what a sample does there depends on those before.
    """
    if graph.states:
        return graph
    say = progress or (lambda sentence: None)
    result = copied(graph)
    layers = [node for node in result.nodes if is_product(node)]
    shared = Counter(id(node.input(1)) for node in layers)
    pairs = zip(before_products(float_graph, samples.inputs), before_products(result, samples.inputs), strict=True)
    before = after = 0.0
    for done, ((real, real_x), (node, x)) in enumerate(pairs, 1):
        if node.output.dtype.kind != "i" or shared[id(node.input(1))] > 1:
            continue
        say(f"learning how to round layer {done} of {len(layers)}, '{node.name}'")
        errors = _learn(real, real_x, node, x)
        before, after = before + errors[0], after + errors[1]
    gain = 10 * np.log10(before / after) if after > 0 else 0.0
    note = f"learned rounding lowered the squared error of the layers' sums by {gain:.1f} dB on the calibration data"
    return replace(result, notes=[*result.notes, note])


def _learn(real: Node, real_x: Array, node: Node, x: Array) -> tuple[float, float]:
    """Give the node other weights and another bias; the squared error, as a part of the sums' energy, before and after.

    With A the inputs of the float layer and B those of the integer one, both without their mean, which the bias takes
    over, the error of one output channel is |A v - B w|^2 = w'Gw - 2 w'c + const, G = B'B, c = B'A v.
    """
    wanted, scale = real_weights(real), by_output(node, node.input(1).q.scale.astype(np.float64))
    a, b = rows_of(real, real_x), rows_of(node, x)
    mean_a, mean_b = a.mean(axis=1, keepdims=True), b.mean(axis=1, keepdims=True)
    a, b = a - mean_a, b - mean_b
    gram = np.matmul(b.transpose(0, 2, 1), b).astype(np.float64)
    target = np.matmul(wanted, np.matmul(a.transpose(0, 2, 1), b).astype(np.float64))
    energy = float((np.matmul(wanted, np.matmul(a.transpose(0, 2, 1), a).astype(np.float64)) * wanted).sum())
    own = RIDGE + FEW * gram.shape[1] / a.shape[1]
    ridge = own * np.trace(gram, axis1=1, axis2=2)[:, None, None] / gram.shape[1]
    nearest = matrix_of(node, np.asarray(node.input(1).data, np.float64))
    limit = LARGEST[4 if node.input(1).is_int4 else 8]
    learned = descend(gram + ridge * np.eye(gram.shape[1]), (target + ridge * wanted) / scale, nearest, REACH, limit)
    errors = [_error(q * scale, gram, target) + energy for q in (nearest, learned)]
    node.inputs[1] = replace(node.input(1), data=weights_of(node, learned).astype(np.int8))
    means = np.matmul(wanted, mean_a.transpose(0, 2, 1)) - np.matmul(learned * scale, mean_b.transpose(0, 2, 1))
    set_bias(node, real_bias(real) + means.reshape(-1))
    floor = max(energy, np.finfo(np.float64).tiny)
    return max(errors[0], 0.0) / floor, max(errors[1], 0.0) / floor


def descend(gram: Array, target: Array, start: Array, reach: int, limit: int) -> Array:
    """Integers w near ``start`` with a low w'Gw - 2 w'c in every row.

    Args:
        gram: G, (groups, taps, taps), with a positive diagonal where it matters.
        target: c in the same steps as w, (groups, rows, taps).
        start: (groups, rows, taps) integers in float64.
        reach: steps that a weight may go from its start.
        limit: the largest magnitude.
    """
    low, high = np.maximum(start - reach, -limit), np.minimum(start + reach, limit)
    weights = start.copy()
    slope = np.matmul(weights, gram) - target
    diagonal = np.diagonal(gram, axis1=1, axis2=2)
    for _ in range(SWEEPS):
        moved = 0
        for k in np.flatnonzero((diagonal > 0).any(axis=0)):
            curve = np.where(diagonal[:, k] > 0, diagonal[:, k], np.inf)[:, None]
            new = np.clip(np.rint(weights[:, :, k] - slope[:, :, k] / curve), low[:, :, k], high[:, :, k])
            step = new - weights[:, :, k]
            group, row = np.nonzero(step)
            slope[group, row] += step[group, row, None] * gram[group, k]
            weights[:, :, k] = new
            moved += len(row)
        if not moved:
            break
    return weights


def _error(weights: Array, gram: Array, target: Array) -> float:
    return float((np.matmul(weights, gram) * weights - 2 * weights * target).sum())
