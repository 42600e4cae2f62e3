"""tinymaix compare: how far an integer model is from float, which layer is to blame, and what to try."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinymaix import api
from tinymaix.commands.quantize import add_data, load_data
from tinymaix.commands.shared import Add, print_json, progress_bar
from tinymaix.graph import ModelError


def register(add: Add) -> None:
    command = add(
        "compare", run, "compare an integer model with its float model: accuracy, layers, who is to blame",
        "tinymaix compare mnist.h5 mnist_q.tflite --data t10k-images-idx3-ubyte.gz",
        "tinymaix compare vww.h5 vww_int8.tflite --data val.zip --labels val.csv --html page.html",
    )  # fmt: skip
    command.add_argument("float", metavar="FLOAT", type=Path, help="the float model")
    command.add_argument("int", metavar="INT", type=Path, help="the integer model")
    add_data(command)
    add_boxes(command)
    command.add_argument("--html", metavar="PAGE.html", type=Path, help="write a page with plots, too")


def add_boxes(command: argparse.ArgumentParser) -> None:
    """The option that says where objects are."""
    text = "for a model that detects: a .csv with name, class, top, left, bottom, right"
    command.add_argument("--boxes", metavar="FILE", type=Path, help=text)


def run(options: argparse.Namespace) -> int:
    from tinymaix.compare.boxes import load_boxes
    from tinymaix.compare.comparison import compare

    if options.data is None:
        raise ModelError("data is needed to compare with: give --data a folder, a .npy, a .npz, a .csv or a .zip")
    with progress_bar() as say:
        graph, integers = api.read(options.float), api.read(options.int)
        say("reading the data")
        samples = load_data(options, graph)
        boxes = None if options.boxes is None else load_boxes(options.boxes)
        found = compare(graph, integers, samples, boxes=boxes, progress=say)
    if options.html is not None:
        from tinymaix.compare.show import page
        from tinymaix.write.atomic import write_atomic

        write_atomic(options.html, page(found).html())
    if options.json:
        print_json(found.as_dict())
        return 0
    from tinymaix import report
    from tinymaix.compare import show

    report.show(report.table(f"{found.name} against {found.float_name}", *show.layer_rows(found.layers), left=4))
    report.show(report.table("worst inputs", *show.worst_rows(found)))
    print(f"on {found.samples} samples:")
    for sentence in [*show.summary(found), *show.advice(found), *found.notes]:
        print(f"- {sentence}")
    return 0
