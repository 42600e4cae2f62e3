/* tm_scale_O1.h: tm_scale.h for TM_OPT1, part of tm_layers.c: one division yields 8 bits. */

void TM_WEAK TM_SMALL tm_scale(tm_scale_t *s, uint32_t a, uint32_t b, uint32_t d)
{
    const uint32_t one = 0x800000;
    const uint64_t n = (uint64_t)(a % one | one) * (b % one | one);
    uint32_t rem = (uint32_t)(n >> 24), rest = (uint32_t)n << 8, mult = 0;
    int i, shift = (int)(a >> 23) + (int)(b >> 23) - (int)(d >> 23) - 95;
    s->mult = s->shift = 0;
    if (a < one || b < one) /* zero, or so small that the result is zero */
        return;
    d = d % one | one;
    if (rem >= d) {
        rem -= d;
        mult = 1;
    }
    for (i = 0; i < 4; i++, rest <<= 8) { /* long division, 8 bits at a time, at last as many as make 31 */
        int k = 8;
        if (i < 3)
            mult <<= 8;
        else
            for (k = 0; mult < (uint32_t)1 << 30; k++)
                mult *= 2;
        rem = rem << k | rest >> 24;
        mult |= rem / d;
        rem %= d;
        shift -= k;
    }
    rem *= 2;
    if ((int32_t)(d - rem) <= (int32_t)(d >> 22) && (int32_t)++mult < 0) {
        mult /= 2;
        shift++;
    }
    if (shift >= -31) {
        s->mult = (int32_t)mult;
        s->shift = shift < 31 ? shift : 31; /* beyond, everything saturates */
    }
}
