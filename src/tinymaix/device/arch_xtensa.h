/* arch_xtensa.h: Xtensa, as in ESP8266 and ESP32. What one core has beyond a multiplication of 32 bits, another lacks; so it
 * has the functions of arch_cpu.h, and TM_OPT1 does two MACs with one multiplication. */
#ifndef ARCH_XTENSA_H
#define ARCH_XTENSA_H
#include "tinymaix.h"
#if TM_MDL_TYPE == TM_MDL_INT8
#define TM_TILE 2
#endif
#include "arch_cpu.h"
#endif
