"""Find layer normalizations of float models that an exporter has taken apart, and put LAYER_NORM in their place.

Keras writes x * s + (beta - mean * s) with s = gamma * rsqrt(variance + epsilon), PyTorch and ONNX write
(x - mean) / sqrt(variance + epsilon) * gamma + beta, in any order. So what is computed from x, its mean, and the
inverse deviation is multiplied out, and the sums of products are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.div import Div
from tinymaix.ops.layer_norm import LayerNorm
from tinymaix.ops.mean import Mean
from tinymaix.ops.mul import Mul
from tinymaix.ops.sub import Sub
from tinymaix.rewrite.fold import drop_dead
from tinymaix.rewrite.readers import read_once

Terms = dict[str, Array]
"""A sum of products: letters in order -> constant factor. x is the input, m its mean, s the mean of its squares, v its
variance, i the inverse deviation; "" is the constant term."""

SUMS_AND_PRODUCTS = ("ADD", "SUB", "MUL", "DIV", "NEG", "SQUARE", "SQUARED_DIFFERENCE", "POW")
NEAREST = 4  # means before a root: of the squares and of x, which may be computed again for each use
DEEPEST = 8  # nodes from the variance back to the mean, or on to the end
DEGREE = 3  # letters of the longest product that is looked for


def recognize_layer_norm(graph: Graph) -> Graph:
    """The graph with LAYER_NORM, and a MUL and an ADD where they were within it, for what computes the same.

    Float outputs change by rounding; integer models stay as they are.
    """
    maker = {id(t): node for node in graph.nodes for t in node.outputs}
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for t in {id(t): t for t in node.present}.values():
            readers.setdefault(id(t), []).append(node)
    found: dict[int, list[Node]] = {}
    for root in graph.nodes:
        if _root(root) in (0.5, -0.5) and root.output.dtype == np.float32:
            for mean in islice(_means(root.input(0), maker), NEAREST):
                terms = _Expansion(mean.input(0), mean.op.axes, root.input(0), maker)  # type: ignore[attr-defined]
                if (epsilon := terms.epsilon()) is not None:
                    found.update((id(end), terms.apart(end, epsilon)) for end in terms.ends(root, readers))
                    break
    if not found:
        return graph
    return drop_dead(replace(graph, nodes=[new for node in graph.nodes for new in found.get(id(node), [node])]))


def fuse_layer_norm(graph: Graph) -> Graph:
    """The graph with a MUL and an ADD of constants behind a LAYER_NORM as its gamma and beta."""
    nodes: list[Node] = []
    made: dict[int, int] = {}  # id of a tensor with one reader -> index of the LAYER_NORM that makes it
    once = read_once(graph)
    for node in graph.nodes:
        at = next((made[id(t)] for t in node.present if id(t) in made), None)
        fused = None if at is None else _fused(nodes[at], node)
        if at is not None and fused is not None:
            nodes[at] = fused
        else:
            nodes.append(node)
            at = len(nodes) - 1
        if isinstance(nodes[at].op, LayerNorm) and id(node.output) in once:
            made[id(node.output)] = at
    return replace(graph, nodes=nodes)


def _fused(norm: Node, node: Node) -> Node | None:
    """The LAYER_NORM with the constant of the MUL or ADD that reads it, if it can take it."""
    x, gamma, beta = (*norm.inputs, None, None)[:3]
    if not isinstance(norm.op, LayerNorm) or not isinstance(node.op, Mul | Add) or node.op.activation != "none":
        return None
    if beta is not None or (isinstance(node.op, Mul) and gamma is not None) or node.output.shape != norm.output.shape:
        return None
    shape = norm.output.shape[-norm.op.last :]
    constant = next((t for t in node.present if t.data is not None), None)
    if constant is None or constant.data is None or constant.shape[-len(shape) :] != shape:
        return None
    if constant.elements != math.prod(shape):
        return None
    parameter = replace(constant, shape=shape, data=constant.data.reshape(shape))
    inputs = [x, parameter, None] if isinstance(node.op, Mul) else [x, gamma, parameter]
    return replace(norm, inputs=inputs, outputs=node.outputs)


def _means(variance: Tensor, maker: dict[int, Node]) -> Iterator[Node]:
    """The MEAN nodes before a tensor, nearest first."""
    here, seen = [variance], set()
    for _ in range(DEEPEST):
        nodes = {id(n): n for t in here if (n := maker.get(id(t))) is not None and id(n) not in seen}
        seen |= set(nodes)
        nodes = {key: n for key, n in nodes.items() if isinstance(n.op, Mean) or n.op.kind in SUMS_AND_PRODUCTS}
        yield from (n for n in nodes.values() if isinstance(n.op, Mean) and n.op.keep_dims)
        here = [t for n in nodes.values() for t in n.activations]


@dataclass
class _Expansion:
    """Tensors multiplied out, given x, the axes of its mean, and the tensor whose root is taken."""

    x: Tensor
    axes: tuple[int, ...]
    rooted: Tensor
    maker: dict[int, Node]
    known: dict[int, Terms | None] = field(default_factory=dict)  # by id of the tensor
    depth: int = 0  # of the tensors that are being multiplied out

    def epsilon(self) -> float | None:
        """What is added to the variance before the root, if that is what the root is taken of."""
        rank = len(self.x.shape)
        if sorted(axis % rank for axis in self.axes) != list(range(rank - len(self.axes), rank)):
            return None
        terms = dict(self.terms(self.rooted) or {})
        epsilon = terms.pop("", np.zeros(1))
        is_variance = _equal(terms, {"v": 1.0}) or _equal(terms, {"s": 1.0, "mm": -1.0})
        return float(epsilon.reshape(-1)[0]) if is_variance and epsilon.size == 1 and 0 <= epsilon < np.inf else None

    def ends(self, root: Node, readers: dict[int, list[Node]]) -> list[Node]:
        """The first nodes behind the root that have the whole normalization."""
        ends: dict[int, Node] = {}
        here, seen = [root], {id(root)}
        for _ in range(DEEPEST):
            behind = {id(n): n for node in here for n in readers.get(id(node.output), []) if id(n) not in seen}
            seen |= set(behind)
            ends |= {key: n for key, n in behind.items() if self.parameters(n) is not None}
            here = [n for key, n in behind.items() if key not in ends and self.terms(n.output)]
        return list(ends.values())

    def parameters(self, node: Node) -> tuple[Array, Array | None] | None:
        """gamma and beta, if any, of a node that computes i * (x - m) * gamma + beta."""
        if node.output.shape != self.x.shape or node.output.dtype != np.float32:
            return None
        terms = dict(self.terms(node.output) or {})
        beta = terms.pop("", None)
        gamma = terms.get("ix")
        if gamma is None or not _equal(terms, {"ix": gamma, "im": -gamma}):
            return None
        return gamma, beta

    def apart(self, node: Node, epsilon: float) -> list[Node]:
        """LAYER_NORM, and MUL and ADD with the parameters, in place of the node."""
        gamma, beta = self.parameters(node) or (np.ones(1), None)
        steps: list[tuple[LayerNorm | Mul | Add, str, Array | None]] = [
            (LayerNorm(len(self.axes), epsilon), "normalized", None)
        ]
        steps += [(Mul(), "scaled", gamma)] if np.any(gamma != 1) else []
        steps += [(Add(), "shifted", beta)] if beta is not None else []
        nodes, x = [], self.x
        for op, name, data in steps:
            y = replace(node.output, name=f"{node.output.name}_{name}") if op is not steps[-1][0] else node.output
            inputs: list[Tensor | None] = [x]
            if data is not None:
                value = data.astype(np.float32)
                inputs.append(Tensor(f"{y.name}_parameter", value.shape, value.dtype, None, value))
            nodes.append(Node(op, inputs, [y], node.name))
            x = y
        return nodes

    def terms(self, tensor: Tensor) -> Terms | None:
        """A tensor multiplied out; None where it is made of anything else, or of too many nodes."""
        if id(tensor) not in self.known:
            if self.depth == 2 * DEEPEST:
                return None
            self.depth += 1
            self.known[id(tensor)] = self._terms(tensor)
            self.depth -= 1
        return self.known[id(tensor)]

    def _terms(self, tensor: Tensor) -> Terms | None:
        if tensor is self.x:
            return {"x": np.ones(1)}
        if tensor.dtype != np.float32:
            return None
        if tensor.data is not None:
            return {"": tensor.data.astype(np.float64)} if tensor.elements <= self.x.elements else None
        node = self.maker.get(id(tensor))
        if node is None or tensor.elements > self.x.elements or getattr(node.op, "activation", "none") != "none":
            return None
        if isinstance(node.op, Mean):
            return self._mean(node)
        if _root(node) == -0.5:
            return {"i": np.ones(1)} if node.input(0) is self.rooted else None
        return self._combined(node) if node.op.kind in SUMS_AND_PRODUCTS else None

    def _mean(self, node: Node) -> Terms | None:
        """The letter of a mean over the axes of x's own mean."""
        rank = len(self.x.shape)
        assert isinstance(node.op, Mean)
        if {axis % rank for axis in node.op.axes} != {axis % rank for axis in self.axes} or not node.op.keep_dims:
            return None
        inner = self.terms(node.input(0)) or {}
        letters = {"m": {"x": 1.0}, "v": {"xx": 1.0, "mx": -2.0, "mm": 1.0}, "s": {"xx": 1.0}}
        return next(({letter: np.ones(1)} for letter, terms in letters.items() if _equal(inner, terms)), None)

    def _combined(self, node: Node) -> Terms | None:
        kind, a = node.op.kind, self.terms(node.input(0))
        if a is None:
            return None
        if kind == "POW":
            return _product(a, a) if _number(node.input(1)) == 2 else None
        if kind in ("NEG", "SQUARE"):
            return _scaled(a, -1.0) if kind == "NEG" else _product(a, a)
        b = self._inverse(node.input(1)) if isinstance(node.op, Div) else self.terms(node.input(1))
        if isinstance(node.op, Mul | Div):
            return _product(a, b)
        if isinstance(node.op, Add):
            return _sum(a, b)
        difference = _sum(a, _scaled(b, -1.0))
        return difference if isinstance(node.op, Sub) else _product(difference, difference)

    def _inverse(self, tensor: Tensor) -> Terms | None:
        """One through a deviation."""
        node = self.maker.get(id(tensor))
        is_deviation = node is not None and _root(node) == 0.5 and node.input(0) is self.rooted
        return {"i": np.ones(1)} if is_deviation else None


