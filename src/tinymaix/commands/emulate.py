"""tinymaix emulate: any firmware on an emulated chip."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tinymaix.commands.shared import Add, positive, print_json, progress

PERIPHERALS = ("poll", "zeros", "ones")


def register(add: Add) -> None:
    command = add(
        "emulate", run, "run any firmware on an emulated chip: cycles, stack, a profile, and what it prints",
        "tinymaix emulate firmware.elf --chip stm32f411re",
        "tinymaix emulate firmware.elf --chip rp2040 --function run_inference",
        "tinymaix emulate firmware.elf --chip nrf52840 --from begin --until end --max-instructions 100000000",
    )  # fmt: skip
    command.add_argument("firmware", metavar="FIRMWARE.elf", type=Path, help="the program, as the linker wrote it")
    command.add_argument("--chip", required=True, help="a name of `tinymaix chips`, or a core")
    command.add_argument("--mhz", type=positive, metavar="N", help="the clock, where it is not the chip's highest")
    command.add_argument("--from", dest="begin", metavar="SYMBOL", help="count from here on; default: from reset")
    command.add_argument("--until", metavar="SYMBOL", help="stop here; default: where the program ends")
    command.add_argument("--function", metavar="NAME", help="count one call of a function, with all that it calls")
    command.add_argument("--max-instructions", type=int, metavar="N", help="stop after so many; default: 2,000,000,000")
    text = "stop after so many seconds of the chip, counted as an instruction a cycle"
    command.add_argument("--max-seconds", type=positive, metavar="S", help=text)
    text = "what unknown registers read as: 0, all ones, or what was written until one is polled (default: poll)"
    command.add_argument("--peripherals", choices=PERIPHERALS, default="poll", help=text)
    text = "memory that neither the chip's nor the program's description tells"
    command.add_argument("--ram", action="append", type=_range, default=[], metavar="ADDRESS:BYTES", help=text)
    command.add_argument("--top", type=int, default=20, metavar="N", help="functions to list; default: 20")


def run(options: argparse.Namespace) -> int:
    from tinymaix import report
    from tinymaix.chips import find_chip
    from tinymaix.emulated import LIMIT, emulate

    if options.max_instructions is not None and options.max_instructions <= 0:
        raise ValueError(f"--max-instructions is {options.max_instructions}; it must be more than 0.")
    chip = find_chip(options.chip)
    if options.mhz is not None:  # whose current is not known
        chip = replace(chip, mhz=options.mhz, active_ma=None)
    limit = options.max_instructions or LIMIT
    if options.max_seconds is not None:
        if chip.mhz is None:
            raise ValueError(f"--max-seconds needs a clock, and none of {chip.title} is known; give --mhz.")
        seconds = max(1, round(options.max_seconds * chip.mhz * 1e6))
        limit = min(options.max_instructions or seconds, seconds)
    with progress() as say:
        say(f"running {options.firmware.name} on an emulated {chip.title}")
        result = emulate(
            options.firmware,
            chip,
            begin=options.begin,
            until=options.until,
            function=options.function,
            limit=limit,
            answers=options.peripherals,
            ram=options.ram,
        )
    if options.json:
        print_json(result.as_dict())
    else:
        report.show(*report.emulated_parts(result, chip, max(options.top, 0)))
    return 0 if result.finished and not result.status else 1


def _range(text: str) -> tuple[int, int]:
    address, _, size = text.partition(":")
    try:
        start, length = int(address, 0), int(size, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not ADDRESS:BYTES, as in 0x20000000:65536') from None
    if start < 0 or length <= 0 or start + length > 1 << 32:
        raise argparse.ArgumentTypeError(f'"{text}" is no range of a 32-bit address space')
    return start, length
