"""What each operator does to real numbers, in PyTorch, so that there is something to differentiate.

The values that go forward are those of the integer operators; these functions only say how they would change (the
straight-through estimator, Bengio et al. 2013, arXiv 1308.3432). Tensors have an axis of samples in front.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tinymaix.graph import Node
from tinymaix.ops.window import Padding

Values = Sequence[torch.Tensor]
Rule = Callable[[Any, Node, Values], torch.Tensor]


def gradient_problems(node: Node) -> list[str]:
    """A sentence where a computed node has no rule here."""
    if node.op.is_view or node.op.kind in RULES:
        return []
    known = ", ".join(sorted(RULES))
    return [f"{node.op.kind} '{node.name}' cannot be trained through; what can is {known} and reshapes"]


def surrogate(node: Node, inputs: Values) -> torch.Tensor:
    """The node's output for real inputs, (samples, *shape), fused activation included."""
    samples = inputs[0].shape[0]
    y = inputs[0] if node.op.is_view else RULES[node.op.kind](node.op, node, inputs)
    return _activated(node, y.reshape(samples, *node.output.shape))


def _activated(node: Node, y: torch.Tensor) -> torch.Tensor:
    """The fused activation, and the ends of the output's integers, beyond which nothing changes."""
    activation = getattr(node.op, "activation", "none")
    low, high = {"relu": (0.0, None), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}.get(activation, (None, None))
    if low is not None:
        y = y.clamp(low, high)
    if node.output.quantization is None:
        return y
    bits = 8 * node.output.dtype.itemsize - 1
    q = node.output.q
    return y.clamp((-(2**bits) - q.z) * q.s, (2**bits - 1 - q.z) * q.s)


def _images(node: Node, x: torch.Tensor) -> torch.Tensor:
    """(samples, n, h, w, c) as PyTorch has images: (samples * n, c, h, w)."""
    return x.reshape(-1, *node.input(0).shape[1:]).permute(0, 3, 1, 2)


def _padded(x: torch.Tensor, padding: Padding, value: float = 0.0) -> torch.Tensor:
    top, bottom, left, right = padding
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    x, weights, bias = inputs
    kernel = weights.permute(0, 3, 1, 2)
    groups = node.input(0).shape[3] // kernel.shape[1]
    image = _padded(_images(node, x), op.padding)
    y = functional.conv2d(image, kernel, bias, op.stride, dilation=op.dilation, groups=groups)
    return y.permute(0, 2, 3, 1)


def _depthwise(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    x, weights, bias = inputs
    image = _padded(_images(node, x), op.padding)
    kernel = weights.permute(3, 0, 1, 2)
    y = functional.conv2d(image, kernel, bias, op.stride, dilation=op.dilation, groups=image.shape[1])
    return y.permute(0, 2, 3, 1)


def _fully_connected(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    x, weights, bias = inputs
    return functional.linear(x.reshape(-1, weights.shape[1]), weights, bias)


def _average_pool(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    """Padding takes no part in the mean."""
    image = _images(node, inputs[0])
    sums, counts = (functional.avg_pool2d(_padded(x, op.padding), op.pool, op.stride)
                    for x in (image, torch.ones_like(image[:1, :1])))  # fmt: skip
    return (sums / counts).permute(0, 2, 3, 1)


def _max_pool(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    image = _padded(_images(node, inputs[0]), op.padding, -torch.inf)
    return functional.max_pool2d(image, op.pool, op.stride).permute(0, 2, 3, 1)


def _mean(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    axes = [1 + axis for axis in op.reduced(len(node.input(0).shape))]
    return inputs[0].mean(axes) if axes else inputs[0]


def _pad(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    return functional.pad(inputs[0], [size for pair in reversed(op.pads) for size in pair])


def _concatenation(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    return torch.cat(list(inputs), 1 + op.axis % len(node.output.shape))


def _resize(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    size = node.output.shape[1:3]
    return functional.interpolate(_images(node, inputs[0]), size, mode="nearest").permute(0, 2, 3, 1)


def _moved(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    """Elements of the one computed input, from where the operator takes them."""
    places = np.arange(node.input(0).elements).reshape(node.input(0).shape)
    taken = op.reference(node, [places, *(t.data for t in node.present[1:])])[0]
    return inputs[0].reshape(inputs[0].shape[0], -1)[:, torch.from_numpy(np.ascontiguousarray(taken).reshape(-1))]


def _sum(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    return inputs[0].sum([1 + axis for axis in op.reduced(len(node.input(0).shape))])


def _batch_matmul(op: Any, node: Node, inputs: Values) -> torch.Tensor:
    a, b = inputs
    return torch.matmul(a.mT if op.adjoint_a else a, b.mT if op.adjoint_b else b)


def _unary(function: Callable[[torch.Tensor], torch.Tensor]) -> Rule:
    return lambda op, node, inputs: function(inputs[0])


def _binary(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Rule:
    def rule(op: Any, node: Node, inputs: Values) -> torch.Tensor:
        rank = 1 + len(node.output.shape)
        a, b = (x.reshape(x.shape[0], *[1] * (rank - x.ndim), *x.shape[1:]) for x in inputs)
        return function(a, b)

    return rule


MOVES = (
    "SLICE", "STRIDED_SLICE", "TRANSPOSE", "TILE", "BROADCAST_TO", "MIRROR_PAD", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH",
)  # fmt: skip

RULES: dict[str, Rule] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": _average_pool,
    "MAX_POOL_2D": _max_pool,
    "MEAN": _mean,
    "PAD": _pad,
    "CONCATENATION": _concatenation,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SUM": _sum,
    "BATCH_MATMUL": _batch_matmul,
    "ADD": _binary(torch.add),
    "SUB": _binary(torch.sub),
    "MUL": _binary(torch.mul),
    "MAXIMUM": _binary(torch.maximum),
    "MINIMUM": _binary(torch.minimum),
    "SQUARED_DIFFERENCE": _binary(lambda a, b: (a - b).square()),
    "ABS": _unary(torch.abs),
    "ELU": _unary(functional.elu),
    "RSQRT": _unary(torch.rsqrt),
    "RELU": _unary(torch.relu),
    "RELU6": _unary(functional.relu6),
    "RELU_N1_TO_1": _unary(functional.hardtanh),
    "LEAKY_RELU": lambda op, node, inputs: functional.leaky_relu(inputs[0], op.alpha),
    "PRELU": _binary(lambda x, alpha: torch.where(x >= 0, x, x * alpha)),
    "HARD_SWISH": _unary(functional.hardswish),
    "GELU": _unary(functional.gelu),
    "LOGISTIC": _unary(torch.sigmoid),
    "TANH": _unary(torch.tanh),
    "SOFTMAX": lambda op, node, inputs: torch.softmax(op.beta * inputs[0], -1),
    "QUANTIZE": _unary(lambda x: x),
    "DEQUANTIZE": _unary(lambda x: x),
    **dict.fromkeys(
        (
            "SLICE",
            "STRIDED_SLICE",
            "TRANSPOSE",
            "TILE",
            "BROADCAST_TO",
            "MIRROR_PAD",
            "DEPTH_TO_SPACE",
            "SPACE_TO_DEPTH",
        ),
        _moved,
    ),
}
"""By kind of operator; layers get real inputs, weights and a bias."""
