"""From observed values to a range, and from a range to a scale and zero point.

Range methods: all values; percentiles; least squared error; least Kullback-Leibler divergence between the values and
their quantized form (as in Migacz, 8-bit inference with TensorRT, 2017, for ranges with two ends).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np

from tinymaix.graph import Array, Graph, Quantization, Tensor
from tinymaix.quantize.observe import Observed

LEVELS = {"int8": 256, "int16": 65536}
OUTSIDE = 1e-4
"""The share of values that a percentile range leaves out at each end."""

MOST_OUTSIDE = 0.01
"""The share of values that the divergence may leave out at most: of few samples it knows too little of the tails."""

SHRINKS = np.linspace(1.0, 0.1, 31)
"""The shares of an end that the searching methods try."""


class Range(NamedTuple):
    """Real values that are to be told apart, 0 among them."""

    low: float
    high: float

    def union(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class Ranges:
    """The ranges of a graph's computed float tensors and inputs, by id."""

    whole: Mapping[int, Range]
    """From the least to the greatest value: int16 needs no less."""

    chosen: Mapping[int, Range]
    """For int8, by the scheme's method."""

    def of(self, tensor: Tensor, kind: str) -> Range:
        if not tensor.elements:
            return Range(0.0, 0.0)
        return (self.whole if kind == "int16" else self.chosen)[id(tensor)]


def find_ranges(
    graph: Graph, observed: Mapping[int, Observed], method: str, together: Sequence[Sequence[Tensor]] = ()
) -> Ranges:
    """The ranges of all that was observed, by one of `scheme.RANGES`; inputs of the graph keep all their values.

    Args:
        together: tensors that are to have one range.
    """
    whole = {i: Range(min(o.low, 0.0), max(o.high, 0.0)) for i, o in observed.items()}
    given = {id(t) for t in graph.inputs}
    chosen = dict(whole)
    if method != "minmax":
        for i, o in observed.items():
            if i not in given and o.low != o.high and o.counts.size:
                chosen[i] = METHODS[method](o, whole[i])
    for ranges in (whole, chosen):
        for tensors in together:
            known = [id(t) for t in tensors if id(t) in ranges]
            if known:
                ranges.update(dict.fromkeys(known, reduce(Range.union, (ranges[i] for i in known))))
    return Ranges(whole, chosen)


def quantization(r: Range, kind: str) -> Quantization:
    """int8: asymmetric over all 256 values, 0 exact (its zero point nudged to a whole number); int16: symmetric."""
    if kind == "int16":
        return Quantization.of(_scale(max(-r.low, r.high), 32767))
    scale = _scale(r.high - r.low, 255)
    zero = np.rint(-128 - r.low / float(np.float32(scale)))
    return Quantization.of(scale, int(np.clip(zero, -128, 127)))


def _scale(span: float, steps: int) -> float:
    """A positive normal float32; 1 / steps where all values are 0."""
    return max(span / steps, float(np.finfo(np.float32).tiny)) if span > 0 else 1 / steps


def _percentile(observed: Observed, whole: Range) -> Range:
    share = np.cumsum(observed.counts) / observed.counts.sum()
    low = observed.centres[np.searchsorted(share, OUTSIDE)]
    high = observed.centres[min(int(np.searchsorted(share, 1 - OUTSIDE)), len(share) - 1)]
    return Range(min(float(low), 0.0), max(float(high), 0.0))


def _least_squares(observed: Observed, whole: Range) -> Range:
    """The pair of ends with the least squared error, all pairs of `SHRINKS` tried; an end at 0 stays."""
    centres, counts = observed.centres, observed.counts
    lows = whole.low * SHRINKS if whole.low < 0 else np.zeros(1)
    highs = whole.high * SHRINKS if whole.high > 0 else np.zeros(1)
    best, result = np.inf, whole
    for low in lows:
        scale = (highs - low)[:, None] / (LEVELS["int8"] - 1)
        real = low + np.clip(np.rint((centres - low) / scale), 0, LEVELS["int8"] - 1) * scale
        errors = (counts * (real - centres) ** 2).sum(axis=1)
        k = int(errors.argmin())
        if errors[k] < best:
            best, result = float(errors[k]), Range(float(low), float(highs[k]))
    return result


def _divergence(observed: Observed, whole: Range) -> Range:
    """The bound on magnitudes with the least divergence of the clipped values from their quantized form."""
    centres, counts = observed.centres, _smooth(observed)
    top = max(-whole.low, whole.high)
    best, result = np.inf, whole
    for bound in top * SHRINKS:
        r = Range(max(whole.low, -bound), min(whole.high, bound))
        inside = (centres >= r.low) & (centres <= r.high)
        if np.count_nonzero(inside) < LEVELS["int8"] // 2 or counts[~inside].sum() > MOST_OUTSIDE * counts.sum():
            break
        kept = counts[inside].copy()
        p = kept.copy()
        p[0] += counts[centres < r.low].sum()
        p[-1] += counts[centres > r.high].sum()
        level = np.rint((centres[inside] - r.low) / (r.high - r.low) * (LEVELS["int8"] - 1)).astype(np.int64)
        divergence = _kl(p, _spread(kept, level))
        if divergence < best:
            best, result = divergence, r
    return result


def _smooth(observed: Observed) -> Array:
    """The counts without their chance ups and downs, which a finer scale would seem to reproduce. The exact zeros that
    a RELU leaves say nothing of the scale: their bin counts as its neighbours do."""
    counts = observed.counts.astype(np.float64)
    zero = int(np.abs(observed.centres).argmin())
    counts[zero] = counts[max(zero - 1, 0) : zero + 2].sum() - counts[zero]
    window = len(counts) // LEVELS["int8"]
    return np.convolve(counts, np.ones(window) / window, "same")


def _spread(counts: Array, level: Array) -> Array:
    """The counts of each level, evenly over its bins that are not empty."""
    full = counts > 0
    total = np.bincount(level, counts)
    bins = np.bincount(level, full.astype(np.float64))
    return np.where(full, (total / np.maximum(bins, 1))[level], 0)


def _kl(p: Array, q: Array) -> float:
    """Kullback-Leibler divergence of two histograms; bins that only p fills count as a millionth of q."""
    p, q = p / p.sum(), q / max(q.sum(), 1e-30)
    there = p > 0
    return float((p[there] * np.log(p[there] / np.maximum(q[there], 1e-6))).sum())


METHODS: dict[str, Callable[[Observed, Range], Range]] = {
    "percentile": _percentile,
    "mse": _least_squares,
    "kl": _divergence,
}
