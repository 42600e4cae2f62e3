/* tm_stat.c: what a host prints: a table of a model's layers, and errors as sentences. Empty unless TM_ENABLE_STAT. */
#include "tinymaix.h"

#if TM_ENABLE_STAT

tm_err_t tm_stat(tm_mdlbin_t *b)
{
    static const char *const types[] = {"int8", "int16", "fp32", "fp16", "fp8 1.4.3", "fp8 1.5.2"};
    static const char *const layers[TML_MAXCNT] = {"Conv2D", "GAP", "FC", "Softmax", "Reshape", "DWConv2D", "ADD"};
    static const uint8_t heads[TML_MAXCNT] = {
        sizeof(tml_conv2d_dw_t), sizeof(tml_gap_t),       sizeof(tml_fc_t), sizeof(tml_softmax_t),
        sizeof(tml_reshape_t),   sizeof(tml_conv2d_dw_t), sizeof(tml_add_t)};
    static const char *const more[TML_MORE_END - TML_MORE] = {
        "Tensor", "MaxPool", "AvgPool", "Concat", "Pad", "Slice", "Transpose",
        "Resize", "Unary",   "ADD",     "SUB",    "MUL", "Min",   "Max"};
    const tml_head_t *h = (const tml_head_t *)(b + 1);
    const uint16_t *d = b->in_dims;
    unsigned long params = 0, ops = 0;
    unsigned i;
    if (b->mdl_type >= sizeof(types) / sizeof(*types))
        return TM_ERR_MDLTYPE;
    TM_PRINTF("================================ model stat ================================\n");
    TM_PRINTF("mdl_type=%d (%s)\nout_deq=%d\n", b->mdl_type, types[b->mdl_type], b->out_deq);
    TM_PRINTF("input_cnt=%d, output_cnt=%d, layer_cnt=%d\n", b->input_cnt, b->output_cnt, b->layer_cnt);
    TM_PRINTF("input %ddims: (%d, %d, %d)\n", d[0], d[1], d[2], d[3]);
    TM_PRINTF("output %ddims: (%d, %d, %d)\n", b->out_dims[0], b->out_dims[1], b->out_dims[2], b->out_dims[3]);
    TM_PRINTF("main buf size %lu; sub buf size %lu\n", (unsigned long)b->buf_size, (unsigned long)b->sub_size);
    TM_PRINTF("//Note: PARAM is layer param size, include align padding\n\n");
    TM_PRINTF("Idx\tLayer\t         outshape\tinoft\toutoft\tPARAM\tMEMOUT OPS\n");
    TM_PRINTF("---\tInput    \t%3d,%3d,%3d\t-   \t0    \t0 \t%lu \t0\n", d[1], d[2], d[3], (unsigned long)tm_count(d));
    for (i = 0; i < b->layer_cnt; i++, h = (const tml_head_t *)((const uint8_t *)h + h->size)) {
        const tml_conv2d_dw_t *l = (const tml_conv2d_dw_t *)h;
        const unsigned long out = tm_count(h->out_dims), taps = (unsigned long)l->kernel_w * l->kernel_h;
        unsigned long param, op = out;
        const unsigned is_more = h->type >= TML_MORE, head = is_more ? sizeof(*h) : heads[h->type % TML_MAXCNT];
        if (is_more ? h->type >= TML_MORE_END : h->type >= TML_MAXCNT)
            return TM_ERR_LAYERTYPE;
        if (h->size < head)
            return TM_ERR_SIZE;
        if (h->type == TML_CONV2D || h->type == TML_DWCONV2D) /* MACs */
            op = out * taps * (h->type == TML_CONV2D ? h->in_dims[3] : 1);
        else if (h->type == TML_FC)
            op = out * tm_count(h->in_dims);
        else if (h->type == TML_GAP) /* additions */
            op = tm_count(h->in_dims);
        else if (h->type == TML_SOFTMAX) /* various */
            op = 6 * out;
        else if (h->type == TML_RESHAPE)
            op = 0;
        param = h->size - head;
        params += param;
        ops += op;
        TM_PRINTF("%03u\t%s      \t%3d,%3d,%3d\t%lu\t%lu\t%lu\t%lu\t%lu\n", i, is_more ? more[h->type - TML_MORE] : layers[h->type], h->out_dims[1],
                  h->out_dims[2], h->out_dims[3], (unsigned long)h->in_oft, (unsigned long)h->out_oft, param, out, op);
    }
    TM_PRINTF("\nTotal param %lu B, OPS %lu, buffer %lu B\n\n", params, ops, (unsigned long)b->buf_size);
    return TM_OK;
}

const char *tm_strerror(tm_err_t err)
{
    static const char *const text[TM_ERR_MAXCNT] = {
        "no error",
        "error",
        "this is not a .tmdl file: it does not begin with MAIX",
        "the model needs what this build has not: several inputs or outputs, a function, or a conversion of input",
        "the main buffer is smaller than the model's buf_size, or malloc failed",
        "a layer has a type that this build does not know; TM_MORE_LAYERS has more of them",
        "dimensions are zero, too large, or contradict each other",
        "not written yet",
        "the model's type is not the TM_MDL_TYPE of this build",
        "a kernel, stride or dilation is zero",
        "the file ends too early, or a layer's size is impossible: copy the file again",
        "weights lie outside their layer, or a tensor outside the main buffer",
        "the model, the main buffer or a block in the file is not aligned to 4 bytes",
        "a layer would overwrite its own input",
        "the activation is not none, relu, relu1 or relu6",
        "a scale or zero point is out of range",
        "the file has the other byte order: convert it for this machine, or build with TM_SINGLE_LAYER",
        "the file was made for a newer version of the library, or for one with TM_MORE_LAYERS",
    };
    return (unsigned)err < TM_ERR_MAXCNT ? text[err] : "unknown error";
}

#endif
