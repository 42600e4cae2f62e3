/* The four functions of string.h that compilers call by themselves, for toolchains without a C library. */
#ifndef TM_STRING_H
#define TM_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *one, const void *other, size_t size);

#endif
