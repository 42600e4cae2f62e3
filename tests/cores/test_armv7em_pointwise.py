"""Pointwise convolutions on emulated M4, M7 and M33 against the reference: every remainder of channels and pixels."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.cores.armv7em_cases import EVERYWHERE, check, layer
from tests.ops.make import sample
from tinymaix.graph import Node
from tinymaix.ops.conv_2d import Conv2D


@st.composite
def pointwise(draw: st.DrawFn) -> Node:
    in_c = draw(st.one_of(st.integers(1, 13), st.sampled_from([16, 24, 32, 36, 40, 64])))
    out_c = draw(st.integers(1, 17))
    height, width = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    unsigned = draw(st.booleans())
    op = Conv2D(activation=draw(st.sampled_from(["relu", "relu6"])) if unsigned else "none")
    return draw(layer(op, (draw(st.integers(1, 2)), height, width, in_c), (out_c, 1, 1, in_c), unsigned))


@pytest.mark.parametrize(("core", "optimize", "part"), EVERYWHERE)
def test_pointwise(core: str, optimize: str, part: int) -> None:
    check(sample(pointwise(), 150)[part * 25 : part * 25 + 25], core, optimize, served=20)
