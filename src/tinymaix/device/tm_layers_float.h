/* tm_layers_float.h: what tm_layers.c has for int8, for models of floats (fp32, fp16, fp8); computed as float. */
#include <float.h>

/* e^x = 2^n e^r with |r| <= ln(2) / 2 and a Taylor series of order 7, within 2 units in the last place; 0 below 2^-126. */
float TM_WEAK tml_exp(float x) {
    float r, p;
    int n;
    if (!(x >= -87.33654f)) return 0.0f;
    if (x > 88.72283f) return tm_float(0x7F800000u);
    n = (int)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
    r = x - (float)n * 0.693145752f - (float)n * 1.42860677e-6f; /* ln(2) in two parts */
    p = ((((1.98412698e-4f * r + 1.38888889e-3f) * r + 8.33333333e-3f) * r + 4.16666667e-2f) * r + 1.66666667e-1f) * r + 0.5f;
    return (p * (r * r) + r + 1.0f) * tm_float((uint32_t)(n + 126) << 23) * 2.0f;
}

static void mean(tm_job_t *j) {
    const tml_head_t *h = j->h;
    const uint32_t pixels = (uint32_t)h->in_dims[1] * h->in_dims[2];
    const unsigned c = h->in_dims[3];
    unsigned k;
    for (k = 0; k < c; k++) {
        const mtype_t *p = j->in + k;
        float sum = 0;
        uint32_t i;
        for (i = pixels; i > 0; i--, p += c)
            sum += TM_F(*p);
        j->out[k] = TM_STORE(sum / (float)pixels);
    }
}

static void add(tm_job_t *j) {
    const tml_add_t *l = (const tml_add_t *)j->h;
    const mtype_t *q = (const mtype_t *)(j->buf + l->in_oft1);
    uint32_t i, n = tm_count(l->h.in_dims);
    for (i = 0; i < n; i++)
        j->out[i] = post(j, TM_F(j->in[i]) + TM_F(q[i]));
}

static void softmax(tm_job_t *j) {
    const unsigned c = j->h->in_dims[3];
    const mtype_t *in = j->in, *end = in + tm_count(j->h->in_dims);
    mtype_t *out = j->out;
    for (; in < end; in += c, out += c) {
        float max = TM_F(in[0]), sum = 0;
        unsigned i;
        for (i = 1; i < c; i++)
            max = TM_F(in[i]) > max ? TM_F(in[i]) : max;
        for (i = 0; i < c; i++)
            sum += tml_exp(TM_F(in[i]) - max);
        for (i = 0; i < c; i++)
            out[i] = TM_STORE(tml_exp(TM_F(in[i]) - max) / sum);
    }
}

static void range(tm_job_t *j, int act) {
    j->act.lo = act == TM_ACT_RELU1 ? -1.0f : act ? 0.0f : -FLT_MAX;
    j->act.hi = act == TM_ACT_RELU1 ? 1.0f : act == TM_ACT_RELU6 ? 6.0f : FLT_MAX;
}
