/* tm_fixed.h: TFLite's fixed-point arithmetic, in plain C. Part of arch_cpu.h; an architecture may have its own. */

/* a * b / 2^31, halves upwards: gemmlowp's SaturatingRoundingDoublingHighMul, whose division towards zero of a nudged
 * product is the same thing. Not for a = b = INT32_MIN. >> of a negative number is arithmetic on every compiler known. */
TM_HELPER int32_t tm_mulhi(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* x / 2^n, halves away from zero; 0 <= n <= 31. gemmlowp's RoundingDivideByPOT. */
TM_HELPER int32_t tm_rshift(int32_t x, int n) {
    const uint32_t mask = ((uint32_t)1 << n) - 1;
    return (x >> n) + (((uint32_t)x & mask) > (mask >> 1) + (x < 0));
}

/* TFLite's MultiplyByQuantizedMultiplier, with its two roundings. */
TM_HELPER int32_t tm_requant(int32_t x, const tm_scale_t *s) {
    const int left = s->shift > 0 ? (int)s->shift : 0;
    return tm_rshift(tm_mulhi((int32_t)((uint32_t)x << left), s->mult), left - (int)s->shift);
}

TM_INLINE int32_t tm_clamp(int32_t x, tm_range_t r) {
    return x < r.lo ? r.lo : x > r.hi ? r.hi : x;
}
