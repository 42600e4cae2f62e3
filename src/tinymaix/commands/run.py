"""tinymaix run: one inference, or a sequence of them, anywhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinymaix import api
from tinymaix.commands.shared import Add, add_build_options, add_model, print_json


def register(add: Add) -> None:
    command = add(
        "run", run, "run one inference on the reference, on this computer, or on an emulated chip",
        "tinymaix run model.tflite --input x.npy --output y.npy",
        "tinymaix run model.tflite --input x.npz --output y.npz --on cortex-m4",
        "tinymaix run streaming.tflite --input frames.npy --output y.npy --steps",
    )  # fmt: skip
    add_model(command)
    command.add_argument("--input", required=True, type=Path, help=".npy, or .npz with in0, in1, ... (raw values)")
    command.add_argument("--output", required=True, type=Path, help=".npy, or .npz with out0, out1, ...")
    command.add_argument(
        "--steps", action="store_true", help="inputs have one axis more in front: steps of a streaming model, in order"
    )
    command.add_argument("--on", default="reference", metavar="reference|host|CHIP", help="default: reference")
    add_build_options(command)


def run(options: argparse.Namespace) -> int:
    from tinymaix.arrays import load_inputs, save_outputs

    graph = api.read(options.model)
    inputs = load_inputs(options.input, len(graph.inputs))
    ways = {name: getattr(options, name) for name in ("on", "optimize", "toolchain", "steps")}
    outputs = api.run(graph, inputs, **ways)
    save_outputs(options.output, outputs)
    if options.json:
        print_json({"output": str(options.output), "outputs": [list(array.shape) for array in outputs]})
    return 0
