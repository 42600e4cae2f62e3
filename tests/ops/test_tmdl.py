"""An operator that stands outside the package spells itself in a .tmdl as the package's own do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.tmdl_graphs import Chain
from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops import OPERATORS, TMDL_OPERATORS, Operator
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import array
from tinymaix.ops.mean import Mean
from tinymaix.ops.move import input_shape
from tinymaix.ops.tmdl import HEAD_SIZE, LAYER_HEAD_SIZE, LayerToWrite, ModelType, Operand, StoredLayer, Struct
from tinymaix.read.tmdl import read_tmdl
from tinymaix.write.tmdl import tmdl_bytes

BODY = Struct("f4x")


@pytest.fixture
def scale() -> Iterator[Any]:
    """An operator of a user's own, y = factor * x, known while the test runs."""
    before: list[tuple[dict[Any, type[Operator]], dict[Any, type[Operator]]]]
    before = [(OPERATORS, dict(OPERATORS)), (TMDL_OPERATORS, dict(TMDL_OPERATORS))]

    @dataclass(frozen=True)
    class Scale(Operator):
        factor: float

        kind: ClassVar[str] = "TEST_SCALE"
        types = ("float32",)
        tmdl = (7, "test scale")

        @classmethod
        def from_tmdl(cls, layer: StoredLayer, x: Tensor, y: Tensor, operand: Operand) -> Node:
            (factor,) = layer.body(BODY)
            if not np.isfinite(factor):
                raise ModelError("its factor is not finite")
            return Node(cls(factor), [x], [y], layer.name)

        def tmdl_problems(self, node: Node, model: ModelType) -> list[str]:
            return ["its factor is 0"] if self.factor == 0 else []

        def to_tmdl(self, layer: LayerToWrite) -> bytes:
            return layer.body(BODY, (self.factor,))

        def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
            return [input_shape(inputs)]

        def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
            return [array(inputs[0]) * np.float32(self.factor)]

    yield Scale
    for registry, old in before:
        registry.clear()
        registry.update(old)


def scaled(operator: Operator) -> Chain:
    chain = Chain(False, (1, 4, 4, 3))
    chain.conv(2)
    chain.apply(operator)
    return chain


@pytest.mark.parametrize("big_endian", [False, True])
def test_an_operator_of_a_users_own_goes_through_the_file(scale: Any, big_endian: bool) -> None:
    tmdl = tmdl_bytes(scaled(scale(0.5)).graph(), big_endian=big_endian)
    again = read_tmdl(tmdl.data)
    assert [node.op.kind for node in again.nodes] == ["CONV_2D", "TEST_SCALE"]
    assert again.nodes[1].op == scale(0.5)
    assert again.nodes[1].name == "test_scale_1"
    assert tmdl.layers[1].head.type == 7
    assert tmdl.layers[1].head.size == LAYER_HEAD_SIZE + BODY.size()
    assert tmdl_bytes(again, big_endian=big_endian).data == tmdl.data


def test_what_it_cannot_say_is_a_sentence(scale: Any) -> None:
    with pytest.raises(ModelError, match=r"TEST_SCALE 'test_scale_1': its factor is 0"):
        tmdl_bytes(scaled(scale(0.0)).graph())


def test_its_own_checks_guard_a_damaged_file(scale: Any) -> None:
    tmdl = tmdl_bytes(scaled(scale(0.5)).graph())
    at = HEAD_SIZE + tmdl.layers[0].head.size + LAYER_HEAD_SIZE
    damaged = tmdl.data[:at] + np.float32(np.inf).tobytes() + tmdl.data[at + 4 :]
    with pytest.raises(ModelError, match=r"layer 1 \(test scale\): its factor is not finite"):
        read_tmdl(damaged)


def test_without_it_the_layer_is_unknown(scale: Any) -> None:
    data = tmdl_bytes(scaled(scale(0.5)).graph()).data
    del TMDL_OPERATORS[7]
    with pytest.raises(ModelError, match="layer 1 has type 7; types 0 to 6 and 16 to 29 are known"):
        read_tmdl(data)


def test_two_operators_may_share_a_layer_and_one_reads_it() -> None:
    assert AveragePool2D.tmdl == Mean.tmdl == (1, "global average pool")
    assert TMDL_OPERATORS[1] is Mean
    assert sorted(TMDL_OPERATORS) == list(range(7))
