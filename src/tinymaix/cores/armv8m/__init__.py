"""Armv8.1-M: Cortex-M55 and M85 with Helium (MVE). They compile; no emulator here executes Helium."""

from tinymaix.cores.core import Core


def _core(name: str, title: str, clang_cpu: str) -> Core:
    return Core(
        name=name,
        family="armv8m",
        title=title,
        clang=("-target", "thumb-freestanding-eabihf", "-mfloat-abi=hard", f"-mcpu={clang_cpu}"),
        gcc_prefix="arm-none-eabi-",
        gcc=("-mthumb", f"-mcpu={name}", "-mfloat-abi=hard"),
        startup=("cortex_m.S", "memory.c"),
        arena_align=16,
        features=frozenset({"mul", "mull", "div", "unaligned", "dsp", "fpu", "mve"}),
    )


CORES = (
    _core("cortex-m55", "Arm Cortex-M55", "cortex_m55"),
    _core("cortex-m85", "Arm Cortex-M85", "cortex_m85"),
)
