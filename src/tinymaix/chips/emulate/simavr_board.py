"""A whole AVR program from its reset on, by simavr: exact cycles, with timers, interrupts and UARTs."""

from __future__ import annotations

import struct
import subprocess
from collections import Counter
from pathlib import Path

from tinymaix.chips.chip import Chip
from tinymaix.chips.emulate.board import Run
from tinymaix.chips.emulate.elf import ElfError, Functions, Program
from tinymaix.chips.emulate.machine import EmulationError
from tinymaix.chips.emulate.simavr import simavr_host
from tinymaix.chips.firmware import AVR_DATA

NOWHERE = 2**64 - 1
MOST_FLASH = 1 << 20
RECORD = struct.Struct("<3Q")
ENDS = {
    "sleep": "sleeps for good, with interrupts off,",
    "endless": "runs in an endless loop, with interrupts off,",
    "limit": "was stopped past its instruction limit",
    "before": "was stopped past its instruction limit before it came to where counting begins",
}


def run_avr(
    program: Program,
    chip: Chip,
    *,
    begin: int | None = None,
    until: int | None = None,
    call: bool = False,
    limit: int | None = None,
) -> tuple[Run, dict[int, tuple[int, int]], int | None]:
    """See Board.run. Besides, (times, cycles) of each instruction by its address, and bytes of stack below main.

    Raises EmulationError, ElfError, ToolError.
    """
    image = _image(program)
    main = next((symbol.address for symbol in program.symbols if symbol.name == "main"), None)
    numbers = [NOWHERE if value is None else value for value in (begin, until, int(call), main, limit)]
    question = f"f {len(image)}\n".encode() + image + f"g {' '.join(map(str, numbers))}\n".encode()
    command: list[str | Path] = [simavr_host(), chip.name, chip.core.model or ""]
    answer = subprocess.run(command, input=question, capture_output=True).stdout
    *lines, rest = answer.split(b"\n", 3)
    words = lines[2].split() if len(lines) == 3 else []
    if len(words) != 8:
        raise EmulationError(f"simavr could not run {program.path.name} as a program for {chip.title}.")
    end, (at, cycles, instructions, stack, size, places) = words[1].decode(), (int(word) for word in words[2:])
    where = f"{at:#x} (in {Functions(program).at(at)})"
    if end not in (*ENDS, "reached"):
        raise EmulationError(f"The emulated {chip.title} crashed at {where}: an invalid instruction or access.")
    records = rest[size : size + places * RECORD.size]
    counts = {pc: (times, own) for pc, times, own in RECORD.iter_unpack(records)}
    run = Run(
        end=f"{ENDS[end]} at {where}" if end in ENDS else f"{'returned' if call else 'came'} to {where}",
        finished=end not in ("limit", "before"),
        status=None,
        instructions=instructions,
        cycles=cycles,
        blocks={},
        edges={},
        missed={},
        lengths={},
        top=0,
        stacks={},
        text=rest[:size].decode("utf-8", "replace"),
        unknown=Counter(),
    )
    return run, counts, stack if main is not None or begin is not None else None


def _image(program: Program) -> bytes:
    """What is programmed into flash. Raises ElfError."""
    parts = [segment for segment in program.segments if segment.data and segment.load_address < AVR_DATA]
    size = max((segment.load_address + len(segment.data) for segment in parts), default=0)
    if not 0 < size <= MOST_FLASH:
        raise ElfError(f"{program.path.name} puts {size:,} bytes into flash, which no AVR can hold.")
    image = bytearray(b"\xff" * size)
    for segment in parts:
        image[segment.load_address : segment.load_address + len(segment.data)] = segment.data
    return bytes(image)
