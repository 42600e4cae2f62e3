"""Armv8.1-M: Cortex-M55 and M85 with Helium (MVE). QEMU emulates the M55, whose instructions the M85 runs too."""

from tinymaix.cores.core import Core


def _core(name: str, title: str, clang_cpu: str, board: str | None = None) -> Core:
    return Core(
        name=name,
        family="armv8m",
        title=title,
        clang=("-target", "thumb-freestanding-eabihf", "-mfloat-abi=hard", f"-mcpu={clang_cpu}"),
        gcc_prefix="arm-none-eabi-",
        gcc=("-mthumb", f"-mcpu={name}", "-mfloat-abi=hard"),
        emulator="qemu" if board else None,
        model=board,
        startup=("cortex_m.S", "memory.c"),
        memory="mps3.ld",
        arena_align=16,
        features=frozenset({"mul", "mull", "div", "unaligned", "dsp", "fpu", "mve"}),
    )


CORES = (
    _core("cortex-m55", "Arm Cortex-M55", "cortex_m55+mve_fp", "qemu-system-arm -M mps3-an547"),
    _core("cortex-m85", "Arm Cortex-M85", "cortex_m85+mve_fp", "qemu-system-arm -M mps3-an547"),
)
