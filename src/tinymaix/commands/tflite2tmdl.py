"""tinymaix tflite2tmdl: the command of that name in TinyMaix's tools, in its form and with its log."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinymaix import api
from tinymaix.commands.shared import Add, print_json
from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.tmdl import MODEL_TYPES


def register(add: Add) -> None:
    command = add(
        "tflite2tmdl", run, "write a .tflite as a .tmdl and a C header, in the form of TinyMaix's tflite2tmdl.py",
        "tinymaix tflite2tmdl tflite/mnist_q.tflite tmdl/mnist_q.tmdl int8 1 28,28,1 10",
    )  # fmt: skip
    command.add_argument("model", metavar="IN", type=Path, help="a .tflite, or any other model that is read")
    command.add_argument("out", metavar="OUT", type=Path, help="the .tmdl; the C header gets its name with .h")
    names = [model.name for model in MODEL_TYPES]
    command.add_argument("type", metavar="TYPE", choices=names, help=", ".join(names))
    command.add_argument("out_deq", metavar="OUT_DEQ", choices=("0", "1"), help="1: the runtime gives floats")
    command.add_argument("in_dims", metavar="IN_DIMS", help="the input's dimensions without the batch, as 28,28,1")
    command.add_argument("out_dims", metavar="OUT_DIMS", help="the output's, as 10")


def run(options: argparse.Namespace) -> int:
    graph = api.read(options.model)
    _check(options.in_dims, graph.inputs, "input")
    _check(options.out_dims, graph.outputs, "output")
    tmdl = api.convert(graph, options.out, kind=options.type, out_deq=options.out_deq == "1")
    if options.json:
        print_json(tmdl.as_dict())
    else:
        print(tmdl.log(options.out))
    return 0


def _check(text: str, tensors: list[Tensor], what: str) -> None:
    """Raise ModelError where the dimensions are not the model's."""
    try:
        given = [int(word) for word in text.split(",")]
    except ValueError:
        raise ModelError(f"dimensions are numbers with commas, such as 28,28,1, and not '{text}'") from None
    found = [size for size in tensors[0].shape[1:] if size != 1] if tensors else []
    if [size for size in given if size != 1] != found:
        shape = ",".join(map(str, tensors[0].shape[1:])) if tensors else "none"
        raise ModelError(f"the model's {what} is {shape} and not {text}; give {shape}")
