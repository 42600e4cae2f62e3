"""tinymaix convert: a model as a .tmdl for the TinyMaix runtime."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinymaix import api
from tinymaix.commands.shared import Add, add_model, print_json


def register(add: Add) -> None:
    command = add(
        "convert", run, "write a .tmdl for the TinyMaix runtime, and a C header beside it",
        "tinymaix convert mnist.tflite mnist.tmdl",
        "tinymaix convert mnist_float.tflite mnist.tmdl --type fp16 --out-deq 0",
    )  # fmt: skip
    add_model(command)
    command.add_argument("out", metavar="OUT.tmdl", type=Path)
    command.add_argument("--out-deq", type=int, choices=(0, 1), default=1, help="1: the runtime gives floats (default)")
    command.add_argument("--big-endian", action="store_true", help="for a big-endian chip")
    command.add_argument(
        "--type", choices=("int8", "int16", "fp32", "fp16", "fp8_143", "fp8_152"), help="default: as the model is"
    )
    command.add_argument(
        "--more-layers", action="store_true", help="also layers that only our runtime knows (built with TM_MORE_LAYERS)"
    )


def run(options: argparse.Namespace) -> int:
    ways = {"out_deq": bool(options.out_deq), "big_endian": options.big_endian, "more_layers": options.more_layers}
    tmdl = api.convert(options.model, options.out, kind=options.type, **ways)
    if options.json:
        print_json(tmdl.as_dict())
    else:
        print(tmdl.log(options.out))
    return 0
