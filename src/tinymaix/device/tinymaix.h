/* tinymaix.h: load and run a .tmdl model on a microcontroller. The API of TinyMaix; tm_load_n and tm_strerror are new.
 *
 * tm_load_n checks every byte of the file that tm_run will rely on, once; a bad file is an error code, never a crash.
 * Results of int8 models are bit-exact with the reference kernels of TensorFlow Lite Micro. */
#ifndef TINYMAIX_H
#define TINYMAIX_H

#include <stddef.h>
#include <stdint.h>

#define TM_MDL_INT8    0
#define TM_MDL_INT16   1
#define TM_MDL_FP32    2
#define TM_MDL_FP16    3
#define TM_MDL_FP8_143 4
#define TM_MDL_FP8_152 5
#include "tm_port.h"

#if TM_HOSTED
#include <string.h>
#else /* no string.h, but these functions, which compilers themselves call */
#ifdef __cplusplus
extern "C" {
#endif
void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
int memcmp(const void *a, const void *b, size_t n);
#ifdef __cplusplus
}
#endif
#endif

/* Model files are byte arrays that are read as structures: without this, type-based alias analysis may reorder. */
#if defined(__GNUC__)
#define TM_ALIAS __attribute__((may_alias))
#else
#define TM_ALIAS
#endif

/* TM_OPT0: one copy of a function, small rather than fast. TM_ONCE: it has one caller. TM_HELPER: of architecture headers. */
#if TM_OPT_LEVEL >= TM_OPT1
#define TM_SMALL
#define TM_ONCE
#define TM_HELPER TM_INLINE
#else
#if defined(__clang__)
#define TM_SMALL __attribute__((noinline, minsize))
#define TM_ONCE __attribute__((minsize))
#elif defined(__GNUC__)
#define TM_SMALL __attribute__((noinline))
#define TM_ONCE
#else
#define TM_SMALL
#define TM_ONCE
#endif
#ifdef __GNUC__
#define TM_HELPER __attribute__((unused)) static TM_SMALL
#else
#define TM_HELPER static
#endif
#endif

/* Several builds of the library in one firmware, one for each type of model: give each a TM_PREFIX, -DTM_PREFIX=fp32_ */
#ifdef TM_PREFIX
#define TM_JOIN_(a, b) a##b
#define TM_JOIN(a, b) TM_JOIN_(a, b)
#define TM_NAME(name) TM_JOIN(TM_PREFIX, name)
#define tm_load TM_NAME(tm_load)
#define tm_load_n TM_NAME(tm_load_n)
#define tm_unload TM_NAME(tm_unload)
#define tm_preprocess TM_NAME(tm_preprocess)
#define tm_run TM_NAME(tm_run)
#define tm_stat TM_NAME(tm_stat)
#define tm_strerror TM_NAME(tm_strerror)
#define tm_round TM_NAME(tm_round)
#define tm_scale TM_NAME(tm_scale)
#define tml_run TM_NAME(tml_run)
#define tml_check_more TM_NAME(tml_check_more)
#define tml_run_more TM_NAME(tml_run_more)
#define tml_exp TM_NAME(tml_exp)
#if TM_EN_PERF
#define t_conv TM_NAME(t_conv)
#define t_pwconv TM_NAME(t_pwconv)
#define t_dwconv TM_NAME(t_dwconv)
#define t_other TM_NAME(t_other)
#define t_valid TM_NAME(t_valid)
#define t_pad TM_NAME(t_pad)
#define t_sbuf TM_NAME(t_sbuf)
#define t_dotp TM_NAME(t_dotp)
#define t_post TM_NAME(t_post)
#endif
#endif

#include "tm_types.h"

#define TM_ALIGN_SIZE 8
#define TM_ALIGN(addr) ((((size_t)(addr)) + (TM_ALIGN_SIZE - 1)) / TM_ALIGN_SIZE * TM_ALIGN_SIZE)
#define TM_MATP(mat, y, x, ch) ((mat)->data + ((y) * (mat)->w + (x)) * (mat)->c + (ch))

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define TM_MAGIC 0x4D414958u /* "MAIX" as a word */
#else
#define TM_MAGIC 0x5849414Du
#endif

