"""The C of a tile: a few output channels by a few pixels, whose sums all stay in registers."""

from __future__ import annotations

from tinymaix.cores.gather import GATHER_WINDOW
from tinymaix.cores.tiles_finish import Finish
from tinymaix.ops.emit import SMALL, Kernel


def tile_kernel(channels: int, pixels: int, unrolled: int, finish: Finish) -> Kernel:
    """tile_4x4_12(x, weights, constants, y, step, next, taps, out_c, count, center): all channels of a few pixels.

    unrolled: taps of a turn, which divides the taps.
    """
    m, n = range(channels), range(pixels)
    name = f"tile_{channels}x{pixels}{f'_u{unrolled}' * (unrolled > 1)}"
    name += f"_{finish.name}"
    to = "".join(f"    const int to{j} = count > {j} ? {j} : to{j - 1};\n" for j in n[1:]) or "    (void)count;\n"
    sums = ", ".join(f"s{i}{j} = 0" for i in m for j in n)
    columns = ", ".join(f"*x{j} = x + to{j} * step" for j in n)
    steps = ", ".join([f"w += {channels * unrolled}", *(f"x{j} += {unrolled}" for j in n)])
    turn = "\n".join(_tap(tap, m, n) for tap in range(unrolled))
    ends = "\n".join(_end(i, n, finish) for i in m)
    return Kernel(
        name,
        f"""\
/* {channels} channels at a time for ``count`` of {pixels} pixels, ``step`` bytes apart, their outputs ``next`` bytes.
 * What is beyond ``count`` is the last pixel once more. A channel's constants are what its sums start with and what
 * finishes them. */
static __attribute__((noinline)) void {name}(
    const int8_t *x, const int8_t *weights, const int32_t *constants, int8_t *y, int step, int next, int taps,
    int out_c, int count, int32_t center)
{{
    const int8_t *w = weights;
    const int to0 = 0;
{to}    for (int c = 0; c < out_c; c += {channels}, y += {channels}, constants += {channels * finish.width}) {{
        int32_t {sums};
        const int8_t *end = w + {channels} * taps, {columns};
        for (; w != end; {steps}) {{
            int32_t weight, {", ".join(f"a{j}" for j in n)};
{turn}
        }}
{ends}
    }}
}}
""",
        (*finish.needs, ADD_PRODUCT),
    )


def _tap(tap: int, channels: range, pixels: range) -> str:
    """The products of a tap."""
    lines = [" ".join(f"a{j} = x{j}[{tap}];" for j in pixels)]
    for i in channels:
        products = " ".join(f"ADD_PRODUCT(s{i}{j}, weight, a{j});" for j in pixels)
        lines.append(f"weight = w[{tap * len(channels) + i}]; {products}")
    return "\n".join(f"            {line}" for line in lines)


ADD_PRODUCT = Kernel(
    "ADD_PRODUCT",
    """\
/* sum += a * b, before any other product: compilers that multiply ahead have not the registers for all results */
#if defined(__GNUC__)
#define ADD_PRODUCT(sum, a, b) do { (sum) += (a) * (b); __asm__ volatile("" : "+r"(sum)); } while (0)
#else
#define ADD_PRODUCT(sum, a, b) (sum) += (a) * (b)
#endif
""",
)


def _end(i: int, pixels: range, finish: Finish) -> str:
    """The outputs of channel ``i`` of a tile."""
    lines = [f"const int32_t *constant = constants + {finish.width * i};", *finish.loads]
    for j in pixels:
        value = finish.value.replace("sum", f"s{i}{j}")
        lines += [f"y[to{j} * next + {i}] = {value};"]
    inside = "\n".join(f"            {line}" for line in lines)
    return f"        {f'if (c + {i} < out_c) ' if i else ''}{{\n{inside}\n        }}"


def rows_kernel(turn: Kernel) -> Kernel:
    """Pixels that are rows of taps, one behind the other."""
    return Kernel(
        "rows_s8",
        """\
/* A tile of pixels at a time, int8: pointwise convolution, fully connected layer of several rows */
static SMALL void rows_s8(
    const int8_t *x, const int8_t *weights, const int32_t *constants, int8_t *y, turn_s8 *turn, int turns, int pixels,
    int taps, int out_c, int32_t center)
{
    for (int i = 0; i < pixels; i += turns, x += turns * taps, y += turns * out_c)
        turn(x, weights, constants, y, taps, out_c, taps, out_c, pixels - i < turns ? pixels - i : turns, center);
}
""",
        (SMALL, TURN, turn),
    )


def windows_kernel(turn: Kernel) -> Kernel:
    """Pixels whose windows are copied behind each other first."""
    return Kernel(
        "windows_s8",
        """\
/* Convolution, int8 NHWC: a tile of pixels at a time, whose windows are copied behind each other */
static SMALL void windows_s8(
    const int8_t *x, const int8_t *weights, const int32_t *constants, int8_t *y, int8_t *bytes, turn_s8 *turn,
    int turns, int out_c, int32_t center, int zero_x, int batches, int in_h, int in_w, int in_c, int out_h, int out_w,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int dilation_h, int dilation_w, int pad_top, int pad_left)
{
    int taps = (kernel_h * kernel_w * in_c + 1) / 2 * 2; /* the weights behind the last tap of an odd number are 0 */
    for (int n = 0; n < batches; n++, x += in_h * in_w * in_c)
        for (int pixels = out_h * out_w, ox = 0, oy = 0, count; pixels > 0; pixels -= count, y += count * out_c) {
            count = pixels < turns ? pixels : turns;
            for (int i = 0; i < count; i++) {
                gather_window(bytes + i * taps, x, zero_x, in_h, in_w, in_c, kernel_h, kernel_w, dilation_h, dilation_w,
                              oy * stride_h - pad_top, ox * stride_w - pad_left);
                if (++ox == out_w)
                    ox = 0, oy++;
            }
            turn(bytes, weights, constants, y, taps, out_c, taps, out_c, count, center);
        }
}
""",
        (SMALL, GATHER_WINDOW, TURN, turn),
    )


TURN = Kernel(
    "turn_s8",
    """\
/* A kernel that computes all channels of a tile's pixels */
typedef void turn_s8(const int8_t *x, const int8_t *weights, const int32_t *constants, int8_t *y, int step, int next,
                     int taps, int out_c, int count, int32_t center);
""",
)
