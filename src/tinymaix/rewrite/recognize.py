"""Find activations of float models that an exporter has taken apart, and put the operator in their place.

A hard swish is x * relu6(x + 3) / 6 (Howard et al. 2019, arXiv 1905.02244), a GELU is x * (1 + erf(x / sqrt(2))) / 2
(Hendrycks and Gimpel 2016, arXiv 1606.08415). Exporters multiply in any order, so whole products are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinymaix.graph import Graph, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.base import OPERATORS
from tinymaix.ops.div import Div
from tinymaix.ops.hard_swish import HardSwish
from tinymaix.ops.mul import Mul
from tinymaix.ops.relu6 import Relu6
from tinymaix.rewrite.fold import drop_dead
from tinymaix.rewrite.readers import read_once

CLOSE = 1e-4
"""How far a constant of a file may be off: some exporters write 0.16667."""


@dataclass(frozen=True, eq=False)
class _Product:
    """A tensor as factor * the product of tensors."""

    factor: float
    tensors: list[Tensor]


def recognize(graph: Graph) -> Graph:
    """The graph with HARD_SWISH and GELU in place of the products that compute them.

    Float outputs change by rounding; integer models stay as they are.
    """
    maker = {id(t): node for node in graph.nodes for t in node.outputs}
    once = read_once(graph)
    nodes = [_recognized(node, maker, once) or node for node in graph.nodes]
    return drop_dead(replace(graph, nodes=nodes))


def _recognized(node: Node, maker: dict[int, Node], once: set[int]) -> Node | None:
    if not isinstance(node.op, Mul | Div) or node.output.dtype != np.float32 or node.op.activation != "none":
        return None
    product = _product(node, maker, once, depth=0)
    if len(product.tensors) != 2:
        return None
    for x, other in (product.tensors, product.tensors[::-1]):
        if _close(product.factor, 1 / 6) and _is_shifted_relu6(x, other, maker):
            return replace(node, op=HardSwish(), inputs=[x])
        if _close(product.factor, 0.5) and _is_one_plus_erf(x, other, maker, once):
            return replace(node, op=OPERATORS["GELU"](), inputs=[x])
    return None


def _product(node: Node, maker: dict[int, Node], once: set[int], depth: int) -> _Product:
    """What a MUL or DIV multiplies, with the products inside it that nothing else reads."""
    factor, tensors = 1.0, []
    for index, tensor in enumerate(node.present):
        inner = maker.get(id(tensor))
        divides = index == 1 and isinstance(node.op, Div)
        number = _number(tensor)
        if number is not None and (number or not divides):
            factor = factor / number if divides else factor * number
        elif (
            inner is not None
            and not divides
            and depth < 4
            and isinstance(inner.op, Mul | Div)
            and inner.op.activation == "none"
            and id(tensor) in once
        ):
            part = _product(inner, maker, once, depth + 1)
            factor *= part.factor
            tensors += part.tensors
        else:
            tensors += [tensor, tensor, tensor] if divides else [tensor]  # a quotient is none of what is looked for
    return _Product(factor, tensors)


def _is_shifted_relu6(x: Tensor, tensor: Tensor, maker: dict[int, Node]) -> bool:
    """Whether the tensor is relu6(x + 3)."""
    node = maker.get(id(tensor))
    if node is not None and isinstance(node.op, Relu6):
        inner = maker.get(id(node.input(0)))
        return inner is not None and any(t is x for t in _sums(inner, "none", 3.0))
    return node is not None and any(t is x for t in _sums(node, "relu6", 3.0))


def _is_one_plus_erf(x: Tensor, tensor: Tensor, maker: dict[int, Node], once: set[int]) -> bool:
    """Whether the tensor is 1 + erf(x / sqrt(2))."""
    node = maker.get(id(tensor))
    for part in _sums(node, "none", 1.0) if node is not None else ():
        erf = maker.get(id(part))
        scaled = maker.get(id(erf.input(0))) if erf is not None and erf.op.kind == "ERF" else None
        if scaled is not None and isinstance(scaled.op, Mul | Div) and scaled.op.activation == "none":
            product = _product(scaled, maker, once, depth=0)
            if product.tensors[:1] == [x] and len(product.tensors) == 1 and _close(product.factor, math.sqrt(0.5)):
                return True
    return False


def _sums(node: Node, activation: str, number: float) -> Iterator[Tensor]:
    """What the node adds the number to, if that is what it does."""
    if isinstance(node.op, Add) and node.op.activation == activation and len(node.present) == 2:
        for one, other in (node.present, node.present[::-1]):
            value = _number(other)
            if value is not None and _close(value, number):
                yield one


def _number(tensor: Tensor) -> float | None:
    """The value of a constant of one element."""
    if tensor.data is None or tensor.elements != 1:
        return None
    return float(tensor.data.reshape(-1)[0])


def _close(value: float, expected: float) -> bool:
    return abs(value - expected) <= CLOSE * expected
