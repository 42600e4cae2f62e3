"""SMAQA of T-Head's E907, which no emulator knows: the hook for exceptions executes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.device.arch import Device, Target, shipped
from tests.device.runtime import Library
from tests.device.test_arch_port import ROOM, check
from tinymaix.chips.tools import package

SMAQA, MASK = 0xC8000077, 0xFE00707F
ILLEGAL = 2
"""The exception of an illegal instruction."""


def smaqa(total: int, a: int, b: int) -> int:
    """rd + the sum of four products of signed bytes, of draft 0.9.4 of the P extension, section "SMAQA"."""
    x, y = (np.array([word], np.uint32).view(np.int8).astype(int) for word in (a, b))
    return int(total + int((x * y).sum())) % 2**32


TARGET = Target("rv32imc", "RV32P", room=ROOM)


def machine_with_smaqa(folder: Path, target: Target = TARGET) -> tuple[Device, list[int]]:
    """A device that knows SMAQA, and a list with the number of them executed."""
    device = Device(target, folder)
    engine: Any = device.machine._engine  # type: ignore[attr-defined]
    registers, executed = package("unicorn.riscv_const"), [0]

    def execute(engine: Any, number: int, data: Any) -> None:
        at = engine.reg_read(registers.UC_RISCV_REG_PC) - 4  # unicorn is past it, and goes on there
        word = int.from_bytes(engine.mem_read(at, 4), "little")
        if number != ILLEGAL or word & MASK != SMAQA:
            raise AssertionError(f"exception {number} at {at:#x}")
        rd, rs1, rs2 = (registers.UC_RISCV_REG_X0 + (word >> shift & 31) for shift in (7, 15, 20))
        total = smaqa(*(engine.reg_read(register) & 0xFFFFFFFF for register in (rd, rs1, rs2)))
        engine.reg_write(rd, total)
        executed[0] += 1

    engine.hook_add(package("unicorn").UC_HOOK_INTR, execute)
    return device, executed


def test_golden(tmp_path: Path) -> None:
    device, executed = machine_with_smaqa(tmp_path)
    for path in shipped(most=3000):
        device.check(path, 1)
    assert executed[0] > 0


def test_random_layers(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    device, executed = machine_with_smaqa(tmp_path)
    plain = Library(tmp_path_factory.mktemp("plain"), ["-DTM_OPT_LEVEL=TM_OPT0"])
    check(device, plain, 8)
    assert executed[0] > 1000
