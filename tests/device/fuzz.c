/* Load and run damaged models: argv = a .tmdl, a seed, a number of mutants. Prints how many loaded. With -DFUZZ_ENTRY, the
 * entry points of libFuzzer and AFL++ instead: what to run is their choice, half of the mutations are ours. */
#include "tinymaix.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t state;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

/* A few fields changed, near a layer's head as often as anywhere, to values that are likely to matter; or cut short. */
static size_t mutate(uint8_t *data, size_t size)
{
    static const uint32_t values[] = {0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu};
    uint32_t n = 1 + draw(4), value, at = 0, width, layer;
    for (; n > 0; n--) {
        if (draw(4) == 0) {
            at = draw((uint32_t)size);
        } else {
            for (at = 64, layer = draw(16); layer > 0; layer--) {
                memcpy(&value, data + at + 4, 4);
                if (value < 48 || value > size - at - 48)
                    break;
                at += value;
            }
            at += draw(80);
        }
        width = 1u << draw(3);
        if (at + width > size)
            continue;
        value = draw(2) ? values[draw(sizeof(values) / sizeof(*values))] : draw(0xFFFFFFFFu);
        if (draw(4) == 0)
            data[at] ^= (uint8_t)(1 << draw(8));
        else
            memcpy(data + at, &value, width);
    }
    return draw(20) ? size : draw((uint32_t)size + 1);
}

static tm_err_t callback(tm_mdl_t *mdl, tml_head_t *lh)
{
    (void)mdl;
    return lh->out_dims[3] ? TM_OK : TM_ERR;
}

/* 1 if the file loads. It lives in an allocation of exactly its size, so that a sanitizer sees the first byte too far. */
static int load_and_run(const uint8_t *file, size_t size)
{
    static tm_mat_t in[255], out[255];
    tm_mdl_t mdl;
    uint8_t *exact = (uint8_t *)malloc(size ? size : 1);
    int loaded = 0;
    memcpy(exact, file, size);
    if (tm_load_n(&mdl, exact, (uint32_t)size, NULL, 0, callback, in) == TM_OK) {
        size_t i, k, count;
        volatile uint8_t sink = 0;
        for (k = 0; k < mdl.b->input_cnt; k++) {
            count = (size_t)in[k].h * in[k].w * in[k].c;
            for (i = 0; i < count; i++)
                in[k].data[i] = (mtype_t)draw(256);
        }
        loaded = 1;
        if (tm_run(&mdl, in, out) == TM_OK)
            for (k = 0; k < mdl.b->output_cnt; k++) {
                count = (size_t)out[k].h * out[k].w * out[k].c * (mdl.b->out_deq ? sizeof(float) : sizeof(mtype_t));
                for (i = 0; i < count; i++)
                    sink = (uint8_t)(sink + ((uint8_t *)out[k].data)[i]);
            }
        tm_unload(&mdl);
    }
    free(exact);
    return loaded;
}

#ifdef FUZZ_ENTRY
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    state = seed * 2654435761u + 1;
    return size < 128 || draw(2) ? LLVMFuzzerMutate(data, size, most) : mutate(data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    state = 1;
    load_and_run(data, size);
    return 0;
}
#else
int main(int argc, char **argv)
{
    static uint8_t file[1 << 20], mutant[1 << 20];
    FILE *f = argc == 4 ? fopen(argv[1], "rb") : NULL;
    size_t size = f ? fread(file, 1, sizeof(file), f) : 0;
    long rounds = argc == 4 ? atol(argv[3]) : 0, loaded = 0;
    if (size < 64)
        return 2;
    fclose(f);
    state = (uint32_t)atol(argv[2]) * 2654435761u + 1;
    for (; rounds > 0; rounds--) {
        memcpy(mutant, file, size);
        loaded += load_and_run(mutant, mutate(mutant, size));
    }
    printf("%ld\n", loaded);
    return 0;
}
#endif
