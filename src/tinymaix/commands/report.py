"""tinymaix report: a model on a chip as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinymaix import api
from tinymaix.commands.shared import Add, add_build_options, add_model, matching, print_json, progress


def register(add: Add) -> None:
    command = add(
        "report", run, "write one HTML page about a model: its layers' time and memory, its arena, its chips",
        "tinymaix report model.tflite -o page.html",
        "tinymaix report model.tflite -o page.html --chip stm32f411ce --match stm32",
    )  # fmt: skip
    add_model(command)
    command.add_argument("-o", "--output", metavar="PAGE.html", type=Path, required=True)
    command.add_argument("--chip", default="cortex-m4", help="the chip or core in detail; default: cortex-m4")
    command.add_argument("--match", default="", help="list only chips whose name, title or core contains this")
    add_build_options(command)


def run(options: argparse.Namespace) -> int:
    from tinymaix.chips import find_chip
    from tinymaix.deploy import Deployment
    from tinymaix.fit import fit
    from tinymaix.model_page import model_page
    from tinymaix.write.atomic import write_atomic

    chip, listed = find_chip(options.chip), matching(options.match)
    if not listed:
        raise ValueError(f'No chip matches "{options.match}". The command `tinymaix chips` lists them.')
    ways = {"optimize": options.optimize, "toolchain": options.toolchain}
    with progress() as say:
        graph = api.read(options.model)
        deployment = Deployment(graph, chip, progress=say, **ways)
        bench = deployment.bench(layers=True)
        fits = fit(graph, listed, progress=say, **ways)
    page = model_page(graph, bench, deployment.project.plan, chip, fits, str(options.model))
    write_atomic(options.output, page.html())
    if options.json:
        print_json({"page": str(options.output), "chip": chip.name, "bit_exact": bench.bit_exact})
    else:
        print(f"{options.output}: {graph.name} on the {chip.title} and {len(listed)} chips")
    return 0 if bench.bit_exact else 1
