"""tinymaix compile: a self-contained C99 project for one model."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinymaix import api
from tinymaix.commands.shared import Add, add_build_options, add_model, add_tune_options, print_json, progress, tuning


def register(add: Add) -> None:
    command = add(
        "compile", run, "write a self-contained C99 project for one model",
        "tinymaix compile model.tflite --chip stm32f411ce -o firmware/",
        "tinymaix compile model.tflite --chip stm32f411ce -o firmware/ --optimize speed --tune full",
    )  # fmt: skip
    add_model(command)
    command.add_argument("--chip", required=True, help="a name of `tinymaix chips`, or a core such as cortex-m4")
    command.add_argument("-o", "--output", metavar="DIR", type=Path, required=True)
    command.add_argument("--name", help="prefix of the C names (default: the file's name)")
    add_build_options(command)
    add_tune_options(command)


def run(options: argparse.Namespace) -> int:
    from tinymaix import report

    with progress() as say:
        project = api.compile(
            options.model, options.chip, options.output, name=options.name, progress=say, **tuning(options)
        )
    figures = {
        "name": project.name,
        "chip": options.chip,
        "files": [str(options.output / name) for name in project.files],
        "weights": project.weights,
        "arena": project.plan.arena,
        "macs": project.plan.graph.macs,
    }
    if options.json:
        print_json({**figures, **report.tuning_dict(project.tuning)})
        return 0
    if project.tuning:
        report.show(report.tuning_table(project.tuning, options.chip))
    print(f"{project.weights:,} bytes of constants in flash, {project.plan.arena:,} bytes of arena in RAM")
    print(f"call {project.name}_run() of {options.output / 'model.h'}; {project.name}_selftest() proves it on the chip")
    return 0
