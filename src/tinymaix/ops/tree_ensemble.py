"""TREE_ENSEMBLE: the sum of what decision trees give, as random forests and boosted trees have it; float32.

Breiman et al. 1984 (Classification and Regression Trees), Breiman 2001 (Random Forests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, array
from tinymaix.ops.emit import Kernel, LayerCode
from tinymaix.ops.move import input_shape

LEAF = -1
FEATURE, THRESHOLD, YES, NO, ROOT, VALUES = range(1, 7)
"""Places of the constants among the inputs."""


@dataclass(frozen=True)
class TreeEnsemble(Operator):
    """Inputs: x (batch, features), and constants: for each node its feature (int16, `LEAF` at a leaf), its threshold
    (float32), the node that follows where x is not above it (int16; at a leaf the row of its values) and the other one
    (int16); for each tree its first node (int16); the values of the leaves (rows, outputs).

    Output: (batch, outputs), the sum over the trees. ``strict``: a node asks for x below its threshold.
    """

    strict: bool = False

    kind: ClassVar[str] = "TREE_ENSEMBLE"
    types: ClassVar[tuple[str, ...]] = ("float32",)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        x, values = input_shape(inputs), input_shape(inputs, VALUES)
        if len(x) != 2 or len(values) != 2:
            raise ModelError(f"an input {list(x)} and values {list(values)} must have two dimensions each")
        return [(x[0], values[1])]

    def problems(self, node: Node) -> list[str]:
        found = super().problems(node)
        if found or any(t is None or t.data is None for t in node.inputs[1:]):
            return found or [f"the trees of '{node.name}' must be constants"]
        feature, threshold, yes, no, root, values = (array(t.data) for t in node.inputs[1:] if t is not None)
        if not feature.shape == threshold.shape == yes.shape == no.shape or feature.ndim != 1:
            return [f"the nodes of '{node.name}' are not described alike"]
        places, inner = np.arange(feature.size), feature != LEAF
        children = np.concatenate([yes[inner], no[inner]])
        parents = np.concatenate([places[inner], places[inner]])
        inside = (
            np.all((feature >= LEAF) & (feature < node.input(0).shape[1]))
            and np.all((root >= 0) & (root < feature.size))
            and np.all((children > parents) & (children < feature.size))  # so that every walk ends
            and np.all((yes[~inner] >= 0) & (yes[~inner] < values.shape[0]))
        )
        return [] if inside else [f"the trees of '{node.name}' lead to nodes or features that are not there"]

    def macs(self, node: Node) -> int:
        return node.output.elements * node.input(ROOT).elements

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        x, feature, threshold, yes, no, root, values = (array(a) for a in inputs)
        y = np.zeros((x.shape[0], values.shape[1]), np.float32)
        for row, total in zip(x, y, strict=True):
            for at in root.astype(int):
                while feature[at] != LEAF:
                    value, limit = row[feature[at]], threshold[at]
                    at = int((yes if (value < limit if self.strict else value <= limit) else no)[at])
                total += values[yes[at]]
        return [y]

    def emit(self, node: Node, code: LayerCode) -> None:
        names = ("feature", "threshold", "yes", "no", "root", "values")
        batch, features = node.input(0).shape
        code.call(
            TREE_ENSEMBLE_F32,
            x=code.input(0),
            y=code.output(),
            **{name: code.constant(name, array(node.input(i).data)) for i, name in enumerate(names, start=1)},
            batches=batch,
            features=features,
            trees=node.input(ROOT).elements,
            outputs=node.output.shape[1],
            strict=int(self.strict),
        )


TREE_ENSEMBLE_F32 = Kernel(
    "tree_ensemble_f32",
    """\
/* y = sum over the trees of the values of the leaf that x leads to. At a leaf, `feature` is -1 and `yes` is the row. */
static void tree_ensemble_f32(const float *x, float *y, const int16_t *feature, const float *threshold,
    const int16_t *yes, const int16_t *no, const int16_t *root, const float *values, int batches, int features,
    int trees, int outputs, int strict)
{
    for (int n = 0; n < batches; n++, x += features, y += outputs) {
        for (int i = 0; i < outputs; i++)
            y[i] = 0.0f;
        for (int t = 0; t < trees; t++) {
            int at = FLASH_I16(root + t);
            for (int f = FLASH_I16(feature + at); f >= 0; f = FLASH_I16(feature + at)) {
                float limit = FLASH_F32(threshold + at);
                int below = strict ? x[f] < limit : x[f] <= limit;
                at = below ? FLASH_I16(yes + at) : FLASH_I16(no + at);
            }
            const float *leaf = values + (int32_t)FLASH_I16(yes + at) * outputs;
            for (int i = 0; i < outputs; i++)
                y[i] += FLASH_F32(leaf + i);
        }
    }
}
""",
)
