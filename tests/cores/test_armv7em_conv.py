"""Convolutions of any window on the emulated M4, M7 and M33 against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.cores.armv7em_cases import EVERYWHERE, check, layer
from tests.ops.make import sample
from tinymaix.cores.armv7em import conv, fully_connected
from tinymaix.cores.armv7em.gemm import Form, forms
from tinymaix.graph import Array, Node
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


@pytest.mark.parametrize(
    ("core", "part", "form"),
    [
        ("cortex-m4", 0, Form(packed=True, doubles=False, small=False)),
        ("cortex-m33", 1, Form(packed=True, doubles=True, small=True)),
        ("cortex-m4", 2, Form(packed=False, doubles=False, small=False)),
        ("cortex-m7", 3, Form(packed=False, doubles=False, small=True)),
        ("twins", 4, Form(packed=False, doubles=False, small=True)),
    ],
)
def test_other_forms(core: str, part: int, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forms that only a tuner chooses, and that of weights that cannot be packed."""
    for module in (conv, fully_connected):
        monkeypatch.setattr(module, "forms", lambda optimize, weights: (fitting(form, weights),))
    monkeypatch.setattr(conv, "serves", lambda node, op, requant: False)
    check(sample(convolution(), 150)[part * 25 : part * 25 + 25], core, "speed", served=20)


def fitting(form: Form, weights: Array) -> Form:
    """The form, or bytes where the weights cannot be packed."""
    return form if forms("speed", weights)[0].packed else Form(packed=False, doubles=False, small=form.small)


def test_packing_is_refused_where_it_overflows() -> None:
    """w + 256 v fits a halfword but where v is -128 and w is negative."""
    weights = np.array([[-1, 5], [-128, 7], [0, -128], [-128, 0]], np.int8)
    assert not forms("speed", weights)[0].packed
    assert all(form.packed for form in forms("balanced", weights[2:]))
    assert all(form.packed for form in forms("speed", weights[1:]))
