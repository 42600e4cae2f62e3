"""Accuracy of float models quantized by us, beside float and the official integer files.

    python bench/quantize.py [FOLDER] [--only WORD]

FOLDER is the shared folder; default: TINYMAIX_SHARED, or shared beside the repository. Calibration data: the 100
pictures of TinyMaix for MNIST, its 50 pictures for mbnet128, which has no labels (the share of pictures where the first
class is that of float). CIFAR-10, keywords and persons have no separate calibration set: every 8th sample calibrates,
all count.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import tinymaix
from tinymaix.graph import Array, Graph
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.float_run import chunks, run_float
from tinymaix.quantize.lower import quantized
from tinymaix.quantize.samples import Samples, load_samples

MNIST = ("valid", "same", "rect", "dw", "fc", "resnet", "arduino")
FLOATS = ("fp8_143", "fp8_152")
SCHEMES = {
    "plain": Scheme(correct_bias=False),
    "int8": Scheme(),
    "learned": Scheme(round="learned"),
    "int16": Scheme(activations="int16", round="learned"),
    "int4": Scheme(weights="int4", round="learned"),
}
"""By the name of the column; int8 is what `tinymaix quantize` does unless told otherwise."""

Shared = Path


@dataclass(frozen=True)
class Task:
    """One float model, real inputs to calibrate and to test with, labels or None, and the official integer file."""

    name: str
    model: str
    calibration: Callable[[Shared, Graph], list[list[Array]]]
    test: Callable[[Shared, Graph], tuple[list[list[Array]], Array | None]]
    official: str | None = None
    kinds: tuple[str, ...] = ()
    """Kinds of .tmdl to compare with."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("TINYMAIX_SHARED") or Path(__file__).resolve().parents[2] / "shared"
    parser.add_argument("folder", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--only", default="", help="tasks whose name holds the word")
    options = parser.parse_args()
    models = options.folder / "models"
    table = Table(title="Top-1 in %")
    for name in ("model", "float", "official", *SCHEMES, *FLOATS, "seconds"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for task in TASKS:
        if options.only in task.name:
            table.add_row(*row(task, models))
    console = Console(width=150)
    console.print(table)
    console.print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def row(task: Task, models: Path) -> list[str]:
    """The cells of one task; seconds of all integer schemes."""
    graph = tinymaix.read(models / task.model)
    calibration = Samples(task.calibration(models, graph))
    inputs, labels = task.test(models, graph)
    real = top1(graph, inputs)
    truth = real if labels is None else labels
    official = "-" if task.official is None else share(top1(tinymaix.read(models / task.official), inputs), truth)
    start = time.perf_counter()
    made = [quantize(graph, calibration, scheme) for scheme in SCHEMES.values()]
    seconds = time.perf_counter() - start
    ours = [share(top1(integers, inputs), truth) for integers in made]
    kinds = [share(top1(as_tmdl(graph, kind), inputs), truth) if kind in task.kinds else "-" for kind in FLOATS]
    return [task.name, share(real, truth), official, *ours, *kinds, f"{seconds:.1f}"]


def as_tmdl(graph: Graph, kind: str) -> Graph:
    """The graph as a .tmdl of that kind has it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tmdl"
        tinymaix.convert(graph, path, kind=kind, out_deq=True)
        return tinymaix.read(path)


def top1(graph: Graph, inputs: Sequence[Sequence[Array]]) -> Array:
    """The first class of each sample, given real inputs."""
    raw = [
        [a if t.dtype == np.float32 else quantized(a, t.q, t.dtype.name) for a, t in zip(s, graph.inputs, strict=True)]
        for s in inputs
    ]
    parts = [run_float(graph, part, graph.outputs[:1])[id(graph.outputs[0])] for part in chunks(graph, raw)]
    return np.concatenate([part.reshape(len(part), -1).argmax(axis=1) for part in parts])


def share(found: Array, expected: Array) -> str:
    return f"{100 * float((found == expected).mean()):.2f}"


def pictures(x: Array, scale: float = 255) -> list[list[Array]]:
    """Pixels as float inputs of a batch of one."""
    return [[(a[None] / np.float32(scale)).astype(np.float32)] for a in x]


def mnist_calibration(models: Path, graph: Graph) -> list[list[Array]]:
    return load_samples(models / "tinymaix/images/mnist_quant", graph.inputs).inputs


def mnist_test(models: Path, graph: Graph) -> tuple[list[list[Array]], Array]:
    with np.load(models / "data/mnist/mnist_t10k_first5000.npz") as file:
        return [[a.reshape(graph.inputs[0].shape)] for [a] in pictures(file["x"])], file["y"]


def cifar(scale: float) -> Callable[[Path, Graph], tuple[list[list[Array]], Array]]:
    def load(models: Path, graph: Graph) -> tuple[list[list[Array]], Array]:
        with np.load(models / "data/cifar10/cifar10_400.npz") as file:
            return pictures(file["x"], scale), file["label"]

    return load


def keywords(models: Path, graph: Graph) -> tuple[list[list[Array]], Array]:
    with np.load(models / "mlperf_tiny/data/kws01_perf_mfcc_800.npz") as file:
        q = tinymaix.read(models / "mlperf_tiny/models/kws/kws_ref_model.tflite").inputs[0].q
        x = (file["x"].astype(np.float32) - q.z) * np.float32(q.s)
        return pictures(x, 1), file["y"]


def persons(models: Path, graph: Graph) -> tuple[list[list[Array]], Array]:
    data = models / "mlperf_tiny/data"
    found = load_samples(data / "vww01_perf_jpg.zip", graph.inputs, labels=data / "vww01_perf_labels.csv", bgr=True)
    assert found.labels is not None
    return found.inputs, found.labels


def imagenet(models: Path, graph: Graph) -> tuple[list[list[Array]], None]:
    return load_samples(models / "tinymaix/images/imagenet128_quant", graph.inputs).inputs, None


def eighth(
    load: Callable[[Path, Graph], tuple[list[list[Array]], Array | None]],
) -> Callable[[Path, Graph], list[list[Array]]]:
    """Every 8th sample."""
    return lambda models, graph: load(models, graph)[0][::8]


TASKS = (
    *(
        Task(f"mnist_{name}", f"tinymaix/h5/mnist_{name}.h5", mnist_calibration, mnist_test,
             None if name in ("same", "fc") else f"tinymaix/tflite/mnist_{name}_q.tflite", FLOATS)
        for name in MNIST
    ),
    Task("cifar10 (TinyMaix)", "tinymaix/h5/cifar10.h5", eighth(cifar(255)), cifar(255),
         "tinymaix/tflite/cifar10_q.tflite"),
    Task("CIFAR-10 (MLPerf Tiny)", "mlperf_tiny/models/ic/pretrainedResnet.h5", eighth(cifar(1)), cifar(1),
         "mlperf_tiny/models/ic/pretrainedResnet_quant.tflite"),
    Task("keywords (MLPerf Tiny)", "mlperf_tiny/models/kws/kws_ref_model_float32.tflite", eighth(keywords), keywords,
         "mlperf_tiny/models/kws/kws_ref_model.tflite"),
    Task("persons (MLPerf Tiny)", "mlperf_tiny/models/vww/vww_96_float.tflite", eighth(persons), persons,
         "mlperf_tiny/models/vww/vww_96_int8.tflite"),
    Task("persons (TinyMaix)", "tinymaix/h5/vww96.h5", eighth(persons), persons, "tinymaix/tflite/vww96_q.tflite"),
    Task("mbnet128", "tinymaix/h5/mbnet128_0.25.h5", lambda m, g: imagenet(m, g)[0], imagenet,
         "tinymaix/tflite/mbnet128_0.25_q.tflite"),
)  # fmt: skip


if __name__ == "__main__":
    main()