def _root(node: Node) -> float | None:
    """The exponent of what may be a root."""
    exponents = {"SQRT": 0.5, "RSQRT": -0.5}
    return _number(node.input(1)) if node.op.kind == "POW" else exponents.get(node.op.kind)


def _number(tensor: Tensor) -> float | None:
    """The value of a constant of one element."""
    return float(tensor.data.reshape(-1)[0]) if tensor.data is not None and tensor.elements == 1 else None


def _scaled(a: Terms | None, factor: float) -> Terms | None:
    return None if a is None else {letters: value * factor for letters, value in a.items()}


def _sum(a: Terms | None, b: Terms | None) -> Terms | None:
    if a is None or b is None:
        return None
    return {key: a[key] + b[key] if key in a and key in b else a.get(key, b.get(key)) for key in {**a, **b}}  # type: ignore[misc]


def _product(a: Terms | None, b: Terms | None) -> Terms | None:
    if a is None or b is None:
        return None
    total: Terms | None = {}
    for left, p in a.items():
        for right, q in b.items():
            letters = "".join(sorted(left + right))
            if len(letters) > DEGREE:
                return None
            total = _sum(total, {letters: p * q})
    return total


def _equal(terms: Terms, expected: dict[str, float] | Terms) -> bool:
    """Whether the sums are the same but for rounding."""
    return terms.keys() == expected.keys() and all(
        np.allclose(terms[letters], value, rtol=1e-5, atol=0) for letters, value in expected.items()
    )
