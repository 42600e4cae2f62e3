"""What the convolutions share: windows that reach over the border of the image, and an attribute for outer loops."""

from __future__ import annotations

from tinymaix.ops.emit import Kernel

SMALL = Kernel(
    "SMALL",
    """\
/* For functions whose time is spent in those that they call: as little code as can be */
#if defined(__clang__)
#define SMALL __attribute__((noinline, minsize))
#elif defined(__GNUC__)
#define SMALL __attribute__((noinline, optimize("Os")))
#else
#define SMALL
#endif
""",
)

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
