"""Projects tried on an emulated chip for the tuner, several at a time, and what was learned kept on disk.

An entry of the cache is named by everything that decides its figures: the emitted C, the compiler with its version and
flags, the inputs, and this package's own code that measures. What cannot be read is measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np

from tinymaix.chips import Chip
from tinymaix.chips.build import fingerprint
from tinymaix.chips.emulate import EmulationError
from tinymaix.chips.tools import cache_dir
from tinymaix.compile.layers import kernels_in_order
from tinymaix.compile.project import Draft, Project, compile_graph, golden_inputs
from tinymaix.compile.selftest import FLOAT_TOLERANCE
from tinymaix.compile.tune import tune
from tinymaix.compile.tune_trial import EFFORTS, Budget, Trial
from tinymaix.deploy import Deployment, difference
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.profile import layer_costs
from tinymaix.version import VERSION
from tinymaix.write.atomic import write_atomic

SAMPLES = 2
"""Random inputs whose outputs must be the reference's; the first is counted."""
BAR = 24
"""Characters of the bar that shows how far the trials are."""
_modelling = threading.Lock()
"""The disassembler of the cycle model serves one thread at a time."""


def tuned_project(
    graph: Graph,
    chip: Chip,
    *,
    name: str | None = None,
    optimize: str = "balanced",
    weights: str = "flash",
    toolchain: str = "auto",
    effort: str = "off",
    budget: Budget | None = None,
    progress: Callable[[str], None] | None = None,
) -> Project:
    """The compiled model with the kernels that the trials of "quick" or "full" find best, or with the best guess.

    Raises:
        ModelError: the model cannot be compiled for the chip, or not within the budget.
        ToolError, BuildError, EmulationError: the trials need a tool that is missing, or fail.
        ValueError: the effort is not known, or a budget is given without trials.
    """
    if effort not in EFFORTS:
        raise ValueError(f'tune is "{effort}"; it must be one of {", ".join(EFFORTS)}.')
    asked = budget or Budget()
    if effort == "off":
        if asked != Budget():
            raise ValueError('A budget of flash or RAM is kept by trials: set tune to "quick" or "full".')
        return compile_graph(graph, chip.core, name=name, optimize=optimize, weights=weights, progress=progress)
    say = progress or (lambda sentence: None)
    say("choosing kernels")
    trials = Trials(graph, chip, optimize, toolchain, say)
    limits = Budget(_least(asked.flash, chip.flash), _least(asked.ram, chip.ram))
    draft = Draft(graph, chip.core, name=name, optimize=optimize, weights=weights)
    project, trial = tune(draft, trials, effort, limits)
    for what, limit, value in (("flash", asked.flash, trial.flash), ("RAM", asked.ram, trial.ram)):
        if limit is not None and value > limit:
            raise ModelError(
                f"no choice of kernels that was tried keeps to {limit:,} bytes of {what} on the {chip.title}; the best "
                f"one needs {value:,}"
            )
    return project


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


