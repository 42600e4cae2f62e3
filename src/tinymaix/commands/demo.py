"""tinymaix demo: a handwritten digit on emulated chips."""

from __future__ import annotations

import argparse

from tinymaix.commands.shared import Add, print_json, progress


def register(add: Add) -> None:
    command = add("demo", run, "classify a handwritten digit on emulated chips", "tinymaix demo --digit 7")
    command.add_argument("--digit", type=int, choices=range(10), default=2, metavar="0..9", help="default: 2")
    command.add_argument("--chip", default="atmega328p,stm32f411ce", help="chips to run on, with commas")


def run(options: argparse.Namespace) -> int:
    from tinymaix.demo import run_demo

    with progress() as say:
        result = run_demo(options.digit, options.chip.split(","), say)
    if options.json:
        print_json(result.as_dict())
    else:
        result.show()
    return 0 if result.exact else 1
