"""Depthwise convolutions on the emulated M4, M7 and M33 against the reference, and where they overlap their input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.cores.armv7em_cases import INT8, INT32, check
from tests.ops.make import SEEDS, ZERO_POINTS, output_scale, sample
from tinymaix.chips import find_chip
from tinymaix.compile.project import compile_graph
from tinymaix.cores import Core
from tinymaix.cores.armv7em import kernels
from tinymaix.cores.armv7em.depthwise import choose_depthwise_conv_2d
from tinymaix.cores.armv7em.depthwise_taps import Tile
from tinymaix.graph import Graph, Node, Quantization, Tensor
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import Implementation
from tinymaix.ops.window import extent

COMMON = st.tuples(st.just((3, 3)), st.sampled_from([(1, 1), (2, 2)]), st.just((1, 1)))
KERNELS = [(1, 1), (1, 3), (3, 1), (2, 2), (3, 2), (4, 4), (5, 5), (7, 7), (1, 9), (9, 1), (5, 3), (6, 1), (10, 8)]
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))
ANY = st.tuples(st.sampled_from(KERNELS), PAIRS, st.one_of(st.just((1, 1)), PAIRS))


@st.composite
def depthwise(
    draw: st.DrawFn,
    windows: st.SearchStrategy[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = COMMON,
    multipliers: tuple[int, ...] = (1, 1, 1, 2, 3),
) -> Node:
    rng = np.random.default_rng(draw(SEEDS))
    kernel, stride, dilation = draw(windows)
    in_c = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 12]))
    channels = in_c * draw(st.sampled_from(multipliers))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    sizes = [
        max(1, extent(k, d) - sum(padding[2 * i : 2 * i + 2]))
        for i, (k, d) in enumerate(zip(kernel, dilation, strict=True))
    ]
    sizes = [
        size + step * draw(st.integers(0, 7)) + draw(st.integers(0, 1))
        for size, step in zip(sizes, stride, strict=True)
    ]
    if kernel[1] == 1 and draw(st.booleans()):  # one-dimensional
        padding, sizes[1] = (*padding[:2], 0, 0), 1
    shape = (draw(st.integers(1, 2)), *sizes, in_c)
    x = Tensor("x", shape, INT8, Quantization.of(draw(st.floats(0.002, 0.1)), draw(ZERO_POINTS)))
    data = rng.integers(-127, 128, (1, *kernel, channels), np.int8)
    if draw(st.booleans()):
        data[rng.random(data.shape) < 0.4] = draw(st.sampled_from([-128, 127, 0]))
    spread = draw(
        st.sampled_from([0.0, 1.0, 3.5, 4.0, 4.5])
    )  # decades; some of the wide ones take a shift of each channel
    scales = (0.01 * 10 ** -rng.uniform(0, spread, channels if spread else 1)).astype(np.float32)
    weights = Tensor("w", data.shape, INT8, Quantization.of(scales, 0, 3), data)
    bias = Tensor("b", (channels,), INT32, None, rng.integers(-9000, 9000, channels, np.int32))
    unsigned = draw(st.booleans())
    op = DepthwiseConv2D(stride, dilation, padding, draw(st.sampled_from(["relu", "relu6"])) if unsigned else "none")
    inputs: list[Tensor | None] = [x, weights, bias]
    scale = output_scale(x, weights, kernel[0] * kernel[1]) * draw(st.sampled_from([0.01, 0.5, 1.0, 4.0]))
    y = Tensor("y", op.infer(inputs)[0], INT8, Quantization.of(scale, -128 if unsigned else draw(ZERO_POINTS)))
    return Node(op, inputs, [y])


@pytest.fixture
def every_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer after layer takes another one of the kernels that serve it."""
    turn = count()

    def choose(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
        found = choose_depthwise_conv_2d(node, core, optimize)
        first = next(turn) % len(found) if found else 0
        return found[first : first + 1]

    monkeypatch.setattr(kernels, "CHOOSERS", {"DEPTHWISE_CONV_2D": choose})


@pytest.mark.parametrize(
    ("core", "optimize", "part"),
    [("cortex-m4", "speed", 0), ("cortex-m7", "balanced", 1), ("cortex-m33", "balanced", 2), ("twins", "speed", 3)],
)
def test_3x3(core: str, optimize: str, part: int, every_variant: None) -> None:
    check(sample(depthwise(), 72)[part * 18 : part * 18 + 18], core, optimize, served=10)


@pytest.mark.parametrize(
    ("core", "optimize", "part"),
    [("cortex-m4", "speed", 0), ("cortex-m7", "balanced", 1), ("cortex-m33", "balanced", 2), ("twins", "speed", 3)],
)
def test_any_window(core: str, optimize: str, part: int, every_variant: None) -> None:
    check(sample(depthwise(ANY), 72)[part * 18 : part * 18 + 18], core, optimize, served=8)


def test_overlap_with_the_input(every_variant: None) -> None:
    """A layer alone, whose output runs behind the reading of its input, still gives the reference's bits."""
    overlapping = 0
    for node in sample(depthwise(multipliers=(1,)), 10):
        project = compile_graph(Graph([node], [node.input(0)], [node.output], "layers"), find_chip("cortex-m4").core)
        x, y = (project.plan.offsets[id(t)] for t in (node.input(0), node.output))
        overlapping += x < y + node.output.nbytes and y < x + node.input(0).nbytes
        check([node], "twins", "speed", served=0)
    assert overlapping >= 2


def test_products_cover_every_tap_once() -> None:
    for kernel, stride, dilation in sample(ANY, 50):
        tile = Tile(kernel, stride, dilation, 4, 4, 2)
        found = []
        for product in tile.products(2):
            for i, half in enumerate("bt"):
                if product.half in ("", half):
                    tap = tile.words[product.word]["bt".index(product.word_half) if product.word_half else i]
                    assert tap is not None
                    row, column = product.output
                    assert product.row == row * stride[0] + tap[0] * dilation[0]
                    assert 2 * product.pair + i == column * stride[1] + tap[1] * dilation[1]
                    found.append((product.output, tap))
        assert len(found) == len(set(found)) == 4 * kernel[0] * kernel[1]
