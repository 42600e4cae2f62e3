"""Plans of random graphs are right, and those of graphs whose optimum is known are optimal."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.fakes import Fake, FakeView, chain, constant, graphs, lead, tensor
from tinymaix.graph import Graph, ModelError, Node
from tinymaix.plan import PlanError, plan, verify
from tinymaix.plan.liveness import Buffer, Rules, Span, buffers_of, live_bytes
from tinymaix.plan.place import Problem, place

RULES = Rules(1, True, None)


@settings(max_examples=300, deadline=None)
@given(graphs(), st.sampled_from([1, 4, 16]), st.booleans(), st.booleans())
def test_every_plan_is_right(graph: Graph, alignment: int, in_place: bool, overlap: bool) -> None:
    result = plan(graph, alignment=alignment, in_place=in_place, lead=lead if overlap else None)
    verify(result)
    assert overlap or not result.leads
    assert result.arena >= result.bound >= max(result.live, default=0)
    wanted = [t for t in graph.tensors if not t.is_constant or any(t is o for o in graph.outputs)]
    assert set(result.offsets) == {id(t) for t in wanted}
    assert set(result.scratch) == {id(n) for n in graph.nodes if n.op.scratch(n)}
    for node in graph.nodes:
        if node.op.is_view and not node.input(0).is_constant:
            assert result.offsets[id(node.output)] == result.offsets[id(node.input(0))]


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_a_plan_is_the_same_every_time(graph: Graph) -> None:
    a, b = plan(graph), plan(graph)
    assert (a.offsets, a.scratch, a.order) == (b.offsets, b.scratch, b.order)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=2, max_size=40))
def test_a_chain_needs_its_two_largest_neighbours(sizes: list[int]) -> None:
    result = plan(chain(*sizes), alignment=8)
    ping_pong = max(-(-a // 8) * 8 + -(-b // 8) * 8 for a, b in pairwise(sizes))
    assert result.arena == result.bound == ping_pong


@st.composite
def few_buffers(draw: st.DrawFn) -> list[Buffer]:
    buffers = []
    for _ in range(draw(st.integers(1, 6))):
        first = draw(st.integers(0, 6))
        last = first + draw(st.integers(0, 4))
        spans = [Span(first, last, draw(st.integers(1, 9)))]
        if draw(st.booleans()):
            spans.append(Span(last, last + draw(st.integers(1, 3)), draw(st.integers(1, 9))))
        buffers.append(Buffer(spans, []))
    return buffers


@settings(max_examples=150, deadline=None)
@given(few_buffers())
def test_few_buffers_are_placed_as_brute_force_places_them(buffers: list[Buffer]) -> None:
    problem = Problem.of(buffers)
    bound = max(live_bytes(buffers).values())
    best = None
    for order in permutations(range(len(buffers))):
        offsets: dict[int, int] = {}
        for j in order:
            offsets[j] = problem.lowest(j, offsets)
        arena = max(offsets[j] + problem.sizes[j] for j in order)
        best = arena if best is None else min(best, arena)
        if best == bound:
            break
    assert problem.arena(place(buffers, bound)) == best


@settings(max_examples=100, deadline=None)
@given(graphs(most_nodes=5))
def test_the_order_of_few_nodes_is_optimal(graph: Graph) -> None:
    """Where the placement meets the bound, the bound is the least over all orders that can run."""
    result = plan(graph, alignment=1)
    peaks = []
    for order in permutations(graph.nodes):
        known = {id(t) for t in graph.inputs}
        for node in order:
            if any(id(t) not in known for t in node.activations):
                break
            known.update(id(t) for t in node.outputs)
        else:
            peaks.append(max(live_bytes(buffers_of(graph, order, RULES)).values(), default=0))
    assert result.arena >= min(peaks)
    if result.arena == result.bound:
        assert result.bound in (
            min(peaks),
            max(live_bytes(buffers_of(graph, graph.nodes, RULES)).values(), default=0),
        )
    if result.order != graph.nodes:
        assert result.bound == min(peaks)


def test_branches_run_one_after_the_other() -> None:
    """Breadth first, four branches hold four large tensors; depth first, one."""
    x, y = tensor(10), tensor(4)
    large, small = [tensor(100) for _ in range(4)], [tensor(1) for _ in range(4)]
    nodes = [Node(Fake(), [x], [t]) for t in large]
    nodes += [Node(Fake(), [a], [b]) for a, b in zip(large, small, strict=True)]
    graph = Graph([*nodes, Node(Fake(), [*small], [y])], [x], [y])
    result = plan(graph, alignment=1)
    verify(result)
    assert result.order != graph.nodes
    assert result.arena == 10 + 100 + 3


def test_a_chain_keeps_its_order() -> None:
    graph = chain(10, 20, 5, 30)
    assert plan(graph).order == graph.nodes


def test_in_place_is_used_where_the_input_dies() -> None:
    a, b, c = tensor(8, "a"), tensor(8, "b"), tensor(8, "c")
    graph = Graph([Node(Fake((0,)), [a], [b]), Node(Fake((0,)), [b], [c])], [a], [c])
    assert plan(graph).arena == 8
    assert plan(graph, in_place=False).arena == 16
    graph.outputs.append(b)
    assert plan(graph).arena == 16


def test_in_place_of_an_input_read_twice_needs_leave_for_both() -> None:
    a, b = tensor(8, "a"), tensor(8, "b")
    assert plan(Graph([Node(Fake((0,)), [a, a], [b])], [a], [b])).arena == 16
    assert plan(Graph([Node(Fake((0, 1)), [a, a], [b])], [a], [b])).arena == 8


def test_a_smaller_output_in_place_frees_the_rest() -> None:
    """As QUANTIZE from float32 to int8 does it: the three bytes in four behind the output are free again."""
    a, b, c, d = tensor(40, "a"), tensor(10, "b"), tensor(30, "c"), tensor(1, "d")
    nodes = [Node(Fake((0,)), [a], [b]), Node(Fake(), [b], [c]), Node(Fake(), [b, c], [d])]
    result = plan(Graph(nodes, [a], [d]), alignment=1)
    verify(result)
    assert result.arena == 41


def test_an_output_runs_into_the_end_of_its_input() -> None:
    a, b, c = tensor(32, "a"), tensor(32, "b"), tensor(16, "c")
    nodes = [Node(Fake(ahead=5), [a], [b]), Node(Fake(ahead=0), [b], [c])]
    result = plan(Graph(nodes, [a], [c]), lead=lead)
    verify(result)
    assert result.leads == {id(nodes[0]): 8, id(nodes[1]): 0}
    assert result.arena == result.bound == 32 + 8
    kept = plan(Graph(nodes, [a], [c, a]), lead=lead)
    verify(kept)
    assert kept.arena == 64
    with pytest.raises(PlanError, match="writes 'b' over its input 'a'"):
        verify(replace(result, offsets={**result.offsets, id(a): 4}))


def test_a_view_keeps_its_source_from_being_overwritten() -> None:
    a, view, b, c = tensor(8, "a"), tensor(8, "view"), tensor(8, "b"), tensor(8, "c")
    nodes = [Node(FakeView(), [a], [view]), Node(Fake((0,)), [a], [b]), Node(Fake(), [view, b], [c])]
    result = plan(Graph(nodes, [a], [c]))
    verify(result)
    assert result.offsets[id(a)] == result.offsets[id(view)] != result.offsets[id(b)]


def test_scratch_is_placed_beside_inputs_and_outputs() -> None:
    a, b = tensor(8, "a"), tensor(8, "b")
    node = Node(Fake((), 20), [a], [b])
    result = plan(Graph([node], [a], [b]))
    assert result.arena == 36
    assert id(node) in result.scratch


def test_unusual_outputs() -> None:
    x, c = tensor(5, "x"), constant(6)
    result = plan(Graph([], [x], [x, c, x]), alignment=1)
    verify(result)
    assert result.arena == 11
    assert plan(Graph([], [], [])).arena == 0


def test_lifetimes_and_live_bytes() -> None:
    graph = chain(8, 16, 4)
    result = plan(graph)
    assert [result.lifetimes[id(t)] for t in graph.tensors] == [(-1, 0), (0, 1), (1, 2)]
    assert list(result.live) == [24, 20]


def test_a_graph_out_of_order_is_refused() -> None:
    graph = chain(8, 8, 8)
    graph.nodes.reverse()
    with pytest.raises(ModelError, match="reads 't1', which nothing before it computes"):
        plan(graph)
    with pytest.raises(ModelError, match="the output 't' is not computed"):
        plan(Graph([], [], [tensor(1)]))
    with pytest.raises(ModelError, match="computes 't1', which was there before"):
        plan(Graph([graph.nodes[1], graph.nodes[1]], graph.inputs, graph.outputs))


def test_verify_finds_what_is_wrong() -> None:
    graph = chain(8, 8, 8)
    good = plan(graph)
    first, middle = graph.inputs[0], graph.nodes[0].output
    verify(good)
    wrong = [
        (
            "writes 't1' over its input 't0'",
            replace(good, offsets={**good.offsets, id(middle): good.offsets[id(first)]}),
        ),
        ("not aligned", replace(good, offsets={**good.offsets, id(middle): 2})),
        ("leaves the arena", replace(good, arena=8)),
        ("has no place", replace(good, offsets={})),
        ("bytes are not there", replace(good, order=good.order[::-1])),
        ("each node once", replace(good, order=good.order[:1])),
    ]
    for message, bad in wrong:
        with pytest.raises(PlanError, match=message):
            verify(bad)


def test_verify_finds_a_value_lost_before_its_last_reader() -> None:
    a, b, c, d = (tensor(8, name) for name in "abcd")
    graph = Graph([Node(Fake(), [a], [b]), Node(Fake(), [b], [c]), Node(Fake(), [a, c], [d])], [a], [d])
    good = plan(graph)
    with pytest.raises(PlanError, match="reads 'a' when its bytes"):
        verify(replace(good, offsets={**good.offsets, id(c): good.offsets[id(a)]}))


def test_verify_finds_scratch_over_an_input() -> None:
    a, b = tensor(8, "a"), tensor(8, "b")
    node = Node(Fake((), 8), [a], [b], "n")
    good = plan(Graph([node], [a], [b]))
    with pytest.raises(PlanError, match="the scratch of TEST_FAKE 'n' overlaps an input"):
        verify(replace(good, scratch={id(node): good.offsets[id(a)]}))
    with pytest.raises(PlanError, match="scratch and outputs"):
        verify(replace(good, scratch={id(node): good.offsets[id(b)]}))
