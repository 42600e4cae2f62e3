"""What a processor core is to this project: how to compile for it and how to run what was compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Core:
    """One processor core. A chip is a core with memory, a clock and a name."""

    name: str
    """How chips.toml and users call it, e.g. "cortex-m4"."""
    family: str
    """The folder under cores/ that describes it, e.g. "armv7em"."""
    title: str
    """For reports, e.g. "Arm Cortex-M4F"."""
    clang: tuple[str, ...] | None = None
    """Target flags for the clang of the ziglang wheel; None where that clang cannot link for the core."""
    gcc_prefix: str | None = None
    """What stands before "gcc" in the cross compiler's name, e.g. "arm-none-eabi-"; "" is the system's own compiler."""
    gcc: tuple[str, ...] = ()
    """Target flags for that gcc."""
    emulator: str | None = None
    """"unicorn", "simavr", "qemu" or "host"; None where the core cannot be emulated."""
    model: str | None = None
    """The emulator's name for the core: a constant of unicorn, a device of simavr and avr-libc, a command of QEMU."""
    startup: tuple[str, ...] = ()
    """The files under chips/startup/ that are linked in and run before tm_main."""
    memory: str = "memory.ld"
    """The memory map under chips/startup/, where there is no C library."""
    bits: int = 32
    """Width of a general register."""
    int_bytes: int = 4
    pointer_bytes: int = 4
    arena_align: int = 8
    """Alignment in bytes that makes every load of the core's kernels legal and fast."""
    features: frozenset[str] = frozenset()
    """What kernels ask for: "fpu" (single precision), "dsp" (Armv7E-M SIMD), "mul" (hardware multiply),
    "div" (hardware divide), "mull" (32 x 32 -> 64 multiply), "unaligned" (unaligned word loads),
    "progmem" (constants in flash need special loads), "mve" (Helium)."""

    optimize: Mapping[str, str] = field(default_factory=dict)
    """The compiler's flag for an --optimize where another than the usual one serves the core better."""

    @property
    def progmem(self) -> bool:
        """Whether constants must be placed and read with PROGMEM and pgm_read to stay out of RAM."""
        return "progmem" in self.features

    @property
    def buildable(self) -> bool:
        """Whether a toolchain for the core is known."""
        return self.clang is not None or self.gcc_prefix is not None
