"""TREE_ENSEMBLE: random trees against a walk in Python, in C too, and trees that no walk may enter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import check_compiled
from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.tree_ensemble import LEAF, TreeEnsemble

FEATURES, OUTPUTS = 3, 2


def grown(rng: np.random.Generator, trees: int, depth: int) -> list[Array]:
    """Feature, threshold, yes, no, root and values of random trees."""
    nodes: list[list[Any]] = []
    values: list[Array] = []

    def grow(left: int) -> int:
        at = len(nodes)
        if left == 0 or rng.random() < 0.3:
            nodes.append([LEAF, 0.0, len(values), 0])
            values.append(rng.normal(size=OUTPUTS).astype(np.float32))
        else:
            nodes.append([int(rng.integers(FEATURES)), round(float(rng.normal()), 1), 0, 0])
            nodes[at][2:] = grow(left - 1), grow(left - 1)
        return at

    roots = [grow(depth) for _ in range(trees)]
    feature, threshold, yes, no = (np.array(column) for column in zip(*nodes, strict=True))
    integers = [np.asarray(a, np.int16) for a in (feature, yes, no, roots)]
    return [integers[0], threshold.astype(np.float32), *integers[1:], np.array(values)]


def ensemble(arrays: list[Array], strict: bool = False, batch: int = 2) -> Graph:
    x = Tensor("x", (batch, FEATURES), np.dtype("float32"))
    constants = [Tensor(f"c{i}", a.shape, a.dtype, None, a) for i, a in enumerate(arrays)]
    y = Tensor("y", (batch, OUTPUTS), np.dtype("float32"))
    return Graph([Node(TreeEnsemble(strict), [x, *constants], [y], "trees")], [x], [y], "trees")


def walked(arrays: list[Array], row: Array, strict: bool) -> Array:
    feature, threshold, yes, no, root, values = arrays

    def leaf(at: int) -> Array:
        if feature[at] == LEAF:
            return np.asarray(values[yes[at]])
        value = row[feature[at]]
        below = value < threshold[at] or (value == threshold[at] and not strict)
        return leaf(int(yes[at] if below else no[at]))

    return np.asarray(sum(leaf(int(at)) for at in root))


@given(seed=st.integers(0, 1000), trees=st.integers(1, 5), strict=st.booleans())
def test_is_a_walk(seed: int, trees: int, strict: bool) -> None:
    rng = np.random.default_rng(seed)
    arrays = grown(rng, trees, 4)
    graph = ensemble(arrays, strict)
    assert graph.nodes[0].op.problems(graph.nodes[0]) == []
    x = rng.normal(size=(2, FEATURES)).round(1).astype(np.float32)
    np.testing.assert_allclose(graph.run([x])[0], [walked(arrays, row, strict) for row in x], rtol=1e-6, atol=1e-6)


def test_compiled() -> None:
    rng = np.random.default_rng(1)
    graphs = [ensemble(grown(rng, 4, 5), strict) for strict in (False, True)]
    x = [[rng.normal(size=(2, FEATURES)).round(1).astype(np.float32)] for _ in range(5)]
    check_compiled([(graph, x) for graph in graphs])


@pytest.mark.parametrize(
    ("place", "at", "value"),
    [(0, 0, FEATURES), (2, 0, 0), (2, 0, 99), (3, 0, -1), (4, 0, 99), (2, -1, 99)],
    ids=["feature", "loop", "yes", "no", "root", "row"],
)
def test_trees_that_lead_nowhere(place: int, at: int, value: int) -> None:
    arrays: list[Array] = [np.array([0, LEAF, LEAF], np.int16), np.zeros(3, np.float32)]
    arrays += [np.array(a, np.int16) for a in ([1, 0, 1], [2, 0, 0], [0])] + [np.ones((2, OUTPUTS), np.float32)]
    arrays[place][at] = value
    node = ensemble(arrays).nodes[0]
    assert node.op.problems(node) == ["the trees of 'trees' lead to nodes or features that are not there"]
