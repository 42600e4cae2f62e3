"""The device library built for one core and its architecture header, on that core's emulator."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.conftest import load_reference, model_files
from tests.device.runtime import DEVICE, OK
from tinymaix.chips import find_chip
from tinymaix.chips.build import ToolError, build
from tinymaix.chips.emulate import open_machine
from tinymaix.compile.project import golden_inputs
from tinymaix.graph import Array
from tinymaix.write.tmdl import tmdl_bytes

MAIN = Path(__file__).with_name("arch_main.c")


@dataclass(frozen=True)
class Target:
    """A core and what the library is compiled with for it."""

    core: str
    arch: str = "CPU"
    level: int = 1
    optimize: str = "balanced"
    type: str = "INT8"
    """TM_MDL_..."""
    header: str = ""
    """A header that is not among TM_ARCH_..."""
    room: tuple[int, int, int, int] = (512 << 10, 128 << 10, 64 << 10, 4 << 10)
    """Bytes for the model, its buffer, its input and its output."""
    more: bool = False
    """With the layers of version 2."""
    toolchain: str = "auto"

    @property
    def name(self) -> str:
        return f"{self.core}-{self.header or self.arch}-OPT{self.level}"


FULL = tuple(
    Target(core, arch, level)
    for core, arch, levels in (
        ("host", "CPU", (0, 1)),
        ("host", "X86_SSE2", (0, 1)),
        ("host", "CSKYV2", (0, 1)),
        ("cortex-m0plus", "CPU", (0,)),
        ("cortex-m0plus", "ARM_M0", (1,)),
        ("cortex-m4", "ARM_SIMD", (0, 1)),
        ("cortex-m7", "ARM_SIMD", (1,)),
        ("cortex-m33", "ARM_SIMD", (1,)),
        ("cortex-m55", "ARM_MVEI", (0, 1)),
        ("cortex-a7", "ARM_NEON", (0, 1)),
        ("cortex-a53", "ARM_NEON", (0, 1)),
        ("rv32imc", "CPU", (0, 1)),
        ("rv64gcv-vlen128", "RV64V", (0, 1)),
        ("rv64gcv-vlen256", "RV64V", (1,)),
    )
    for level in levels
)
"""Where every shipped model has room."""
SMALL = tuple(
    Target("avr5", arch, level, room=(25 << 10, 5 << 10, 3 << 10, 64)) for arch, level in (("CPU", 0), ("AVR", 1))
)
"""Where the smallest have: an emulated AVR with 64 KB of RAM."""


@dataclass(frozen=True)
class Converted:
    """A shared .tflite of int8 as a .tmdl, with reference samples: (inputs, bytes of outputs), each end to end."""

    path: Path
    data: bytes
    samples: list[tuple[Array, bytes]]


def convertible(most: int = 1 << 30) -> Iterator[Converted]:
    """The shared .tflite of int8 of at most so many bytes that can be a .tmdl, version 1 or 2."""
    for path in model_files():
        if path.stat().st_size > most:
            continue
        try:
            graph = tinymaix.read(path)
            if any(tensor.dtype != np.dtype("int8") for tensor in (*graph.inputs, *graph.outputs)):
                continue
            data = tmdl_bytes(graph, more_layers=True, out_deq=False).data
        except tinymaix.ModelError:
            continue
        samples = [(join(x), join(y).tobytes()) for x, y in load_reference(path)]
        yield Converted(path, data, samples)


def join(arrays: list[Array]) -> Array:
    return np.concatenate([array.ravel() for array in arrays])


class Device:
    """A machine with the library, ready for models."""

    def __init__(self, target: Target, folder: Path) -> None:
        names = ("FILE_SIZE", "BUFFER_SIZE", "INPUT_SIZE", "OUTPUT_SIZE")
        defines = {name: str(size) for name, size in zip(names, target.room, strict=True)}
        defines |= {"TM_ARCH": f"TM_ARCH_{target.arch}", "TM_OPT_LEVEL": f"TM_OPT{target.level}"}
        defines["TM_MDL_TYPE"] = f"TM_MDL_{target.type}"
        if target.header:
            defines["TM_ARCH_HEADER"] = f'"{target.header}"'
        if target.more:
            defines["TM_MORE_LAYERS"] = "1"
        sources = [MAIN, DEVICE / "tm_model.c", DEVICE / "tm_layers.c", *[DEVICE / "tm_more.c"] * target.more]
        chip = find_chip(target.core)
        chip = replace(
            chip, core=replace(chip.core, optimize={})
        )  # the plain -O3, which TinyMaix was measured with too
        self.firmware = build(
            sources,
            chip,
            include=[DEVICE],
            optimize=target.optimize,
            toolchain=target.toolchain,
            out_dir=folder,
            defines=defines,
        )
        self.machine = open_machine(self.firmware)
        self.target = target

    def check(self, path: Path, samples: int) -> None:
        """Assert the golden output bytes of a shipped .tmdl for its first samples."""
        self.load(path.read_bytes())
        for k, (x, y) in enumerate(expected(path)[:samples]):
            output, _, _ = self.run(x, len(y))
            assert output == y, f"{path.stem}, sample {k}, on {self.target.name}"

    def load(self, model: bytes) -> None:
        """Load a .tmdl file."""
        done = self.machine.run({"tm_file": model, "tm_command": struct.pack("<2I", 0, len(model))}, {}, count=False)
        assert done.result == OK, done.result

    def run(self, x: Array, size: int, *, count: bool = False) -> tuple[bytes, int, int]:
        """(size bytes of output, instructions, cycles) of an inference; 0 where they are not known."""
        writes = {"tm_input": x.tobytes(), "tm_command": struct.pack("<2I", 1, 0)}
        done = self.machine.run(writes, {"tm_output": size}, count=count)
        assert done.result == OK, done.result
        return done.memory["tm_output"], done.instructions or 0, done.cycles or 0

    def fits(self, converted: Converted) -> bool:
        """Whether there is room for the model."""
        x, y = converted.samples[0]
        used = (len(converted.data), int.from_bytes(converted.data[12:16], "little"), x.nbytes, len(y))
        return all(size <= room for size, room in zip(used, self.target.room, strict=True))


def open_or_skip(target: Target, folder: Path) -> Device:
    """The device, or the test skipped where its emulator is not installed."""
    try:
        return Device(target, folder)
    except ToolError as error:
        if find_chip(target.core).core.emulator == "qemu":
            pytest.skip(str(error))
        raise


def expected(path: Path) -> list[tuple[Array, bytes]]:
    """(int8 input, bytes of the dequantized output) of a shipped .tmdl, from its .tflite's reference vectors."""
    tflite = path.parent.parent / "tflite" / f"{path.stem}.tflite"
    if tflite.exists():
        samples = [(x[0], y[0]) for x, y in load_reference(tflite)]
    else:  # shipped as .tmdl alone: the numpy reference
        graph = tinymaix.read(path)
        inputs = [golden_inputs(graph, seed) for seed in range(2)]
        samples = [(x[0], graph.run(x)[0]) for x in inputs]
    return [(x, ((y.astype(np.float32) + 128) / 256).astype("<f4").tobytes()) for x, y in samples]


def shipped(most: int = 1 << 20) -> list[Path]:
    """The shipped int8 files of at most so many bytes."""
    return [path for path in model_files("tinymaix/tmdl/*_q.tmdl") if path.stat().st_size <= most]
