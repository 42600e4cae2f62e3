"""Geometry of windows: TensorFlow's SAME and VALID, and explicit padding spelled back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.graph import ModelError
from tinymaix.ops.window import Window, extent, padding_code, padding_of, same_padding

SIZES, SMALL = st.integers(1, 40), st.integers(1, 5)


@given(SIZES, SMALL, SMALL, SMALL)
def test_same_gives_a_ceiling_and_the_larger_half_behind(size: int, kernel: int, stride: int, dilation: int) -> None:
    top, bottom, left, right = same_padding(size, size, (kernel, kernel), (stride, stride), (dilation, dilation))
    assert (top, bottom) == (left, right)
    assert 0 <= bottom - top <= 1
    outputs = -(-size // stride)
    window = Window((kernel, kernel), (stride, stride), (dilation, dilation), (top, bottom, left, right))
    if size + top + bottom >= extent(kernel, dilation):
        assert window.output(size, size) == (outputs, outputs)
    if top + bottom:
        assert (outputs - 1) * stride + extent(kernel, dilation) == size + top + bottom


@given(SIZES, SMALL, SMALL, st.integers(0, 1))
def test_a_padding_s_code_gives_it_back(size: int, kernel: int, stride: int, code: int) -> None:
    shape = (1, size, size, 1)
    padding = padding_of(code, shape, (kernel, kernel), (stride, stride))
    window = Window((kernel, kernel), (stride, stride), (1, 1), padding)
    assert padding_of(padding_code(window, shape), shape, (kernel, kernel), (stride, stride)) == padding


def test_padding_that_a_tflite_cannot_say() -> None:
    with pytest.raises(ModelError, match="neither SAME nor VALID"):
        padding_code(Window((3, 3), (1, 1), (1, 1), (2, 0, 1, 1)), (1, 8, 8, 1))


@pytest.mark.parametrize(
    "window",
    [
        Window((3, 3), (0, 1), (1, 1), (0, 0, 0, 0)),
        Window((3, 3), (1, 1), (1, 1), (-1, 0, 0, 0)),
        Window((9, 3), (1, 1), (1, 1), (0, 0, 0, 0)),
    ],
)
def test_windows_that_cannot_be(window: Window) -> None:
    with pytest.raises(ModelError):
        window.output(8, 8)
