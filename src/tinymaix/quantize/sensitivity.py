"""Which layers can do with less, and which need more: the error of the outputs when one layer alone is quantized.

The float network is run once; then, for every layer, only what comes behind it again, with that layer's weights or
output rounded. The errors of several layers about add up (as in HAWQ, Dong et al. 2019, arXiv 1905.03696, which
estimates them by second derivatives), so they say in which order to take layers; what is taken is measured as a whole.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinymaix.graph import Array, Graph, Node
from tinymaix.quantize import rules
from tinymaix.quantize.agreement import real_values
from tinymaix.quantize.float_run import Values, run_float, run_node
from tinymaix.quantize.lower import quantized
from tinymaix.quantize.matrices import drawn
from tinymaix.quantize.ranges import Range, quantization
from tinymaix.quantize.samples import Samples
from tinymaix.quantize.weights import INT4_KINDS, quantized_weights, weight_quantization

SAMPLES = 32
"""Samples that errors are measured on."""


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one thing does."""

    layers: tuple[str, ...]
    """Names of the nodes whose type decides it."""

    noise: float
    """Power of the error of the outputs, as a part of the outputs' own."""

    bytes: int
    """What is at stake: bytes of flash that int4 weights save, or of one activation that int16 doubles."""


def weight_noise(graph: Graph, samples: Samples, progress: Callable[[str], None] | None = None) -> list[Sensitivity]:
    """For each layer that may have int4 weights what they do, the most bytes for the least noise first."""
    found = []
    for node, values, count in _each(graph, samples, progress, "int4 weights"):
        if node.op.kind not in INT4_KINDS or not all(t.is_constant for t in node.present[1:]):
            continue
        q = weight_quantization(node, 1.0, bits=4)
        weights = quantized_weights(node, q, bits=4)
        assert weights.data is not None
        along = [-1 if i == q.axis else 1 for i in range(len(weights.shape))] if q.per_channel else []
        real = replace(node.input(1), data=weights.data * q.scale.reshape(along))
        made = run_node(replace(node, inputs=[node.input(0), real, *node.inputs[2:]]), values, count)
        noise = _noise(graph, node, values, made, count)
        found.append(Sensitivity((node.name,), noise, (weights.elements + 1) // 2))
    return sorted(found, key=lambda s: s.noise / max(s.bytes, 1))


def activation_noise(
    graph: Graph, samples: Samples, progress: Callable[[str], None] | None = None
) -> list[Sensitivity]:
    """For each computed tensor what int8 does to it, the most noise for the least bytes first.

    A tensor is int16 where the node that makes it is, and those that read it.
    """
    found = []
    for node, values, count in _each(graph, samples, progress, "int8 activations"):
        y = node.output
        if y.dtype != np.float32 or rules.follows(node) or len(node.outputs) > 1:
            continue
        exact = values[id(y)]
        kind = "int8"
        q = rules.fixed(node, kind) or quantization(Range(min(float(exact.min()), 0), max(float(exact.max()), 0)), kind)
        rounded = real_values(replace(y, quantization=q), quantized(exact, q, kind))
        names = tuple(dict.fromkeys(n.name for n in (node, *_readers(graph, node)) if n.name))
        if names:
            found.append(Sensitivity(names, _noise(graph, node, values, {id(y): rounded}, count), y.elements))
    return sorted(found, key=lambda s: -s.noise / max(s.bytes, 1))


def layers_of(chosen: Sequence[Sensitivity], kind: str) -> dict[str, str]:
    """`Scheme.layers` that give the chosen ones a type."""
    return {name: kind for one in chosen for name in one.layers}


def _each(
    graph: Graph, samples: Samples, progress: Callable[[str], None] | None, what: str
) -> Iterator[tuple[Node, Values, int]]:
    """Every node that has a name, with the float values of all tensors; none where states go on between samples."""
    if graph.states:
        return
    inputs = [samples.inputs[i] for i in drawn(len(samples), SAMPLES)]
    values = run_float(graph, inputs)
    for at, node in enumerate(graph.nodes, 1):
        if progress:
            progress(f"{what}: layer {at} of {len(graph.nodes)}")
        if node.name:
            yield node, values, len(inputs)


def _noise(graph: Graph, node: Node, values: Mapping[int, Array], made: Values, count: int) -> float:
    """The error of the outputs where a node gives ``made``."""
    changed = dict(made)
    seen = ChainMap(changed, dict(values))
    for later in graph.nodes[graph.nodes.index(node) + 1 :]:
        if any(id(t) in changed for t in later.activations):
            changed.update(run_node(later, seen, count))
    error = power = 0.0
    for tensor in graph.outputs:
        if tensor.dtype == np.float32 and id(tensor) in values:
            exact = values[id(tensor)].astype(np.float64)
            power += float(np.square(exact).sum())
            error += float(np.square(changed[id(tensor)] - exact).sum()) if id(tensor) in changed else 0.0
    return error / power if power > 0 else 0.0


def _readers(graph: Graph, node: Node) -> list[Node]:
    """The nodes that compute with the node's output, behind those that only move it."""
    found = []
    for reader in graph.consumers(node.output):
        found += [reader, *(_readers(graph, reader) if rules.follows(reader) else [])]
    return found
