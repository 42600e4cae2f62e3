"""The public functions. Each takes a model as a path or as a Graph, so that a shortest use is one line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tinymaix.compare as _before_its_function  # noqa: F401  # imported later, it would take the function's name
import tinymaix.compile as _before_its_function_too  # noqa: F401
import tinymaix.quantize as _before_its_function_as_well  # noqa: F401
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.read import read_model

if TYPE_CHECKING:
    from tinymaix.compare.comparison import Comparison
    from tinymaix.compile.project import Project
    from tinymaix.deploy import Bench, Progress
    from tinymaix.quantize import Scheme
    from tinymaix.quantize.samples import Data, Samples
    from tinymaix.write.tmdl import Tmdl

Model = Graph | str | os.PathLike[str]


def read(model: Model | Any, example_inputs: Sequence[Any] | None = None) -> Graph:
    """Read a model and simplify it, which changes no bit of an integer model's outputs.

    Args:
        model: a .tflite, .tmdl, .h5, .keras, .onnx or .pt2 file; a .toml that describes a model with its processing
            (see docs/processing.md); a torch.export program; or an nn.Module.
        example_inputs: the tensors to export an nn.Module with.

    Raises:
        ModelError: one sentence for everything that is damaged or not supported.
    """
    if isinstance(model, Graph):
        return model
    from tinymaix.rewrite import simplify

    if isinstance(model, str | os.PathLike) and Path(model).suffix == ".toml":
        from tinymaix.process.description import read_description

        return read_description(Path(model), read)
    if isinstance(model, str | os.PathLike):
        return simplify(read_model(model))
    from tinymaix.read.torch import read_torch

    return simplify(read_torch(model, example_inputs))


def run(
    model: Model,
    inputs: Array | Sequence[Array],
    *,
    on: str = "reference",
    optimize: str = "balanced",
    toolchain: str = "auto",
    steps: bool = False,
) -> list[Array]:
    """One inference, or one after another; the outputs as raw values in the model's own types.

    Args:
        inputs: raw values in the model's own types and shapes; one array, or a sequence for several inputs.
        steps: every input has one axis more in front, of steps that are run one after another, and so has every output.
            States of the model live from step to step; they begin with their initial values.
        on: "reference" (numpy), "host" (the compiled C on this computer), or the name of a chip or core to emulate.
        optimize, toolchain: as for `bench`.

    Raises:
        ModelError: the model or the inputs are not usable.
        ChipError, ToolError, BuildError, EmulationError: the chip is unknown, a tool is missing, or a program faults.
    """
    graph = read(model)
    values = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    sequence = _each_step(values) if steps else [values]
    if on == "reference":
        outputs = graph.run_sequence(sequence)
    else:
        from tinymaix.chips import find_chip
        from tinymaix.deploy import Deployment

        for step in sequence:
            graph.check_inputs(step)
        deployment = Deployment(graph, find_chip(on), optimize=optimize, toolchain=toolchain)
        outputs = [deployment.run(step, forget=i == 0)[0] for i, step in enumerate(sequence)]
    return [np.stack(arrays) for arrays in zip(*outputs, strict=True)] if steps else outputs[0]


def quantize(
    model: Model,
    data: Data | Samples,
    *,
    scheme: Scheme | None = None,
    normalize: str = "0to1",
    limit: int | None = None,
    progress: Progress | None = None,
    **choices: Any,
) -> Graph:
    """The integer graph that computes nearly what a float model does on data like the given.

    Args:
        data: what to calibrate with: a folder of pictures, of .wav or of .csv; a .npy or .npz; an array with a sample
            for each index of its first axis; an iterator; or Samples.
        scheme: types, range method and more; or give its fields as ``choices``: activations="int16", ranges="mse".
        normalize: how stored values become the model's inputs: "0to1", "-1to1", "MEAN,STD" or "none".
        limit: so many samples at most, drawn evenly from all.
        progress: called with a sentence before each step.

    Raises:
        ModelError: the model, the data or the scheme is not usable; one sentence each.
        OSError: the data cannot be read.
    """
    from tinymaix.quantize import Scheme, quantize
    from tinymaix.quantize.samples import load_samples

    graph = read(model)
    if scheme is not None and choices:
        raise ModelError("give a scheme or its fields, not both")
    unknown = [name for name in choices if name not in {f.name for f in fields(Scheme)}]
    if unknown:
        raise ModelError(f"a scheme has no '{unknown[0]}'; it has {', '.join(f.name for f in fields(Scheme))}")
    samples = load_samples(data, graph.inputs, normalize=normalize, limit=limit)
    return quantize(graph, samples, scheme or Scheme(**choices), progress)


def compare(
    model: Model,
    integers: Model,
    data: Data | Samples,
    *,
    labels: str | os.PathLike[str] | Array | Sequence[float] | None = None,
    normalize: str = "0to1",
    limit: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """How far an integer model is from the float model that it was made of, and which layer is to blame.

        found = tinymaix.compare("net.h5", "net.tflite", "pictures/", labels="labels.csv")
        print(found.scores, found.sqnr)  # shares from 0 to 1; dB
        for each in found.blame:
            print(each.name, each.because, each.options)

    Args:
        model: the float model.
        integers: the integer model, by any tool; inputs and outputs of the same shapes.
        data: samples of the float model's inputs, as for `quantize`.
        labels: one a sample: a file, or numbers. Whole numbers are classes, others are targets.
        normalize, limit, progress: as for `quantize`.

    Raises: as `quantize`.
    """
    from tinymaix.compare.comparison import compare
    from tinymaix.quantize.samples import load_samples

    graph = read(model)
    samples = load_samples(data, graph.inputs, normalize=normalize, limit=limit, labels=labels)
    return compare(graph, read(integers), samples, progress=progress)


def _each_step(values: Sequence[Array]) -> list[list[Array]]:
    """The inputs of each step. Raises ModelError where inputs have different numbers of steps, or none."""
    lengths = {array.shape[0] if array.ndim else 0 for array in values}
    if len(lengths) != 1 or 0 in lengths:
        raise ModelError(
            "inputs by steps need one axis more in front, of as many steps for every input; the shapes are "
            + ", ".join(str(array.shape) for array in values)
        )
    return [list(step) for step in zip(*values, strict=True)]


def bench(
    model: Model,
    chip: str,
    *,
    optimize: str = "balanced",
    weights: str = "flash",
    toolchain: str = "auto",
    layers: bool = False,
    tune: str = "off",
    max_flash: int | None = None,
    max_ram: int | None = None,
    progress: Progress | None = None,
) -> Bench:
    """What one inference costs on a chip: instructions, cycles, flash, RAM, and whether it is bit-exact.

    Args:
        chip: a name of `tinymaix chips`, a core such as "cortex-m4", or "host".
        optimize: "speed", "balanced", "ram" or "flash".
        weights: "flash", or "ram", which start-up code copies them to: faster where flash is slow.
        toolchain: "auto", "clang" (ziglang) or "gcc" (an installed cross compiler).
        layers: what each layer costs, too.
        tune: "off" takes the best guess of each layer's kernel; "quick" and "full" try a few, or all of them, on the
            emulated chip and take the best.
        max_flash, max_ram: bytes in all (RAM with the stack) that the choice of kernels must keep to.
        progress: called with a sentence before each step.

    Raises: as `run`.
    """
    from tinymaix.chips import find_chip
    from tinymaix.compile.tune_trial import Budget
    from tinymaix.deploy import Deployment
    from tinymaix.trials import tuned_project

    graph, target, budget = read(model), find_chip(chip), Budget(max_flash, max_ram)
    project = tuned_project(
        graph,
        target,
        optimize=optimize,
        weights=weights,
        toolchain=toolchain,
        effort=tune,
        budget=budget,
        progress=progress,
    )
    deployment = Deployment(graph, target, optimize=optimize, toolchain=toolchain, project=project, progress=progress)
    return deployment.bench(layers=layers)


def compile(
    model: Model,
    chip: str,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    optimize: str = "balanced",
    weights: str = "flash",
    toolchain: str = "auto",
    tune: str = "off",
    max_flash: int | None = None,
    max_ram: int | None = None,
    progress: Progress | None = None,
) -> Project:
    """Write a self-contained C99 project for the model: model.c, model.h, selftest.c, harness.c.

    Args:
        chip: a name of `tinymaix chips`, or a core such as "cortex-m4".
        folder: where the files go; made where it is missing.
        name: prefix of the C names; the file's name where it is left out.
        optimize: what the kernels are chosen for: "speed", "balanced", "ram" or "flash".
        weights, toolchain, tune, max_flash, max_ram, progress: as for `bench`; only "quick" and "full" need a compiler.

    Raises:
        ModelError: the model is not usable on the chip.
        ChipError: the chip is not known.
        ToolError, BuildError, EmulationError: as `bench`, where kernels are tried.
        OSError: the folder cannot be written.
    """
    from tinymaix.chips import find_chip
    from tinymaix.compile.tune_trial import Budget
    from tinymaix.trials import tuned_project

    project = tuned_project(
        read(model),
        find_chip(chip),
        name=name,
        optimize=optimize,
        weights=weights,
        toolchain=toolchain,
        effort=tune,
        budget=Budget(max_flash, max_ram),
        progress=progress,
    )
    project.write(folder)
    return project


def convert(
    model: Model,
    path: str | os.PathLike[str],
    *,
    out_deq: bool = True,
    big_endian: bool = False,
    kind: str | None = None,
    more_layers: bool = False,
) -> Tmdl:
    """Write the model as a .tmdl for the TinyMaix runtime, and a C header with the same bytes beside it.

    Args:
        path: where the .tmdl goes; the header gets the same name with .h.
        out_deq: the runtime turns the output into floats.
        big_endian: for a big-endian chip.
        kind: "int8", "int16", "fp32", "fp16", "fp8_143" or "fp8_152"; int8, int16 or fp32 as the model is where it is
            left out.
        more_layers: layers that the original runtime does not know may be written, as version 2 of the format; our
            runtime knows them where it is built with TM_MORE_LAYERS.

    Raises:
        ModelError: the format cannot say it; one sentence for each operator.
        OSError: the files cannot be written.
    """
    from tinymaix.write.tmdl import write_tmdl

    return write_tmdl(read(model), path, out_deq=out_deq, big_endian=big_endian, mdl_type=kind, more_layers=more_layers)
