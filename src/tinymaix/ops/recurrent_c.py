"""The C of recurrent layers. A kernel is made for the functions of its gates, so that no other function is linked."""

from __future__ import annotations

from functools import cache

from tinymaix.ops.emit import Kernel

C_FUNCTIONS = {
    "tanh": "tanh_f32",
    "sigmoid": "logistic_f32",
    "relu": "relu_f32",
    "hard_sigmoid": "hard_sigmoid_f32",
    "hard_sigmoid6": "hard_sigmoid6_f32",
    "linear": "linear_f32",
}
"""The C function of (x, y, n) for each function of a gate."""

HARD_SIGMOID6_F32 = Kernel(
    "hard_sigmoid6_f32",
    """\
static void hard_sigmoid6_f32(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        float v = x[i] + 3.0f;
        y[i] = (v < 0.0f ? 0.0f : v > 6.0f ? 6.0f : v) / 6.0f;
    }
}
""",
)

HARD_SIGMOID_F32 = Kernel(
    "hard_sigmoid_f32",
    """\
static void hard_sigmoid_f32(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        float v = x[i] * 0.2f + 0.5f;
        y[i] = v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
    }
}
""",
)

LINEAR_F32 = Kernel(
    "linear_f32",
    """\
static void linear_f32(const float *x, float *y, int n)
{
    memmove(y, x, (size_t)n * sizeof *y);
}
""",
)

GATES_F32 = Kernel(
    "gates_f32",
    """\
/* y = W x + bias for `count` gates; added to what is there where `bias` is NULL. W stands in flash row by row. */
static void gates_f32(const float *x, float *y, const float *weights, const float *bias, int inputs, int count)
{
    for (int g = 0; g < count; g++) {
        float sum = bias ? FLASH_F32(bias + g) : y[g];
        for (int i = 0; i < inputs; i++)
            sum += x[i] * FLASH_F32(weights++);
        y[g] = sum;
    }
}
""",
)


def _kernel(
    name: str, comment: str, states: int, parameters: str, variables: str, step: str, needs: tuple[Kernel, ...]
) -> Kernel:
    """The loops over batches and steps around ``step``, which takes the input at ``row`` and updates ``h``."""
    return Kernel(
        name,
        f"""\
/* {comment} `state` has the {states} x units values of a batch, which begin with zeros unless `keep`; then each batch
 * has its own. `scratch` holds the gates of one step. */
static void {name}(const float *x, float *y, float *state, float *scratch, const float *weights,
    const float *recurrent, const float *bias, {parameters}int batches, int steps, int features, int units, int reverse,
    int sequences, int keep)
{{
{variables}\
    for (int n = 0; n < batches; n++, x += (int32_t)steps * features) {{
        float *h = keep ? state + (int32_t)n * {states} * units : state;
        if (!keep)
            memset(h, 0, (size_t){states} * units * sizeof *h);
        for (int s = 0; s < steps; s++) {{
            int t = reverse ? steps - 1 - s : s;
            const float *row = x + (int32_t)t * features;
{step}\
            if (sequences)
                memcpy(y + (int32_t)t * units, h, (size_t)units * sizeof *h);
        }}
        if (!sequences)
            memcpy(y, h, (size_t)units * sizeof *h);
        y += sequences ? (int32_t)steps * units : units;
    }}
}}
""",
        needs,
    )


@cache
def rnn_kernel(activation: str, needs: tuple[Kernel, ...]) -> Kernel:
    """h = f(W x + U h + b)."""
    return _kernel(
        f"simple_rnn_{activation}_f32",
        "Simple recurrent layer.",
        1,
        "",
        "    float *next = scratch;\n",
        f"""\
            gates_f32(row, next, weights, bias, features, units);
            gates_f32(h, next, recurrent, NULL, units, units);
            {C_FUNCTIONS[activation]}(next, h, units);
""",
        needs,
    )


@cache
def lstm_kernel(activation: str, gate: str, needs: tuple[Kernel, ...]) -> Kernel:
    """c = f * c + i * g, h = o * activation(c)."""
    return _kernel(
        f"lstm_{activation}_{gate}_f32",
        "LSTM, gates in the order i, f, g, o.",
        2,
        "",
        "    float *i = scratch, *f = i + units, *g = f + units, *o = g + units;\n",
        f"""\
            float *c = h + units;
            gates_f32(row, i, weights, bias, features, 4 * units);
            gates_f32(h, i, recurrent, NULL, units, 4 * units);
            {C_FUNCTIONS[gate]}(i, i, 2 * units);
            {C_FUNCTIONS[activation]}(g, g, units);
            {C_FUNCTIONS[gate]}(o, o, units);
            for (int u = 0; u < units; u++)
                c[u] = f[u] * c[u] + i[u] * g[u];
            {C_FUNCTIONS[activation]}(c, h, units);
            for (int u = 0; u < units; u++)
                h[u] *= o[u];
""",
        needs,
    )


@cache
def gru_kernel(activation: str, gate: str, reset_after: bool, needs: tuple[Kernel, ...]) -> Kernel:
    """h = z * h + (1 - z) * candidate."""
    if reset_after:
        candidate = """\
            gates_f32(h, own, recurrent, recurrent_bias, units, 3 * units);
            for (int u = 0; u < 2 * units; u++)
                z[u] += own[u];
            GATE(z, z, 2 * units);
            for (int u = 0; u < units; u++)
                candidate[u] += r[u] * own[2 * units + u];
"""
    else:
        candidate = """\
            gates_f32(h, own, recurrent, recurrent_bias, units, 2 * units);
            for (int u = 0; u < 2 * units; u++)
                z[u] += own[u];
            GATE(z, z, 2 * units);
            for (int u = 0; u < units; u++)
                r[u] *= h[u];
            gates_f32(r, own, recurrent + 2 * (int32_t)units * units, recurrent_bias + 2 * units, units, units);
            for (int u = 0; u < units; u++)
                candidate[u] += own[u];
"""
    return _kernel(
        f"gru_{activation}_{gate}{'' if reset_after else '_before'}_f32",
        f"GRU, gates in the order z, r, candidate; the reset gate multiplies {'after' if reset_after else 'before'} U.",
        1,
        "const float *recurrent_bias, ",
        "    float *z = scratch, *r = z + units, *candidate = r + units, *own = candidate + units;\n",
        "            gates_f32(row, z, weights, bias, features, 3 * units);\n"
        + candidate.replace("GATE", C_FUNCTIONS[gate])
        + f"""\
            {C_FUNCTIONS[activation]}(candidate, candidate, units);
            for (int u = 0; u < units; u++)
                h[u] = z[u] * h[u] + (1.0f - z[u]) * candidate[u];
""",
        needs,
    )
