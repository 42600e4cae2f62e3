"""A model on a chip that nobody owns yet: compiled, built, emulated, compared with the reference, and measured."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tinymaix.chips import Chip
from tinymaix.chips.build import Firmware, build
from tinymaix.chips.chip import FlashPath
from tinymaix.chips.cycles import estimate
from tinymaix.chips.emulate import open_machine
from tinymaix.chips.emulate.machine import Emulation, Machine, Parts
from tinymaix.compile.project import Project, compile_graph, golden_inputs
from tinymaix.compile.tune_trial import LayerTuning
from tinymaix.graph import Array, Graph, Tensor
from tinymaix.profile import LayerCost, layer_costs, parts_of

Progress = Callable[[str], None]
_modelling = threading.Lock()
"""The cycle model's disassembler serves one thread at a time."""


@dataclass(frozen=True)
class Flash:
    """Bytes of flash: the program, the model's constants, both."""

    code: int
    weights: int
    total: int


@dataclass(frozen=True)
class Ram:
    """Bytes of RAM: activations, other variables, the deepest stack (None where it is not known), all."""

    arena: int
    static: int
    stack: int | None
    total: int


@dataclass(frozen=True)
class Bench:
    """What one inference costs on a chip. Figures come from the linked program and from running it."""

    model: str
    chip: str
    optimize: str
    instructions: int | None  # None on the host, where they are not counted
    cycles: int | None  # exact, else modelled, else (no model of the core is known) None
    cycles_exact: bool  # counted by the emulator, cycle for cycle
    cycles_error: float | None  # estimated relative error without wait states; 0 where exact, None where cycles are
    milliseconds: float | None  # at the chip's clock; None where cycles are
    millijoules: float | None  # at the chip's supply and current; None where they or the time are not known
    macs: int
    flash: Flash
    ram: Ram
    bit_exact: bool  # every output byte of every golden input equals the reference
    largest_difference: float  # from the reference, in raw values; 0 where bit_exact
    fits: bool | None  # flash and RAM of the chip suffice; None for a chip without sizes
    layers: list[LayerCost] | None = None  # and, last, what is between them; None where they were not asked for
    tuning: list[LayerTuning] | None = None  # what was tried for each layer; None where nothing was
    constant_waits: int | None = None  # how many of the cycles are waits for constants in flash; None if not modelled
    emulation: Emulation | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain data for JSON."""
        figures = asdict(replace(self, emulation=None))
        del figures["emulation"]
        return {key: value for key, value in figures.items() if value is not None or key not in ("layers", "tuning")}


class Deployment:
    """A compiled and built model, ready to run on the emulated chip or the host."""

    def __init__(
        self,
        graph: Graph,
        chip: Chip,
        *,
        optimize: str = "balanced",
        toolchain: str = "auto",
        project: Project | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Compile, unless the compiled ``project`` is given, and build.

        Raises:
            ModelError: the model cannot be compiled for the chip's core.
            ToolError: a compiler or emulator is missing; says how to install it.
            BuildError: the compiler refuses the program.
        """
        say = progress or (lambda sentence: None)
        self.graph, self.chip, self.optimize = graph, chip, optimize
        self.project = project or compile_graph(graph, chip.core, optimize=optimize, progress=say)
        say(f"building for {chip.title}")
        self._folder = tempfile.TemporaryDirectory(prefix="tinymaix-")
        folder = Path(self._folder.name)
        self.project.write(folder)
        sources = [folder / "model.c", folder / "harness.c"]
        self.firmware: Firmware = build(
            sources, chip, include=[folder], optimize=optimize, toolchain=toolchain, out_dir=folder / "build"
        )
        self.machine: Machine = open_machine(self.firmware)

    def run(
        self,
        inputs: Sequence[Array],
        *,
        count: bool = False,
        layers: bool = False,
        forget: bool = True,
        paths: Sequence[FlashPath] | None = None,
    ) -> tuple[list[Array], Emulation]:
        """One inference. Inputs and outputs are raw values in the tensors' own types.

        Args:
            count: count instructions, which is slower.
            layers: count each layer apart, too.
            forget: begin with the initial states; otherwise with those that the run before left.
            paths: see Machine.run.

        Raises:
            ModelError: the inputs do not fit the model.
            EmulationError: the program faulted.
        """
        values = self.graph.check_inputs(inputs)
        writes = {self._place(t): v.tobytes() for t, v in zip(self.graph.inputs, values, strict=True)}
        if forget:
            plan = self.project.plan
            for state in plan.graph.states:
                assert state.initial is not None
                writes[f"{self.project.name}_state+{plan.states[id(state)]}"] = state.initial.tobytes()
        reads = {self._place(t): t.nbytes for t in self.graph.outputs}
        emulation = self.machine.run(writes, reads, count=count, parts=self.parts if layers else None, paths=paths)
        return [
            np.frombuffer(emulation.memory[self._place(t)], t.dtype).reshape(t.shape).copy() for t in self.graph.outputs
        ], emulation

    @cached_property
    def parts(self) -> Parts:
        """Which layer each instruction of the run function is for."""
        return parts_of(self.project, self.firmware)

    def _place(self, tensor: Tensor) -> str:
        return f"{self.project.name}_arena+{self.project.plan.offsets[id(tensor)]}"

    def bench(
        self,
        inputs: Sequence[Sequence[Array]] | None = None,
        *,
        layers: bool = False,
        paths: Sequence[FlashPath] | None = None,
    ) -> Bench:
        """Count the first inference and compare the outputs of all with the reference.

        Args:
            inputs: the inputs of each inference; two random ones where they are left out.
            layers: count each layer apart, too.
            paths: see Machine.run.
        """
        largest, counted = 0.0, None
        for values in inputs or [golden_inputs(self.graph, seed) for seed in range(2)]:
            outputs, emulation = self.run(values, count=counted is None, layers=layers and counted is None, paths=paths)
            counted = counted or emulation
            for output, expected in zip(outputs, self.graph.run(values), strict=True):
                largest = max(largest, difference(output, expected))
        assert counted is not None
        return self.figures(counted, largest, layers=layers)

    def figures(self, counted: Emulation, largest: float = 0.0, *, layers: bool = False) -> Bench:
        """What a counted run tells. ``largest`` is the largest difference from the reference that was seen."""
        flash, ram = self._flash(), self._ram(counted.stack)
        mhz = self.chip.mhz
        exact = counted.cycles is not None
        with _modelling:
            model = None if exact else estimate(self.firmware, counted)
        cycles = model.cycles if model else counted.cycles
        milliseconds = cycles / mhz / 1000 if cycles is not None and mhz else None
        fits = None
        if self.chip.flash is not None and self.chip.ram is not None:
            room = self.chip.ram_missing(ram.arena, ram.total - ram.arena) == 0
            fits = flash.total <= self.chip.flash and room
        return Bench(
            model=self.graph.name,
            chip=self.chip.name,
            optimize=self.optimize,
            instructions=counted.instructions,
            cycles=cycles,
            cycles_exact=exact,
            cycles_error=model.error if model else 0.0 if exact else None,
            milliseconds=milliseconds,
            millijoules=self.chip.millijoules(milliseconds),
            macs=self.graph.macs,
            flash=flash,
            ram=ram,
            bit_exact=largest == 0,
            largest_difference=largest,
            fits=fits,
            layers=layer_costs(self.project, self.firmware, counted, cycles) if layers and counted.parts else None,
            tuning=list(self.project.tuning) or None,
            constant_waits=model.constants if model else None,
            emulation=counted,
        )

    def _flash(self) -> Flash:
        symbols = self.firmware.symbols
        names = [constant.name for layer in self.project.layers for constant in layer.constants]
        weights = sum(symbols[name][1] for name in names if name in symbols)
        return Flash(self.firmware.flash_total - weights, weights, self.firmware.flash_total)

    def _ram(self, stack: int | None) -> Ram:
        arena = self.project.plan.arena
        static = self.firmware.static_ram - arena
        return Ram(arena, static, stack, arena + static + (stack or 0))


def difference(output: Array, expected: Array) -> float:
    """The largest difference of two outputs; infinite where one is not a number and the other is."""
    if output.tobytes() == expected.tobytes():
        return 0.0
    gap = np.abs(output.astype(np.float64) - expected.astype(np.float64))
    return float(np.nan_to_num(gap, nan=np.inf).max())
