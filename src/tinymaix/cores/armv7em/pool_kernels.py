"""The C of pooling on Armv7E-M: maxima and means of windows, four channels a word.

Windows of up to 3 x 3 are unrolled. Larger ones, and those that the border cuts, are loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tinymaix.cores.armv7em.pointwise import LOAD_4
from tinymaix.cores.armv7em.requantize import SATURATED_S8, WEIGHTED
from tinymaix.cores.finish import LARGER_4
from tinymaix.ops.emit import SMALL, Kernel
from tinymaix.ops.window import Pair

UNROLLED = 3
"""The largest width and height of a window that is unrolled: offsets of so many columns are operands of loads."""


@dataclass(frozen=True)
class Reduction:
    """What becomes of a window, as lines of C: of ``word``, four channels of a tap, and of one channel's ``value``."""

    name: str
    comment: str
    parameters: str  # of the kernel, between ``y`` and the sizes
    arguments: str  # the same names
    start: str
    step: str
    finish: str
    lone_start: str
    lone_step: str
    lone_finish: str
    needs: tuple[Kernel, ...]


def pool_kernel(reduction: Reduction, unrolled: Pair | None, cut: bool) -> Kernel:
    """The kernel for windows of the size ``unrolled``, of any size where that is None. cut: the border may cut some."""
    loops = _loops(reduction) if cut or not unrolled else None
    whole = _unrolled(reduction, unrolled) if unrolled else None
    name = reduction.name + (f"_{unrolled[0]}x{unrolled[1]}" if unrolled else "") + ("_cut" if cut else "")
    window = f"x + ({'top' if cut else 'oy * stride_h'} * in_w + {'left' if cut else 'ox * stride_w'}) * channels"
    given = f"({window}, y{reduction.arguments}, channels"
    row_step = ", in_w * channels"
    calls = [f"{whole.name}{given}{row_step if unrolled and unrolled[0] > 1 else ''});"] if whole else []
    if loops:
        size = "bottom - top, right - left" if cut else "pool_h, pool_w"
        calls += [f"{loops.name}{given}{row_step}, {size});"]
    if len(calls) == 2:
        calls = ["if (bottom - top == pool_h && right - left == pool_w)", f"    {calls[0]}", "else", f"    {calls[1]}"]
    body = "\n".join(f"            {line}" for line in [*(CUT if cut else ()), *calls])
    sizes = "int in_w, int channels, int out_h, int out_w, int stride_h, int stride_w"
    sizes += ", int pool_h, int pool_w" if loops else ""
    sizes += ",\n    int in_h, int pad_top, int pad_left" if cut else ""
    return Kernel(
        name,
        f"""\
/* {reduction.comment} of each window, int8, NHWC{", cut at the border" if cut else ""} */
static __attribute__((noinline)) void {name}(
    const int8_t *x, int8_t *y{reduction.parameters}, {sizes})
{{
    for (int oy = 0; oy < out_h; oy++)
        for (int ox = 0; ox < out_w; ox++, y += channels) {{
{body}
        }}
}}
""",
        tuple(kernel for kernel in (whole, loops) if kernel),
    )


CUT = (
    "int top = oy * stride_h - pad_top, bottom = top + pool_h < in_h ? top + pool_h : in_h;",
    "int left = ox * stride_w - pad_left, right = left + pool_w < in_w ? left + pool_w : in_w;",
    "top = top > 0 ? top : 0;",
    "left = left > 0 ? left : 0;",
)


def _unrolled(reduction: Reduction, size: Pair) -> Kernel:
    """One window: name(window, y, ..., channels, row_step), the latter only where there is a second row."""
    rows = ", ".join(f"*row{i} = window{f' + {i} * row_step' if i else ''}" for i in range(size[0]))
    taps = [f"row{i}{f' + {j} * step' if j else ''}" for i in range(size[0]) for j in range(size[1])]
    steps = [line for tap in taps for line in (f"word = load_4({tap});", reduction.step)]
    lone = [f"value = *({tap});\n{reduction.lone_step}" for tap in taps]
    pointers = [f"row{i}" for i in range(size[0])]
    step = "\n    const int step = channels;" if size[1] > 1 else ""
    name = f"{reduction.name}_window_{size[0]}x{size[1]}"
    return Kernel(
        name,
        f"""\
/* {reduction.comment} of a window of {size[0]} x {size[1]} */
static inline void {name}(
    const int8_t *window, int8_t *y{reduction.parameters}, int channels{", int row_step" if size[0] > 1 else ""})
{{
    const int8_t {rows};{step}
    for (; channels >= 4; channels -= 4, y += 4, {", ".join(f"{row} += 4" for row in pointers)}) {{
        uint32_t word;
        {reduction.start}
        {_lines(steps, 8)}
        {_lines([reduction.finish], 8)}
    }}
    for (; channels > 0; channels--, y++, {", ".join(f"{row}++" for row in pointers)}) {{
        int value;
        {reduction.lone_start}
        {_lines(lone, 8)}
        {reduction.lone_finish}
    }}
}}
""",
        (LOAD_4, *reduction.needs),
    )