typedef enum {
    TM_OK = 0,
    TM_ERR = 1,
    TM_ERR_MAGIC = 2,     /* not a .tmdl file */
    TM_ERR_UNSUPPORT = 3, /* a feature this build does not have */
    TM_ERR_OOM = 4,       /* the buffer is too small, or malloc failed */
    TM_ERR_LAYERTYPE = 5, /* unknown layer type */
    TM_ERR_DIMS = 6,      /* dimensions are zero, too large, or contradict each other */
    TM_ERR_TODO = 7,
    TM_ERR_MDLTYPE = 8,   /* the file is of another TM_MDL_TYPE */
    TM_ERR_KSIZE = 9,     /* a kernel, stride or dilation of zero */
    /* below: not in TinyMaix */
    TM_ERR_SIZE = 10,     /* the file ends too early, or a layer's size is impossible */
    TM_ERR_OFFSET = 11,   /* weights outside their layer, or a tensor outside the main buffer */
    TM_ERR_ALIGN = 12,    /* model, buffer or a block in the file is not aligned */
    TM_ERR_OVERLAP = 13,  /* a layer would overwrite its own input */
    TM_ERR_ACT = 14,      /* activation that this layer cannot fuse */
    TM_ERR_SCALE = 15,    /* a scale or zero point out of range */
    TM_ERR_ENDIAN = 16,   /* the file has the other byte order */
    TM_ERR_VERSION = 17,  /* reserved header bytes are set: made for a newer version */
    TM_ERR_MAXCNT
} tm_err_t;

typedef enum {
    TML_CONV2D = 0,
    TML_GAP = 1,
    TML_FC = 2,
    TML_SOFTMAX = 3,
    TML_RESHAPE = 4,
    TML_DWCONV2D = 5,
    TML_ADD = 6,
    TML_MAXCNT,
    TML_MORE = 16, /* from here on: not in TinyMaix, see tm_more.c */
    TML_TENSOR = 16, /* names an input or output of a model that has several */
    TML_MAX_POOL,
    TML_AVERAGE_POOL,
    TML_CONCAT,
    TML_PAD,
    TML_SLICE,
    TML_TRANSPOSE,
    TML_RESIZE, /* to the nearest */
    TML_UNARY,
    TML_ADD2, /* activation, broadcast and constant operand, as the next four */
    TML_SUB,
    TML_MUL,
    TML_MINIMUM,
    TML_MAXIMUM,
    TML_MORE_END
} tm_layer_type_t;

typedef enum { /* of TML_UNARY in models of floats; those of int8 bring a table */
    TM_FN_RELU = 0,
    TM_FN_RELU1 = 1,
    TM_FN_RELU6 = 2,
    TM_FN_LEAKY = 3,
    TM_FN_HARD_SWISH = 4,
    TM_FN_SIGMOID = 5,
    TM_FN_TANH = 6,
    TM_FN_MAXCNT
} tm_fn_t;

typedef enum { TM_PAD_VALID = 0, TM_PAD_SAME = 1 } tm_pad_type_t;

typedef enum {
    TM_ACT_NONE = 0,
    TM_ACT_RELU = 1,
    TM_ACT_RELU1 = 2, /* -1..1 */
    TM_ACT_RELU6 = 3,
    TM_ACT_TANH = 4,
    TM_ACT_SIGNBIT = 5,
    TM_ACT_MAXCNT
} tm_act_type_t;

typedef enum {
    TMPP_NONE = 0,       /* use the caller's data as it is */
    TMPP_FP2INT = 1,     /* float real values */
    TMPP_UINT2INT = 2,   /* u8 - 128; may be in place */
    TMPP_UINT2FP01 = 3,  /* u8 / 255, then quantized with the input's scale */
    TMPP_UINT2FPN11 = 4, /* (u8 - 128) / 128, then quantized with the input's scale */
    TMPP_UINT2DTYPE = 5, /* u8 as it is, for models of floats */
    TMPP_MAXCNT
} tm_pp_t;

