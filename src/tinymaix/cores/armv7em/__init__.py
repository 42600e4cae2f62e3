"""Armv7E-M and the Cortex-M33, which has the same SIMD instructions: M4, M7, M33, each with a single-precision FPU.

The M7 of some chips also has double precision; nothing here needs it, so one description serves all of them.
Unrolling by -O3 gains nothing, since the loops that matter are assembly, and makes float layers slower by half.
"""

from tinymaix.cores.core import Core

FEATURES = frozenset({"mul", "mull", "div", "unaligned", "dsp", "fpu"})


def _core(name: str, title: str, clang_cpu: str, gcc_cpu: str, fpu: str, model: str) -> Core:
    return Core(
        name=name,
        family="armv7em",
        title=title,
        clang=("-target", "thumb-freestanding-eabihf", "-mfloat-abi=hard", f"-mcpu={clang_cpu}"),
        gcc_prefix="arm-none-eabi-",
        gcc=("-mthumb", f"-mcpu={gcc_cpu}", "-mfloat-abi=hard", f"-mfpu={fpu}"),
        emulator="unicorn",
        model=model,
        startup=("cortex_m.S", "memory.c"),
        features=FEATURES,
        optimize={"speed": "-O2"},
    )


CORES = (
    _core("cortex-m4", "Arm Cortex-M4F", "cortex_m4+vfp4d16sp", "cortex-m4", "fpv4-sp-d16", "UC_CPU_ARM_CORTEX_M4"),
    _core("cortex-m7", "Arm Cortex-M7", "cortex_m7+fp_armv8d16sp", "cortex-m7", "fpv5-sp-d16", "UC_CPU_ARM_CORTEX_M7"),
    _core(
        "cortex-m33",
        "Arm Cortex-M33",
        "cortex_m33+dsp+fp_armv8d16sp",
        "cortex-m33",
        "fpv5-sp-d16",
        "UC_CPU_ARM_CORTEX_M33",
    ),
)
