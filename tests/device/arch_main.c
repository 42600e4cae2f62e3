/* The device library at work on any core: the host writes a model and its input into memory, calls tm_main with a command,
 * and reads the output. Several inputs or outputs lie one behind the other. Sizes come as macros. */
#include "tinymaix.h"

uint8_t tm_file[FILE_SIZE] __attribute__((aligned(8)));
uint8_t tm_buffer[BUFFER_SIZE] __attribute__((aligned(8)));
uint8_t tm_input[INPUT_SIZE] __attribute__((aligned(8)));
uint8_t tm_output[OUTPUT_SIZE];
uint32_t tm_command[2]; /* 0: load, 1: run; length of the file */

#define TENSORS 4
#define COUNT(n) ((n) % 256 ? (n) : (n) / 256) /* of either byte order */

static tm_mdl_t mdl;
static tm_mat_t in[TENSORS];

int tm_main(void)
{
    tm_mat_t out[TENSORS];
    size_t k, used = 0;
    tm_err_t err;
    if (tm_command[0] == 0) {
        const tm_mdlbin_t *b = (const tm_mdlbin_t *)tm_file;
        if (COUNT(b->input_cnt) > TENSORS || COUNT(b->output_cnt) > TENSORS)
            return TM_ERR_UNSUPPORT;
        return (int)tm_load_n(&mdl, tm_file, tm_command[1], tm_buffer, sizeof(tm_buffer), NULL, in);
    }
    for (k = 0; k < mdl.b->input_cnt; k++) {
        in[k].data = (mtype_t *)(tm_input + used);
        used += (size_t)in[k].h * in[k].w * in[k].c * sizeof(mtype_t);
    }
    err = used > sizeof(tm_input) ? TM_ERR_OOM : tm_run(&mdl, in, out);
    for (k = used = 0; err == TM_OK && k < mdl.b->output_cnt; k++) {
        size_t size = (size_t)out[k].h * out[k].w * out[k].c * (mdl.b->out_deq ? sizeof(float) : sizeof(mtype_t));
        if (size > sizeof(tm_output) - used)
            return TM_ERR_OOM;
        memcpy(tm_output + used, out[k].data, size);
        used += size;
    }
    return (int)err;
}
