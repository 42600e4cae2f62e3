"""tinymaix inspect: a model's layers, shapes, MACs, parameters and arena."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinymaix import api
from tinymaix.commands.shared import OPTIMIZE, Add, add_model, print_json


def register(add: Add) -> None:
    command = add(
        "inspect", run, "show a model's layers, shapes, MACs, parameters and arena",
        "tinymaix inspect model.tflite",
        "tinymaix inspect model.keras --graph model.svg",
        "tinymaix inspect model.tflite --chip rp2350 --optimize speed",
    )  # fmt: skip
    add_model(command)
    command.add_argument("--chip", help="show the layers as they run on this chip or core, and what computes each")
    command.add_argument("--optimize", choices=OPTIMIZE, default="balanced", help="with --chip; default: balanced")
    command.add_argument("--graph", metavar="FILE", type=Path, help="draw the layers too, as .svg or .html")


def run(options: argparse.Namespace) -> int:
    from tinymaix import report
    from tinymaix.plan import plan

    graph = api.read(options.model)
    placed, ways = plan(graph), None
    if options.chip:
        from tinymaix.chips import find_chip
        from tinymaix.compile.project import Draft

        draft = Draft(graph, find_chip(options.chip).core, optimize=options.optimize)
        chosen = draft.guess()
        graph, placed, ways = draft.live, draft.plan(chosen), draft.words(chosen)
    if options.graph:
        from tinymaix.drawing import write_drawing

        write_drawing(graph, options.graph)
    if options.json:
        print_json(report.inspect_dict(graph, placed, ways))
    else:
        report.show(*report.inspect_table(graph, placed, ways))
    return 0
