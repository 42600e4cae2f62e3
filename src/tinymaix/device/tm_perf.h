/* tm_perf.h: what the library counts where TM_EN_PERF is 1, part of tm_layers.c. The counters go on from run to run: set
 * them to 0 yourself. To read one: TM_PERF_EXTREG(t_conv) outside of functions, TM_PERF_PRINT(t_conv) in one. */

#if TM_EN_PERF
/* Layers: convolutions, those of 1x1, depthwise ones, all others. Together they are tm_run without its copies. */
TM_PERF_REG(t_conv)
TM_PERF_REG(t_pwconv)
TM_PERF_REG(t_dwconv)
TM_PERF_REG(t_other)
/* Windows inside of the input, and those that reach over its edge: all of their time at TM_OPT0, gathering at TM_OPT1. */
TM_PERF_REG(t_valid)
TM_PERF_REG(t_pad)
/* TM_OPT1: gathering of inputs, products, requantization. */
TM_PERF_REG(t_sbuf)
TM_PERF_REG(t_dotp)
TM_PERF_REG(t_post)

static mtype_t timed_window(const tm_job_t *j, unsigned y, unsigned x) {
    const uint16_t *d = j->h->in_dims;
    const uint8_t *g = j->g;
    const int inside = y < d[1] && x < d[2] && y + g[5] * (g[1] - 1u) < d[1] && x + g[4] * (g[0] - 1u) < d[2];
    uint64_t *sum = inside ? &t_valid : &t_pad;
    uint32_t start, end;
    mtype_t out;
    TM_GET_TICK(start);
    out = window(j, y, x);
    TM_GET_TICK(end);
    *sum += (uint32_t)(end - start);
    return out;
}

static void timed_layer(void (*kernel)(tm_job_t *), tm_job_t *j) {
    const tml_conv2d_dw_t *l = (const tml_conv2d_dw_t *)j->h;
    uint64_t *sum = &t_other;
    uint32_t start, end;
    if (l->h.type == TML_CONV2D)
        sum = l->kernel_w * l->kernel_h == 1 ? &t_pwconv : &t_conv;
    else if (l->h.type == TML_DWCONV2D)
        sum = &t_dwconv;
    TM_GET_TICK(start);
    kernel(j);
    TM_GET_TICK(end);
    *sum += (uint32_t)(end - start);
}
#else
#define timed_window window
#define timed_layer(kernel, j) kernel(j)
#endif
