/* tm_scale.h: from three scales of a file to an integer multiplier, part of tm_layers.c. */

/* s = a * b / d as a Q31 multiplier and a shift, from the bits of three floats, with the result of TFLite's
 * QuantizeMultiplier. That computes in double: a * b is exact, the quotient is rounded to 53 bits (halves to even), then
 * to 31 bits (halves away from zero). Here the 31-bit quotient is found with its remainder; both roundings together go
 * up, where one would not, if the quotient lies up to 2^-23 units below a half: d - 2 rem <= d / 2^22. */
void TM_WEAK TM_SMALL tm_scale(tm_scale_t *s, uint32_t a, uint32_t b, uint32_t d) {
    const uint32_t one = 0x800000;
    const uint64_t n = (uint64_t)(a % one | one) * (b % one | one);
    uint32_t rem = (uint32_t)(n >> 24), rest = (uint32_t)n << 8, mult = 0;
    int shift = (int)(a >> 23) + (int)(b >> 23) - (int)(d >> 23) - 95;
    s->mult = s->shift = 0;
    if (a < one || b < one) return; /* zero, or so small that the result is zero */
    for (d = d % one | one;; shift--) { /* long division, until there are 31 bits */
        mult *= 2;
        if (rem >= d)
            rem -= d, mult++;
        rem *= 2;
        if (mult >> 30)
            break;
        rem |= rest >> 31;
        rest *= 2;
    }
    if ((int32_t)(d - rem) <= (int32_t)(d >> 22) && (int32_t)++mult < 0) {
        mult /= 2;
        shift++;
    }
    if (shift < -31) return;
    s->mult = (int32_t)mult;
    s->shift = shift < 31 ? shift : 31; /* beyond, everything saturates */
}
