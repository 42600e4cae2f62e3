"""Nodes in place of one node: float operators are added one after another, the last gives the node's own output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinymaix.graph import Array, Node, Shape, Tensor
from tinymaix.ops import OPERATORS


@dataclass
class Steps:
    """What takes the place of ``node``. All steps have its name, so that a choice for the layer is one for them."""

    node: Node
    nodes: list[Node] = field(default_factory=list)
    together: list[list[Tensor]] = field(default_factory=list)
    """Tensors that are to have one range."""

    notes: list[str] = field(default_factory=list)
    wide: bool = False
    """The steps are to compute with int16 unless the layer is asked to be something else."""

    def op(self, kind: str, *inputs: Tensor | None, **attributes: Any) -> Tensor:
        """Add an operator of one float output."""
        operator: Any = OPERATORS[kind]
        op = operator(**attributes)
        name = f"{self.node.output.name}_{kind.lower()}{len(self.nodes)}"
        output = Tensor(name, op.infer(inputs)[0], np.dtype(np.float32))
        self.nodes.append(Node(op, list(inputs), [output], self.node.name))
        return output

    def constant(self, values: Array | float, shape: Shape | None = None) -> Tensor:
        """A float constant; a number has the shape (1,)."""
        data = np.asarray(values, np.float32)
        data = np.ascontiguousarray(data.reshape(shape if shape is not None else data.shape or (1,)))
        return Tensor(f"{self.node.output.name}_constant{len(self.nodes)}", data.shape, data.dtype, None, data)

    def slice(self, x: Tensor, axis: int, start: int, size: int) -> Tensor:
        """Indices ``start`` to ``start + size`` along one axis."""
        begin = tuple(start if i == axis else 0 for i in range(len(x.shape)))
        return self.op("SLICE", x, begin=begin, size=tuple(size if i == axis else n for i, n in enumerate(x.shape)))

    def done(self, *results: Tensor) -> Steps:
        """Let the node's outputs stand for ``results``, the outputs of the last steps."""
        own = {id(made): output for made, output in zip(results, self.node.outputs, strict=True)}

        def mine(tensors: Sequence[Tensor]) -> list[Tensor]:
            return [own.get(id(t), t) for t in tensors]

        self.nodes = [
            replace(n, inputs=[t if t is None else own.get(id(t), t) for t in n.inputs], outputs=mine(n.outputs))
            for n in self.nodes
        ]
        self.together = [mine(tensors) for tensors in self.together]
        return self
