"""Armv6-M: the small Cortex-M cores. No divide, no long multiply, no unaligned access."""

from tinymaix.cores.core import Core


def _core(name: str, title: str, clang_cpu: str, gcc_cpu: str) -> Core:
    return Core(
        name=name,
        family="armv6m",
        title=title,
        clang=("-target", "thumb-freestanding-eabi", f"-mcpu={clang_cpu}"),
        gcc_prefix="arm-none-eabi-",
        gcc=("-mthumb", f"-mcpu={gcc_cpu}"),
        emulator="unicorn",
        model="UC_CPU_ARM_CORTEX_M0",  # the M0+ runs the same instructions
        startup=("cortex_m.S", "memory.c"),
        features=frozenset({"mul"}),
    )


CORES = (
    _core("cortex-m0", "Arm Cortex-M0", "cortex_m0", "cortex-m0"),
    _core("cortex-m0plus", "Arm Cortex-M0+", "cortex_m0plus", "cortex-m0plus"),
)
