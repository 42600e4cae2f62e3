"""The C of AUDIO_FEATURES: one frame's logarithms, then what each type of output makes of them."""

from __future__ import annotations

from tinymaix.ops.emit import C_TYPES, Kernel
from tinymaix.ops.fft import REAL_FFT
from tinymaix.ops.signal import BIT_LENGTH

LOG2_Q16 = Kernel(
    "log2_q16",
    """\
/* log2(x) with 16 fractional bits, one a step: squaring doubles a logarithm; 0 for 0 */
static int32_t log2_q16(uint64_t x)
{
    if (x == 0)
        return 0;
    int32_t log = bit_length(x) - 1;
    uint32_t mantissa = (uint32_t)(log < 31 ? x << (31 - log) : x >> (log - 31));
    for (int i = 0; i < 16; i++) {
        uint64_t square = (uint64_t)mantissa * mantissa >> 31;
        int high = (int)(square >> 32);
        mantissa = (uint32_t)(square >> high);
        log = 2 * log + high;
    }
    return log;
}
""",
    (BIT_LENGTH,),
)

ROOT_U32 = Kernel(
    "root_u32",
    """\
/* The root of x < 2^62, rounded down, one bit a step */
static uint32_t root_u32(uint64_t x)
{
    uint64_t root = 0;
    int bits = (bit_length(x) - 1) & ~1;
    for (uint64_t bit = x ? UINT64_C(1) << bits : 0; bit; bit >>= 2) {
        uint64_t trial = root + bit;
        root >>= 1;
        if (x >= trial) {
            x -= trial;
            root += bit;
        }
    }
    return (uint32_t)root;
}
""",
    (BIT_LENGTH,),
)

AUDIO_SPECTRUM = Kernel(
    "audio_spectrum",
    """\
/* One frame and the sample before -> n + 1 energies, each in two words of the spectrum: power / 256, or magnitude.
 * Pre-emphasis and window keep values below 2^29. */
static void audio_spectrum(const int16_t *x, const int16_t *weights, const int32_t *twiddles, const int32_t *halves,
                           int32_t *spectrum, int window, int n, int32_t emphasis, int16_t before, int power)
{
    for (int i = 0; i < n; i++) {
        int at = 2 * fft_place(i, n);
        for (int k = at; k < at + 2; k++) {
            int32_t value = 0;
            if (k < window) {
                value = x[k] * INT32_C(32768) - emphasis * (k > 0 ? x[k - 1] : before);
                value = weights ? (int32_t)((int64_t)value * FLASH_I16(weights + k) >> 17) : value >> 2;
            }
            spectrum[2 * i + (k & 1)] = value;
        }
    }
    real_fft_s32(spectrum, twiddles, halves, n);
    for (int k = 0; k <= n; k++) {
        int64_t re = spectrum[2 * k], im = spectrum[2 * k + 1];
        uint64_t energy = (uint64_t)(re * re + im * im);
        energy = power ? energy >> 8 : root_u32(energy);
        spectrum[2 * k] = (int32_t)(uint32_t)energy;
        spectrum[2 * k + 1] = (int32_t)(energy >> 32);
    }
}
""",
    (REAL_FFT[32], ROOT_U32),
)

AUDIO_LOG_MEL = Kernel(
    "audio_log_mel",
    """\
/* Energies -> logarithms of the mel channels in Q16 */
static void audio_log_mel(const int32_t *spectrum, const int16_t *channels, const int16_t *mel, int32_t *logs,
                          int channel_count, uint32_t least)
{
    for (int c = 0; c < channel_count; c++, channels += 2) {
        const int32_t *energy = spectrum + 2 * FLASH_I16(channels);
        uint64_t sum = least;
        for (int width = FLASH_I16(channels + 1); width > 0; width--, energy += 2)
            sum += ((uint64_t)(uint32_t)energy[1] << 32 | (uint32_t)energy[0]) * (uint64_t)FLASH_I16(mel++);
        logs[c] = log2_q16(sum);
    }
}
""",
    (LOG2_Q16,),
)


def _kernel(dtype: str, finish: str) -> Kernel:
    name, kind = f"audio_features_{dtype}", C_TYPES[dtype]
    return Kernel(
        name,
        f"""\
/* Frames of samples -> coefficients: the logarithms times one multiplier each (same), or through a matrix */
static void {name}(const int16_t *x, const int16_t *weights, const int32_t *twiddles,
    const int32_t *halves, const int16_t *channels, const int16_t *mel, const int16_t *matrix, const int64_t *bias,
    int32_t *scratch, {kind} *y, int frames, int window, int hop, int n, int32_t emphasis, int across, int lead,
    int power, uint32_t least, int channel_count, int coefficients, int same, int shift)
{{
    int32_t *logs = scratch + 2 * n + 2;
    x += lead;
    for (int frame = 0; frame < frames; frame++, x += hop) {{
        int16_t before = (int16_t)(across && (lead || frame) ? x[-1] : 0);
        audio_spectrum(x, weights, twiddles, halves, scratch, window, n, emphasis, before, power);
        audio_log_mel(scratch, channels, mel, logs, channel_count, least);
        for (int i = 0; i < coefficients; i++) {{
            int64_t sum = FLASH_I64(bias + i);
            if (same)
                sum += (int64_t)logs[i] * FLASH_I16(matrix);
            else
                for (int c = 0; c < channel_count; c++)
                    sum += (int64_t)logs[c] * FLASH_I16(matrix + i * channel_count + c);
            {finish}
        }}
    }}
}}
""",
        (AUDIO_SPECTRUM, AUDIO_LOG_MEL),
    )


def _saturated(low: int, high: int, kind: str) -> str:
    return f"sum >>= shift;\n            *y++ = ({kind})(sum < {low} ? {low} : sum > {high} ? {high} : sum);"


AUDIO_FEATURES = {
    "int8": _kernel("int8", _saturated(-128, 127, "int8_t")),
    "int16": _kernel("int16", _saturated(-32768, 32767, "int16_t")),
    "float32": _kernel("float32", "*y++ = (float)sum / (float)(INT64_C(1) << shift);"),
}
"""By the type of the output."""
