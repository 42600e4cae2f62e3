"""Cores that unicorn lacks, by QEMU: Helium on the board mps3-an547, NEON and RISC-V's vectors as programs of Linux.

QEMU stops before the first instruction and is then led by its GDB stub; a plugin counts instructions exactly.
"""

from __future__ import annotations

import mmap
import shutil
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinymaix.chips.chip import FlashPath
from tinymaix.chips.emulate.gdb import Gdb, GdbError
from tinymaix.chips.emulate.machine import Emulation, EmulationError, Parts, check_entry, locate
from tinymaix.chips.firmware import Firmware
from tinymaix.chips.tools import cached_native, program

SOURCE = Path(__file__).parent / "qemu_counter.c"
PAINT = b"\xa5"
STACK = 32 << 10
"""Bytes of stack that are painted, to see how many of them were used."""


@dataclass(frozen=True)
class _Registers:
    """Their numbers in GDB's protocol."""

    stack: int
    link: int
    counter: int
    result: int
    size: int = 8


ARM = _Registers(stack=13, link=14, counter=15, result=0, size=4)
AARCH64 = _Registers(stack=31, link=30, counter=32, result=0)
RISCV = _Registers(stack=2, link=1, counter=32, result=10)
XPSR = 25
REGISTERS = {"qemu-system-arm": ARM, "qemu-arm": ARM, "qemu-aarch64": AARCH64, "qemu-riscv64": RISCV}
PACKAGES = {"qemu-system-arm": "qemu-system-arm"}


class QemuMachine:
    """See Machine. The core's model is QEMU's command line, without what is the same for all."""

    def __init__(self, firmware: Firmware) -> None:
        check_entry(firmware)
        self._firmware = firmware
        name, *self._options = (firmware.chip.core.model or "").split()
        self._registers = REGISTERS[name]
        self._program = program(name, f"On Debian and Ubuntu: apt-get install {PACKAGES.get(name, 'qemu-user')}")
        self._system = "system" in name
        self._plugin = cached_native(SOURCE, ["-D_GNU_SOURCE", "-shared", "-fPIC"])
        self._end: Callable[[], object] = lambda: None
        self.reset()

    def reset(self) -> None:
        """See Machine."""
        self._end()
        folder = Path(tempfile.mkdtemp(prefix="tinymaix-"))
        count, socket, elf = folder / "count", folder / "gdb", str(self._firmware.elf)
        count.write_bytes(bytes(mmap.PAGESIZE))
        with count.open("r+b") as file:
            self._count = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        command = [self._program, *self._options, "-plugin", f"{self._plugin},count={count}"]
        if self._system:
            quiet = ["-display", "none", "-monitor", "none", "-serial", "none", "-S"]
            command += [*quiet, "-gdb", f"unix:{socket},server=on,wait=off", "-kernel", elf]
        else:
            command += ["-g", str(socket), elf]
        log = (folder / "log").open("wb")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self._end = weakref.finalize(self, _stop, process, folder)
        try:
            self._gdb = Gdb(socket, lambda: process.poll() is None)
            self._interrupt = self._gdb.interrupt if self._system else lambda: process.send_signal(signal.SIGINT)
            self._gdb.ask("qXfer:features:read:target.xml:0,fff")  # or registers are not told one by one
            self._boot()
        except GdbError as error:
            said = (folder / "log").read_text(errors="replace").strip()[-400:]
            raise EmulationError(f"{Path(self._program).name} {error}. It said: {said or 'nothing'}") from None

    def _boot(self) -> None:
        """To where tm_main can be called: through start-up on a chip; a program of Linux is there when it is loaded."""
        symbols, registers, gdb = self._firmware.symbols, self._registers, self._gdb
        if self._system:
            gdb.ask(f"Z0,{symbols['__tm_call'][0]:x},2")
            gdb.write_register(registers.stack, symbols["__tm_stack_top"][0], registers.size)
            gdb.write_register(registers.counter, symbols["__tm_reset"][0], registers.size)
            gdb.write_register(
                XPSR, 1 << 24, 4
            )  # Thumb: a chip takes it from its vectors, of which there are none at 0
            gdb.go(lambda: False, gdb.interrupt)
        gdb.ask(f"Z0,{symbols['__tm_halt'][0]:x},{2 if self._system else 4}")
        self._top = gdb.read_register(registers.stack) & ~15

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
        """See Machine; parts are not counted apart."""
        try:
            return self._run(writes, reads, limit)
        except GdbError as error:
            raise EmulationError(f"{Path(self._program).name} {error}.") from None

    def _run(self, writes: Mapping[str, bytes], reads: Mapping[str, int], limit: int | None) -> Emulation:
        gdb, firmware, registers = self._gdb, self._firmware, self._registers
        halt = firmware.symbols["__tm_halt"][0]
        for place, data in writes.items():
            gdb.write(locate(firmware, place, len(data)), bytes(data))
        gdb.write(self._top - STACK, PAINT * STACK)
        gdb.write_register(registers.stack, self._top, registers.size)
        gdb.write_register(registers.link, halt | self._system, registers.size)
        gdb.write_register(registers.counter, firmware.symbols["tm_main"][0], registers.size)
        before = self._instructions()
        most = 2**63 if limit is None else before + limit
        why = gdb.go(lambda: self._instructions() > most, self._interrupt)
        executed = self._instructions() - before
        at = gdb.read_register(registers.counter)
        if at != halt:
            reason = "was stopped past its instruction limit" if executed > most - before else f"stopped ({why})"
            where = f"{at:#x} ({firmware.nearest(at)})"
            raise EmulationError(f"The emulated {firmware.chip.title} {reason} at {where}.")
        result = gdb.read_register(registers.result) & 0xFFFFFFFF
        return Emulation(
            instructions=executed,
            cycles=None,
            stack=len(gdb.read(self._top - STACK, STACK).lstrip(PAINT)),
            result=result - (1 << 32) if result >> 31 else result,
            memory={place: gdb.read(locate(firmware, place, size), size) for place, size in reads.items()},
        )

    def _instructions(self) -> int:
        return int.from_bytes(self._count[:8], "little")


def _stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.kill()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)