/* The file: see the .tmdl format. Dims are rank, h, w, c; a lower rank is padded with leading 1s. */
typedef struct TM_ALIAS {
    uint32_t magic;
    uint8_t mdl_type;
    uint8_t out_deq;
    uint16_t input_cnt;
    uint16_t output_cnt;
    uint16_t layer_cnt;
    uint32_t buf_size;
    uint32_t sub_size;
    uint16_t in_dims[4];
    uint16_t out_dims[4];
    uint8_t reserve[28];
} tm_mdlbin_t;

typedef struct TM_ALIAS {
    uint16_t type;
    uint16_t is_out;
    uint32_t size;
    uint32_t in_oft;
    uint32_t out_oft;
    uint16_t in_dims[4];
    uint16_t out_dims[4];
    sctype_t in_s; /* real = scale * (q - zero point) */
    zptype_t in_zp;
    sctype_t out_s;
    zptype_t out_zp;
} tml_head_t;

typedef struct TM_ALIAS {
    tml_head_t h;
    uint8_t kernel_w, kernel_h, stride_w, stride_h, dilation_w, dilation_h;
    uint16_t act;
    uint8_t pad[4]; /* top, bottom, left, right */
    uint32_t depth_mul;
    uint32_t reserve;
    uint32_t ws_oft, w_oft, b_oft;
} tml_conv2d_dw_t;

typedef struct TM_ALIAS {
    tml_head_t h;
    uint32_t ws_oft, w_oft, b_oft;
    uint32_t reserve;
} tml_fc_t;

typedef struct TM_ALIAS {
    tml_head_t h;
    uint32_t in_oft1;
    sctype_t in_s1;
    zptype_t in_zp1;
    uint32_t reserve;
} tml_add_t;

typedef struct TM_ALIAS { tml_head_t h; } tml_gap_t;
typedef struct TM_ALIAS { tml_head_t h; } tml_softmax_t;
typedef struct TM_ALIAS { tml_head_t h; } tml_reshape_t;

typedef struct { /* a tensor in h, w, c order */
    uint16_t dims, h, w, c;
    union {
        mtype_t *data;
        float *dataf;
    };
} tm_mat_t;

struct tm_mdl_s;
/* Called after each layer; anything but TM_OK stops the run and becomes tm_run's result. */
typedef tm_err_t (*tm_cb_t)(struct tm_mdl_s *mdl, tml_head_t *lh);

typedef struct tm_mdl_s {
    tm_mdlbin_t *b;
    tm_cb_t cb;
    uint8_t *buf;        /* main buffer */
    uint8_t *subbuf;     /* TM_SINGLE_LAYER: the file's header and the layer that runs */
    uint16_t main_alloc; /* main buffer comes from tm_malloc */
    uint16_t layer_i;    /* layer that runs */
    uint8_t *layer_body; /* it, in the file */
#if TM_SINGLE_LAYER
    uint8_t *file;
    tml_head_t before; /* of the layer before it */
    uint8_t swapped;   /* the file has the other byte order */
#endif
} tm_mdl_t;

#define TML_GET_INPUT(mdl, lh) ((mtype_t *)((mdl)->buf + (lh)->in_oft))
#define TML_GET_OUTPUT(mdl, lh) ((mtype_t *)((mdl)->buf + (lh)->out_oft))
#define TML_DEQUANT(lh, x) TM_DEQUANT(x, (lh)->out_s, (lh)->out_zp)
#if TM_INTEGER
#define TM_DEQUANT(x, s, zp) ((float)((int32_t)(x) - (zp)) * (s))
#define TM_QUANT(fp32, s, zp) tm_saturate(tm_round((fp32) / (s)) + (zp))
#else
#define TM_DEQUANT(x, s, zp) ((void)(s), (void)(zp), TM_F(x))
#define TM_QUANT(fp32, s, zp) ((void)(s), (void)(zp), TM_STORE(fp32))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* buf: main buffer of buf_size bytes (MDL_BUF_LEN; with TM_SINGLE_LAYER LBUF_LEN more), or NULL: tm_malloc. cb, in: may be
 * NULL.
 * in: receives the input's dimensions and its place in the main buffer.
 * tm_load has to believe the sizes that the file states; give tm_load_n the real ones where the file is not yours. */
