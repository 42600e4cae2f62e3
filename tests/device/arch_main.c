/* The device library at work on any core: the host writes a model and its input into memory, calls tm_main with a command,
 * and reads the output. Sizes come as macros. */
#include "tinymaix.h"

uint8_t tm_file[FILE_SIZE] __attribute__((aligned(8)));
uint8_t tm_buffer[BUFFER_SIZE] __attribute__((aligned(8)));
uint8_t tm_input[INPUT_SIZE] __attribute__((aligned(8)));
uint8_t tm_output[OUTPUT_SIZE];
uint32_t tm_command[2]; /* 0: load, 1: run; length of the file */

static tm_mdl_t mdl;
static tm_mat_t in;

int tm_main(void)
{
    tm_mat_t out;
    tm_err_t err;
    if (tm_command[0] == 0)
        return (int)tm_load_n(&mdl, tm_file, tm_command[1], tm_buffer, sizeof(tm_buffer), NULL, &in);
    in.data = (mtype_t *)tm_input;
    err = tm_run(&mdl, &in, &out);
    if (err == TM_OK) {
        size_t size = (size_t)out.h * out.w * out.c * (mdl.b->out_deq ? sizeof(float) : sizeof(mtype_t));
        if (size > sizeof(tm_output))
            return TM_ERR_OOM;
        memcpy(tm_output, out.data, size);
    }
    return (int)err;
}