class Trials:
    """Measures projects of one graph; see `tinymaix.compile.tune_trial.Measure`."""

    def __init__(
        self, graph: Graph, chip: Chip, optimize: str, toolchain: str, progress: Callable[[str], None]
    ) -> None:
        if chip.core.emulator in (None, "host"):
            raise EmulationError(
                f"Kernels cannot be tried on {chip.title}: nothing here counts its instructions. Leave tuning off."
            )
        self._graph, self._chip, self._optimize, self._toolchain = graph, chip, optimize, toolchain
        self._say = progress
        self._inputs = [golden_inputs(graph, seed) for seed in range(SAMPLES)]
        self._expected = [graph.run(values) for values in self._inputs]
        samples = [array.tobytes() for arrays in (*self._inputs, *self._expected) for array in arrays]
        self._about = digest(VERSION, own_code(), chip.core.name, fingerprint(chip, optimize, toolchain), *samples)

    def __call__(self, projects: Sequence[Project]) -> list[Trial]:
        """The figures of each, from the cache or measured.

        Raises:
            ToolError, BuildError, EmulationError: a tool is missing, a project cannot be built, or it faults.
            RuntimeError: outputs are not the reference's.
        """
        keys = [digest(self._about, *(f"{name}\n{project.files[name]}" for name in TRIED)) for project in projects]
        found = [load(key) for key in keys]
        missing = [i for i, trial in enumerate(found) if trial is None]
        with ThreadPoolExecutor(min(os.cpu_count() or 1, max(len(missing), 1))) as pool:
            try:
                runs = {pool.submit(self._measure, projects[i]): i for i in missing}
                self._say(f"trying kernels {bar(0, len(missing))}")
                for done, run in enumerate(as_completed(runs), 1):
                    found[runs[run]] = run.result()
                    save(keys[runs[run]], run.result())
                    self._say(f"trying kernels {bar(done, len(missing))}")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return [trial for trial in found if trial is not None]

    def _measure(self, project: Project) -> Trial:
        machine = Deployment(
            self._graph, self._chip, optimize=self._optimize, toolchain=self._toolchain, project=project
        )
        counted = None
        for values, expected in zip(self._inputs, self._expected, strict=True):
            outputs, emulation = machine.run(values, count=counted is None, layers=counted is None)
            counted = counted or emulation
            self._check(project, outputs, expected)
        assert counted is not None
        with _modelling:
            figures = machine.figures(counted)
            layers = layer_costs(project, machine.firmware, counted, figures.cycles)[:-1]
        unit = "instructions" if figures.cycles is None else "cycles" if figures.cycles_exact else "modelled cycles"
        inlined = Counter(machine.parts.of)
        calls = [call for layer in project.layers for call in layer.calls]
        kernels = {kernel.name for kernel in kernels_in_order(calls, project.layers[0].replace)}
        sizes: Counter[str] = Counter()
        for symbol, (_, size) in machine.firmware.symbols.items():
            if (name := symbol.split(".")[0]) in kernels:  # gcc names a function made from another f.part.0
                sizes[name] += size
        return Trial(
            cost=(figures.instructions or 0) if figures.cycles is None else figures.cycles,
            unit=unit,
            layers=[cost.instructions if cost.cycles is None else cost.cycles for cost in layers],
            flash=figures.flash.total,
            ram=figures.ram.total,
            inlined=[2 * inlined[i + 1] for i in range(len(layers))],
            functions=dict(sorted(sizes.items())),
        )

    def _check(self, project: Project, outputs: Sequence[Array], expected: Sequence[Array]) -> None:
        for output, wanted in zip(outputs, expected, strict=True):
            margin = FLOAT_TOLERANCE * float(np.abs(wanted).max(initial=0)) if wanted.dtype.kind == "f" else 0.0
            if difference(output, wanted) > margin:
                names = sorted({call.kernel.name for layer in project.layers for call in layer.calls})
                raise RuntimeError(
                    f"our own mistake: on {self._chip.title} the outputs of {project.name} are not the reference's "
                    f"with the kernels {', '.join(names)}; please report it, and leave tuning off"
                )


TRIED = ("model.h", "model.c", "harness.c")
"""The files of a project that are built for a trial."""


def bar(done: int, total: int) -> str:
    filled = BAR * done // max(total, 1)
    return f"{'━' * filled}{'─' * (BAR - filled)} {done} of {total}"


def digest(*parts: str | bytes) -> str:
    """sha256 over the parts with their lengths."""
    result = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        result.update(len(data).to_bytes(8, "little") + data)
    return result.hexdigest()


@cache
def own_code() -> str:
    """The code of this package that turns a project into figures."""
    here = Path(__file__).parent
    files = [here / name for name in ("trials.py", "deploy.py", "profile.py", "cores/costs.py")]
    files += [*here.glob("cores/*/cycles.py"), *here.glob("chips/**/*.[ch]"), *here.glob("chips/**/*.py")]
    return digest(*(path.read_bytes() for path in sorted(files)))


def folder() -> Path:
    """Where the figures are kept. Raises ToolError where no cache folder can be written."""
    return cache_dir() / "tune"


def entries() -> list[Path]:
    """The files of the cache."""
    return sorted(folder().glob("*.json"))


def load(key: str) -> Trial | None:
    """An entry, or None where there is none that can be used."""
    try:
        data = json.loads((folder() / f"{key}.json").read_text(encoding="utf-8"))
        trial = Trial(**data)
    except (OSError, ValueError, TypeError):
        return None
    return trial if _valid(trial) else None


def _valid(trial: Trial) -> bool:
    """Whether an entry holds what a Trial does: the file may have been changed by anyone."""
    numbers = [trial.cost, trial.flash, trial.ram]
    if not isinstance(trial.layers, list) or not isinstance(trial.inlined, list):
        return False
    if not isinstance(trial.functions, dict) or not isinstance(trial.unit, str):
        return False
    numbers += [*trial.layers, *trial.inlined, *trial.functions.values()]
    return all(type(number) is int and number >= 0 for number in numbers)


def save(key: str, trial: Trial) -> None:
    """Keep an entry; a full disk does not stop the work."""
    with suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        write_atomic(folder() / f"{key}.json", json.dumps(asdict(trial)))


def clear() -> int:
    """Remove every entry; returns how many there were."""
    gone = 0
    for path in entries():
        path.unlink(missing_ok=True)
        gone += 1
    return gone
