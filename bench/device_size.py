"""Code size of the device library (int8, all seven layer types, -Os) beside the original TinyMaix.

Run: ``python bench/device_size.py``. Needs the ziglang package; other compilers are added where they are installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from rich.console import Console
from rich.table import Table

DEVICE = Path(__file__).resolve().parents[1] / "src/tinymaix/device"
CORE = ("tm_model.c", "tm_layers.c")
COUNTED = (*CORE, "arch_cpu.h")
"""The files that TinyMaix counts: 559 lines there."""
PARTS = ("tm_check.h", "tm_fixed.h", "tm_scale.h")
"""What they include for int8 at TM_OPT0, beside declarations."""
ZIG = [sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=all"]


@dataclass(frozen=True)
class Target:
    """A core and the original's bytes of .text there: tm_model.o + tm_layers.o, OPT0, -Os, gcc 12.2."""

    name: str
    clang: tuple[str, ...]
    gcc: tuple[str, ...]
    original: int
    arch: str
    """The header that is fastest there."""


TARGETS = (
    Target(
        "Cortex-M4",
        ("-target", "thumb-freestanding-eabihf", "-mfloat-abi=hard", "-mcpu=cortex_m4+vfp4d16sp"),
        ("-mthumb", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
        3728,
        "ARM_SIMD",
    ),
    Target(
        "Cortex-M0+",
        ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus"),
        ("-mthumb", "-mcpu=cortex-m0plus", "-mfloat-abi=soft"),
        3988,
        "ARM_M0",
    ),
)


def sizes(compiler: list[str], flags: tuple[str, ...], level: tuple[str, ...] = ("-Os",)) -> dict[str, int]:
    """Bytes of each kind of section over the core files."""
    total = {".text": 0, ".rodata": 0, ".data": 0, ".bss": 0}
    with tempfile.TemporaryDirectory() as folder:
        for source in CORE:
            path = Path(folder) / "out.o"
            options = [*level, "-std=c99", "-ffreestanding", "-fbuiltin"]
            subprocess.run([*compiler, *flags, *options, "-c", str(DEVICE / source), "-o", str(path)], check=True)
            with path.open("rb") as file:
                for section in ELFFile(file).iter_sections():
                    kind = "." + section.name.lstrip(".").split(".")[0]
                    if kind in total and not section.name.startswith(".rel"):
                        total[kind] += section.data_size
    return total


def lines(name: str) -> int:
    """Lines of code: neither blank nor comment."""
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match.group().count("\n"), (DEVICE / name).read_text(), flags=re.S)
    return sum(1 for line in text.splitlines() if line.strip())


def main() -> None:
    table = Table(title="Bytes of tm_model.c + tm_layers.c + arch_cpu.h, int8, -Os")
    for column in ("core", "compiler", ".text", "original", "ratio", ".rodata", "static RAM"):
        table.add_column(column, justify="left" if column in ("core", "compiler") else "right")
    gcc = shutil.which("arm-none-eabi-gcc")
    for target in TARGETS:
        compilers = [("clang (ziglang)", ZIG, target.clang)]
        if gcc is not None:
            compilers.append(("arm-none-eabi-gcc", [gcc], target.gcc))
        for name, compiler, flags in compilers:
            found = sizes(compiler, flags)
            text, ram = found[".text"], found[".data"] + found[".bss"]
            ratio = f"{text / target.original:.2f}"
            row = [str(text), str(target.original), ratio, str(found[".rodata"]), str(ram)]
            table.add_row(target.name, name, *row)
    console = Console(width=100)
    console.print(table)
    fast = Table(title="The same with TM_OPT1, -O3, clang. The original: 11.6 KB of .text, 22,468 of static RAM")
    for column in ("core", ".text", "static RAM", "with TM_STATIC empty"):
        fast.add_column(column, justify="left" if column == "core" else "right")
    for target in TARGETS:
        level = ("-O3", "-DTM_OPT_LEVEL=TM_OPT1", f"-DTM_ARCH=TM_ARCH_{target.arch}")
        found, stack = (sizes(ZIG, target.clang, (*level, *more)) for more in ((), ("-DTM_STATIC=",)))
        static = [str(total[".data"] + total[".bss"]) for total in (found, stack)]
        fast.add_row(target.name, str(found[".text"]), *static)
    console.print(fast)
    groups = (
        ("TinyMaix's three files (559 lines there)", COUNTED),
        ("what they include", PARTS),
        ("in all", (*COUNTED, *PARTS)),
    )
    for title, names in groups:
        counts = {name: lines(name) for name in names}
        console.print(f"{title}: {sum(counts.values())} lines of code {counts}", highlight=False)


if __name__ == "__main__":
    main()
