"""The steps of quantization, one file each: equalize the weights, prepare the graph, observe the float tensors, choose
ranges, lower to integers, round weights, correct biases."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Graph, ModelError
from tinymaix.quantize.lower import lower
from tinymaix.quantize.observe import Progress, observe
from tinymaix.quantize.prepare import prepare
from tinymaix.quantize.ranges import find_ranges
from tinymaix.quantize.samples import Samples
from tinymaix.quantize.scheme import Scheme


def run(graph: Graph, samples: Samples, scheme: Scheme | None = None, progress: Progress | None = None) -> Graph:
    """`tinymaix.quantize.quantize`."""
    scheme = scheme or Scheme()
    say = progress or (lambda sentence: None)
    _check_graph(graph)
    check_samples(graph, samples)
    if scheme.equalize:
        from tinymaix.quantize.equalize import equalize

        say("equalizing channel ranges")
        graph = equalize(graph, samples, scheme.per_channel)
    prepared = prepare(graph, scheme)
    observed = observe(prepared.graph, samples.inputs, scheme.ranges != "minmax", say)
    say("choosing ranges")
    ranges = find_ranges(prepared.graph, observed, scheme.ranges, prepared.together)
    say("lowering to integers")
    result = lower(prepared, ranges, scheme)
    if scheme.round == "learned":
        from tinymaix.quantize.rounding import learn_rounding

        result = learn_rounding(prepared.graph, result, samples, say)
    if scheme.correct_bias:
        from tinymaix.quantize.correct import correct_biases

        say("correcting biases")
        result = correct_biases(prepared.graph, result, samples)
    silent = [t.name for node in prepared.graph.nodes for t in node.outputs if _is_zero(observed.get(id(t)))]
    if silent:
        result.notes.append(f"always 0 on the calibration data: {', '.join(silent[:10])}; is the data like real data?")
    return result


def check_samples(graph: Graph, samples: Samples) -> None:
    """Raise ModelError with a sentence where samples cannot calibrate a graph."""
    if not samples.inputs:
        raise ModelError("there are no samples to calibrate with; give a folder, a .npy or .npz, or an iterator")
    for i, tensor in enumerate(graph.inputs):
        low, high = np.inf, -np.inf
        for k, sample in enumerate(samples.inputs):
            values = graph.check_inputs(sample)[i]
            if tensor.dtype.kind != "f":
                continue
            name = f" ('{samples.names[k]}')" if k < len(samples.names) else ""
            if not np.isfinite(values).all():
                raise ModelError(f"sample {k}{name} holds NaN or infinity in input '{tensor.name}'")
            low, high = min(low, float(values.min(initial=np.inf))), max(high, float(values.max(initial=-np.inf)))
        if tensor.dtype.kind == "f" and low == high:
            raise ModelError(
                f"every value of input '{tensor.name}' is {low:g} in all {len(samples.inputs)} samples; its range is "
                "empty: check the data and how it is normalized"
            )


def _check_graph(graph: Graph) -> None:
    if not any(t.dtype == np.float32 for node in graph.nodes for t in (*node.present, *node.outputs)):
        raise ModelError(f"'{graph.name}' has no float layers; it is quantized already")
    integers = [n for n in graph.nodes for t in n.outputs if t.quantization is not None and t.dtype.itemsize <= 2]
    if integers:
        node = integers[0]
        raise ModelError(
            f"{node.op.kind} '{node.name}' computes with integers already; quantize the float model it is from"
        )


def _is_zero(observed: object) -> bool:
    return (getattr(observed, "low", 1), getattr(observed, "high", 1)) == (0, 0)
