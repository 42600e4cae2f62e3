"""tinymaix fit: the chips that a model fits."""

from __future__ import annotations

import argparse

from tinymaix import api
from tinymaix.commands.shared import Add, add_build_options, add_model, matching, positive, print_json, progress


def register(add: Add) -> None:
    command = add(
        "fit", run, "list the chips that a model fits, the fastest first, and what is missing on the others",
        "tinymaix fit model.tflite",
        "tinymaix fit model.tflite --match stm32 --need-fps 10 --max-ram 20000 --max-mj 2",
    )  # fmt: skip
    add_model(command)
    command.add_argument("--match", default="", help="only chips whose name, title or core contains this")
    command.add_argument("--need-fps", type=positive, metavar="N", help="inferences a second that a chip must reach")
    command.add_argument("--max-mj", type=positive, metavar="N", help="energy of an inference in mJ at most")
    command.add_argument("--max-flash", type=int, metavar="BYTES", help="flash that the program may take")
    command.add_argument("--max-ram", type=int, metavar="BYTES", help="RAM that the program may take, with the stack")
    add_build_options(command)


def run(options: argparse.Namespace) -> int:
    from tinymaix import report
    from tinymaix.fit import Limits, fit

    limits = Limits(options.max_flash, options.max_ram, options.need_fps, options.max_mj)
    chosen = matching(options.match)
    if not chosen:
        raise ValueError(f'No chip matches "{options.match}". The command `tinymaix chips` lists them.')
    with progress() as say:
        graph = api.read(options.model)
        fits = fit(graph, chosen, optimize=options.optimize, toolchain=options.toolchain, limits=limits, progress=say)
    if options.json:
        print_json([found.as_dict(str(options.model)) for found in fits])
    else:
        report.show(*report.fit_parts(fits, graph, str(options.model)))
    return 0
