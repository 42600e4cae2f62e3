"""tinymaix chips: the chips that are known."""

from __future__ import annotations

import argparse

from tinymaix.commands.shared import Add, matching, print_json


def register(add: Add) -> None:
    command = add(
        "chips", run, "list the chips", "tinymaix chips", "tinymaix chips stm32 --json", "tinymaix chips --checked"
    )
    command.add_argument("--checked", action="store_true", help="count the data that were compared with a source")
    command.add_argument("match", nargs="?", default="", help="only chips whose name, title or core contains this")


def run(options: argparse.Namespace) -> int:
    from tinymaix import report

    found = matching(options.match)
    if options.checked:
        if options.json:
            print_json(report.checked_dict(found))
        else:
            report.show(report.checked_table(found))
    elif options.json:
        print_json([report.chip_dict(chip) for chip in found])
    else:
        report.show(report.chips_table(found))
    return 0 if found or not options.match else 2
