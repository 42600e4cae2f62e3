/* memcpy, memmove, memset and memcmp for toolchains without a C library: small, by words where both ends allow it.
   Compilers call these by themselves; the empty asm keeps them from turning the loops into calls of themselves. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint32_t __attribute__((may_alias)) word;

#define KEEP_LOOP() __asm volatile("")

/* Goes upwards and loads before it stores, so that it also moves to a lower, overlapping place. */
static void *copy_up(void *to, const void *from, size_t size) {
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((((uintptr_t)d | (uintptr_t)s) & 3) == 0) {
        for (; size >= 16; size -= 16, d += 16, s += 16) {
            const word *w = (const word *)s;
            const word w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
            ((word *)d)[0] = w0, ((word *)d)[1] = w1, ((word *)d)[2] = w2, ((word *)d)[3] = w3;
            KEEP_LOOP();
        }
        for (; size >= 4; size -= 4, d += 4, s += 4) {
            *(word *)d = *(const word *)s;
            KEEP_LOOP();
        }
    }
    for (; size; size--) {
        *d++ = *s++;
        KEEP_LOOP();
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) { return copy_up(to, from, size); }

void *memmove(void *to, const void *from, size_t size) {
    uint8_t *d = to;
    const uint8_t *s = from;
    if ((uintptr_t)d - (uintptr_t)s >= size) { /* no overlap, or d below s */
        return copy_up(to, from, size);
    }
    while (size--) {
        d[size] = s[size];
        KEEP_LOOP();
    }
    return to;
}

void *memset(void *to, int value, size_t size) {
    uint8_t *d = to;
    const word pattern = (uint8_t)value * 0x01010101u;
    for (; size && (uintptr_t)d & 3; size--) {
        *d++ = (uint8_t)value;
        KEEP_LOOP();
    }
    for (; size >= 16; size -= 16, d += 16) {
        ((word *)d)[0] = ((word *)d)[1] = ((word *)d)[2] = ((word *)d)[3] = pattern;
        KEEP_LOOP();
    }
    for (; size; size--) {
        *d++ = (uint8_t)value;
        KEEP_LOOP();
    }
    return to;
}

int memcmp(const void *one, const void *other, size_t size) {
    const uint8_t *a = one, *b = other;
    for (; size; size--, a++, b++) {
        if (*a != *b) {
            return *a - *b;
        }
        KEEP_LOOP();
    }
    return 0;
}