def _loops(reduction: Reduction) -> Kernel:
    """One window: name(window, y, ..., channels, row_step, rows, columns)."""
    name = f"{reduction.name}_window"
    return Kernel(
        name,
        f"""\
/* {reduction.comment} of a window of any size */
static SMALL void {name}(
    const int8_t *window, int8_t *y{reduction.parameters}, int channels, int row_step, int rows, int columns)
{{
    const int step = channels;
    for (; channels >= 4; channels -= 4, window += 4, y += 4) {{
        const int8_t *row = window;
        {reduction.start}
        for (int i = rows; i > 0; i--, row += row_step) {{
            const int8_t *tap = row;
            for (int j = columns; j > 0; j--, tap += step) {{
                uint32_t word = load_4(tap);
                {_lines([reduction.step], 16)}
            }}
        }}
        {_lines([reduction.finish], 8)}
    }}
    for (; channels > 0; channels--, window++, y++) {{
        {reduction.lone_start}
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {{
                int value = window[i * row_step + j * step];
                {reduction.lone_step}
            }}
        {reduction.lone_finish}
    }}
}}
""",
        (SMALL, LOAD_4, *reduction.needs),
    )


def _lines(lines: list[str], indent: int) -> str:
    return f"\n{' ' * indent}".join(line for block in lines for line in block.splitlines())


MAXIMUM = Reduction(
    name="max_pool_s8_words",
    comment="The largest value",
    parameters="",
    arguments="",
    start="uint32_t best = UINT32_C(0x80808080);",
    step="best = larger_4(best, word);",
    finish="store_4(y, best);",
    lone_start="int best = -128;",
    lone_step="best = value > best ? value : best;",
    lone_finish="*y = (int8_t)best;",
    needs=(
        LARGER_4,
        Kernel(
            "store_4",
            """\
/* The bytes of a word */
static inline void store_4(int8_t *y, uint32_t word)
{
    y[0] = (int8_t)word;
    y[1] = (int8_t)(word >> 8);
    y[2] = (int8_t)(word >> 16);
    y[3] = (int8_t)(word >> 24);
}
""",
        ),
    ),
)

ADD_BYTES = Kernel(
    "add_bytes",
    """\
/* Adds the first and the third byte to the halves of a sum; add_odd_bytes adds the other two. */
static inline uint32_t add_bytes(uint32_t sum, uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t y;
    __asm__("sxtab16 %0, %1, %2" : "=r"(y) : "r"(sum), "r"(word));
    return y;
#else
    return (uint16_t)(sum + (uint32_t)(int8_t)word) | ((sum >> 16) + (uint32_t)(int8_t)(word >> 16)) << 16;
#endif
}

static inline uint32_t add_odd_bytes(uint32_t sum, uint32_t word)
{
#if defined(__ARM_FEATURE_DSP)
    uint32_t y;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(y) : "r"(sum), "r"(word));
    return y;
#else
    return add_bytes(sum, word >> 8);
#endif
}
""",
)


@cache
def mean_of(shift: int, signed: bool) -> Reduction:
    """Means as `LinearRequant` gives them for sums of up to 256 bytes."""
    suffix = f"{'_signed' if signed else ''}_{shift}"
    given = "multiplier, offset" + (", sign, center" if signed else "")
    names = [("even", ""), ("odd", ""), ("even", "_upper"), ("odd", "_upper")]
    return Reduction(
        name=f"mean_s8{suffix}",
        comment="The mean, requantized,",
        parameters="".join(f", int32_t {name}" for name in given.split(", ")),
        arguments=f", {given}",
        start="uint32_t even = 0, odd = 0;",
        step="even = add_bytes(even, word);\nodd = add_odd_bytes(odd, word);",
        finish="\n".join(f"y[{i}] = weigh{half}{suffix}({sums}, {given});" for i, (sums, half) in enumerate(names)),
        lone_start="int sum = 0;",
        lone_step="sum += value;",
        lone_finish=f"*y = weigh{suffix}((uint32_t)sum, {given});",
        needs=(ADD_BYTES, _weigh("", "b", shift, signed), _weigh("_upper", "t", shift, signed)),
    )


def _weigh(half: str, letter: str, shift: int, signed: bool) -> Kernel:
    """One sum of a pair to int8: weigh_20(sums, multiplier, offset), weigh_upper_signed_20(..., sign, center)."""
    name = f"weigh{half}{'_signed' if signed else ''}_{shift}"
    parameters = "uint32_t sums, int32_t multiplier, int32_t offset" + (", int32_t sign, int32_t center" * signed)
    move = "\n    total += center - (total < 0 ? sign : 0);" if signed else ""
    return Kernel(
        name,
        f"""\
/* The {"upper" if half else "lower"} half of a pair of sums to int8 */
static inline int8_t {name}({parameters})
{{
    int32_t total;
#if defined(__ARM_FEATURE_DSP)
    __asm__("smlaw{letter} %0, %1, %2, %3" : "=r"(total) : "r"(multiplier), "r"(sums), "r"(offset));{move}
    __asm__("ssat %0, #8, %0, asr #{shift}" : "+r"(total));
    return (int8_t)total;
#else
    total = weighted((int16_t)(sums{" >> 16" if half else ""}), multiplier, offset);{move}
    return saturated_s8(total, {shift});
#endif
}}
""",
        (WEIGHTED, SATURATED_S8),
    )
