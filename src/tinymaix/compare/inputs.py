"""Which inputs an integer model gets most wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinymaix.compare.accuracy import Outputs, classes_of, decibels
from tinymaix.quantize.samples import Samples

WORST = 10


@dataclass(frozen=True)
class WorstInput:
    """A sample; its classes where there are any."""

    name: str
    sqnr: float
    real: int | None
    ours: int | None
    label: int | None


def worst_inputs(outputs: Outputs, samples: Samples) -> list[WorstInput]:
    """Those where the first class differs come first, then those with the lowest SQNR."""
    signal = sum(np.square(a.reshape(len(a), -1), dtype=np.float64).sum(1) for a, _ in outputs)
    noise = sum(np.square((a - b).reshape(len(a), -1), dtype=np.float64).sum(1) for a, b in outputs)
    ratios = [decibels(s, n) for s, n in zip(np.atleast_1d(signal), np.atleast_1d(noise), strict=True)]
    classes = classes_of(outputs)
    labels = samples.labels if samples.labels is not None and samples.labels.dtype.kind in "iu" else None
    differs = [0 if classes is None else int(classes[0][k] == classes[1][k]) for k in range(len(ratios))]
    order = sorted(range(len(ratios)), key=lambda k: (differs[k], ratios[k]))[:WORST]
    return [
        WorstInput(
            samples.names[k] if k < len(samples.names) else str(k),
            ratios[k],
            None if classes is None else int(classes[0][k]),
            None if classes is None else int(classes[1][k]),
            None if labels is None or labels.ndim != 1 else int(labels[k]),
        )
        for k in order
    ]