tm_err_t tm_load_n(tm_mdl_t *mdl, const uint8_t *bin, uint32_t bin_len, uint8_t *buf, uint32_t buf_len, tm_cb_t cb,
                   tm_mat_t *in);
TM_INLINE tm_err_t tm_load(tm_mdl_t *mdl, const uint8_t *bin, uint8_t *buf, tm_cb_t cb, tm_mat_t *in)
{
    return tm_load_n(mdl, bin, (uint32_t)SIZE_MAX, buf, UINT32_MAX, cb, in);
}
void tm_unload(tm_mdl_t *mdl);
tm_err_t tm_preprocess(tm_mdl_t *mdl, tm_pp_t pp_type, tm_mat_t *in, tm_mat_t *out);
/* out: dimensions and data of the output, in the main buffer; floats (dataf) where the file's out_deq is set.
 * A model of several inputs or outputs takes arrays of in and out. */
tm_err_t tm_run(tm_mdl_t *mdl, tm_mat_t *in, tm_mat_t *out);

#if TM_ENABLE_STAT
tm_err_t tm_stat(tm_mdlbin_t *bin); /* prints a table of the layers */
const char *tm_strerror(tm_err_t err);
#endif

/* Below: for the library and its architecture headers. */
typedef struct { /* x * mult * 2^(shift - 31) */
    int32_t mult;
    int32_t shift;
} tm_scale_t;

typedef struct { /* activation limits; of integers relative to the output's zero point */
#if TM_INTEGER
    int32_t lo, hi;
#else
    float lo, hi;
#endif
} tm_range_t;

typedef struct { /* a layer at work */
    const tml_head_t *h, *prev; /* itself and the layer before it, NULL for the first */
    const uint8_t *g;           /* of a convolution: (w, h) of kernel, stride, dilation; act; pads */
    mtype_t pad;                /* zero point of its input */
    const mtype_t *in;
    uint8_t *buf;
    mtype_t *out;
    tm_scale_t scale; /* from sums to output */
    tm_range_t act;
    int zp;
    const wtype_t *k; /* weights and bias of an output channel, */
    const btype_t *b;
    unsigned n; /* and the number of input channels that it sees */
} tm_job_t;

TM_INLINE uint32_t tm_count(const uint16_t *dims)
{
    return (uint32_t)dims[1] * dims[2] * dims[3];
}

/* Of TM_MORE_LAYERS: input k of a model is what layer k reads; its outputs are what the last layers write, in order. */
#if TM_MORE_LAYERS
#define TM_MORE_VERSION 2u
#define TM_MOST_TENSORS 255u
#define TM_INPUTS(b) ((b)->input_cnt)
#define TM_OUTPUTS(b) ((b)->output_cnt)
#else
#define TM_MORE_VERSION 0u
#define TM_MOST_TENSORS 1u
#define TM_INPUTS(b) 1u
#define TM_OUTPUTS(b) 1u
#endif
#define TML_ACT_MORE(h) (TM_MORE_LAYERS && (h)->type >= TML_MORE ? (int)((const tm_u32_t *)((h) + 1))[3] : 0)

int32_t tm_round(float x);
void tm_scale(tm_scale_t *s, uint32_t a, uint32_t b, uint32_t d);
float tml_exp(float x); /* models of floats */
tm_err_t tml_check_more(const tml_head_t *h, uint32_t room, uint32_t buf_size);
void tml_run_more(tm_job_t *j);
void tml_run(const tml_head_t *h, const tml_head_t *prev, uint8_t *buf);

#ifdef __cplusplus
}
#endif
#endif
