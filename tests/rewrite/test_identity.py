"""Views and slices have one spelling, so that a network is the same Graph whatever file it is from."""

from __future__ import annotations

from tests.tmdl_graphs import Chain
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.slice import Slice
from tinymaix.rewrite.identity import drop_identities


def test_open_sizes_are_spelled_out() -> None:
    chain = Chain(True, (1, 4, 6))
    chain.apply(Slice((0, 1, 0), (-1, 2, -1)), quantization=chain.input.quantization)
    chain.apply(Reshape((-1, 6)), quantization=chain.input.quantization)
    graph = drop_identities(chain.graph())
    assert [node.op for node in graph.nodes] == [Slice((0, 1, 0), (1, 2, 6)), Reshape((2, 6))]
    assert graph.outputs == [chain.end]
