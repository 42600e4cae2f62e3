"""The original's layout: places that no two tensors alive at one time share, and the least that it can do with."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tmdl_graphs import Chain, classifier, residual
from tinymaix.graph import Graph, ModelError
from tinymaix.ops.add import Add
from tinymaix.plan.ping_pong import ping_pong


def lifetimes(graph: Graph) -> dict[int, tuple[int, int]]:
    """First and last node at which each activation is in use, by id; the input is there before the first."""
    spans = {id(graph.inputs[0]): (-1, -1)}
    for i, node in enumerate(graph.nodes):
        for tensor in node.activations:
            spans[id(tensor)] = (spans[id(tensor)][0], i)
        spans[id(node.output)] = (i, i)
    return spans


def check(graph: Graph, unit: int | None = None, float_output: bool = False) -> None:
    """Nothing lies outside, and what lives at the same time does not overlap, but for views and in-place additions."""
    layout = ping_pong(graph, unit, float_output)
    spans = lifetimes(graph)
    tensors = [graph.inputs[0], *(node.output for node in graph.nodes)]
    for tensor in tensors:
        place = layout.place(tensor)
        assert place.offset % 8 == place.size % 8 == 0
        assert tensor.elements * (unit or tensor.dtype.itemsize) <= place.size <= layout.size - place.offset
    for a, b in combinations(tensors, 2):
        first, second = layout.place(a), layout.place(b)
        together = spans[id(b)][0] <= spans[id(a)][1]
        overlap = first.offset < second.offset + second.size and second.offset < first.offset + first.size
        if together and overlap:
            maker = graph.nodes[spans[id(b)][0]]
            in_place = spans[id(a)][1] == spans[id(b)][0] and any(
                maker.inputs[i] is a for i in maker.op.overwrites(maker)
            )
            assert maker.op.is_view or (in_place and first == second)


@given(
    integer=st.booleans(),
    seed=st.integers(0, 1000),
    unit=st.sampled_from([None, 1, 2]),
    float_output=st.booleans(),
    blocks=st.integers(0, 4),
)
def test_places(integer: bool, seed: int, unit: int | None, float_output: bool, blocks: int) -> None:
    check(residual(integer, blocks=blocks) if blocks else classifier(integer, seed), unit, float_output)


def test_the_buffer_is_the_largest_pair() -> None:
    chain = Chain(True, (1, 30))
    for channels in (20, 50, 9, 10):
        chain.dense(channels)
    layout = ping_pong(chain.graph())
    assert (layout.buffer, layout.kept) == (24 + 56, 0)
    offsets = [layout.place(node.output).offset for node in chain.nodes]
    assert offsets == [80 - 24, 0, 80 - 16, 0]


def test_room_for_floats() -> None:
    chain = Chain(True, (1, 10))
    chain.softmax()
    assert ping_pong(chain.graph()).size == 16 + 40
    assert ping_pong(chain.graph(), float_output=True).size == 16 + 16 + 40
    assert ping_pong(chain.graph(), unit=2).size == 24 + 40


def test_floats_behind_a_view() -> None:
    chain = Chain(True, (1, 64))
    chain.dense(10)
    chain.reshape((1, 2, 5))
    layout = ping_pong(chain.graph(), float_output=True)
    place = layout.place(chain.end)
    assert layout.size == 64 + 16 + 40
    assert place.offset == layout.place(chain.nodes[0].output).offset == 64
    check(chain.graph(), float_output=True)


def test_one_kept_tensor_after_the_other_shares_its_place() -> None:
    graph = residual(True, blocks=3)
    layout = ping_pong(graph)
    kept = [layout.place(node.output).offset for node in graph.nodes[:-1] if node.op.kind == "ADD"][:-1]
    assert kept == [layout.buffer] * 2
    assert layout.kept == layout.place(graph.nodes[0].output).size


def test_two_kept_tensors_at_a_time() -> None:
    chain = Chain(True, (1, 8))
    first, second = chain.dense(8), chain.dense(8)
    chain.dense(8)
    chain.apply(Add(), [second, chain.end])
    chain.apply(Add(), [first, chain.end])
    with pytest.raises(ModelError, match="kept at the same time"):
        ping_pong(chain.graph())
