"""A real FFT in fixed point: numpy and C of the same bits, as KISS FFT computes it with FIXED_POINT 16 or 32.

The real input of 2n values is a complex one of n values. Its transform is made of butterflies of four (and, where n is
no power of four, first of two), decimated in time; each divides by its size first, so the result is the transform
divided by n and no sum can overflow: |(a + b) / 2| <= max(|a|, |b|) for complex numbers, and the parts of a complex
number are no larger than it. That holds for inputs below 1 / sqrt(2) of the type's range; beyond it sums wrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from tinymaix.graph import Array
from tinymaix.ops.emit import Kernel

Complex = tuple[Array, Array]
"""Real and imaginary parts as int64, of values that fit the fixed-point type."""


@dataclass(frozen=True)
class RealFft:
    """``length``: real values, a power of two from 4. ``bits``: 16 or 32, of the values; fractions have one less."""

    length: int
    bits: int

    @property
    def n(self) -> int:
        return self.length // 2

    @property
    def one(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @cached_property
    def twiddles(self) -> Array:
        """exp(-2 pi i k / n) for k < n, as pairs."""
        return self._pairs(-2 * np.pi * np.arange(self.n) / self.n)

    @cached_property
    def halves(self) -> Array:
        """exp(-pi i (k / n + 1/2)) for 1 <= k <= n / 2, as pairs: they take the real transform out of the complex."""
        return self._pairs(-np.pi * (np.arange(1, self.n // 2 + 1) / self.n + 0.5))

    def _pairs(self, phases: Array) -> Array:
        pairs = np.stack([np.cos(phases), np.sin(phases)], axis=1)
        return np.floor(0.5 + self.one * pairs).astype(f"int{self.bits}")

    def transform(self, x: Array) -> Complex:
        """Real values along the last axis -> n + 1 complex ones, divided by ``length``."""
        values = x.astype(np.int64)
        re, im = self._butterflies((values[..., 0::2], values[..., 1::2]), 1)
        re, im = self._divide((re, im), 2)
        first, last = self._wrap(re[..., :1] + im[..., :1]), self._wrap(re[..., :1] - im[..., :1])
        k = np.arange(1, self.n // 2 + 1)
        mirrored = self.n - k
        sums = self._sum((re[..., k], im[..., k]), (re[..., mirrored], -im[..., mirrored]))
        differences = self._sum((re[..., k], im[..., k]), (-re[..., mirrored], im[..., mirrored]))
        turned = self._product(differences, self.halves)
        low = self._half(sums[0] + turned[0]), self._half(sums[1] + turned[1])
        high = self._half(sums[0] - turned[0])[..., ::-1], self._half(turned[1] - sums[1])[..., ::-1]
        zero = np.zeros_like(first)
        middle = low[0][..., :-1], low[1][..., :-1]  # of the two values for n / 2 the mirrored one stands
        return (
            np.concatenate([first, middle[0], high[0], last], axis=-1),
            np.concatenate([zero, middle[1], high[1], zero], axis=-1),
        )

    def _butterflies(self, x: Complex, step: int) -> Complex:
        """The complex transform of values that are ``step`` apart in the whole input."""
        size = x[0].shape[-1]
        if size == 1:
            return x
        radix = 2 if size % 4 else 4
        parts = [self._butterflies((x[0][..., q::radix], x[1][..., q::radix]), step * radix) for q in range(radix)]
        parts = [self._divide(part, radix) for part in parts]
        turns = [np.arange(size // radix) * step * q for q in range(radix)]
        turned = [parts[0]] + [self._product(parts[q], self.twiddles[turns[q]]) for q in range(1, radix)]
        if radix == 2:
            rows = [self._sum(turned[0], turned[1]), self._difference(turned[0], turned[1])]
        else:
            odd, even = self._sum(turned[1], turned[3]), self._sum(turned[0], turned[2])
            side, base = self._difference(turned[1], turned[3]), self._difference(turned[0], turned[2])
            rows = [
                self._sum(even, odd),
                self._sum(base, (side[1], -side[0])),
                self._difference(even, odd),
                self._sum(base, (-side[1], side[0])),
            ]
        return np.concatenate([r for r, _ in rows], axis=-1), np.concatenate([i for _, i in rows], axis=-1)

    def _wrap(self, x: Array) -> Array:
        return x.astype(f"int{self.bits}").astype(np.int64)

    def _round(self, x: Array) -> Array:
        return self._wrap((x + (1 << (self.bits - 2))) >> (self.bits - 1))

    def _half(self, x: Array) -> Array:
        """Half of a sum; C's int holds sums of int16 whole."""
        return (self._wrap(x) if self.bits == 32 else x) >> 1

    def _divide(self, x: Complex, size: int) -> Complex:
        return self._round(x[0] * (self.one // size)), self._round(x[1] * (self.one // size))

    def _sum(self, a: Complex, b: Complex) -> Complex:
        return self._wrap(a[0] + b[0]), self._wrap(a[1] + b[1])

    def _difference(self, a: Complex, b: Complex) -> Complex:
        return self._wrap(a[0] - b[0]), self._wrap(a[1] - b[1])

    def _product(self, a: Complex, pairs: Array) -> Complex:
        re, im = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
        return self._round(a[0] * re - a[1] * im), self._round(a[0] * im + a[1] * re)


@cache
def real_fft(length: int, bits: int) -> RealFft:
    """A `RealFft`, whose tables are computed once."""
    return RealFft(length, bits)


FFT_PLACE = Kernel(
    "fft_place",
    """\
/* Which of n complex inputs stands at a place before the butterflies: its digits to base 4 (last 2) reversed */
static int fft_place(int place, int n)
{
    int index = 0, step = 1;
    while (n > 1) {
        int radix = n % 4 ? 2 : 4;
        n /= radix;
        index += place / n * step;
        place %= n;
        step *= radix;
    }
    return index;
}
""",
)


def _complex(bits: int) -> Kernel:
    name, kind, wide, one = f"fft_s{bits}", f"int{bits}_t", f"int{2 * bits}_t", (1 << (bits - 1)) - 1
    arithmetic = Kernel(
        f"fft_round_s{bits}",
        f"""\
static inline {kind} fft_round_s{bits}({wide} x)
{{
    return ({kind})((x + {1 << (bits - 2)}) >> {bits - 1});
}}

static inline {kind} fft_add_s{bits}({kind} a, {kind} b)
{{
    return ({kind})((u{wide})a + (u{wide})b);
}}

static inline {kind} fft_sub_s{bits}({kind} a, {kind} b)
{{
    return ({kind})((u{wide})a - (u{wide})b);
}}

/* *y = a * b, b a constant */
static inline void fft_mul_s{bits}({kind} *y, const {kind} *a, const {kind} *b)
{{
    {wide} re = FLASH_I{bits}(b), im = FLASH_I{bits}(b + 1);
    {kind} y_re = fft_round_s{bits}(a[0] * re - a[1] * im);
    y[1] = fft_round_s{bits}(a[0] * im + a[1] * re);
    y[0] = y_re;
}}
""",
    )
    return Kernel(
        name,
        f"""\
/* Complex transform of n values in place, divided by n; x is in the order of fft_place */
static void {name}({kind} *x, const {kind} *twiddles, int n)
{{
    int m = 1, ones = 0;
    for (int size = n; size > 1; size /= 2)
        ones ^= 1;
    if (ones) {{
        for ({kind} *a = x; a < x + 2 * n; a += 4) {{
            for (int i = 0; i < 4; i++)
                a[i] = fft_round_s{bits}(({wide})a[i] * {one // 2});
            fft_mul_s{bits}(a + 2, a + 2, twiddles);
            for (int i = 0; i < 2; i++) {{
                {kind} t = a[2 + i];
                a[2 + i] = fft_sub_s{bits}(a[i], t);
                a[i] = fft_add_s{bits}(a[i], t);
            }}
        }}
        m = 2;
    }}
    for (; m < n; m *= 4) {{
        int step = 2 * (n / (4 * m));
        for ({kind} *block = x; block < x + 2 * n; block += 8 * m)
            for (int u = 0; u < m; u++) {{
                {kind} *a = block + 2 * u, *b = a + 2 * m, *c = b + 2 * m, *d = c + 2 * m;
                for (int i = 0; i < 2; i++) {{
                    a[i] = fft_round_s{bits}(({wide})a[i] * {one // 4});
                    b[i] = fft_round_s{bits}(({wide})b[i] * {one // 4});
                    c[i] = fft_round_s{bits}(({wide})c[i] * {one // 4});
                    d[i] = fft_round_s{bits}(({wide})d[i] * {one // 4});
                }}
                fft_mul_s{bits}(b, b, twiddles + step * u);
                fft_mul_s{bits}(c, c, twiddles + 2 * step * u);
                fft_mul_s{bits}(d, d, twiddles + 3 * step * u);
                {kind} odd[2], side[2], even[2], base[2];
                for (int i = 0; i < 2; i++) {{
                    odd[i] = fft_add_s{bits}(b[i], d[i]);
                    side[i] = fft_sub_s{bits}(b[i], d[i]);
                    even[i] = fft_add_s{bits}(a[i], c[i]);
                    base[i] = fft_sub_s{bits}(a[i], c[i]);
                    a[i] = fft_add_s{bits}(even[i], odd[i]);
                    c[i] = fft_sub_s{bits}(even[i], odd[i]);
                }}
                b[0] = fft_add_s{bits}(base[0], side[1]);
                b[1] = fft_sub_s{bits}(base[1], side[0]);
                d[0] = fft_sub_s{bits}(base[0], side[1]);
                d[1] = fft_add_s{bits}(base[1], side[0]);
            }}
    }}
}}
""",
        (arithmetic,),
    )


def _real(bits: int) -> Kernel:
    inner = _complex(bits)
    name, kind, wide, one = f"real_fft_s{bits}", f"int{bits}_t", f"int{2 * bits}_t", (1 << (bits - 1)) - 1

    def half(a: str, sign: str, b: str) -> str:
        if bits == 16:
            return f"({kind})(((int32_t){a} {sign} {b}) >> 1)"
        return f"fft_{'add' if sign == '+' else 'sub'}_s32({a}, {b}) >> 1"

    return Kernel(
        name,
        f"""\
/* Transform of 2n real values, in the order of fft_place as n pairs, in place: n + 1 complex values, divided by 2n */
static void {name}({kind} *x, const {kind} *twiddles, const {kind} *halves, int n)
{{
    {inner.name}(x, twiddles, n);
    for (int i = 0; i < 2 * n; i++)
        x[i] = fft_round_s{bits}(({wide})x[i] * {one // 2});
    {kind} first = x[0];
    x[0] = fft_add_s{bits}(first, x[1]);
    x[2 * n] = fft_sub_s{bits}(first, x[1]);
    x[1] = x[2 * n + 1] = 0;
    for (int k = 1; k <= n / 2; k++, halves += 2) {{
        {kind} *a = x + 2 * k, *b = x + 2 * (n - k);
        {kind} sum[2] = {{fft_add_s{bits}(a[0], b[0]), fft_sub_s{bits}(a[1], b[1])}};
        {kind} turned[2] = {{fft_sub_s{bits}(a[0], b[0]), fft_add_s{bits}(a[1], b[1])}};
        fft_mul_s{bits}(turned, turned, halves);
        a[0] = {half("sum[0]", "+", "turned[0]")};
        a[1] = {half("sum[1]", "+", "turned[1]")};
        b[0] = {half("sum[0]", "-", "turned[0]")};
        b[1] = {half("turned[1]", "-", "sum[1]")};
    }}
}}
""",
        (inner, FFT_PLACE),
    )


REAL_FFT = {bits: _real(bits) for bits in (16, 32)}
"""By bits: the C of `RealFft.transform`."""
