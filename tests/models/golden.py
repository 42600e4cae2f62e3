"""Real models against their golden outputs, on the reference, on the host and on emulated chips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import tinymaix
from tests.conftest import Samples, load_reference
from tests.oracles import expect_same
from tinymaix.chips import find_chip
from tinymaix.compile.project import golden_inputs
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph, ModelError

FLOAT_TOLERANCE = 1e-4
"""Of the largest output: float sums depend on the order in which a compiler keeps them, and exp on its library."""


def read_or_reason(path: Path) -> Graph | str:
    """The graph, or why it cannot be read."""
    try:
        return tinymaix.read(path)
    except ModelError as error:
        return error.problems[0]


HYBRID_TOLERANCE = 0.2
"""Where weights were dequantized: the engines that the golden outputs come from quantize activations on the way."""


def tolerance(graph: Graph) -> float:
    """0 where every computed tensor is an integer."""
    if any("dynamic range quantization" in note for note in graph.notes):
        return HYBRID_TOLERANCE
    return FLOAT_TOLERANCE if any(t.dtype.kind == "f" for node in graph.nodes for t in node.outputs) else 0.0


def check_reference(graph: Graph, samples: Samples) -> None:
    """Assert the golden outputs of every sample on the numpy reference."""
    inputs = [sample for sample, _ in samples]
    found = graph.run_sequence(inputs) if samples.stateful else [graph.run(sample) for sample in inputs]
    for k, (outputs, (_, expected)) in enumerate(zip(found, samples, strict=True)):
        expect_same(outputs, expected, f"{graph.name}, sample {k}, reference", tolerance(graph))


def check_on(graph: Graph, samples: Sequence[tuple[list[Array], list[Array]]], chip: str, fresh: int = 1) -> None:
    """Assert the golden outputs, and those of the reference for fresh random inputs, on a chip or the host."""
    deployment = Deployment(graph, find_chip(chip))
    stateful = getattr(samples, "stateful", False)
    for k, (inputs, outputs) in enumerate(samples):
        found, _ = deployment.run(inputs, forget=k == 0 or not stateful)
        expect_same(found, outputs, f"{graph.name}, sample {k}, {chip}", tolerance(graph))
    more = [golden_inputs(graph, seed) for seed in range(100, 100 + fresh)]
    for k, (inputs, outputs) in enumerate(zip(more, graph.run_sequence(more), strict=True)):
        found, _ = deployment.run(inputs, forget=k == 0)
        expect_same(found, outputs, f"{graph.name}, fresh sample {k}, {chip}", tolerance(graph))


def golden_samples(path: Path, graph: Graph) -> Samples:
    """The stored samples in the graph's own shapes: a scalar may be stored without its dimension."""
    samples = load_reference(path)
    reshaped = [
        (
            [np.reshape(a, t.shape) for a, t in zip(inputs, graph.inputs, strict=True)],
            [np.reshape(a, t.shape) for a, t in zip(outputs, graph.outputs, strict=True)],
        )
        for inputs, outputs in samples
    ]
    samples[:] = reshaped
    return samples
