"""Every convertible int8 .tflite of the shared models with the device library on every core: are the bytes golden?

    python bench/device_everywhere.py
    python bench/device_everywhere.py --cores cortex-m4,rv32imc --models zoo,tflm --samples 2

A .tmdl of version 1 or 2 is made of each and runs with TM_MORE_LAYERS; the golden bytes are those of TensorFlow Lite
Micro's reference kernels. A column is a core, a header and a level. Prints a table model x core: "." the same bytes,
"-" does not fit, "DIFFERS", "ERROR" (what is printed below). The exit status is 1 after one of the last two.
TM_OPT1 where a core has both levels, unless --all asks for both. CSKYV2 is a statement in C of what its instruction
does; RV32P runs small models only, since a hook executes its instruction.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.conftest import model_id
from tests.device.arch import FULL, SMALL, Converted, Device, Target, convertible
from tests.device.runtime import Library
from tests.device.test_arch_rv32p import TARGET as RV32P
from tests.device.test_arch_rv32p import machine_with_smaqa

from tinymaix.chips.build import ToolError
from tinymaix.graph import Array

ROOM = (512 << 10, 240 << 10, 64 << 10, 40 << 10)
COMPILERS = ("gcc", "clang")
"""Of the computer, with each of the host's columns."""
SAME, TOO_LARGE, DIFFERS, ERROR = ".", "-", "DIFFERS", "ERROR"


class Host:
    """The library built for this computer by a compiler, with what is used of Device."""

    def __init__(self, target: Target, compiler: str, folder: Path) -> None:
        options = [f"-DTM_ARCH=TM_ARCH_{target.arch}", f"-DTM_OPT_LEVEL={target.level}", "-DTM_MORE_LAYERS=1"]
        self.library = Library(folder, options, compiler)

    def fits(self, model: Converted) -> bool:
        return True

    def load(self, data: bytes) -> None:
        self.model = self.library.load(data)
        if self.model.error:
            raise ValueError(f"tm_load_n gives {self.model.error}")

    def run(self, x: Array, size: int) -> tuple[bytes, int, int]:
        ends = np.cumsum([mat.h * mat.w * mat.c for mat in self.model.inputs[: self.model.file[6]]])
        shapes = [(1, mat.h, mat.w, mat.c) for mat in self.model.inputs[: len(ends)]]
        arrays = [part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True)]
        outputs = self.model.run_all(arrays, int(self.model.file[8]))
        return b"".join(y.tobytes() for y in outputs), 0, 0


def check(device: Device | Host, model: Converted, samples: int) -> str:
    """What the table says of the model there."""
    if not device.fits(model):
        return TOO_LARGE
    device.load(model.data)
    for x, y in model.samples[:samples]:
        if device.run(x, len(y))[0] != y:
            return DIFFERS
    return SAME


def open_device(target: Target, compiler: str, folder: Path) -> Device | Host:
    if target.core == "host":
        return Host(target, compiler, folder)
    return machine_with_smaqa(folder, target)[0] if target.arch == "RV32P" else Device(target, folder)


def column(target: Target, compiler: str, models: list[Converted], samples: int) -> list[str]:
    """A cell for each model; an error of one is a line on the error output."""
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        device = open_device(target, compiler, Path(folder))
        for model in models:
            try:
                cells.append(check(device, model, samples))
            except Exception as error:
                print(f"{model_id(model.path)} on {target.name}: {type(error).__name__}: {error}", file=sys.stderr)
                cells.append(ERROR)
    return cells


def columns(cores: list[str], both: bool) -> Iterator[tuple[Target, str]]:
    """A target and its compiler for each column: where there are two levels, both of them or TM_OPT1."""
    found = [target for target in (*FULL, RV32P, *SMALL) if not cores or target.core in cores]
    levels = Counter((target.core, target.arch) for target in found)
    for target in found:
        if both or target.level == 1 or levels[target.core, target.arch] == 1:
            room = target.room if target in (*SMALL, RV32P) else ROOM
            for compiler in COMPILERS if target.core == "host" else ("",):
                if not compiler or shutil.which(compiler):
                    yield replace(target, room=room, more=True), compiler


def summary(counts: Counter[str]) -> str:
    return f"{counts[SAME]} same, {counts[TOO_LARGE]} do not fit, {counts[DIFFERS]} differ, {counts[ERROR]} errors"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", default="", help="only these, separated by commas")
    parser.add_argument("--models", default="", help="only models whose path contains one of these")
    parser.add_argument("--samples", type=int, default=1, help="reference inputs of each model")
    parser.add_argument("--all", action="store_true", help="TM_OPT0 and TM_OPT1 on each core")
    options = parser.parse_args()
    parts = options.models.split(",")
    models = [model for model in convertible() if any(part in model_id(model.path) for part in parts)]
    table = Table(title=f"{len(models)} int8 models with the device library; . golden bytes, - does not fit")
    table.add_column("model", no_wrap=True)
    rows: list[list[str]] = [[model_id(model.path)] for model in models]
    total = Counter[str]()
    for target, compiler in columns([core for core in options.cores.split(",") if core], options.all):
        name = f"{target.name} {compiler}".strip()
        try:
            cells = column(target, compiler, models, options.samples)
        except ToolError as error:
            print(error, file=sys.stderr)
            continue
        print(f"{name}: {summary(Counter(cells))}", flush=True)
        total += Counter(cells)
        table.add_column(name.replace("-", "\n").replace(" ", "\n"), justify="center")
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    for row in rows:
        table.add_row(*row)
    Console(width=60 + 12 * len(table.columns)).print(table)
    print(summary(total))
    return 1 if total[DIFFERS] or total[ERROR] else 0


if __name__ == "__main__":
    sys.exit(main())
