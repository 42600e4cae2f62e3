"""Cortex-M and RISC-V by the unicorn wheel: exact instruction counts, peak stack, and faults with their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinymaix.chips.chip import FlashPath
from tinymaix.chips.emulate.counter import UNALIGNED, BlockCounter
from tinymaix.chips.emulate.machine import Emulation, EmulationError, Part, Parts, check_entry, locate
from tinymaix.chips.firmware import Firmware, load_image
from tinymaix.chips.tools import package
from tinymaix.chips.trace import Code

REGIONS = ((0x08000000, 64 << 20), (0x20000000, 64 << 20), (0x30000000, 1 << 20))
"""Flash, RAM and stack of chips/startup/memory.ld."""
SYSTEM_CONTROL = (0xE000E000, 0x1000)
"""The page of Cortex-M that holds CPACR, which start-up writes to turn the FPU on."""
PAINT = b"\xa5"
DATA_ABORT = 4
"""Unicorn's number of the exception of an Armv6-M core that accesses a word that is not aligned."""


class UnicornMachine:
    """See Machine."""

    def __init__(self, firmware: Firmware) -> None:
        check_entry(firmware)
        self._unicorn = package("unicorn")
        self._firmware = firmware
        self._thumb = firmware.chip.core.family.startswith("armv")
        self._flash = Code(firmware.elf).flash
        self.reset()

    def reset(self) -> None:
        """See Machine."""
        self._engine = self._power_on()
        strict = "unaligned" not in self._firmware.chip.core.features
        self._counter = BlockCounter(self._engine, thumb=self._thumb, strict=strict)
        symbols = self._firmware.symbols
        self._stack, self._top = symbols["__tm_stack"][0], symbols["__tm_stack_top"][0]
        self._engine.reg_write(self._register("SP"), self._top)
        self._execute(symbols["__tm_reset"][0], symbols["__tm_call"][0])

    def run(
        self,
        writes: Mapping[str, bytes],
        reads: Mapping[str, int],
        *,
        count: bool = True,
        limit: int | None = None,
        parts: Parts | None = None,
        paths: Sequence[FlashPath] | None = None,
    ) -> Emulation:
        """See Machine."""
        engine, firmware = self._engine, self._firmware
        for place, data in writes.items():
            engine.mem_write(locate(firmware, place, len(data)), bytes(data))
        halt = firmware.symbols["__tm_halt"][0]
        engine.reg_write(self._register("SP"), self._top)
        engine.reg_write(self._register("LR" if self._thumb else "RA"), halt | self._thumb)
        engine.mem_write(self._stack, PAINT * (self._top - self._stack))
        own = firmware.chip.flash_path
        if count:
            self._counter.watch_flash(self._flash, paths if paths is not None else [own] if own else [])
        if count or limit is not None:
            self._counter.start(limit, parts)
        else:
            self._counter.detach()
        self._execute(firmware.symbols["tm_main"][0], halt)
        whole, shares = self._counter.figures() if count else (Part(), {})
        return Emulation(
            instructions=whole.instructions if count else None,
            cycles=None,
            stack=len(bytes(engine.mem_read(self._stack, self._top - self._stack)).lstrip(PAINT)),
            result=self._result(),
            memory={
                place: bytes(engine.mem_read(locate(firmware, place, size), size)) for place, size in reads.items()
            },
            blocks=whole.blocks,
            edges=whole.edges,
            missed=whole.missed,
            parts=shares if parts else {},
        )

    def _power_on(self) -> Any:
        """An engine with the firmware in flash."""
        unicorn, core = self._unicorn, self._firmware.chip.core
        if self._thumb:
            models = package("unicorn.arm_const")
            # UC_MODE_MCLASS would make a Cortex-M33 of every model: without it the model decides what faults.
            architecture, mode = unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB
        else:
            models = package("unicorn.riscv_const")
            architecture = unicorn.UC_ARCH_RISCV
            mode = unicorn.UC_MODE_RISCV64 if core.bits == 64 else unicorn.UC_MODE_RISCV32
        engine = unicorn.Uc(architecture, mode, getattr(models, core.model or ""))
        if self._thumb:
            engine.mem_map(*SYSTEM_CONTROL)
        flash, ram, stack = REGIONS
        engine.mem_map(*flash, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        engine.mem_map(*ram, unicorn.UC_PROT_ALL)  # code may have been copied there
        engine.mem_map(*stack, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for address, data in load_image(self._firmware):
            engine.mem_write(address, data)
        engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._note_fault)
        if self._thumb:  # of RISC-V's, unicorn itself stops at those that nobody serves
            engine.hook_add(unicorn.UC_HOOK_INTR, self._note_exception)
        return engine

    def _register(self, name: str) -> int:
        module, prefix = ("arm_const", "UC_ARM_REG_") if self._thumb else ("riscv_const", "UC_RISCV_REG_")
        return int(getattr(package(f"unicorn.{module}"), prefix + name))

    def _result(self) -> int:
        value = int(self._engine.reg_read(self._register("R0" if self._thumb else "A0"))) & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def _note_fault(self, engine: Any, access: int, address: int, size: int, value: int, data: Any) -> bool:
        self._fault = f" while it accessed {size} bytes at {address:#x}"
        return False

    def _note_exception(self, engine: Any, number: int, data: Any) -> None:
        self._exception = UNALIGNED if number == DATA_ABORT else f"raised exception {number}, which is not emulated,"
        engine.emu_stop()

    def _execute(self, begin: int, until: int) -> None:
        """Run from one address until another is reached. Raises EmulationError."""
        program_counter = self._register("PC")
        problem = self._fault = self._exception = ""
        try:
            self._engine.emu_start(begin | self._thumb, until)
        except self._unicorn.UcError as error:
            problem = f"stopped{self._fault} ({error})"
        at = self._engine.reg_read(program_counter) & ~1
        problem = self._counter.problem or self._exception or problem
        if problem or at != until:
            where = f"{at:#x} ({self._firmware.nearest(at)})"
            raise EmulationError(f"The emulated {self._firmware.chip.title} {problem or 'stopped'} at {where}.")
