/* arch_cpu_types.h: what arch_cpu.h has for int8, for the other types of models. */
#if TM_MDL_TYPE == TM_MDL_INT16
/* TFLite's MultiplyByQuantizedMultiplier of 64 bits: the multiplier is cut to 16 bits, and there is one rounding, up. */
TM_INLINE void tm_postprocess_sum(int n, const sumtype_t *sums, const btype_t *bs, tm_range_t act, mtype_t *outp,
                                  const tm_scale_t *scales, zptype_t out_zp) {
    for (; n > 0; n--, scales++) {
        const int32_t mult = scales->mult < 0x7FFF0000 ? (scales->mult + 0x8000) >> 16 : 0x7FFF;
        const int right = scales->shift < 14 ? 15 - (int)scales->shift : 1; /* beyond, everything saturates */
        const int64_t x = ((*sums++ + *bs++) * mult + ((int64_t)1 << (right - 1))) >> right;
        *outp++ = (mtype_t)((x < act.lo ? act.lo : x > act.hi ? act.hi : x) + out_zp);
    }
}
#else
TM_INLINE void tm_postprocess_sum(int n, const sumtype_t *sums, const btype_t *bs, tm_range_t act, mtype_t *outp,
                                  const tm_scale_t *scales, zptype_t out_zp) {
    (void)scales;
    (void)out_zp;
    for (; n > 0; n--) {
        const float x = *sums++ + TM_F(*bs++);
        *outp++ = TM_STORE(x < act.lo ? act.lo : x > act.hi ? act.hi : x);
    }
}
#endif
