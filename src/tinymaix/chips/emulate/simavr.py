"""AVR by simavr: exact cycles and instructions, and the lowest stack pointer. Each machine is a process of its own."""

from __future__ import annotations

import subprocess
import weakref
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tinymaix.chips.chip import FlashPath
from tinymaix.chips.emulate.machine import Emulation, EmulationError, Part, Parts, check_entry, locate
from tinymaix.chips.firmware import AVR_DATA, Firmware, load_image
from tinymaix.chips.tools import BuildError, ToolError, cached_native

SOURCE = Path(__file__).parent / "simavr_host.c"
NO_LIMIT = 2**63
INSTALL = "apt-get install simavr libsimavr-dev libelf-dev gcc-avr avr-libc"
REASONS = {
    "limit": "was stopped past its instruction limit",
    "crash": "crashed (an invalid instruction, or an access outside of its memory)",
}


def simavr_host() -> Path:
    """The program that simavr_host.c makes. Raises ToolError."""
    try:
        return cached_native(SOURCE, ["-D_GNU_SOURCE", "-lsimavr", "-lelf"])
    except BuildError as error:
        raise ToolError(
            f"AVR programs run on simavr, and its C library cannot be used. Run: {INSTALL}\n{error}"
        ) from None


class SimavrMachine:
    """See Machine."""

    def __init__(self, firmware: Firmware) -> None:
        check_entry(firmware)
        self._firmware = firmware
        self._program = simavr_host()
        self._end: Callable[[], object] = lambda: None
        self.reset()

    def reset(self) -> None:
        """See Machine."""
        self._end()
        device = self._firmware.chip.core.model or ""
        self._process = subprocess.Popen([self._program, device], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._end = weakref.finalize(self, _stop, self._process)
        self._answer()
        image = bytearray()
        for address, data in load_image(self._firmware):
            image.extend(b"\xff" * (address - len(image)))
            image[address : address + len(data)] = data
        self._ask(f"f {len(image)}", bytes(image))
        self._ask(f"b {self._firmware.symbols['tm_main'][0]} {NO_LIMIT}")

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
        """See Machine; counting costs nothing here."""
        for place, data in writes.items():
            self._ask(f"w {self._address(place, len(data))} {len(data)}", bytes(data))
        table = array("H", parts.of if parts else ()).tobytes()
        self._ask(f"p {parts.begin if parts else 0} {len(table)}", table)
        answer = [int(word) for word in self._ask(f"c {NO_LIMIT if limit is None else limit}")]
        cycles, instructions, stack, result = answer[:4]
        shares = enumerate(zip(answer[4::2], answer[5::2], strict=True))
        memory = {}
        for place, size in reads.items():
            self._ask(f"r {self._address(place, size)} {size}")
            memory[place] = self._output().read(size)
        return Emulation(
            instructions=instructions,
            cycles=cycles,
            stack=stack,
            result=result,
            memory=memory,
            parts={part: Part(own[1], own[0]) for part, own in shares} if parts else {},
        )

    def _address(self, place: str, size: int) -> int:
        address = locate(self._firmware, place, size)
        if address < AVR_DATA:
            raise EmulationError(f'"{place}" lies in flash, which cannot be read or written while an AVR runs.')
        return address - AVR_DATA

    def _ask(self, command: str, data: bytes = b"") -> list[str]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n" + data)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise EmulationError("simavr ended unexpectedly.") from None
        return self._answer()

    def _answer(self) -> list[str]:
        words = self._output().readline().decode().split()
        if words[:1] == ["ok"]:
            return words[1:]
        chip = self._firmware.chip.title
        if len(words) == 3 and words[1] in REASONS:
            at = int(words[2])
            where = f"{at:#x} ({self._firmware.nearest(at)})"
            raise EmulationError(f"The emulated {chip} {REASONS[words[1]]} at {where}.")
        if words[1:2] == ["command"]:
            raise EmulationError(f"The program is too large for any device like the {chip}.")
        raise EmulationError(f"simavr could not run the program for {chip} (it said: {' '.join(words) or 'nothing'}).")

    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
