"""Armv7-M: Cortex-M3, with divide and long multiply, without FPU and SIMD."""

from tinymaix.cores.core import Core

CORES = (
    Core(
        name="cortex-m3",
        family="armv7m",
        title="Arm Cortex-M3",
        clang=("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m3"),
        gcc_prefix="arm-none-eabi-",
        gcc=("-mthumb", "-mcpu=cortex-m3"),
        emulator="unicorn",
        model="UC_CPU_ARM_CORTEX_M3",
        startup=("cortex_m.S", "memory.c"),
        features=frozenset({"mul", "mull", "div", "unaligned"}),
    ),
)
