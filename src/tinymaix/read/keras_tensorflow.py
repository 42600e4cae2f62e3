"""Functions of TensorFlow that Keras 2 stores as layers (TFOpLambda, SlicingOpLambda) -> functions of Keras 3."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

REDUCED = {"axis": "axis", "keepdims": "keepdims", "keep_dims": "keepdims"}
ALONG = {"axis": "axis"}

FUNCTIONS: dict[str, tuple[str, Mapping[str, str]]] = {
    "__operators__.add": ("Add", {}), "__operators__.sub": ("Subtract", {}), "__operators__.mul": ("Multiply", {}),
    "__operators__.truediv": ("Divide", {}), "__operators__.neg": ("Negative", {}), "__operators__.pow": ("Power", {}),
    "math.add": ("Add", {}), "math.subtract": ("Subtract", {}), "math.multiply": ("Multiply", {}),
    "math.divide": ("Divide", {}), "math.truediv": ("Divide", {}), "math.maximum": ("Maximum", {}),
    "math.minimum": ("Minimum", {}), "math.pow": ("Power", {}), "math.negative": ("Negative", {}),
    "math.abs": ("Abs", {}), "math.sqrt": ("Sqrt", {}), "math.rsqrt": ("Rsqrt", {}), "math.square": ("Square", {}),
    "math.exp": ("Exp", {}), "math.log": ("Log", {}), "math.sin": ("Sin", {}), "math.cos": ("Cos", {}),
    "math.sigmoid": ("Sigmoid", {}), "math.tanh": ("Tanh", {}), "math.softplus": ("Softplus", {}),
    "math.reduce_mean": ("Mean", REDUCED), "math.reduce_sum": ("Sum", REDUCED), "math.reduce_max": ("Max", REDUCED),
    "math.reduce_min": ("Min", REDUCED), "math.argmax": ("Argmax", ALONG), "linalg.matmul": ("Matmul", {}),
    "nn.relu": ("Relu", {}), "nn.relu6": ("Relu6", {}), "nn.silu": ("Silu", {}), "nn.elu": ("Elu", {}),
    "nn.leaky_relu": ("LeakyRelu", {"alpha": "negative_slope"}), "nn.gelu": ("Gelu", {"approximate": "approximate"}),
    "nn.softmax": ("Softmax", ALONG), "nn.log_softmax": ("LogSoftmax", ALONG), "nn.sigmoid": ("Sigmoid", {}),
    "nn.tanh": ("Tanh", {}), "clip_by_value": ("Clip", {"clip_value_min": "x_min", "clip_value_max": "x_max"}),
    "reshape": ("Reshape", {"shape": "newshape"}), "transpose": ("Transpose", {"perm": "axes"}),
    "expand_dims": ("ExpandDims", ALONG), "squeeze": ("Squeeze", ALONG), "concat": ("Concatenate", ALONG),
    "stack": ("Stack", ALONG), "split": ("Split", {"axis": "axis", "num_or_size_splits": "indices_or_sections"}),
    "tile": ("Tile", {"multiples": "repeats"}), "identity": ("Identity", {}), "cast": ("Cast", {"dtype": "dtype"}),
    "__operators__.getitem": ("GetItem", {}),
}  # fmt: skip
"""By the name of the function: the class of Keras 3, and what that calls the arguments."""

DEFAULTS: dict[str, dict[str, Any]] = {"nn.gelu": {"approximate": False}, "math.argmax": {"axis": 0}}
"""Arguments that Keras 3 has another default for."""


def as_keras_3(function: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """(class, config) of what Keras 3 calls a function with these arguments; None where there is none."""
    found = FUNCTIONS.get(function)
    if found is None:
        return None
    kind, names = found
    given = {new: options[old] for old, new in names.items() if old in options}
    sizes = given.get("indices_or_sections")
    if isinstance(sizes, list) and all(
        isinstance(size, int) for size in sizes
    ):  # TensorFlow has sizes there, Keras 3 places
        given["indices_or_sections"] = list(accumulate(sizes))[:-1]
    return kind, {**DEFAULTS.get(function, {}), **given}
