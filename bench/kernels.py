"""Cycles of public kernels in assembly beside those that their authors measured on real chips.

    python bench/validate_cycles.py --kernels FOLDER

FOLDER holds the checkout "cortexm-AES" of github.com/jnk0le/cortexm-AES, whose doc/aes has the figures. They are of
the files as of the commits that are named here. What is compared is a call, beyond that of a function that does
nothing. The tables of the kernels lie in RAM, as they did on the chips.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.cycles import estimate
from tinymaix.chips.emulate import open_machine

CALLER = """
#include <stddef.h>
#include <stdint.h>
void KERNEL(uint8_t *keys, const uint8_t *in, uint8_t *out, size_t rounds);
__attribute__((noinline)) void nothing(uint8_t *keys, const uint8_t *in, uint8_t *out, size_t rounds) {
    __asm__ volatile("" ::"r"(keys), "r"(in), "r"(out), "r"(rounds) : "memory");
}
int calls = 1;
static uint32_t keys[60], in[4], out[4];
int tm_main(void) {
    for (int i = 0; i < calls; i++) KERNEL((uint8_t *)keys, (const uint8_t *)in, (uint8_t *)out, ROUNDS);
    return (int)out[0];
}
"""


class Kernel(NamedTuple):
    """One measured kernel."""

    chip: str
    """A chip, or a core where nothing waited for memory."""
    family: str
    """Its folder in aes/target."""
    name: str
    rounds: int
    cycles: int
    """As measured."""
    source: str
    """What it was measured on, and the commit of the file."""


ENCRYPT, SCHEDULE = "AES_encrypt", "AES128_keyschedule_enc"
KERNELS = (
    Kernel("cortex-m0", "CM0_FASTMULsBOX", ENCRYPT, 10, 1567, "STM32F0 (05cf5d1)"),
    Kernel("cortex-m0", "CM0_FASTMULsBOX", ENCRYPT, 14, 2195, "STM32F0 (05cf5d1)"),
    Kernel("stm32f030r8", "CM0_FASTMULsBOX", ENCRYPT, 10, 1579, "STM32F0, 1 wait state (05cf5d1)"),
    Kernel("stm32f030r8", "CM0_FASTMULsBOX", ENCRYPT, 14, 2211, "STM32F0, 1 wait state (05cf5d1)"),
    Kernel("cortex-m3", "CM3_1T", ENCRYPT, 10, 627, "STM32F1 (0359498)"),
    Kernel("cortex-m3", "CM3_1T", ENCRYPT, 14, 859, "STM32F1 (0359498)"),
    Kernel("cortex-m3", "CM3_1T", SCHEDULE, 10, 302, "STM32F1 (0e90cb4)"),
    Kernel("stm32f103c8", "CM3_1T", ENCRYPT, 10, 842, "STM32F1, 2 wait states (0359498)"),
    Kernel("stm32f103c8", "CM3_1T", ENCRYPT, 14, 1158, "STM32F1, 2 wait states (0359498)"),
    Kernel("stm32f103c8", "CM3_1T", SCHEDULE, 10, 358, "STM32F1, 2 wait states (0e90cb4)"),
    Kernel("stm32f407vg", "CM3_1T", ENCRYPT, 10, 626, "STM32F4 (0359498)"),
    Kernel("stm32f407vg", "CM3_1T", ENCRYPT, 14, 858, "STM32F4 (0359498)"),
    Kernel("stm32f407vg", "CM3_1T", SCHEDULE, 10, 302, "STM32F4 (0e90cb4)"),
    Kernel("rp2350", "CM33_1T", ENCRYPT, 10, 574, "RP2350 (70ca9a0)"),
    Kernel("rp2350", "CM33_1T", ENCRYPT, 14, 790, "RP2350 (70ca9a0)"),
    Kernel("rp2350", "CM33_1T", SCHEDULE, 10, 271, "RP2350 (300b577)"),
    Kernel("stm32h743zi", "CM7_1T", ENCRYPT, 10, 302, "STM32H7 (19c3c0f; README)"),
    Kernel("stm32h743zi", "CM7_1T", ENCRYPT, 14, 414, "STM32H7 (19c3c0f; README)"),
    Kernel("stm32h743zi", "CM7_1T", SCHEDULE, 10, 139, "STM32H7 (0eacc59)"),
)


def kernels(folder: Path, scratch: Path) -> Iterator[tuple[Kernel, int]]:
    """Each kernel that the checkouts have, with its modelled cycles."""
    root = folder / "cortexm-AES"
    source = root / "aes"
    caller = scratch / "caller.c"
    caller.write_text(CALLER)
    for kernel in KERNELS:
        name = f"{kernel.family}_{kernel.name}"
        code = source / "target" / kernel.family / f"{name}.S"
        if not code.is_file():
            raise SystemExit(f"{code} is missing. Check out github.com/jnk0le/cortexm-AES into {folder}.")
        modelled = _calls(kernel, root, [caller, source / "lookup_tables.c", code], name, scratch)
        yield kernel, modelled - _calls(kernel, root, [caller], "nothing", scratch)


def _calls(kernel: Kernel, root: Path, sources: list[Path], name: str, scratch: Path) -> int:
    """Modelled cycles of the third call, so that what is done once does not count."""
    firmware = build(
        sources,
        find_chip(kernel.chip),
        include=[root],
        toolchain="gcc",
        defines={"KERNEL": name, "ROUNDS": str(kernel.rounds)},
        out_dir=scratch / f"{kernel.chip}-{name}-{kernel.rounds}",
    )
    totals = []
    for calls in (2, 3):
        modelled = estimate(firmware, open_machine(firmware).run({"calls": calls.to_bytes(4, "little")}, {}))
        assert modelled is not None
        totals.append(modelled.cycles)
    return totals[1] - totals[0]
