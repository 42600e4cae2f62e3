"""Which chips a model fits, how fast it is there and what it draws: every core is built for and emulated once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any

from tinymaix.advice import lighter
from tinymaix.chips import Chip
from tinymaix.chips.chip import FlashPath
from tinymaix.cores import Core
from tinymaix.deploy import Bench
from tinymaix.graph import Graph
from tinymaix.measured import Measured, build_key, keep, measure, model_key

Progress = Callable[[str], None]
Paths = dict[str, set[FlashPath]]
"""Those of all chips with a core, by its build_key."""
Figures = dict[tuple[str, str], Measured | str]
"""By build_key of the core and way to compile: figures, or a sentence that says why there are none."""
LEANER = ("ram", "flash")
"""Ways to compile that are tried where the model does not fit."""


@dataclass(frozen=True)
class Limits:
    """What a chip must keep to beside its own memories."""

    flash: int | None = None
    """Bytes that the program may take."""
    ram: int | None = None
    fps: float | None = None
    """Inferences a second, at least."""
    millijoules: float | None = None
    """Energy of one inference, at most."""


@dataclass(frozen=True)
class Fit:
    """A model on one chip."""

    chip: Chip
    bench: Bench | None  # None where nothing here can build for the core or run it
    flash_missing: int | None  # bytes by which the program exceeds what there is; 0 where it fits
    ram_missing: int | None
    fits: bool | None  # in flash, in RAM, and within the limits; None where that is not known
    note: str  # why there are no figures, or what would make it fit
    optimize: str
    toolchain: str

    @property
    def milliseconds(self) -> float | None:
        """An inference at the chip's clock; None without a cycle model."""
        return self.bench.milliseconds if self.bench else None

    @property
    def fps(self) -> float | None:
        """Inferences a second."""
        return 1000 / self.milliseconds if self.milliseconds else None

    @property
    def millijoules(self) -> float | None:
        """What an inference draws; None where the chip's current is not known."""
        return self.bench.millijoules if self.bench else None

    def command(self, model: str) -> str:
        """What finds the same figures again, with those of each layer."""
        tool = "" if self.toolchain == "auto" else f" --toolchain {self.toolchain}"
        return f"tinymaix bench {model} --chip {self.chip.name} --optimize {self.optimize}{tool} --layers"

    def as_dict(self, model: str) -> dict[str, Any]:
        """For JSON. model: as a user names it on a command line."""
        bench = self.bench
        return {
            "chip": self.chip.name,
            "core": self.chip.core.name,
            "mhz": self.chip.mhz,
            "fits": self.fits,
            "milliseconds": self.milliseconds,
            "fps": self.fps,
            "millijoules": self.millijoules,
            "cycles": bench.cycles if bench else None,
            "cycles_exact": bench.cycles_exact if bench else None,
            "cycles_error": bench.cycles_error if bench else None,
            "instructions": bench.instructions if bench else None,
            "bit_exact": bench.bit_exact if bench else None,
            "flash": bench.flash.total if bench else None,
            "ram": bench.ram.total if bench else None,
            "flash_missing": self.flash_missing,
            "ram_missing": self.ram_missing,
            "note": self.note,
            "command": self.command(model),
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
    cores = list({build_key(chip.core): chip.core for chip in candidates}.values())
    paths: Paths = {}
    for chip in candidates:
        paths.setdefault(build_key(chip.core), set()).update([chip.flash_path] if chip.flash_path else [])
    figures = _measured(graph, [(core, optimize) for core in cores], toolchain, paths, say)
    fits = [_fit(chip, figures[build_key(chip.core), optimize], asked, optimize, toolchain) for chip in candidates]
    tight = {build_key(f.chip.core): f.chip.core for f in fits if f.bench and (f.flash_missing or f.ram_missing)}
    modes = [mode for mode in LEANER if mode != optimize]
    figures |= _measured(graph, [(core, mode) for core in tight.values() for mode in modes], toolchain, paths, say)
    result = sorted((_advised(f, figures, modes, asked, graph) for f in fits), key=_order)
    for found in figures.values():
        if isinstance(found, Measured):
            keep(found)
    return result


def _measured(graph: Graph, jobs: Sequence[tuple[Core, str]], toolchain: str, paths: Paths, say: Progress) -> Figures:
    found: Figures = {}
    if not jobs:
        return found
    model = model_key(graph)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            runs = {
                pool.submit(_measure, graph, core, mode, toolchain, model, paths[build_key(core)]): (
                    build_key(core),
                    mode,
                )
                for core, mode in jobs
            }
            for done, run in enumerate(as_completed(runs), 1):
                found[runs[run]] = run.result()
                say(f"{done} of {len(runs)} cores and ways to compile emulated")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _measure(
    graph: Graph, core: Core, optimize: str, toolchain: str, model: str, paths: set[FlashPath]
) -> Measured | str:
    try:
        return measure(graph, core, optimize, toolchain, model, paths)
    except (ValueError, RuntimeError) as error:  # ModelError, ToolError, BuildError, EmulationError: of this core only
        return str(error).splitlines()[0]


def _fit(chip: Chip, figures: Measured | str, asked: Limits, optimize: str, toolchain: str) -> Fit:
    if isinstance(figures, str):
        return Fit(chip, None, None, None, None, figures, optimize, toolchain)
    bench = figures.on(chip)
    flash = _missing(bench.flash.total, chip.flash, asked.flash)
    ram = chip.ram_missing(bench.ram.arena, bench.ram.total - bench.ram.arena, asked.ram)
    room = None if flash is None or ram is None else flash == ram == 0
    kept = {
        f"slower than {asked.fps or 0:g} a second": _at_most(
            bench.milliseconds, 1000 / asked.fps if asked.fps else None
        ),
        f"more than {asked.millijoules or 0:g} mJ": _at_most(bench.millijoules, asked.millijoules),
    }
    answers = [room, *kept.values()]
    fits = False if False in answers else None if None in answers else True
    note = ", ".join(sentence for sentence, enough in kept.items() if enough is False)
    return Fit(chip, bench, flash, ram, fits, note, optimize, toolchain)


def _missing(needed: int, *available: int | None) -> int | None:
    """Bytes by which ``needed`` exceeds the least that is available; None where nothing is known."""
    known = [size for size in available if size is not None]
    return max(0, needed - min(known)) if known else None


def _at_most(value: float | None, limit: float | None) -> bool | None:
    """Whether a limit is kept; None where that is not known."""
    return True if limit is None else None if value is None else value <= limit


def _advised(found: Fit, figures: Figures, modes: Sequence[str], asked: Limits, graph: Graph) -> Fit:
    """With a note that says what would make it fit, where something does, or how far it is from that."""
    if found.bench is None or not (found.flash_missing or found.ram_missing):
        return found
    others = [
        _fit(found.chip, figures[build_key(found.chip.core), mode], asked, mode, found.toolchain) for mode in modes
    ]
    for other in others:
        if other.fits:
            time = f": {other.milliseconds:,.1f} ms" if other.milliseconds else ""
            return replace(found, note=f"fits with --optimize {other.optimize}{time}")
    leanest = min([found, *(other for other in others if other.bench)], key=_lack)
    notes = [found.note] if found.note else []
    if leanest is not found and _lack(leanest) < _lack(found):
        how = f"{_lack(leanest):,} bytes are missing" if _lack(leanest) else "its memories suffice"
        notes.append(f"with --optimize {leanest.optimize} {how}")
    notes += (
        lighter(graph, leanest.bench, leanest.flash_missing or 0, leanest.ram_missing or 0) if leanest.bench else []
    )
    return replace(found, note="; ".join(notes))


def _lack(found: Fit) -> int:
    return (found.flash_missing or 0) + (found.ram_missing or 0)


def _order(found: Fit) -> tuple[int, float, str]:
    rank = {True: 0, None: 1, False: 2}[found.fits] if found.bench else 3
    return rank, _lack(found) if rank == 2 else found.milliseconds or float("inf"), found.chip.name
