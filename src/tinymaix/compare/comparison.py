"""How far an integer model is from float, where it comes from, and what to try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tinymaix.compare.accuracy import Outputs, Score, decibels, outputs_of, scores
from tinymaix.compare.blame import Blame, blame
from tinymaix.compare.inputs import WorstInput, worst_inputs
from tinymaix.compare.layers import LayerFigures, layer_figures
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.quantize.samples import Samples


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. Ratios of signal and noise are in dB."""

    float_name: str
    name: str
    samples: int
    scores: list[Score]
    """With the labels, where they are known; always how often the first class is the same, where there are classes."""

    sqnr: float
    """Power of the float outputs over that of the difference."""

    layers: list[LayerFigures]
    blame: list[Blame]
    """The layers with the largest errors of their own, the worst first."""

    worst: list[WorstInput]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    graph: Graph,
    integers: Graph,
    samples: Samples,
    *,
    boxes: Mapping[str, Array] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Run both on the samples, which hold the float graph's inputs, and say where they differ.

    Args:
        boxes: for a model that detects: by name of sample the boxes that are there, see `load_boxes`.

    Raises:
        ModelError: there are no samples, or the graphs do not take and give the same.
    """
    say = progress or (lambda sentence: None)
    check(graph, integers, samples)
    outputs = outputs_of(graph, integers, samples, say)
    layers, notes = layer_figures(graph, integers, samples, say)
    return Comparison(
        graph.name,
        integers.name,
        len(samples),
        scores(graph, outputs, samples, boxes),
        outputs_sqnr(outputs),
        layers,
        blame(layers),
        worst_inputs(outputs, samples),
        notes,
    )


def outputs_sqnr(outputs: Outputs) -> float:
    signal = sum(float((real.astype(float) ** 2).sum()) for real, _ in outputs)
    noise = sum(float(((real - ours).astype(float) ** 2).sum()) for real, ours in outputs)
    return decibels(signal, noise)


def check(graph: Graph, integers: Graph, samples: Samples) -> None:
    """Raise ModelError where the two are not forms of one model, the first one float, or there are no samples."""
    if not samples.inputs:
        raise ModelError("there are no samples to compare with")
    for side, a, b in (("inputs", graph.inputs, integers.inputs), ("outputs", graph.outputs, integers.outputs)):
        shapes = [[list(t.shape) for t in tensors] for tensors in (a, b)]
        if shapes[0] != shapes[1]:
            text = f"{shapes[0]} of '{graph.name}', {shapes[1]} of '{integers.name}'"
            raise ModelError(f"the models have other {side}: {text}; compare two forms of one model")
    if any(t.dtype.kind != "f" for t in graph.inputs):
        raise ModelError(f"'{graph.name}' takes integers; give the float model first, then the integer one")
