"""tinymaix h5_to_tflite: the command of that name in TinyMaix's tools, in its form."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tinymaix import api
from tinymaix.commands.shared import Add, print_json, progress_bar
from tinymaix.graph import ModelError


def register(add: Add) -> None:
    command = add(
        "h5_to_tflite", run, "write a .h5 as a float or an int8 .tflite, in the form of TinyMaix's h5_to_tflite.py",
        "tinymaix h5_to_tflite h5/mnist.h5 tflite/mnist_f.tflite 0",
        "tinymaix h5_to_tflite h5/mnist.h5 tflite/mnist_q.tflite 1 quant_img_mnist/ 0to1",
    )  # fmt: skip
    command.add_argument("model", metavar="IN", type=Path, help="a .h5, or any other float model that is read")
    command.add_argument("out", metavar="OUT", type=Path, help="the .tflite")
    command.add_argument("quant", metavar="QUANT", choices=("0", "1"), help="0: float; 1: int8")
    text = "with QUANT 1: a folder of pictures of the model's size to calibrate with"
    command.add_argument("images", metavar="IMAGES", type=Path, nargs="?", help=text)
    text = "with QUANT 1: 0to1 (x / 255), n1to1 or -1to1 ((x - 128) / 128), none, or MEAN,STD"
    command.add_argument("norm", metavar="NORM", nargs="?", help=text)


def run(options: argparse.Namespace) -> int:
    from tinymaix.write.tflite import write_tflite

    if (options.norm is None) == (options.quant == "1") or (options.images is None) == (options.quant == "1"):
        raise ModelError(
            "h5_to_tflite takes IN OUT 0 for a float .tflite, and IN OUT 1 IMAGES NORM for an int8 one, such as: "
            "h5_to_tflite mnist.h5 mnist_q.tflite 1 quant_img_mnist/ 0to1"
        )
    start = time.monotonic()
    with progress_bar() as say:
        graph = api.read(options.model)
        if options.quant == "1":
            graph = api.quantize(graph, options.images, normalize=options.norm, progress=say)
    write_tflite(graph, options.out)
    seconds = time.monotonic() - start
    if options.json:
        print_json({"file": str(options.out), "bytes": options.out.stat().st_size, "seconds": round(seconds, 3)})
    else:
        print(f"Done, quant used time:{seconds}" if options.quant == "1" else "Done")
    return 0
