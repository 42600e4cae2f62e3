"""tinymaix cache: what emulated chips have left on disk."""

from __future__ import annotations

import argparse

from tinymaix.commands.shared import Add, print_json


def register(add: Add) -> None:
    command = add(
        "cache", run, "show or clear what --tune and fit have measured and keep on disk", "tinymaix cache --clear"
    )  # fmt: skip
    command.add_argument("--clear", action="store_true", help="remove it")


def run(options: argparse.Namespace) -> int:
    from tinymaix import measured, trials
    from tinymaix.chips.tools import cache_dir

    figures: dict[str, object] = {"folder": str(cache_dir())}
    if options.clear:
        figures["removed"] = trials.clear() + measured.clear()
    figures["entries"] = len(trials.entries()) + len(measured.entries())
    if options.json:
        print_json(figures)
    else:
        left = f"{figures['entries']} entries in {figures['folder']}"
        print(f"{figures['removed']} entries removed; {left}" if options.clear else left)
    return 0
