"""tinymaix quantize: an integer model from a float model and calibration data."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymaix import api
from tinymaix.commands.quantize_auto import add_auto_options, search, show
from tinymaix.commands.shared import Add, add_model, print_json, progress_bar
from tinymaix.graph import Graph, ModelError
from tinymaix.quantize.scheme import ACTIVATIONS, IO, LAYERS, RANGES, ROUNDS, WEIGHTS, Scheme

if TYPE_CHECKING:
    from tinymaix.quantize.agreement import Agreement
    from tinymaix.quantize.samples import Samples

GOOD_DB, GOOD_SHARE = 20.0, 0.98
"""From these on an integer model agrees well with float."""

FLOATS = ("fp32", "fp16", "fp8_143", "fp8_152")


def register(add: Add) -> None:
    command = add(
        "quantize", run, "make an integer model of a float model and calibration data",
        "tinymaix quantize mnist.h5 --data pictures/ -o mnist.tflite",
        "tinymaix quantize net.onnx --data x.npy --normalize 0.485,0.229 --ranges percentile --equalize -o net.tflite",
        "tinymaix quantize net.h5 --data x.npz --weights int4 --round learned --layer conv1=int8 -o net.tflite",
        "tinymaix quantize net.h5 --data x.npz --auto --chip rp2040 --max-flash 65536 --html trials.html -o net.tflite",
        "tinymaix quantize net.h5 --data x.npz --weights int4 --train-epochs 5 -o net.tflite",
        "tinymaix quantize mnist.h5 --type fp8_143 -o mnist.tmdl",
    )  # fmt: skip
    add_model(command)
    command.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="a .tflite or .tmdl")
    command.add_argument(
        "--type", choices=("int", *FLOATS), default="int", help="fp kinds are a .tmdl and need no data"
    )
    add_data(command)
    command.add_argument("--activations", choices=ACTIVATIONS, default="int8", help="default: int8")
    command.add_argument("--weights", choices=WEIGHTS, default="int8", help="default: int8")
    command.add_argument("--ranges", choices=RANGES, default="minmax", help="how ranges are found (default: minmax)")
    command.add_argument("--per-tensor", action="store_true", help="one scale for all of a layer's weights")
    command.add_argument("--equalize", action="store_true", help="even out channel ranges of consecutive layers")
    command.add_argument(
        "--correct-bias", action=argparse.BooleanOptionalAction, default=True,
        help="take each channel's mean error out of its bias (default: yes)",
    )  # fmt: skip
    command.add_argument("--round", choices=ROUNDS, default="nearest", help="how weights are rounded")
    command.add_argument("--io", choices=IO, default="same", help="type of inputs and outputs (default: as the layers)")
    command.add_argument(
        "--layer", metavar="NAME=TYPE", action="append", default=[],
        help=f"another type for one layer: {', '.join(LAYERS)}; may be repeated",
    )  # fmt: skip
    text = "fine-tune the integers on the data for so many epochs (needs the extra torch)"
    command.add_argument("--train-epochs", type=int, default=0, metavar="N", help=text)
    add_auto_options(command)


def add_data(command: argparse.ArgumentParser) -> None:
    """The options that say what samples are and how they become inputs."""
    text = "pictures, .wav, .npy, .npz, .csv or idx files: a folder, a .zip or a file"
    command.add_argument("--data", metavar="PATH", type=Path, help=text)
    command.add_argument("--labels", metavar="FILE", type=Path, help="labels, where the data has none of its own")
    command.add_argument(
        "--normalize", default="0to1", metavar="HOW", help="0to1 (default), -1to1, none, or MEAN,STD"
    )  # fmt: skip
    command.add_argument("--limit", type=int, metavar="N", help="so many samples at most")
    command.add_argument("--resize", action="store_true", help="stretch pictures of another size")
    command.add_argument("--bgr", action="store_true", help="the model takes blue first")


def load_data(options: argparse.Namespace, graph: Graph) -> Samples:
    """The samples that the options of `add_data` name. Raises ModelError where they name none."""
    from tinymaix.quantize.samples import load_samples

    if options.data is None:
        raise ModelError("calibration data is needed: give --data a folder, a .npy, a .npz, a .csv or a .zip")
    return load_samples(
        options.data, graph.inputs, normalize=options.normalize, limit=options.limit, labels=options.labels,
        resize=options.resize, bgr=options.bgr,
    )  # fmt: skip


def scheme_of(options: argparse.Namespace) -> Scheme:
    """The scheme that the options ask for."""
    layers = {}
    for text in options.layer:
        name, equals, kind = text.rpartition("=")
        if not equals or not name:
            raise ModelError(f"--layer {text} must be NAME=TYPE, such as conv1=int16")
        layers[name] = kind
    return Scheme(
        options.activations, options.weights, options.ranges, not options.per_tensor, options.equalize,
        options.correct_bias, options.round, options.io, layers,
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    if options.type != "int":
        return _convert(options)
    from tinymaix.quantize.agreement import agreement

    scheme = scheme_of(options)
    _check_output(options)
    if options.auto:
        graph = api.read(options.model)
        result = search(options, graph, load_data(options, graph), scheme)
        write(result.best.graph, options.output)
        show(options, graph, result)
        return 0
    with progress_bar() as say:
        graph = api.read(options.model)
        say("reading the data")
        samples = load_data(options, graph)
        integers = _integers(options, graph, samples, scheme, say)
        say("comparing with float")
        agrees = agreement(graph, integers, samples)
    write(integers, options.output)
    before, after, size = weight_bytes(graph), weight_bytes(integers), options.output.stat().st_size
    notes = [*integers.notes, *advice(agrees, scheme), *agrees.doubts]
    if options.json:
        print_json({
            "model": graph.name, "file": str(options.output), "scheme": scheme.describe(),
            "weights": {"before": before, "after": after}, "file_bytes": size, "agreement": agrees.as_dict(),
            "notes": notes,
        })  # fmt: skip
        return 0
    print(f"{options.output}: {scheme.describe()}, {size:,} bytes")
    print(f"weights: {before:,} bytes before, {after:,} after ({after / max(before, 1):.0%})")
    print(agrees.text())
    for note in notes:
        print(f"note: {note}")
    return 0


def advice(found: Agreement, scheme: Scheme) -> list[str]:
    """What to try where the integer model does not agree well with float."""
    if found.sqnr >= GOOD_DB and (found.top1 is None or found.top1 >= GOOD_SHARE):
        return []
    options = {
        "--round learned": scheme.round != "learned", "--correct-bias": not scheme.correct_bias,
        "--equalize": not scheme.equalize, "--ranges mse": scheme.ranges == "minmax",
        "--weights int8": scheme.weights != "int8", "--activations int16": scheme.activations != "int16",
    }  # fmt: skip
    untried = [option for option, is_untried in options.items() if is_untried]
    return [f"this is far from float; try {', '.join(untried)}"] if untried else []


def _integers(
    options: argparse.Namespace, graph: Graph, samples: Samples, scheme: Scheme, say: Callable[[str], None]
) -> Graph:
    """Quantized, and trained on where the options ask for it."""
    if not options.train_epochs:
        return api.quantize(graph, samples, scheme=scheme, progress=say)
    try:
        from tinymaix.quantize.train import fine_tune
    except ImportError:
        raise ModelError("--train-epochs needs the extra 'torch': pip install 'tinymaix[torch]'") from None
    return fine_tune(graph, samples, scheme, epochs=options.train_epochs, progress=say)


def _check_output(options: argparse.Namespace) -> None:
    if options.train_epochs < 0 or (options.train_epochs and options.auto):
        raise ModelError("--train-epochs is a number from 1 on, and goes with one scheme: give it what --auto found")
    if options.output.suffix.lower() not in (".tflite", ".tmdl"):
        raise ModelError(f"{options.output}: an integer model is written as a .tflite or .tmdl; name it so")


def write(graph: Graph, path: Path) -> None:
    """Write the graph as the suffix says, without a camera or microphone in front of it."""
    from tinymaix.process import network

    if path.suffix.lower() == ".tmdl":
        api.convert(network(graph), path, more_layers=True)
        return
    from tinymaix.write.tflite import write_tflite

    write_tflite(network(graph), path)


def weight_bytes(graph: Graph) -> int:
    """Bytes of the constants."""
    return sum(t.nbytes for t in graph.constants)


def _convert(options: argparse.Namespace) -> int:
    """A float kind of .tmdl."""
    if options.output.suffix.lower() != ".tmdl":
        raise ModelError(f"{options.output}: {options.type} is a kind of .tmdl; name the file so")
    graph = api.read(options.model)
    tmdl = api.convert(graph, options.output, kind=options.type, more_layers=True)
    figures: dict[str, Any] = tmdl.as_dict()
    text = tmdl.log(options.output)
    if options.data is not None:
        from tinymaix.quantize.agreement import agreement

        agrees = agreement(graph, api.read(options.output), load_data(options, graph))
        figures["agreement"], text = agrees.as_dict(), f"{text}\n{agrees.text()}"
    if options.json:
        print_json(figures)
    else:
        print(text)
    return 0
