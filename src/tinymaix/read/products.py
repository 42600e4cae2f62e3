"""Einstein's summation and attention as batched matrix products, for Keras, ONNX and PyTorch."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.read.channels_first import Builder
from tinymaix.read.layers import matmul, scalar

MASKED = 1e9
"""What is subtracted from the score of an element that must not be seen."""


def einsum(b: Builder, equation: str, x: Tensor, y: Tensor) -> Tensor:
    """numpy's einsum of two operands. A constant one is the weights of a dense layer where no axis is in all three.

    Raises:
        ModelError: the equation makes no sense, or repeats or sums an axis within one operand.
    """
    first, second, result = _subscripts(equation, (x, y))
    if x.is_constant and not y.is_constant:
        x, y, first, second = y, x, second, first
    sizes = dict(zip(first, x.shape, strict=True))
    for axis, size in zip(second, y.shape, strict=True):
        if sizes.setdefault(axis, size) != size:
            raise ModelError(f"in '{equation}', axis {axis} has {sizes[axis]} and {size} elements")
    batch = [axis for axis in first if axis in second and axis in result]
    inner = [axis for axis in first if axis in second and axis not in result]
    left = [axis for axis in first if axis not in second]
    right = [axis for axis in second if axis not in first]
    made = [*batch, *left, *right]
    if sorted(result) != sorted(made) or any(len(set(axes)) < len(axes) for axes in (first, second)):
        raise ModelError(f"the summation '{equation}' is not supported: an axis is repeated, or of one operand only")

    def shape(*groups: Sequence[str]) -> list[int]:
        return [sizes[axis] for group in groups for axis in group]

    depth, dense = math.prod(shape(inner)), not batch and y.is_constant and bool(left)
    rows = shape(left) if dense else [math.prod(shape(left))]
    x = b.reshape(
        b.transpose(x, [first.index(axis) for axis in (*batch, *left, *inner)]), [*shape(batch), *rows, depth]
    )
    y = b.transpose(y, [second.index(axis) for axis in (*batch, *inner, *right)])
    y = b.reshape(y, [*shape(batch), depth, math.prod(shape(right))])
    product = b.reshape(matmul(b, x, y), shape(batch, left, right))
    return b.transpose(product, [made.index(axis) for axis in result])


def _subscripts(equation: str, operands: Sequence[Tensor]) -> tuple[str, str, str]:
    """The letters of both operands and of the result, with letters for the axes that "..." stands for."""
    parts = equation.replace(" ", "").split("->")
    terms = parts[0].split(",")
    if len(parts) != 2 or len(terms) != 2 or not set(equation) <= set(string.ascii_letters + "-> ,."):
        raise ModelError(f"the summation '{equation[:80]}' is not supported; write it as 'ab,bc->ac'")
    free = [letter for letter in string.ascii_uppercase if letter not in equation]
    most = 0
    for i, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        rest = len(operand.shape) - len(term.replace("...", ""))
        if rest < 0 or (rest > 0 and "..." not in term) or rest > len(free):
            raise ModelError(f"the summation '{equation}' does not fit an operand of shape {list(operand.shape)}")
        terms[i] = term.replace("...", "".join(free[len(free) - rest :]), 1)
        most = max(most, rest)
    result = parts[1].replace("...", "".join(free[len(free) - most :]), 1)
    if "." in "".join((*terms, result)):
        raise ModelError(f"the summation '{equation}' makes no sense")
    return terms[0], terms[1], result


def attention(
    b: Builder, q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(q k' * scale + mask) v over the last two axes, and the softmax."""
    scores = b.op("BATCH_MATMUL", q, k, adjoint_b=True)
    scores = scores if scale == 1.0 else scalar(b, "MUL", scores, scale)
    return weighted(b, scores, v, mask)


def weighted(b: Builder, scores: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """softmax(scores + mask) v, and the softmax."""
    if mask is not None:
        scores = b.op("ADD", scores, mask)
    weights = b.op("SOFTMAX", scores)
    return b.op("BATCH_MATMUL", weights, v), weights


def seen(b: Builder, mask: Tensor) -> Tensor:
    """What to add to scores, out of a mask whose elements say what may be seen."""
    if mask.data is not None:
        return b.constant(np.where(mask.data, 0.0, -MASKED).astype(np.float32))
    flags = mask if mask.dtype == np.bool_ else b.op("NOT_EQUAL", mask, b.constant(0, dtype=mask.dtype), dtype=bool)
    return scalar(b, "MUL", scalar(b, "SUB", b.op("CAST", flags, dtype=np.float32), 1.0), MASKED)


def causal_mask(b: Builder, rows: int, columns: int) -> Tensor:
    """Each row sees the columns up to its own index; (rows, columns)."""
    return b.constant(np.triu(np.full((rows, columns), -MASKED, np.float32), 1))
