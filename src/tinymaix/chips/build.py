"""C sources in, firmware for a chip out: the compilers, their flags and the memory map that everything links into.

The linked program is larger in places than a real one may be: the map is roomy so that everything links, and whether
it fits the chip is a comparison of Firmware.flash_total and static_ram with Chip.flash and Chip.ram afterwards.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinymaix.chips.chip import Chip
from tinymaix.chips.firmware import Firmware, read_firmware
from tinymaix.chips.tools import BuildError, ToolError, compile_c, compiler_version, host_cc, package, program, zig_cc
from tinymaix.cores import Core

__all__ = ["OPTIMIZE", "TOOLCHAINS", "BuildError", "Firmware", "ToolError", "build"]

STARTUP = Path(__file__).parent / "startup"
OPTIMIZE = {"speed": "-O3", "balanced": "-O2", "ram": "-Os", "flash": "-Os"}
TOOLCHAINS = ("auto", "clang", "gcc")
COMMON = (
    "-std=c99",
    "-ffunction-sections",
    "-fdata-sections",
    "-ffp-contract=off",
    "-fomit-frame-pointer",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-gdwarf-4",
    "-g1",
)
"""The last two: which line each instruction comes from, which takes no flash."""
AVR_ROOM = {"__TEXT_REGION_LENGTH__": 0x800000, "__DATA_REGION_LENGTH__": 0xFD00, "__stack": 0xFEFF}
"""Linker symbols: the crt of the device, but regions that hold any program, and the stack above the data."""
DEBIAN = {"arm-none-eabi-": "gcc-arm-none-eabi", "riscv64-unknown-elf-": "gcc-riscv64-unknown-elf"}
BARE = ("-isystem", str(STARTUP / "include"), "-Wl,--entry=__tm_reset")
"""No C library: the few functions that compilers call by themselves are in startup/memory.c."""
CLANG = ("-fno-sanitize=all", "-fhosted")
"""zig builds with sanitizers and freestanding (a memcpy of 4 bytes is a call): undone."""
GCC = ("-ffreestanding", "-fbuiltin")
"""gcc needs to be told that there are no headers of a C library, but that memcpy is still memcpy."""


def build(
    sources: Sequence[Path],
    chip: Chip,
    *,
    include: Sequence[Path] = (),
    optimize: str = "balanced",
    toolchain: str = "auto",
    out_dir: Path,
    defines: Mapping[str, str] | None = None,
) -> Firmware:
    """Compile and link C99 sources that define `int tm_main(void)` into firmware.elf (firmware.so for the host).

    optimize: a key of OPTIMIZE. toolchain: "clang" (the ziglang wheel), "gcc" (an installed cross compiler) or "auto".
    Raises ToolError where a tool is missing, BuildError where it refuses, ValueError for an unknown option.
    """
    if optimize not in OPTIMIZE:
        raise ValueError(f'optimize is "{optimize}"; it must be one of {", ".join(OPTIMIZE)}.')
    core = chip.core
    toolchain = _choose(core, toolchain)
    package("elftools")
    macros = [f"-D{name}={value}" if value else f"-D{name}" for name, value in (defines or {}).items()]
    folders = [f"-I{folder}" for folder in include]
    command = [*_command(core, toolchain, optimize), *macros, *folders]
    inputs = [*sources, *(STARTUP / name for name in core.startup)]
    out_dir.mkdir(parents=True, exist_ok=True)
    target = out_dir / ("firmware.so" if core.emulator == "host" else "firmware.elf")
    with tempfile.TemporaryDirectory(dir=out_dir) as scratch:
        fresh = Path(scratch) / target.name
        compile_c([*command, *inputs, *_link(core, toolchain), "-o", fresh], f"for {chip.title}")
        os.replace(fresh, target)
    return read_firmware(target, chip)


def fingerprint(chip: Chip, optimize: str, toolchain: str) -> str:
    """Everything beside the sources that decides what `build` makes: compiler, version, flags, start-up code.

    Raises as `build`.
    """
    core = chip.core
    toolchain = _choose(core, toolchain)
    compiler = _compiler(core, toolchain)
    version = importlib.metadata.version("ziglang") if "ziglang" in compiler else compiler_version(compiler[0])
    startup = [(STARTUP / name).read_text() for name in core.startup]
    return "\n".join([*_command(core, toolchain, optimize), version, *_link(core, toolchain), *startup])


def _choose(core: Core, toolchain: str) -> str:
    if toolchain not in TOOLCHAINS:
        raise ValueError(f'toolchain is "{toolchain}"; it must be one of {", ".join(TOOLCHAINS)}.')
    if not core.buildable:
        raise ToolError(
            f"No compiler for the {core.title} is known here, so its chips can be listed but not built for."
        )
    if toolchain == "clang" and core.clang is None:
        raise ToolError(f'The clang of the ziglang wheel cannot link for {core.title}. Use toolchain "gcc" or "auto".')
    if toolchain == "gcc" and core.gcc_prefix is None:
        raise ToolError(f'No gcc for {core.title} is known. Use toolchain "clang" or "auto".')
    if toolchain == "auto":
        return "host" if core.emulator == "host" else "clang" if core.clang is not None else "gcc"
    return toolchain


def _command(core: Core, toolchain: str, optimize: str) -> list[str]:
    """The compiler with all flags but those of one program."""
    return [*_compiler(core, toolchain), *COMMON, *_optimize(core, toolchain, optimize)]


def _compiler(core: Core, toolchain: str) -> list[str]:
    """The compiler's command with the flags of the core."""
    if toolchain == "host":
        return host_cc()
    if toolchain == "clang":
        return [*zig_cc(), *(core.clang or ()), *CLANG]
    prefix = core.gcc_prefix or ""
    if core.family == "avr":
        return [program(f"{prefix}gcc", "On Debian and Ubuntu: apt-get install gcc-avr avr-libc"), *core.gcc]
    advice = f"On Debian and Ubuntu: apt-get install {DEBIAN.get(prefix, 'gcc')}"
    return [program(f"{prefix}gcc", advice), *core.gcc, *GCC]


def _optimize(core: Core, toolchain: str, optimize: str) -> list[str]:
    """zig turns -O3 into -O2 and -Oz into -Os, so its clang is told once more."""
    flag = core.optimize.get(optimize, OPTIMIZE[optimize])
    if toolchain == "clang" and optimize == "flash":
        flag = "-Oz"  # gcc knows it since version 12 only
    return [flag, "-Xclang", flag] if toolchain == "clang" and flag in ("-O3", "-Oz") else [flag]


def _link(core: Core, toolchain: str) -> list[str]:
    if core.emulator == "host":
        return ["-shared", "-fPIC"]
    if core.family == "avr":
        return ["-Wl,--gc-sections", *(f"-Wl,--defsym,{name}={value:#x}" for name, value in AVR_ROOM.items())]
    script = ["-T", str(STARTUP / core.memory)]
    return ["-Wl,--gc-sections", *BARE, *script, *(["-nostdlib", "-lgcc"] if toolchain == "gcc" else [])]
