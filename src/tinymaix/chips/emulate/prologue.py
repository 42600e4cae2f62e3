"""How deep a block of code pushes the stack pointer: the stack is only looked at between blocks."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from tinymaix.chips.tools import package


@cache
def _disassembler(machine: str, bits: int) -> Any:
    capstone = package("capstone")
    if machine == "arm":
        mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8
        return capstone.Cs(capstone.CS_ARCH_ARM, mode)
    mode = capstone.CS_MODE_RISCV64 if bits == 64 else capstone.CS_MODE_RISCV32
    return capstone.Cs(capstone.CS_ARCH_RISCV, mode | capstone.CS_MODE_RISCVC)


@lru_cache(maxsize=1 << 16)
def deepest(machine: str, bits: int, code: bytes) -> int:
    """Bytes by which a block moves the stack pointer down at most, from where it began."""
    change = lowest = 0
    for _, _, name, operands in _disassembler(machine, bits).disasm_lite(code, 0):
        change += _arm(name, operands) if machine == "arm" else _riscv(name, operands)
        lowest = min(lowest, change)
    return -lowest


def _arm(name: str, operands: str) -> int:
    """Bytes that are added to the stack pointer."""
    base, list_ = name.removesuffix(".w"), operands
    if base in ("push", "vpush", "stmdb") and (base != "stmdb" or operands.startswith("sp!")):
        return -_registers(list_)
    if base in ("pop", "vpop"):
        return _registers(list_)
    if base in ("sub", "subw", "add", "addw") and operands.startswith("sp, ") and "#" in operands:
        number = int(operands.rsplit("#", 1)[1], 0)
        return -number if base.startswith("sub") else number
    if operands.endswith("!") and "[sp, #-" in operands:
        return int(operands[operands.index("#") + 1 : operands.index("]")], 0)
    return 0


def _registers(operands: str) -> int:
    """Bytes of the registers in a list."""
    names = operands[operands.index("{") + 1 : operands.index("}")].split(", ")
    total = 0
    for name in names:
        size = 8 if name.startswith("d") else 4
        first, _, last = name.partition("-")
        total += size * (int(last[1:]) - int(first[1:]) + 1 if last else 1)
    return total


def _riscv(name: str, operands: str) -> int:
    if name in ("addi", "c.addi", "c.addi16sp", "c.add") and operands.startswith("sp, "):
        number = operands.split(", ")[-1]
        source = operands.split(", ")[1:-1]
        return int(number, 0) if number.lstrip("-")[:1].isdigit() and source in ([], ["sp"]) else 0
    return 0
