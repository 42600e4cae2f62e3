"""What a model is worth on samples with labels: accuracy, area under the curve, error; and how far two models agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinymaix.compare.boxes import detections_of, mean_average_precision
from tinymaix.graph import Array, Graph
from tinymaix.quantize.agreement import LARGEST_DB, real_outputs
from tinymaix.quantize.float_run import chunks
from tinymaix.quantize.samples import Samples

Outputs = list[tuple[Array, Array]]
"""For each output of a model the float values and the integer model's, as reals: (samples, *shape)."""
MANY_CLASSES = 100


@dataclass(frozen=True)
class Score:
    """One figure of both models; ``real`` is None for what only the two together have."""

    name: str
    real: float | None
    ours: float
    is_share: bool = True
    """From 0 to 1, more is better; else an error, less is better."""

    @staticmethod
    def of(name: str, measure: Callable[[Array], float], sides: Sequence[Array], is_share: bool = True) -> Score:
        """The same measure of both."""
        real, ours = (float(measure(side)) for side in sides)
        return Score(name, real, ours, is_share)


def decibels(signal: float, noise: float) -> float:
    """Signal over noise in dB; `LARGEST_DB` stands for no noise, and its negative for no signal."""
    if noise <= 0:
        return LARGEST_DB
    return max(-LARGEST_DB, min(LARGEST_DB, 10 * math.log10(signal / noise))) if signal > 0 else -LARGEST_DB


def outputs_of(graph: Graph, integers: Graph, samples: Samples, say: Callable[[str], None]) -> Outputs:
    """Run both models on all samples; states go on from one to the next."""
    stream = bool(graph.states)
    found: list[list[Array]] = []
    done = 0
    for part in chunks(graph, samples.inputs, stream):
        for k in range(0, len(part), len(part) if stream else 250):
            few = part if stream else part[k : k + 250]
            found.append([*real_outputs(graph, few, stream), *real_outputs(integers, few, stream)])
            done += len(few)
            say(f"outputs: {done} of {len(samples)}")
    whole = [np.concatenate(arrays) for arrays in zip(*found, strict=True)]
    half = len(graph.outputs)
    return list(zip(whole[:half], whole[half:], strict=True))


def classes_of(outputs: Outputs) -> tuple[Array, Array] | None:
    """The first class of every sample for both; None where the output is no row of classes."""
    real, ours = outputs[0]
    if len(outputs) != 1 or real[0].size != real.shape[-1] or real.shape[-1] < 2:
        return None
    return real.reshape(len(real), -1).argmax(1), ours.reshape(len(ours), -1).argmax(1)


def scores(graph: Graph, outputs: Outputs, samples: Samples, boxes: Mapping[str, Array] | None = None) -> list[Score]:
    """Every figure that the outputs and the labels allow."""
    if boxes is not None:
        return [_of_boxes(outputs, samples, boxes)]
    sides = [side.reshape(len(side), -1) for side in outputs[0]]
    classes, labels = classes_of(outputs), samples.labels
    if len(graph.inputs) == 1 and graph.inputs[0].elements == sides[0].shape[1] > 1:
        return _of_autoencoder(sides, samples)
    same = None if classes is None else float((classes[0] == classes[1]).mean())
    agree = [] if same is None else [Score("first class is float's", None, same)]
    if labels is None:
        return agree
    if labels.dtype.kind in "iu" and labels.ndim == 1:
        return [*_of_classes(labels, sides), *agree]
    if labels.size == sides[0].size:
        target = labels.reshape(sides[0].shape)
        return [Score.of("mean absolute error", lambda side: abs(side - target).mean(), sides, is_share=False)]
    return agree


def scores_alone(
    graph: Graph, samples: Samples, boxes: Mapping[str, Array] | None, say: Callable[[str], None]
) -> tuple[list[Score], dict[int, float]]:
    """What the labels allow to say of one model, and the share of each class's samples that it gets right.

    Args:
        samples: of the model's own inputs, raw where they are integers.
        boxes: as for `scores`.
    """
    same = [(ours, ours) for ours, _ in outputs_of(graph, graph, samples, say)]
    found = [replace(score, real=None) for score in scores(graph, same, samples, boxes) if score.real is not None]
    return found, shares_right(same, samples.labels)


def shares_right(outputs: Outputs, labels: Array | None) -> dict[int, float]:
    """By class with samples, the share of them that the second model gets right; empty where labels are no classes."""
    classes = classes_of(outputs)
    if classes is None or labels is None or labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.min() < 0:
        return {}
    right = classes[1] == labels
    return {int(i): float(right[labels == i].mean()) for i in np.unique(labels)}


def _of_boxes(outputs: Outputs, samples: Samples, boxes: Mapping[str, Array]) -> Score:
    """Mean average precision."""
    truth = [boxes.get(name, np.zeros((0, 5))) for name in samples.names]
    real, ours = (mean_average_precision(detections_of([side[k] for side in outputs]), truth) for k in (0, 1))
    return Score("mAP at half overlap", real, ours)


def _of_classes(labels: Array, sides: Sequence[Array]) -> list[Score]:
    """Accuracy, among the best five where classes are many, and the area under the curve where there are two."""
    count = sides[0].shape[1]
    if count == 1:
        return _curve("AUC", labels, [side[:, 0] for side in sides])
    if labels.max(initial=0) >= count or labels.min(initial=0) < 0:
        return []
    found = [Score.of("accuracy", lambda side: (side.argmax(1) == labels).mean(), sides)]
    if count >= MANY_CLASSES:
        best = [np.argsort(-side, axis=1, kind="stable")[:, :5] for side in sides]
        found.append(Score.of("among the best 5", lambda side: (side == labels[:, None]).any(1).mean(), best))
    return found + (_curve("AUC", labels, [side[:, 1] - side[:, 0] for side in sides]) if count == 2 else [])


def _of_autoencoder(sides: Sequence[Array], samples: Samples) -> list[Score]:
    """The reconstruction error, which is large for what is not normal: the mean square, as MLPerf Tiny has it."""
    inputs = np.stack([sample[0].reshape(-1) for sample in samples.inputs])
    errors = [np.square(side - inputs, dtype=np.float64).mean(1) for side in sides]
    found = [Score.of("mean square of the reconstruction error", np.mean, errors, is_share=False)]
    labels = samples.labels
    return found + ([] if labels is None else _curve("AUC of the reconstruction error", labels, errors))


def _curve(name: str, labels: Array, values: Sequence[Array]) -> list[Score]:
    """The area under the curve where labels are 0 and 1 and both are there."""
    if labels.shape != values[0].shape or set(np.unique(labels).tolist()) != {0, 1}:
        return []
    return [Score.of(name, lambda side: area_under_curve(labels, side), values)]


def area_under_curve(labels: Array, values: Array) -> float:
    """How likely a sample labelled 1 has a larger value than one labelled 0; equal ones count half (Mann and Whitney,
    1947)."""
    order = np.sort(values)
    ranks = (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right") + 1) / 2
    ones = labels == 1
    count = int(ones.sum())
    return float((ranks[ones].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))
