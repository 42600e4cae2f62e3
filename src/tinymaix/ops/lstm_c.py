"""The C of UNIDIRECTIONAL_SEQUENCE_LSTM."""

from __future__ import annotations

from tinymaix.ops.accumulate import DOT_S8
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import CLAMP, REQUANTIZE
from tinymaix.ops.float_math import EXP_F32
from tinymaix.ops.sigmoid16 import LOGISTIC_16, TANH_16

LSTM_GATE_S8 = Kernel(
    "lstm_gate_s8",
    """\
static inline int32_t lstm_gate_s8(int32_t fresh, int32_t past, const int32_t *scales)
{
    fresh = clamp(requantize(fresh, FLASH_I32(scales), (int)FLASH_I32(scales + 1)), -32768, 32767);
    past = clamp(requantize(past, FLASH_I32(scales + 2), (int)FLASH_I32(scales + 3)), -32768, 32767);
    return clamp(fresh + past, -32768, 32767);
}
""",
    (REQUANTIZE, CLAMP),
)

LSTM_S8 = Kernel(
    "lstm_s8",
    """\
/* LSTM, int8 with an int16 cell. Weights [input, forget, update, output][cells][in_c or cells]; the biases already hold
 * the zero points. The new hidden state is the output's row, so the old one is there until the step ends. */
static void lstm_s8(const int8_t *x, int8_t *hidden, int16_t *cell, int8_t *y, const int8_t *weights,
                    const int8_t *recurrent, const int32_t *bias, const int32_t *recurrent_bias,
                    const int32_t *scales, const int16_t *table, int batches, int steps, int in_c, int cells,
                    int batch_step, int time_step, int32_t keep, int keep_shift, int32_t add, int add_shift,
                    int32_t out, int out_shift, int32_t cell_multiplier, int cell_shift, int32_t low, int32_t high,
                    int32_t zero_y)
{
    for (int b = 0; b < batches; b++, hidden += cells, cell += cells)
        for (int step = 0; step < steps; step++) {
            const int8_t *row = x + (b * batch_step + step * time_step) * in_c;
            int8_t *next = y + (b * batch_step + step * time_step) * cells;
            for (int j = 0; j < cells; j++) {
                int32_t gates[4];
                for (int g = 0, at = j; g < 4; g++, at += cells)
                    gates[g] = lstm_gate_s8(
                        dot_s8(FLASH_I32(bias + at), row, weights + at * in_c, in_c),
                        dot_s8(FLASH_I32(recurrent_bias + at), hidden, recurrent + at * cells, cells),
                        scales + 4 * g);
                int32_t kept = requantize(logistic_16(table, gates[1], 3, 0) * cell[j], keep, keep_shift);
                int32_t update = logistic_16(table, gates[0], 3, 0) * tanh_16(table, gates[2], 3, 0);
                int32_t sum = clamp(kept, -32768, 32767) + clamp(requantize(update, add, add_shift), -32768, 32767);
                sum = clamp(clamp(sum, -32768, 32767), low, high);
                cell[j] = (int16_t)sum;
                sum = tanh_16(table, sum, cell_multiplier, cell_shift) * logistic_16(table, gates[3], 3, 0);
                next[j] = (int8_t)clamp(requantize(sum, out, out_shift) + zero_y, -128, 127);
            }
            memcpy(hidden, next, (size_t)cells);
        }
}
""",
    (DOT_S8, LSTM_GATE_S8, LOGISTIC_16, TANH_16),
)

LSTM_GATE_F32 = Kernel(
    "lstm_gate_f32",
    """\
static float lstm_gate_f32(float sum, const float *x, const float *h, const float *weights, const float *recurrent,
                           int in_c, int cells)
{
    float past = 0.0f;
    for (int c = 0; c < in_c; c++)
        sum += x[c] * FLASH_F32(weights + c);
    for (int c = 0; c < cells; c++)
        past += h[c] * FLASH_F32(recurrent + c);
    return sum + past;
}
""",
)

LSTM_F32 = Kernel(
    "lstm_f32",
    """\
/* LSTM, float. Weights [input, forget, update, output][cells][in_c or cells]. */
static void lstm_f32(const float *x, float *hidden, float *cell, float *y, const float *weights,
                     const float *recurrent, const float *bias, int batches, int steps, int in_c, int cells,
                     int batch_step, int time_step, float clip)
{
    for (int b = 0; b < batches; b++, hidden += cells, cell += cells)
        for (int step = 0; step < steps; step++) {
            const float *row = x + (b * batch_step + step * time_step) * in_c;
            float *next = y + (b * batch_step + step * time_step) * cells;
            for (int j = 0; j < cells; j++) {
                float gates[4];
                for (int g = 0, at = j; g < 4; g++, at += cells)
                    gates[g] = lstm_gate_f32(FLASH_F32(bias + at), row, hidden, weights + at * in_c,
                                             recurrent + at * cells, in_c, cells);
                float update = 1.0f - 2.0f / (exp_f32(2.0f * gates[2]) + 1.0f);
                float kept = cell[j] / (1.0f + exp_f32(-gates[1]));
                float sum = kept + update / (1.0f + exp_f32(-gates[0]));
                sum = sum < -clip ? -clip : sum > clip ? clip : sum;
                cell[j] = sum;
                next[j] = (1.0f - 2.0f / (exp_f32(2.0f * sum) + 1.0f)) / (1.0f + exp_f32(-gates[3]));
            }
            memcpy(hidden, next, (size_t)cells * sizeof *hidden);
        }
}
""",
    (LSTM_GATE_F32, EXP_F32),
)
