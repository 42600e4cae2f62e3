"""tinymaix report: a model on a chip as one HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tinymaix import api
from tinymaix.commands.compare import add_boxes
from tinymaix.commands.quantize import add_data, load_data
from tinymaix.commands.shared import Add, add_build_options, add_model, matching, print_json, progress
from tinymaix.graph import Graph, ModelError

if TYPE_CHECKING:
    from tinymaix.model_page import Accuracy


def register(add: Add) -> None:
    command = add(
        "report", run, "write one HTML page about a model: its layers' time and memory, its arena, its chips",
        "tinymaix report model.tflite -o page.html",
        "tinymaix report model.tflite -o page.html --chip stm32f411ce --match stm32",
        "tinymaix report model.tflite -o page.html --data test.npz --float model.h5",
    )  # fmt: skip
    add_model(command)
    command.add_argument("-o", "--output", metavar="PAGE.html", type=Path, required=True)
    command.add_argument("--chip", default="cortex-m4", help="the chip or core in detail; default: cortex-m4")
    command.add_argument("--match", default="", help="list only chips whose name, title or core contains this")
    add_data(command)
    add_boxes(command)
    command.add_argument("--float", metavar="FLOAT", type=Path, help="with --data: the float model, to compare with")
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
        found = _accuracy(options, graph, say)
        deployment = Deployment(graph, chip, progress=say, **ways)
        bench = deployment.bench(layers=True)
        fits = fit(graph, listed, progress=say, **ways)
    page = model_page(graph, bench, deployment.project.plan, chip, fits, str(options.model), found)
    write_atomic(options.output, page.html())
    if options.json:
        print_json({"page": str(options.output), "chip": chip.name, "bit_exact": bench.bit_exact,
                    "accuracy": found and found.sentences})  # fmt: skip
    else:
        print(f"{options.output}: {graph.name} on the {chip.title} and {len(listed)} chips")
    return 0 if bench.bit_exact else 1


def _accuracy(options: argparse.Namespace, graph: Graph, say: Callable[[str], None]) -> Accuracy | None:
    """What the data says of the model; None where there is none."""
    if options.data is None:
        given = [name for name in ("float", "labels", "boxes") if getattr(options, name) is not None]
        if given:
            raise ModelError(f"--{given[0]} goes with --data: give it the samples")
        return None
    from tinymaix.compare.accuracy import outputs_of, scores, scores_alone, shares_right
    from tinymaix.compare.boxes import load_boxes
    from tinymaix.compare.comparison import check
    from tinymaix.compare.show import sentence
    from tinymaix.model_page import Accuracy

    boxes = None if options.boxes is None else load_boxes(options.boxes)
    say("reading the data")
    if options.float is None:
        samples = load_data(options, graph)
        figures, classes = scores_alone(graph, samples, boxes, say)
    else:
        real = api.read(options.float)
        samples = load_data(options, real)
        check(real, graph, samples)
        outputs = outputs_of(real, graph, samples, say)
        figures, classes = scores(real, outputs, samples, boxes), shares_right(outputs, samples.labels)
    if not figures:
        raise ModelError("the data has no labels that fit the model's outputs; give --labels, or --float")
    shares = [(str(i), round(100 * share, 2)) for i, share in classes.items()]
    return Accuracy(len(samples), [sentence(figure) for figure in figures], shares)
