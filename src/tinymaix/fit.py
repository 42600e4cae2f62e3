"""Which chips a model fits, and how fast it is there: every kind of core is built for and emulated once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from tinymaix.chips import Chip
from tinymaix.chips.chip import generic
from tinymaix.cores import Core
from tinymaix.deploy import Bench, Deployment
from tinymaix.graph import Graph

Progress = Callable[[str], None]
LEANER = ("ram", "flash")
"""Ways to compile that are tried where the model does not fit."""
_emulating = threading.Lock()
"""The cycle model's disassembler serves one thread at a time."""


@dataclass(frozen=True)
class Limits:
    """What a chip must keep to beside its own memories: bytes that the model may take, inferences a second."""

    flash: int | None = None
    ram: int | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Fit:
    """A model on one chip."""

    chip: Chip
    bench: Bench | None  # None where nothing here can build for the core or run it
    flash_missing: int | None  # bytes by which the program exceeds what there is; 0 where it fits
    ram_missing: int | None
    milliseconds: float | None  # an inference at the chip's clock; None without a cycle model
    fits: bool | None  # in flash, in RAM, and fast enough; None where that is not known
    note: str  # why there are no figures, or what would make it fit

    @property
    def fps(self) -> float | None:
        """Inferences a second."""
        return 1000 / self.milliseconds if self.milliseconds else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        bench = self.bench
        return {
            "chip": self.chip.name,
            "core": self.chip.core.name,
            "mhz": self.chip.mhz,
            "fits": self.fits,
            "milliseconds": self.milliseconds,
            "fps": self.fps,
            "cycles": bench.cycles if bench else None,
            "cycles_exact": bench.cycles_exact if bench else None,
            "bit_exact": bench.bit_exact if bench else None,
            "flash": bench.flash.total if bench else None,
            "ram": bench.ram.total if bench else None,
            "flash_missing": self.flash_missing,
            "ram_missing": self.ram_missing,
            "note": self.note,
        }


def fit(
    graph: Graph,
    chips: Iterable[Chip],
    *,
    optimize: str = "balanced",
    toolchain: str = "auto",
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> list[Fit]:
    """The model on each chip: those that it fits first, the fastest at the top, then by how many bytes are missing.

    What cannot be built for, or not be emulated, comes last with a note that says why.
    """
    say, asked, candidates = progress or (lambda sentence: None), limits or Limits(), list(chips)
    cores = list({chip.core.name: chip.core for chip in candidates}.values())
    figures = _measured(graph, [(core, optimize) for core in cores], toolchain, say)
    fits = [_fit(chip, figures[chip.core.name, optimize], asked) for chip in candidates]
    tight = {f.chip.core.name: f.chip.core for f in fits if f.bench and (f.flash_missing or f.ram_missing)}
    modes = [mode for mode in LEANER if mode != optimize]
    figures |= _measured(graph, [(core, mode) for core in tight.values() for mode in modes], toolchain, say)
    return sorted((_advised(f, figures, modes, asked) for f in fits), key=_order)


def _measured(
    graph: Graph, jobs: Sequence[tuple[Core, str]], toolchain: str, say: Progress
) -> dict[tuple[str, str], Bench | str]:
    """The figures of each core and way to compile, or a sentence that says why there are none."""
    found: dict[tuple[str, str], Bench | str] = {}
    if not jobs:
        return found
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            runs = {pool.submit(_measure, graph, core, mode, toolchain): (core.name, mode) for core, mode in jobs}
            for done, run in enumerate(as_completed(runs), 1):
                found[runs[run]] = run.result()
                say(f"{done} of {len(runs)} cores and ways to compile emulated")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _measure(graph: Graph, core: Core, optimize: str, toolchain: str) -> Bench | str:
    try:
        deployment = Deployment(graph, generic(core), optimize=optimize, toolchain=toolchain)
        with _emulating:
            return deployment.bench()
    except (ValueError, RuntimeError) as error:  # ModelError, ToolError, BuildError, EmulationError: of this core only
        return str(error).splitlines()[0]


def _fit(chip: Chip, figures: Bench | str, asked: Limits) -> Fit:
    if isinstance(figures, str):
        return Fit(chip, None, None, None, None, None, figures)
    flash = _missing(figures.flash.total, chip.flash, asked.flash)
    ram = _missing(figures.ram.total, chip.ram, asked.ram)
    milliseconds = figures.cycles / chip.mhz / 1000 if figures.cycles is not None and chip.mhz else None
    enough = None if milliseconds is None else 1000 / milliseconds >= (asked.fps or 0)
    room = None if flash is None or ram is None else flash == ram == 0
    fits = False if room is False or enough is False else room if asked.fps is None or enough else None
    slow = "" if enough is not False or asked.fps is None else f"slower than {asked.fps:g} a second"
    return Fit(chip, figures, flash, ram, milliseconds, fits, slow)


def _missing(needed: int, *available: int | None) -> int | None:
    """Bytes by which ``needed`` exceeds the least that is available; None where nothing is known."""
    known = [size for size in available if size is not None]
    return max(0, needed - min(known)) if known else None


def _advised(found: Fit, figures: dict[tuple[str, str], Bench | str], modes: Sequence[str], asked: Limits) -> Fit:
    """With a note that says what would make it fit, where something does."""
    if not (found.flash_missing or found.ram_missing):
        return found
    for mode in modes:
        leaner = figures[found.chip.core.name, mode]
        other = _fit(found.chip, leaner, asked)
        if other.fits:
            time = f": {other.milliseconds:,.1f} ms" if other.milliseconds else ""
            return Fit(**{**found.__dict__, "note": f"fits with --optimize {mode}{time}"})
    return found


def _order(found: Fit) -> tuple[int, float, str]:
    rank = {True: 0, None: 1, False: 2}[found.fits] if found.bench else 3
    missing = (found.flash_missing or 0) + (found.ram_missing or 0)
    return rank, missing if rank == 2 else found.milliseconds or float("inf"), found.chip.name
