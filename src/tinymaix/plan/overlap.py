"""How far an output may reach into the input that it is computed from.

A layer that computes row after row no longer needs the rows above the one that it reads. So its output may begin a
little below its input and run behind the reading: both together need little more than the larger one.
The idea is S. Pandey et al., "Diagonal Memory Optimisation for Machine Learning on Micro-controllers", 2020.
"""

from __future__ import annotations

from tinymaix.graph import Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D


def row_lead(node: Node, rows: int = 1) -> int | None:
    """Bytes by which a convolution's input must begin above its output; None for any other operator.

    It holds for a kernel that computes ``rows`` output rows at a time from top to bottom and, once it has written to
    rows from y on, reads no input row above the first that the window of row y covers. Within them it may compute in
    any order.
    """
    if not isinstance(node.op, (Conv2D, DepthwiseConv2D)):
        return None
    (batches, in_h, *_), (_, out_h, *_) = node.input(0).shape, node.output.shape
    in_row, out_row = node.input(0).nbytes // (batches * in_h), node.output.nbytes // (batches * out_h)
    lead = 0
    for batch in range(batches):
        for row in range(0, out_h, rows):
            written = (batch * out_h + min(row + rows, out_h)) * out_row
            first = min(max(0, row * node.op.stride[0] - node.op.padding[0]), in_h)
            lead = max(lead, written - (batch * in_h + first) * in_row)
    return lead
