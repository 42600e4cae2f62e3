"""Depthwise convolutions on the emulated M4, M7 and M33 against the reference, and where they overlap their input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.cores.armv7em_cases import INT8, INT32, check
from tests.ops.make import SEEDS, ZERO_POINTS, output_scale, sample
from tinymaix.chips import find_chip
from tinymaix.compile.project import compile_graph
from tinymaix.graph import Graph, Node, Quantization, Tensor
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D


@st.composite
def depthwise(draw: st.DrawFn, multipliers: tuple[int, ...] = (1, 1, 1, 2, 3)) -> Node:
    rng = np.random.default_rng(draw(SEEDS))
    in_c, stride = draw(st.sampled_from([4, 5, 6, 7, 8, 12])), draw(st.integers(1, 2))
    channels = in_c * draw(st.sampled_from(multipliers))
    shape = draw(st.tuples(st.integers(1, 2), st.integers(3, 9), st.integers(3, 9), st.just(in_c)))
    x = Tensor("x", shape, INT8, Quantization.of(draw(st.floats(0.002, 0.1)), draw(ZERO_POINTS)))
    data = rng.integers(-127, 128, (1, 3, 3, channels), np.int8)
    if draw(st.booleans()):
        data[rng.random(data.shape) < 0.4] = draw(st.sampled_from([-128, 127, 0]))
    scales = rng.uniform(0.001, 0.02, channels if draw(st.booleans()) else 1).astype(np.float32)
    weights = Tensor("w", data.shape, INT8, Quantization.of(scales, 0, 3), data)
    bias = Tensor("b", (channels,), INT32, None, rng.integers(-9000, 9000, channels, np.int32))
    unsigned = draw(st.booleans())
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    op = DepthwiseConv2D((stride, stride), (1, 1), padding, "relu" if unsigned else "none")
    inputs: list[Tensor | None] = [x, weights, bias]
    scale = output_scale(x, weights, 9) * draw(st.sampled_from([0.5, 1.0, 4.0]))
    y = Tensor("y", op.infer(inputs)[0], INT8, Quantization.of(scale, -128 if unsigned else draw(ZERO_POINTS)))
    return Node(op, inputs, [y])


@pytest.mark.parametrize(
    ("core", "optimize", "part"),
    [("cortex-m4", "speed", 0), ("cortex-m7", "balanced", 1), ("cortex-m33", "balanced", 2), ("twins", "speed", 3)],
)
def test_depthwise(core: str, optimize: str, part: int) -> None:
    check(sample(depthwise(), 100)[part * 25 : part * 25 + 25], core, optimize, served=20)


def test_overlap_with_the_input() -> None:
    """A layer alone, whose output runs behind the reading of its input, still gives the reference's bits."""
    overlapping = 0
    for node in sample(depthwise((1,)), 6):
        project = compile_graph(Graph([node], [node.input(0)], [node.output], "layers"), find_chip("cortex-m4").core)
        x, y = (project.plan.offsets[id(t)] for t in (node.input(0), node.output))
        overlapping += x < y + node.output.nbytes and y < x + node.input(0).nbytes
        check([node], "twins", "speed", served=0)
    assert overlapping >= 2
