/* A firmware that recognises a handwritten digit, written against TinyMaix's API alone: it compiles with the original library
 * and with ours, as C99 and as C++. model.h comes from `tinymaix convert`. On a chip, call classify from your main. */
#include "tinymaix.h"

#include "model.h"

#ifndef MODEL_SIDE
#define MODEL_SIDE 28 /* rows and columns of the picture */
#endif

static uint8_t mdl_buf[MDL_BUF_LEN] __attribute__((aligned(8)));
static uint32_t layers_done;

/* Called after each layer; anything but TM_OK would stop the run. */
static tm_err_t layer_cb(tm_mdl_t *mdl, tml_head_t *lh)
{
    (void)mdl;
    (void)lh;
    layers_done++;
    return TM_OK;
}

static int largest(const tm_mat_t *out)
{
    const float *data = out->dataf;
    int i, best = 0;
    for (i = 1; i < (int)out->c; i++)
        if (data[i] > data[best])
            best = i;
    return best;
}

/* The digit on a picture of one byte a pixel, 0 black and 255 white, or -1 - error. */
int classify(const uint8_t *picture);
int classify(const uint8_t *picture)
{
    tm_mdl_t mdl;
    tm_mat_t u8 = {3, MODEL_SIDE, MODEL_SIDE, 1, {NULL}};
    tm_mat_t in = {3, MODEL_SIDE, MODEL_SIDE, 1, {NULL}};
    tm_mat_t outs[1];
    tm_err_t res;
    int digit;

    u8.data = (mtype_t *)(uintptr_t)picture;
    layers_done = 0;
    res = tm_load(&mdl, mdl_data, mdl_buf, layer_cb, &in);
    if (res != TM_OK) {
        TM_PRINTF("tm_load: error %d\n", (int)res);
        return -1 - (int)res;
    }
    res = tm_preprocess(&mdl, TMPP_UINT2INT, &u8, &in);
    if (res == TM_OK)
        res = tm_run(&mdl, &in, outs);
    digit = res == TM_OK ? largest(&outs[0]) : -1 - (int)res;
    tm_unload(&mdl);
    return digit;
}
