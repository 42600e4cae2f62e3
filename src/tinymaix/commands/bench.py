"""tinymaix bench: what one inference costs on a chip."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tinymaix import api
from tinymaix.commands.shared import Add, add_build_options, add_model, add_tune_options, print_json, progress, tuning

if TYPE_CHECKING:
    from tinymaix.deploy import Bench

MUCH = 0.05
"""From this share of the cycles on, what constants wait for flash is worth a word."""


def register(add: Add) -> None:
    command = add(
        "bench", run, "count what one inference costs on a chip",
        "tinymaix bench model.tflite --chip atmega328p",
        "tinymaix bench model.tflite --chip cortex-m4,rp2040 --optimize speed --json",
        "tinymaix bench model.tflite --chip cortex-m4 --layers",
        "tinymaix bench model.tflite --chip stm32l4r5zi --weights ram",
    )  # fmt: skip
    add_model(command)
    command.add_argument("--chip", required=True, help="a name of `tinymaix chips`, a core, or several with commas")
    command.add_argument("--layers", action="store_true", help="show what each layer costs")
    add_build_options(command)
    add_tune_options(command)


def advice(found: Bench) -> str:
    """A line that says what the weights would gain in RAM, where that is much and there is room."""
    from tinymaix.chips import find_chip

    waits, weights, ram = found.constant_waits or 0, found.flash.weights, found.ram
    room = find_chip(found.chip).ram_missing(ram.arena, ram.total - ram.arena + weights) == 0
    if not found.cycles or waits < MUCH * found.cycles or not room:
        return ""
    share = f"{waits / found.cycles:.0%} of the cycles wait for constants in flash"
    return f"{found.chip}: {share}; --weights ram reads them from {weights:,} bytes more of RAM\n"


def run(options: argparse.Namespace) -> int:
    from tinymaix import report

    with progress() as say:
        graph = api.read(options.model)
        results = [
            api.bench(graph, chip, layers=options.layers, progress=say, **tuning(options))
            for chip in options.chip.split(",")
        ]
    if options.json:
        figures = [result.as_dict() for result in results]
        print_json(figures[0] if len(figures) == 1 else figures)
    else:
        report.show(report.bench_table(results, f"{graph.name}: {graph.macs:,} MACs, optimize {options.optimize}"))
        report.show(*(report.layers_table(result) for result in results if result.layers is not None))
        whole = [result.chip for result in results if options.layers and result.layers is None]
        report.show(*([f"{', '.join(whole)}: the emulator counts the inference as a whole only"] if whole else []))
        report.show(*(report.tuning_table(result.tuning, result.chip) for result in results if result.tuning))
        for note in (advice(result) for result in results if options.weights == "flash"):
            print(note, end="")
    floats = any(tensor.dtype.kind == "f" for tensor in graph.outputs)  # they may differ in their last digits
    return 0 if floats or all(result.bit_exact for result in results) else 1
