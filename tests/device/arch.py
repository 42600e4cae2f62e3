"""The device library built for one core and its architecture header, on that core's emulator."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tinymaix
from tests.conftest import load_reference
from tests.device.runtime import DEVICE, OK
from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.emulate import open_machine
from tinymaix.compile.project import golden_inputs
from tinymaix.graph import Array

MAIN = Path(__file__).with_name("arch_main.c")


@dataclass(frozen=True)
class Target:
    """A core and what the library is compiled with for it."""

    core: str
    arch: str = "CPU"
    level: int = 1
    optimize: str = "balanced"
    room: tuple[int, int, int, int] = (512 << 10, 128 << 10, 64 << 10, 4 << 10)
    """Bytes for the model, its buffer, its input and its output."""

    @property
    def name(self) -> str:
        return f"{self.core}-{self.arch}-OPT{self.level}"


class Device:
    """A machine with the library, ready for models."""

    def __init__(self, target: Target, folder: Path) -> None:
        names = ("FILE_SIZE", "BUFFER_SIZE", "INPUT_SIZE", "OUTPUT_SIZE")
        defines = {name: str(size) for name, size in zip(names, target.room, strict=True)}
        defines |= {"TM_ARCH": f"TM_ARCH_{target.arch}", "TM_OPT_LEVEL": f"TM_OPT{target.level}"}
        sources = [MAIN, DEVICE / "tm_model.c", DEVICE / "tm_layers.c"]
        self.firmware = build(
            sources,
            find_chip(target.core),
            include=[DEVICE],
            optimize=target.optimize,
            out_dir=folder,
            defines=defines,
        )
        self.machine = open_machine(self.firmware)

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
