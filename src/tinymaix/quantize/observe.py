"""What values a float graph's tensors take on calibration data: their ends, and histograms between them.

The samples stream through in parts, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Tensor
from tinymaix.quantize.float_run import Values, chunks, stack_inputs, steps

BINS = 2048

Progress = Callable[[str], None]


@dataclass
class Observed:
    """Least and greatest value of a tensor, and how many values are in each of `BINS` equal parts between them."""

    low: float
    high: float
    counts: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def centres(self) -> Array:
        """The middle of each bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return np.asarray((edges[:-1] + edges[1:]) / 2)


def observe(
    graph: Graph, inputs: Sequence[Sequence[Array]], histograms: bool = False, progress: Progress | None = None
) -> dict[int, Observed]:
    """What each float tensor that is computed, and each float input, takes on; by id of the tensor.

    Args:
        histograms: count values too, which runs the samples a second time.

    Raises:
        ModelError: a sample holds no number (NaN) or an infinite one, or a layer makes one.
    """
    say = progress or (lambda sentence: None)
    found: dict[int, Observed] = {}
    for tensor, values in _all_values(graph, inputs, say, "observing"):
        low, high = float(values.min()), float(values.max())
        known = found.setdefault(id(tensor), Observed(low, high))
        known.low, known.high = min(low, known.low), max(high, known.high)
    if histograms:
        for tensor, values in _all_values(graph, inputs, say, "counting"):
            known = found[id(tensor)]
            counts = _histogram(values, known.low, known.high)
            known.counts = counts if not known.counts.size else known.counts + counts
    return found


def _all_values(
    graph: Graph, inputs: Sequence[Sequence[Array]], say: Progress, verb: str
) -> Iterator[tuple[Tensor, Array]]:
    done = 0
    stream = bool(graph.states)  # such a model is fed in order
    for part in chunks(graph, inputs, stream):
        say(f"{verb} samples {done + 1} to {done + len(part)} of {len(inputs)}")
        for tensor, values in zip(graph.inputs, stack_inputs(graph, part), strict=True):
            if values.dtype == np.float32:
                yield tensor, values
        for node, made in steps(graph, part, stream):
            yield from _checked(node, made)
        done += len(part)


def _checked(node: Node, made: Values) -> Iterator[tuple[Tensor, Array]]:
    for tensor in node.outputs:
        values = made[id(tensor)]
        if values.dtype != np.float32 or not values.size:
            continue
        if not np.isfinite(values).all():
            k = int(np.argwhere(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0, 0])
            raise ModelError(
                f"{node.op.kind} '{node.name}' gives NaN or infinity for sample {k}; such a model cannot be quantized: "
                "check its weights and how the data is normalized"
            )
        yield tensor, values


def _histogram(values: Array, low: float, high: float) -> Array:
    """np.histogram over float32, several times as fast."""
    span = max(high - low, float(np.finfo(np.float32).tiny))
    index = ((values.reshape(-1) - np.float32(low)) * np.float32(BINS / span)).astype(np.int32)
    return np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)
