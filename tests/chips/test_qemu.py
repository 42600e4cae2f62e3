"""Cores that QEMU emulates: calls, counts, faults and limits as for every other emulator."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.emulate import EmulationError, Machine, open_machine

CORES = ("cortex-m55", "cortex-m85", "cortex-a7", "cortex-a53", "rv64gcv-vlen128", "rv64gcv-vlen256")
SUM = """
#include <stdint.h>
uint8_t bytes[8];
int total = 5, runs;
static int deep(volatile int n) { volatile char room[64]; room[n] = 1; return n ? room[n] + deep(n - 1) : 0; }
int tm_main(void)
{
    runs++;
    for (int i = 0; i < 8; i++)
        total += bytes[i];
    return deep(10) - total;
}
"""


def power_on(source: str, core: str, folder: Path) -> Machine:
    chip = find_chip(core)
    program = (chip.core.model or "").split()[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    path = folder / "main.c"
    path.write_text(source)
    return open_machine(build([path], chip, out_dir=folder, optimize="flash"))


@pytest.mark.parametrize("core", CORES)
def test_calls(core: str, tmp_path: Path) -> None:
    machine = power_on(SUM, core, tmp_path)
    first = machine.run({"bytes": bytes(range(8))}, {"runs": 4, "total": 4})
    second = machine.run({"bytes+4": bytes(4)}, {"runs": 4, "total": 4})
    assert first.result == 10 - 33
    assert second.result == 10 - 39
    assert second.memory == {"runs": b"\2\0\0\0", "total": b"\x27\0\0\0"}
    assert first.instructions == second.instructions
    assert first.instructions is not None
    assert 100 < first.instructions < 2000
    assert first.stack is not None
    assert 64 * 11 < first.stack < 4000
    machine.reset()
    assert machine.run({}, {"runs": 4}).memory["runs"] == b"\1\0\0\0"


@pytest.mark.parametrize("core", ["cortex-m55", "cortex-a53"])
def test_limit(core: str, tmp_path: Path) -> None:
    machine = power_on("volatile int x; int tm_main(void) { for (;;) x++; }", core, tmp_path)
    with pytest.raises(EmulationError, match=r"past its instruction limit at 0x.* \(tm_main"):
        machine.run({}, {}, limit=100000)


def test_a_fault_has_its_place(tmp_path: Path) -> None:
    machine = power_on("int tm_main(void) { return *(volatile int *)16; }", "cortex-a53", tmp_path)
    with pytest.raises(EmulationError, match=r"Cortex-A53 stopped \(.*\(tm_main"):
        machine.run({}, {})
