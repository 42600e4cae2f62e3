"""What the convolutions share: shapes as arguments, windows that reach over the border."""

from __future__ import annotations

from tinymaix.graph import Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.emit import SMALL, Kernel


def geometry(node: Node, op: Conv2D | DepthwiseConv2D) -> dict[str, int]:
    """The arguments of a kernel that say where windows lie, but for the window itself."""
    (batches, in_h, in_w, in_c), (_, out_h, out_w, _) = node.input(0).shape, node.output.shape
    shapes = {"batches": batches, "in_h": in_h, "in_w": in_w, "in_c": in_c, "out_h": out_h, "out_w": out_w}
    return {**shapes, "pad_top": op.padding[0], "pad_left": op.padding[2]}


def window(node: Node, op: Conv2D | DepthwiseConv2D) -> dict[str, int]:
    """The arguments of a kernel for windows of any kind."""
    _, kernel_h, kernel_w, _ = node.input(1).shape
    kernel = {"kernel_h": kernel_h, "kernel_w": kernel_w, "stride_h": op.stride[0], "stride_w": op.stride[1]}
    return {**geometry(node, op), **kernel, "dilation_h": op.dilation[0], "dilation_w": op.dilation[1]}


GATHER_WINDOW = Kernel(
    "gather_window",
    """\
/* The rows of the window at (top, left) behind each other, zero_x where it is outside of the image */
static SMALL void gather_window(
    int8_t *bytes, const int8_t *image, int zero_x, int in_h, int in_w, int in_c, int kernel_h, int kernel_w,
    int dilation_h, int dilation_w, int top, int left)
{
    int first = left < 0 ? (dilation_w - 1 - left) / dilation_w : 0, last = (in_w - left - 1) / dilation_w + 1;
    int run = dilation_w == 1 && last > first ? (last < kernel_w ? last : kernel_w) - first : 1; /* pixels at a time */
    for (int ky = 0, iy = top; ky < kernel_h; ky++, iy += dilation_h, bytes += kernel_w * in_c) {
        if (first > 0 || last < kernel_w || iy < 0 || iy >= in_h)
            memset(bytes, zero_x, (size_t)(kernel_w * in_c));
        if (iy >= 0 && iy < in_h)
            for (int kx = first; kx < last && kx < kernel_w; kx += run)
                memcpy(bytes + kx * in_c, image + (iy * in_w + left + kx * dilation_w) * in_c, (size_t)(run * in_c));
    }
}
""",
    (SMALL,),
)
