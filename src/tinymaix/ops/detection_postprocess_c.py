"""The C of TFLITE_DETECTION_POSTPROCESS: the best score that is left, its box decoded, kept where it overlaps none."""

from __future__ import annotations

from tinymaix.ops.emit import C_TYPES, Kernel

EXP_F64 = Kernel(
    "exp_f64",
    """\
#if __SIZEOF_DOUBLE__ != 8
#error "SSD boxes are decoded in double, which this core's compiler has with 32 bits only"
#endif

/* e^x = 2^n * e^r with |r| <= ln(2) / 2 and a Taylor series of order 13 */
static double exp_f64(double x)
{
    x = x < -700.0 ? -700.0 : x > 700.0 ? 700.0 : x;
    int32_t n = (int32_t)(x * 1.4426950408889634 + (x < 0.0 ? -0.5 : 0.5));
    double r = x - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10, p = 1.0;
    for (int k = 13; k > 0; k--)
        p = 1.0 + r * p / k;
    uint64_t bits = (uint64_t)(n + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}
""",
)

DETECTION_OVERLAP = Kernel(
    "detection_overlap_f32",
    """\
static float detection_overlap_f32(const float *a, const float *b)
{
    float area_a = (a[2] - a[0]) * (a[3] - a[1]), area_b = (b[2] - b[0]) * (b[3] - b[1]);
    if (area_a <= 0.0f || area_b <= 0.0f)
        return 0.0f;
    float height = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]);
    float width = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]);
    float common = (height > 0.0f ? height : 0.0f) * (width > 0.0f ? width : 0.0f);
    return common / (area_a + area_b - common);
}

/* The first of the largest values that are not used up (below low); -1 where none is left */
static int32_t detection_next(const float *values, int32_t n, float low)
{
    int32_t best = -1;
    for (int32_t i = 0; i < n; i++)
        if (values[i] >= low && (best < 0 || values[i] > values[best]))
            best = i;
    return best;
}
""",
)


def postprocess_kernel(box: str, score: str) -> Kernel:
    """The kernel for the type of offsets and anchors, and that of scores."""
    name, kind, score_kind = f"detection_postprocess_{box}_{score}", C_TYPES[box], C_TYPES[score]
    anchor = {"float32": "FLASH_F32(anchor + {k})", "int8": "FLASH_I8(anchor + {k})", "uint8": "FLASH_U8(anchor + {k})"}
    load = "((float)({value}) - (float)zero) * scale" if box != "float32" else "{value}"
    decode = Kernel(
        f"detection_decode_{box}",
        f"""\
/* box: first edges, last edges, from offsets (y, x, height, width) and an anchor */
static inline float detection_load_{box}(float value, float scale, int32_t zero)
{{
    (void)scale, (void)zero;
    return {load.format(value="value")};
}}

static void detection_decode_{box}(const {kind} *x, const {kind} *anchor, const float *scales, float *box,
    float box_scale, int32_t box_zero, float anchor_scale, int32_t anchor_zero)
{{
    for (int k = 0; k < 2; k++) {{
        double size = detection_load_{box}({anchor[box].format(k="2 + k")}, anchor_scale, anchor_zero);
        double base = detection_load_{box}({anchor[box].format(k="k")}, anchor_scale, anchor_zero);
        double moved = (double)detection_load_{box}(x[k], box_scale, box_zero) / (double)FLASH_F32(scales + k);
        double grown = (double)detection_load_{box}(x[2 + k], box_scale, box_zero) / (double)FLASH_F32(scales + 2 + k);
        float centre = (float)(moved * size + base), half = (float)(0.5 * exp_f64(grown) * size);
        box[k] = centre - half;
        box[2 + k] = centre + half;
    }}
}}
""",
        (EXP_F64,),
    )
    return Kernel(
        name,
        _SOURCE.format(
            name=name,
            kind=kind,
            score_kind=score_kind,
            box=box,
            real="((float)row[c] - (float)score_zero) * score_scale" if score != "float32" else "row[c]",
            ignored="" if score != "float32" else "    (void)score_scale, (void)score_zero;\n",
        ),
        (decode, DETECTION_OVERLAP),
    )


_SOURCE = """\
/* Rows of the outputs are kept by falling score; values: a score for each box, then the boxes that a class has kept */
static void {name}(const {kind} *x, const {score_kind} *scores, const {kind} *anchors,
    const float *scales, void *values, float *y_boxes, float *y_classes, float *y_scores, float *y_count,
    int32_t boxes, int coordinates, int columns, int classes, int detections, int classes_each, int32_t detections_each,
    int per_class, float threshold, float overlap, float box_scale, int32_t box_zero, float score_scale,
    int32_t score_zero, float anchor_scale, int32_t anchor_zero)
{{
    float *value = (float *)values, *kept_boxes = per_class ? value + boxes : y_boxes;
    int rows = per_class ? detections : detections * classes_each, filled = 0;
    int32_t kept = 0, most = per_class ? detections_each : detections;
{ignored}    scores += columns - classes;
    memset(y_boxes, 0, (size_t)(4 * detections * classes_each) * sizeof *y_boxes);
    memset(y_classes, 0, (size_t)(detections * classes_each) * sizeof *y_classes);
    memset(y_scores, 0, (size_t)(detections * classes_each) * sizeof *y_scores);
    for (int pass = 0; pass < (per_class ? classes : 1); pass++) {{
        int step = per_class ? 4 : 4 * classes_each;
        for (int32_t i = 0; i < boxes; i++) {{
            const {score_kind} *row = scores + i * columns;
            int c = pass;
            for (int k = 1; k < classes && !per_class; k++)
                c = row[k] > row[c] ? k : c;
            value[i] = {real};
        }}
        float low = threshold;
        for (kept = 0; kept < most;) {{
            float box[4];
            int32_t best = detection_next(value, boxes, low), free = 1;
            if (best < 0)
                break;
            float score = value[best];
            value[best] = low - 1.0f - (low < 0.0f ? -low : low);
            detection_decode_{box}(x + best * coordinates, anchors + 4 * best, scales, box, box_scale, box_zero,
                                   anchor_scale, anchor_zero);
            for (int32_t k = 0; k < kept; k++)
                if (detection_overlap_f32(box, kept_boxes + k * step) > overlap)
                    free = 0;
            if (!free)
                continue;
            memcpy(kept_boxes + kept++ * step, box, sizeof box);
            if (per_class) {{
                int at = filled < rows ? filled++ : rows;
                for (; at > 0 && y_scores[at - 1] < score; at--)
                    if (at < rows) {{
                        memcpy(y_boxes + 4 * at, y_boxes + 4 * (at - 1), sizeof box);
                        y_classes[at] = y_classes[at - 1];
                        y_scores[at] = y_scores[at - 1];
                    }}
                if (at < rows) {{
                    memcpy(y_boxes + 4 * at, box, sizeof box);
                    y_classes[at] = (float)pass;
                    y_scores[at] = score;
                }}
                continue;
            }}
            const {score_kind} *row = scores + best * columns;
            for (int rank = 0, last = -1; rank < classes_each; rank++, filled++) {{
                int c = -1;
                for (int k = 0; k < classes; k++) {{
                    int after = last < 0 || row[k] < row[last] || (row[k] == row[last] && k > last);
                    if (after && (c < 0 || row[k] > row[c]))
                        c = k;
                }}
                memcpy(y_boxes + 4 * filled, box, sizeof box);
                y_classes[filled] = (float)c;
                y_scores[filled] = {real};
                last = c;
            }}
        }}
    }}
    *y_count = (float)(per_class ? filled : kept);
}}
"""
