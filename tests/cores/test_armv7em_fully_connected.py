"""Fully connected layers on the emulated M4, M7 and M33 against the reference: every remainder of channels and taps."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.cores.armv7em_cases import EVERYWHERE, check, layer
from tests.ops.make import sample
from tinymaix.graph import Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fully_connected import FullyConnected


@st.composite
def fully_connected(draw: st.DrawFn) -> Node:
    in_c, out_c = draw(st.one_of(st.integers(1, 70), st.integers(600, 900))), draw(st.integers(1, 14))
    unsigned = draw(st.booleans())
    activation = draw(st.sampled_from(["relu", "relu6"])) if unsigned else "none"
    if draw(st.integers(0, 3)) == 0:  # a convolution whose window is the whole image
        height, width, channels = draw(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6)))
        shape = (1, height, width, channels)
        return draw(layer(Conv2D(activation=activation), shape, (out_c, *shape[1:]), unsigned))
    rows = draw(st.sampled_from([1, 1, 1, 2, 3]))
    return draw(layer(FullyConnected(activation), (rows, in_c), (out_c, in_c), unsigned))


@pytest.mark.parametrize(("core", "optimize", "part"), EVERYWHERE)
def test_fully_connected(core: str, optimize: str, part: int) -> None:
    check(sample(fully_connected(), 150)[part * 25 : part * 25 + 25], core, optimize, served=20)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m33", "twins"])
def test_the_shared_dot_product(core: str) -> None:
    """What the portable kernels of "flash" call: every remainder of a length, words that are not aligned."""
    check(sample(fully_connected(), 40), core, "flash", served=0)
