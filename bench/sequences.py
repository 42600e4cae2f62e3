"""Cycles of short sequences of instructions beside those that were measured on real chips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.cycles import estimate
from tinymaix.chips.emulate import open_machine


class Measured(NamedTuple):
    """One sequence."""

    chip: str
    """A chip, or a core where the code ran from memory that answers at once."""
    name: str
    lines: Sequence[str]
    cycles: int
    source: str
    section: str = '.text,"ax"'


JNK0LE = "1 wait state: jnk0le, github.com/cnlohr/rv003usb, issue 5"
MODM = "from RAM: github.com/salkinium/blog, modm-delay"
RAM = '.data.code,"awx"'
"""Of those whose RAM is at 0x20000000; the others have theirs, or another view of it, at 0x10000000 or 0."""
LOOP = ("1: subs r0, #1", "bpl 1b")
SEQUENCES = (
    Measured("ch32v003f4", "10 short nop", ["c.nop"] * 10, 10, JNK0LE),
    Measured("ch32v003f4", "10 long nop", ["nop"] * 10, 20, JNK0LE),
    Measured("ch32v003f4", "2 short, 8 long", ["c.nop"] * 2 + ["nop"] * 8, 18, JNK0LE),
    Measured("ch32v003f4", "5 short, 5 long", ["c.nop"] * 5 + ["nop"] * 5, 16, JNK0LE),
    Measured("ch32v003f4", "short and long in turn", ["c.nop", "nop"] * 5, 16, JNK0LE),
    Measured("ch32v003f4", "10 short loads", ["c.lw a0, 0(a1)"] * 10, 20, JNK0LE),
    Measured("ch32v003f4", "10 long loads", ["lw a0, 0(a1)"] * 10, 20, JNK0LE),
    Measured("cortex-m0", "loop of subs, bpl", LOOP, 4, f"STM32F072, F091 {MODM}"),
    Measured("cortex-m0plus", "loop of subs, bpl", LOOP, 3, f"SAMD21, STM32G071, L031 {MODM}"),
    Measured("cortex-m3", "loop of subs, bpl", LOOP, 4, f"STM32F103, L152 {MODM}", RAM),
    Measured("cortex-m4", "loop of subs, bpl", LOOP, 3, f"STM32F303, F334, G474, L432, L476 {MODM}"),
    Measured("cortex-m4", "loop of subs, bpl", LOOP, 4, f"STM32F401, F411, F429, F446, F469 {MODM}", RAM),
    Measured("cortex-m7", "loop of subs, bpl", LOOP, 1, f"STM32F746 {MODM}"),
)
COPIES, ROUNDS = 40, 256
"""Of a sequence and of a loop: so many that what surrounds them does not count."""
LONG = ".option push\n.option norvc\n{}\n.option pop"


def sequences(scratch: Path) -> Iterator[tuple[Measured, float]]:
    """Each sequence with its modelled cycles."""
    for measured in SEQUENCES:
        chip = find_chip(measured.chip)
        source = scratch / "sequence.S"
        text = (_thumb if measured.lines is LOOP else _riscv)(measured.lines)
        source.write_text(f".section {measured.section}\n{text}")
        firmware = build([source], chip, out_dir=scratch / "sequence")
        modelled = estimate(firmware, open_machine(firmware).run({}, {}))
        assert modelled is not None
        yield measured, modelled.cycles / (ROUNDS if measured.lines is LOOP else COPIES)


def _riscv(lines: Sequence[str]) -> str:
    body = "\n".join(line if line.startswith("c.") else LONG.format(line) for line in list(lines) * COPIES)
    return f".global tm_main\n.type tm_main, @function\n.balign 4\ntm_main: addi a1, sp, -64\n{body}\nret\n"


def _thumb(lines: Sequence[str]) -> str:
    head = ".syntax unified\n.thumb\n.global tm_main\n.type tm_main, %function\n.balign 4\ntm_main: nop\n"
    return "\n".join([f"{head}movs r0, #{ROUNDS - 1}", *lines, "bx lr", ""])
