"""TABLE: any function of int8 values, as its 256 results. A .tflite has it as CAST, ADD and GATHER."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinymaix.graph import Array, Node
from tinymaix.ops.base import array
from tinymaix.ops.lookup import Unary


@dataclass(frozen=True)
class Table(Unary):
    """Inputs: x int8, and a constant (256,) int8: the results for -128 to 127."""

    kind: ClassVar[str] = "TABLE"
    types: ClassVar[tuple[str, ...]] = ("int8",)

    def problems(self, node: Node) -> list[str]:
        results = node.input(1)
        if results.data is None or results.shape != (256,) or results.dtype != np.int8:
            return [f"'{results.name}' is no constant of 256 int8 values"]
        return [f"'{t.name}' is {t.dtype}, not int8" for t in (node.input(0), node.output) if t.dtype != np.int8]

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [array(node.input(1).data)[array(inputs[0]).astype(np.int64) + 128]]

    def table(self, node: Node) -> Array:
        return np.roll(array(node.input(1).data), 128)
