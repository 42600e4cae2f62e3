"""The operators of ai.onnx.ml that scikit-learn's linear models and multi-layer perceptrons are exported to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.read import layers
from tinymaix.read.onnx_attributes import OnnxLayer

Lower = Callable[[OnnxLayer], Tensor | list[Tensor]]


def _scaler(n: OnnxLayer) -> Tensor:
    """(x - offset) * scale along the last axis."""
    features = n.x.shape[-1]
    offset, scale = (
        np.asarray(n.numbers(name) or [default], np.float32) for name, default in (("offset", 0), ("scale", 1))
    )
    if any(a.size not in (1, features) for a in (offset, scale)):
        raise ModelError(f"its offset and scale do not fit {features} features")
    return n.b.op("ADD", n.b.op("MUL", n.x, n.b.constant(scale)), n.b.constant(-offset * scale))


def _linear(n: OnnxLayer) -> Tensor:
    """x times the coefficients, plus the intercepts: one row of coefficients a class or target."""
    features = n.x.shape[-1]
    coefficients = np.asarray(n.numbers("coefficients") or [], np.float32)
    if not coefficients.size or coefficients.size % features:
        raise ModelError(f"its {coefficients.size} coefficients do not fit {features} features")
    rows = coefficients.reshape(-1, features)
    intercepts = np.asarray(n.numbers("intercepts") or np.zeros(len(rows)), np.float32)
    if intercepts.size != len(rows):
        raise ModelError(f"its {intercepts.size} intercepts do not fit {len(rows)} rows of coefficients")
    y = layers.dense(n.b, n.x, n.b.constant(rows), n.b.constant(intercepts))
    return _post_transform(n, y)


def _post_transform(n: OnnxLayer, y: Tensor) -> Tensor:
    kinds = {"NONE": None, "SOFTMAX": "SOFTMAX", "LOGISTIC": "LOGISTIC"}
    name = n.text("post_transform", "NONE")
    if name not in kinds:
        raise ModelError(f"post_transform '{name}' is not supported; supported are {', '.join(kinds)}")
    kind = kinds[name]
    return y if kind is None else n.b.op(kind, y)


def _classifier(n: OnnxLayer) -> list[Tensor]:
    """The label (an integer) and the scores of each class."""
    labels = n.integers("classlabels_ints")
    if labels is None:
        raise ModelError("classes with names are not supported; export the model with integer labels (zipmap=False)")
    scores = _linear(n)
    if scores.shape[-1] != len(labels):
        raise ModelError("two classes by one row of coefficients are not supported; train with two rows")
    return [_named_class(n, n.b.op("ARG_MAX", scores, axis=-1, dtype=np.int32), np.asarray(labels)), scores]


def _named_class(n: OnnxLayer, index: Tensor, labels: np.ndarray) -> Tensor:
    if np.array_equal(labels, np.arange(labels.size)):
        return index
    return n.b.op("GATHER", n.b.constant(labels), index, axis=0, dtype=np.int32)


def _normalizer(n: OnnxLayer) -> Tensor:
    """x divided by the norm of its row."""
    norm = n.text("norm", "MAX")
    rows: dict[str, Any] = {"axes": (len(n.x.shape) - 1,), "keep_dims": True}
    if norm == "L1":
        return n.b.op("DIV", n.x, n.b.op("SUM", n.b.op("ABS", n.x), **rows))
    if norm == "L2":
        return n.b.op("MUL", n.x, n.b.op("RSQRT", n.b.op("SUM", n.b.op("MUL", n.x, n.x), **rows)))
    raise ModelError(f"norm '{norm}' is not supported; L1 and L2 are")


def _extract(n: OnnxLayer) -> Tensor:
    """Elements of the last axis."""
    if n.x.data is not None:  # a table of class labels
        flat = n.b.reshape(n.input(1), (n.input(1).elements,))
        return n.b.reshape(_named_class(n, flat, n.x.data.reshape(-1)), (1, flat.elements))
    return layers.take(n.b, n.x, n.input(1), -1)


LAYERS: dict[str, Lower] = {
    "Scaler": _scaler, "LinearRegressor": _linear, "LinearClassifier": _classifier, "ArrayFeatureExtractor": _extract,
    "Normalizer": _normalizer, "ZipMap": lambda n: n.x,
}  # fmt: skip
