"""Row leads, against memory in which every byte knows whether it is still the input's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.plan.fakes import Fake
from tinymaix.graph import Node, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.plan import row_lead


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, np.dtype(np.int8))


@st.composite
def layers(draw: st.DrawFn) -> Node:
    """Any convolution over rows of one pixel: the width changes nothing but the bytes of a row."""
    kernel, stride, dilation = (draw(st.integers(1, 3)) for _ in range(3))
    top, bottom = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    in_c, out_c = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    least = max(1, dilation * (kernel - 1) + 1 - top - bottom)
    x = tensor("x", draw(st.integers(1, 2)), draw(st.integers(least, least + 6)), 1, in_c)
    weights = tensor("weights", out_c, kernel, 1, in_c)
    op = Conv2D((stride, 1), (dilation, 1), (top, bottom, 0, 0))
    return Node(op, [x, weights], [tensor("y", *op.infer([x, weights])[0])])


def survives(node: Node, lead: int) -> bool:
    """Whether no row that is still to be read is overwritten, with the output at 0 and the input at ``lead``."""
    (batches, in_h, _, in_c), (_, out_h, _, out_c) = node.input(0).shape, node.output.shape
    assert isinstance(node.op, Conv2D)
    window = node.op.window(node)
    intact = np.zeros(lead + node.input(0).nbytes + node.output.nbytes, bool)
    intact[lead : lead + node.input(0).nbytes] = True
    for batch in range(batches):
        for row in range(out_h):
            written = (batch * out_h + row) * out_c
            intact[written : written + out_c] = False  # the worst case: the whole row is written before it reads
            for k in range(window.kernel[0]):
                y = row * window.stride[0] - window.padding[0] + k * window.dilation[0]
                begin = lead + (batch * in_h + y) * in_c
                if 0 <= y < in_h and not intact[begin : begin + in_c].all():
                    return False
    return True


@given(layers())
def test_an_output_that_far_below_never_overwrites_what_is_read_later(node: Node) -> None:
    lead = row_lead(node)
    assert lead is not None
    assert all(survives(node, more) for more in (lead, lead + 1, lead + 7))


@given(layers())
def test_the_lead_is_tight_where_every_row_is_read(node: Node) -> None:
    lead = row_lead(node)
    assert lead is not None
    assert isinstance(node.op, Conv2D)
    if lead and node.op.padding[0] == 0:
        assert not survives(node, lead - 1)


def test_other_operators_have_no_lead() -> None:
    assert row_lead(Node(Fake(), [tensor("x", 1, 4, 4, 1)], [tensor("y", 1, 4, 4, 1)])) is None
