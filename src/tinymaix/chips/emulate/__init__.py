"""Run firmware without the chip: Cortex-M and RISC-V by unicorn, AVR by simavr, vectors by QEMU, the host by itself."""

from __future__ import annotations

from tinymaix.chips.emulate.machine import Emulation, EmulationError, Machine
from tinymaix.chips.firmware import Firmware

__all__ = ["Emulation", "EmulationError", "Machine", "open_machine"]


def open_machine(firmware: Firmware) -> Machine:
    """A machine that holds the firmware, after start-up. Raises EmulationError where the core cannot be emulated,
    ToolError where the emulator is missing."""
    core = firmware.chip.core
    if core.emulator == "unicorn":
        from tinymaix.chips.emulate.unicorn_ import UnicornMachine

        return UnicornMachine(firmware)
    if core.emulator == "simavr":
        from tinymaix.chips.emulate.simavr import SimavrMachine

        return SimavrMachine(firmware)
    if core.emulator == "qemu":
        from tinymaix.chips.emulate.qemu import QemuMachine

        return QemuMachine(firmware)
    if core.emulator == "host":
        from tinymaix.chips.emulate.host import HostMachine

        return HostMachine(firmware)
    raise EmulationError(f"{firmware.chip.title} cannot be run: its core, {core.title}, has no emulator here.")
