"""Pooling and means on the emulated M4, M7 and M33 against the reference: every remainder of channels, cut windows."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.cores.armv7em_cases import check
from tests.ops.make import ACTIVATIONS, ZERO_POINTS, int8, sample
from tinymaix.graph import Node
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.mean import Mean
from tinymaix.ops.window import same_padding

PARTS = [("cortex-m4", 0), ("cortex-m7", 1), ("cortex-m33", 2), ("twins", 3)]


@st.composite
def pools(draw: st.DrawFn) -> Node:
    """Maxima, some of windows that the border cuts, and averages of whole windows."""
    pool = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = draw(st.integers(pool[0], 9)), draw(st.integers(pool[1], 9))
    kind = draw(st.sampled_from([MaxPool2D, AveragePool2D]))
    padding = same_padding(*size, pool, stride) if kind is MaxPool2D and draw(st.booleans()) else (0, 0, 0, 0)
    op = kind(pool, stride, padding, draw(ACTIVATIONS))
    x = int8("x", (1, *size, draw(st.integers(1, 19))), draw(st.sampled_from([0.02, 0.05])), draw(ZERO_POINTS))
    return Node(op, [x], [int8("y", op.infer([x])[0], x.q.s, x.q.z)])


@st.composite
def means(draw: st.DrawFn) -> Node:
    batches, height, width, channels = draw(
        st.tuples(st.integers(1, 2), st.integers(1, 16), st.integers(1, 16), st.integers(1, 19))
    )
    op = Mean(draw(st.sampled_from([(1, 2), (2, 1), (-2, -3)])), draw(st.booleans()))
    x = int8("x", (batches, height, width, channels), 0.05, draw(ZERO_POINTS))
    scale = 0.05 if draw(st.integers(0, 3)) == 0 else draw(st.floats(0.8, 2.0)) * 0.037
    return Node(op, [x], [int8("y", op.infer([x])[0], scale, draw(ZERO_POINTS))])


@pytest.mark.parametrize(("core", "part"), PARTS)
def test_pools(core: str, part: int) -> None:
    check(sample(pools(), 160)[part * 40 : part * 40 + 40], core, "speed", served=40)


@pytest.mark.parametrize(("core", "part"), PARTS)
def test_means(core: str, part: int) -> None:
    check(sample(means(), 100)[part * 25 : part * 25 + 25], core, "balanced", served=22)
