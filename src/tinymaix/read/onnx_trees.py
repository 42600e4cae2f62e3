"""The tree ensembles of ai.onnx.ml: decision trees, random forests and boosted trees of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.tree_ensemble import LEAF
from tinymaix.read import layers
from tinymaix.read.onnx_attributes import OnnxLayer

MAX_NODES, MAX_OUTPUTS = 2**15 - 1, 1000
COMPARISONS = {
    "BRANCH_LEQ": (False, False),
    "BRANCH_LT": (True, False),
    "BRANCH_GT": (False, True),
    "BRANCH_GTE": (True, True),
}
"""Mode of a node -> (whether it asks for less instead of not more, whether its branches are the other way around)."""

Key = tuple[int, int]
"""Tree and node."""


def _integers(n: OnnxLayer, name: str, count: int) -> list[int]:
    found = n.integers(name) or []
    if len(found) != count:
        raise ModelError(f"its attribute {name} has {len(found)} values; {count} are needed")
    return found


def _numbers(n: OnnxLayer, name: str, count: int) -> list[float]:
    found = n.numbers(name) or []
    if len(found) != count:
        raise ModelError(f"its attribute {name} has {len(found)} values; {count} are needed")
    return found


def _trees(n: OnnxLayer, role: str, outputs: int) -> Tensor:
    """The sum over the trees, (batch, outputs). ``role`` begins the names of the attributes of the leaves."""
    nodes = n.integers("nodes_nodeids") or []
    count = len(nodes)
    if not 0 < count <= MAX_NODES or not 0 < outputs <= MAX_OUTPUTS:
        raise ModelError(
            f"its trees have {count} nodes and {outputs} outputs; up to {MAX_NODES} and {MAX_OUTPUTS} are supported"
        )
    keys = list(zip(_integers(n, "nodes_treeids", count), nodes, strict=True))
    children, strict = _children(n, keys)
    order, roots = _in_order(keys, children)
    rows, values = _leaves(n, role, keys, outputs)
    new = {old: i for i, old in enumerate(order)}
    leaf = [not children[old] for old in order]
    features = _integers(n, "nodes_featureids", count)
    if any(not 0 <= feature <= MAX_NODES for feature in features):
        raise ModelError(f"a node asks for feature {max(features)}, which is not there")
    feature = np.where(leaf, LEAF, np.array(features)[order])
    follow = [rows.get(keys[old], 0) if not children[old] else new[children[old][0]] for old in order]
    other = [0 if not children[old] else new[children[old][1]] for old in order]
    limits = np.array(_numbers(n, "nodes_values", count), np.float32)[order]
    integers = [np.array(a, np.int16) for a in (feature, follow, other, [new[root] for root in roots])]
    arrays: list[Array] = [integers[0], limits, *integers[1:], values]
    return n.b.op("TREE_ENSEMBLE", n.x, *(n.b.constant(a) for a in arrays), strict=strict)


def _children(n: OnnxLayer, keys: list[Key]) -> tuple[list[list[int]], bool]:
    """The two nodes that follow each, none behind a leaf and -1 for one that is missing, the one of small values first;
    and whether the comparison is strict."""
    place = {key: i for i, key in enumerate(keys)}
    modes = n.node.attributes.get("nodes_modes")
    if len(place) != len(keys) or not isinstance(modes, list) or len(modes) != len(keys):
        raise ModelError("two of its nodes have the same number, or their nodes_modes are missing")
    strict, swapped = _comparison({mode for mode in modes if mode != "LEAF"})
    yes, no = (_integers(n, f"nodes_{side}nodeids", len(keys)) for side in ("true", "false"))
    pairs = zip(no, yes, strict=True) if swapped else zip(yes, no, strict=True)
    children = [
        [] if mode == "LEAF" else [place.get((tree, child), -1) for child in pair]
        for (tree, _), mode, pair in zip(keys, modes, pairs, strict=True)
    ]
    return children, strict


def _comparison(modes: set[str]) -> tuple[bool, bool]:
    if len(modes) > 1 or not modes <= set(COMPARISONS):
        raise ModelError(
            f"nodes of the modes {', '.join(sorted(modes))} are not supported; one of {', '.join(COMPARISONS)} is"
        )
    return COMPARISONS[modes.pop()] if modes else (False, False)


def _in_order(keys: list[Key], children: list[list[int]]) -> tuple[list[int], list[int]]:
    """All nodes with each behind its parent, and the root of each tree, which is the node that none leads to.

    Raises:
        ModelError: a node is missing, or the nodes of a tree are no tree.
    """
    led = [child for pair in children for child in pair]
    if -1 in led or len(set(led)) < len(led):
        raise ModelError("its nodes lead to one that is missing, or to one from two others")
    roots = sorted(set(range(len(keys))) - set(led), key=lambda i: keys[i])
    order = list(roots)
    for at in order:  # grows while it is walked
        order += children[at]
    if len(order) != len(keys) or len({keys[root][0] for root in roots}) < len(roots):
        raise ModelError("its nodes lead around in a circle, or a tree has two roots")
    return order, roots


def _leaves(n: OnnxLayer, role: str, keys: list[Key], outputs: int) -> tuple[dict[Key, int], Array]:
    """The row of each leaf, and the rows; row 0 is of leaves that give nothing."""
    nodes = n.integers(f"{role}_nodeids") or []
    trees, ids = (_integers(n, f"{role}_{name}", len(nodes)) for name in ("treeids", "ids"))
    weights = _numbers(n, f"{role}_weights", len(nodes))
    leaves = list(zip(trees, nodes, strict=True))
    rows = {key: i for i, key in enumerate(dict.fromkeys(leaves), start=1)}
    if any(not 0 <= each < outputs for each in ids) or not set(rows) <= set(keys):
        raise ModelError("its leaves give values to outputs or nodes that are not there")
    values = np.zeros((len(rows) + 1, outputs), np.float32)
    for key, output, weight in zip(leaves, ids, weights, strict=True):
        values[rows[key], output] += weight
    return rows, values


def _based(n: OnnxLayer, y: Tensor) -> Tensor:
    base = n.numbers("base_values") or []
    if not any(base):
        return y
    if len(base) not in (1, y.shape[-1]):
        raise ModelError(f"its {len(base)} base_values do not fit {y.shape[-1]} outputs")
    return n.b.op("ADD", y, n.b.constant(np.array(base, np.float32)))


def _regressor(n: OnnxLayer) -> Tensor:
    y = _trees(n, "target", n.integer("n_targets", 1))
    how = n.text("aggregate_function", "SUM")
    if how not in ("SUM", "AVERAGE") or n.text("post_transform", "NONE") != "NONE":
        raise ModelError(f"an aggregate_function {how} or a post_transform is not supported; SUM and AVERAGE are")
    if how == "AVERAGE":
        y = layers.scalar(n.b, "MUL", y, 1 / len(set(n.integers("nodes_treeids") or [0])))
    return _based(n, y)


def _classifier(n: OnnxLayer) -> list[Tensor]:
    """The label (an integer) and the scores of each class. Two classes by one score are that and what is left to 1."""
    labels = n.integers("classlabels_int64s")
    if not labels:
        raise ModelError("classes with names are not supported; train with integers as labels")
    ids = set(n.integers("class_ids") or [])
    after = n.text("post_transform", "NONE")
    if after not in ("NONE", "LOGISTIC", "SOFTMAX"):
        raise ModelError(f"post_transform '{after}' is not supported; NONE, LOGISTIC and SOFTMAX are")
    kind = {"LOGISTIC": "LOGISTIC", "SOFTMAX": "SOFTMAX"}.get(after)
    single = len(labels) == 2 and len(ids) == 1
    y = _trees(n, "class", max(ids, default=0) + 1 if single else len(labels))
    if single:
        if (after == "NONE" and min(n.numbers("class_weights") or [0.0]) < 0) or after == "SOFTMAX":
            raise ModelError("two classes by one score need LOGISTIC as post_transform, or scores between 0 and 1")
        y = _based(n, layers.take(n.b, y, n.b.constant(np.array([max(ids)])), 1))
        y = n.b.op(kind, y) if kind else y
        scores = n.b.op("CONCATENATION", n.b.op("SUB", n.b.constant(np.ones((1, 1), np.float32)), y), y, axis=1)
    else:
        y = _based(n, y)
        scores = n.b.op(kind, y) if kind else y
    index = n.b.op("ARG_MAX", scores, axis=-1, dtype=np.int32)
    if labels != list(range(len(labels))):
        index = n.b.op("GATHER", n.b.constant(np.array(labels)), index, axis=0, dtype=np.int32)
    return [index, scores]


LAYERS: dict[str, Callable[[OnnxLayer], Tensor | list[Tensor]]] = {
    "TreeEnsembleClassifier": _classifier, "TreeEnsembleRegressor": _regressor,
}  # fmt: skip
