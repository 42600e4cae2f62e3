"""Convolutions of any window on the emulated M4, M7 and M33 against the reference."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.cores.armv7em_cases import EVERYWHERE, check, layer
from tests.ops.make import sample
from tinymaix.cores.armv7em import conv, fully_connected
from tinymaix.cores.armv7em.gemm import OVERLAPPED
from tinymaix.graph import Node
from tinymaix.ops.conv_2d import Conv2D


@st.composite
def convolution(draw: st.DrawFn) -> Node:
    kernel = draw(st.sampled_from([(3, 3), (1, 3), (4, 1), (5, 5), (2, 2), (1, 1), (10, 4)]))
    height, width = draw(st.tuples(st.integers(kernel[0], 11), st.integers(kernel[1], 9)))
    in_c, out_c = draw(st.sampled_from([1, 2, 3, 4, 5, 8])), draw(st.integers(1, 7))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*[st.integers(0, size - 1) for size in (kernel[0], kernel[0], kernel[1], kernel[1])]))
    rows, columns = height + sum(padding[:2]), width + sum(padding[2:])
    wide = draw(st.integers(1, 3 if columns > 3 * kernel[1] else 1))
    dilation = (2 if rows > 2 * kernel[0] and draw(st.booleans()) else 1, wide)
    unsigned = draw(st.booleans())
    op = Conv2D(stride, dilation, padding, draw(st.sampled_from(["relu", "relu6"])) if unsigned else "none")
    shape = (draw(st.sampled_from([1, 1, 2])), height, width, in_c)
    return draw(layer(op, shape, (out_c, *kernel, in_c), unsigned))


@pytest.mark.parametrize(("core", "optimize", "part"), EVERYWHERE)
def test_convolution(core: str, optimize: str, part: int) -> None:
    check(sample(convolution(), 150)[part * 25 : part * 25 + 25], core, optimize, served=20)


@pytest.mark.parametrize(("core", "part"), [("cortex-m4", 0), ("cortex-m33", 1), ("twins", 2)])
def test_loads_that_overlap(core: str, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form of weights that only a tuner chooses."""
    for module in (conv, fully_connected):
        monkeypatch.setattr(module, "forms", lambda optimize: (OVERLAPPED,))
    monkeypatch.setattr(conv, "serves", lambda node, op, requant: False)
    check(sample(convolution(), 150)[part * 25 : part * 25 + 25], core, "speed", served=20)
