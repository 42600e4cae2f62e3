"""How well an integer graph agrees with the float graph that it was made from, on samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinymaix.graph import Array, Graph, Tensor
from tinymaix.quantize.float_run import chunks, run_float
from tinymaix.quantize.lower import quantized
from tinymaix.quantize.samples import Samples

LARGEST_DB = 200.0
"""What stands for outputs that are equal."""


@dataclass(frozen=True)
class Agreement:
    """Shares are between 0 and 1."""

    samples: int
    sqnr: float
    """Power of the float outputs over that of the error, in dB."""

    top1: float | None
    """How often the first class is the same; None where the output is no row of classes."""

    accuracy_float: float | None
    accuracy: float | None
    """How often the first class is the label; None without labels."""

    @property
    def doubts(self) -> list[str]:
        """What to check before anything else, where even the float model is mostly wrong."""
        if self.accuracy_float is None or self.accuracy_float >= 0.5:
            return []
        return [
            f"the float model itself is right in only {self.accuracy_float:.1%}; if it should do better, check "
            "--normalize, the order of the colours and the labels"
        ]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        parts = [f"SQNR {self.sqnr:.1f} dB"]
        if self.top1 is not None:
            parts.append(f"first class as float's in {self.top1:.1%}")
        if self.accuracy is not None:
            parts.append(f"accuracy {self.accuracy:.2%} (float {self.accuracy_float:.2%})")
        return f"on {self.samples} samples: {', '.join(parts)}"


def agreement(graph: Graph, integers: Graph, samples: Samples) -> Agreement:
    """Run both on the samples, which hold the float graph's inputs."""
    signal = noise = 0.0
    found: list[tuple[Array, Array]] = []
    classes = len(graph.outputs) == 1 and graph.outputs[0].elements == (graph.outputs[0].shape or (1,))[-1] > 1
    stream = bool(graph.states)
    for part in chunks(graph, samples.inputs, stream):
        for real, ours in zip(real_outputs(graph, part, stream), real_outputs(integers, part, stream), strict=True):
            signal += float(np.square(real, dtype=np.float64).sum())
            noise += float(np.square(real - ours, dtype=np.float64).sum())
            if classes:
                found.append((real.reshape(len(part), -1).argmax(1), ours.reshape(len(part), -1).argmax(1)))
    sqnr = 10 * math.log10(signal / noise) if noise > 0 and signal > 0 else LARGEST_DB if noise == 0 else -LARGEST_DB
    if not found:
        return Agreement(len(samples), sqnr, None, None, None)
    first, second = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    top1 = float((first == second).mean())
    if samples.labels is None or samples.labels.dtype.kind not in "iu":
        return Agreement(len(samples), sqnr, top1, None, None)
    shares = [float((classes == samples.labels).mean()) for classes in (first, second)]
    return Agreement(len(samples), sqnr, top1, *shares)


def real_outputs(graph: Graph, inputs: Sequence[Sequence[Array]], sequence: bool = False) -> list[Array]:
    """The outputs for real inputs as real numbers, each (samples, *shape). ``sequence``: as for `run_float`."""
    raw = [[raw_values(t, a) for t, a in zip(graph.inputs, sample, strict=True)] for sample in inputs]
    values = run_float(graph, raw, graph.outputs, sequence)
    return [real_values(t, values[id(t)]) for t in graph.outputs]


def raw_values(tensor: Tensor, values: Array) -> Array:
    """Real values as the tensor's type has them."""
    if tensor.dtype.kind == "f" or tensor.quantization is None or values.dtype == tensor.dtype:
        return values
    return quantized(values, tensor.q, tensor.dtype.name)


def real_values(tensor: Tensor, values: Array) -> Array:
    """Values of a tensor as float32."""
    if tensor.quantization is None:
        return np.asarray(values, np.float32)
    return np.asarray((values.astype(np.float32) - np.float32(tensor.q.z)) * np.float32(tensor.q.s))
