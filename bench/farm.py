"""Models x chips x options, in parallel on this computer or on a Ray cluster, into one SQLite file.

    python bench/farm.py MODEL... --chips cortex-m4,rp2040,esp32c3 --optimize speed,balanced
    python bench/farm.py DIR --chips all --jobs 8 --database results.sqlite
    python bench/farm.py DIR --chips all --ray 10.0.0.7:6379    # pip install "tinymaix[ray]", on the cluster too
    python bench/farm_page.py farm.sqlite -o farm.html          # plots of what it has found

A folder stands for the models below it. What the database has of the same model, code and options is not run again, so
a run that was stopped goes on where it was; --again runs once more what failed. Exit status 1: a trial failed, or the
output of one was not bit-exact.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

import tinymaix
from tinymaix.chips import chips, find_chip

SUFFIXES = (".tflite", ".tmdl", ".h5", ".keras", ".onnx", ".pt2")
CODE = (".py", ".c", ".h", ".S", ".ld", ".toml")
OPTIMIZE = ("speed", "balanced", "ram", "flash")


@dataclass(frozen=True)
class Trial:
    """What is run: its fields are the key of a row."""

    model: str
    """sha256 of the file."""
    chip: str
    optimize: str
    toolchain: str
    tune: str
    code: str
    """A hash of this package: other code, other figures."""


@dataclass(frozen=True)
class Outcome:
    """What came out; figures are NULL where there are none."""

    name: str
    """The file's name."""
    error: str | None = None
    macs: int | None = None
    instructions: int | None = None
    cycles: int | None = None
    cycles_error: float | None = None
    milliseconds: float | None = None
    millijoules: float | None = None
    code_bytes: int | None = None
    weight_bytes: int | None = None
    arena_bytes: int | None = None
    stack_bytes: int | None = None
    bit_exact: bool | None = None
    fits: bool | None = None
    seconds: float | None = None
    """That the trial took."""


KEY = ", ".join(field.name for field in fields(Trial))
COLUMNS = [field.name for field in (*fields(Trial), *fields(Outcome))]


def main() -> int:
    options = arguments()
    trials = [(trial, path) for path in found(options.models) for trial in planned(path, options)]
    bad = 0
    with closing(open_database(options.database)) as database:
        missing = [(trial, path) for trial, path in trials if not known(database, trial, options.again)]
        print(f"{len(trials)} trials; {options.database} has {len(trials) - len(missing)} of them")
        run = on_ray(missing, options.ray) if options.ray else here(missing, options.jobs)
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
            task = progress.add_task("measuring", total=len(missing))
            for trial, outcome in run:
                keep(database, trial, outcome)
                progress.advance(task)
                if outcome.error or outcome.bit_exact is False:
                    why = outcome.error or "the output is not the reference's"
                    progress.print(f"{outcome.name} on {trial.chip}, {trial.optimize}: {why}")
        for trial, _ in trials:
            (failed,) = select(database, "count(*)", trial, "and (error is not null or not bit_exact)")
            bad += failed
    return 1 if bad else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="model files, or folders with such")
    parser.add_argument("--chips", default="cortex-m4,cortex-m0plus,rv32imc", help='with commas, or "all"')
    parser.add_argument("--optimize", default="balanced", help=f"with commas: {', '.join(OPTIMIZE)}")
    parser.add_argument("--toolchain", default="auto", choices=("auto", "clang", "gcc"))
    parser.add_argument("--tune", default="off", choices=("off", "quick", "full"))
    parser.add_argument("--database", type=Path, default=Path("farm.sqlite"), metavar="FILE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes on this computer")
    parser.add_argument("--ray", metavar="ADDRESS", help="run on the Ray cluster at HOST:PORT (or: local) instead")
    parser.add_argument("--again", action="store_true", help="run once more what failed")
    options = parser.parse_args()
    names = [chip.name for chip in chips().values()] if options.chips == "all" else options.chips.split(",")
    try:
        options.chips = [find_chip(name).name for name in names]
    except ValueError as error:
        parser.error(str(error))
    options.optimize = options.optimize.split(",")
    if unknown := set(options.optimize) - set(OPTIMIZE):
        parser.error(f"unknown --optimize: {', '.join(sorted(unknown))}")
    if missing := [path for path in options.models if not path.exists()]:
        parser.error(f"no such file or folder: {missing[0]}")
    return options


def found(paths: Sequence[Path]) -> Iterator[Path]:
    """The files, and those below the folders that look like models."""
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
        yield from inside if path.is_dir() else [path]


def planned(path: Path, options: argparse.Namespace) -> Iterator[Trial]:
    model = hashlib.sha256(path.read_bytes()).hexdigest()
    for chip, optimize in itertools.product(options.chips, options.optimize):
        yield Trial(model, chip, optimize, options.toolchain, options.tune, own_code())


@cache
def own_code() -> str:
    """A hash of the package's files."""
    files = [
        p for p in Path(tinymaix.__file__).parent.rglob("*") if p.suffix in (".py", ".c", ".h", ".S", ".ld", ".toml")
    ]
    return hashlib.sha256(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in sorted(files))).hexdigest()[:16]


def open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    try:
        database.execute(f"create table if not exists trials ({', '.join(COLUMNS)}, primary key ({KEY}))")
    except sqlite3.DatabaseError as error:
        raise SystemExit(f"{path} is no database of trials: {error}") from None
    return database


def select(database: sqlite3.Connection, what: str, trial: Trial, more: str = "") -> Any:
    """One row of what the database has of a trial, or None."""
    where = " and ".join(f"{field.name} = :{field.name}" for field in fields(Trial))
    return database.execute(f"select {what} from trials where {where} {more}", asdict(trial)).fetchone()


def known(database: sqlite3.Connection, trial: Trial, again: bool) -> bool:
    """Whether the trial need not be run."""
    return select(database, "1", trial, "and error is null" if again else "") is not None


def keep(database: sqlite3.Connection, trial: Trial, outcome: Outcome) -> None:
    """One transaction each, so that nothing is lost when the run is stopped."""
    row = asdict(trial) | asdict(outcome)
    with database:
        database.execute(f"insert or replace into trials values ({', '.join(f':{c}' for c in COLUMNS)})", row)


def run_trial(trial: Trial, name: str, content: bytes) -> Outcome:
    """Compile, build and emulate; what goes wrong is an outcome too. The file is given, as other computers lack it."""
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            bench = tinymaix.bench(
                path, trial.chip, optimize=trial.optimize, toolchain=trial.toolchain, tune=trial.tune
            )
    except Exception as error:  # a farm goes on
        sentence = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Outcome(name, sentence, seconds=time.monotonic() - start)
    return Outcome(
        name,
        None,
        bench.macs,
        bench.instructions,
        bench.cycles,
        bench.cycles_error,
        bench.milliseconds,
        bench.millijoules,
        bench.flash.code,
        bench.flash.weights,
        bench.ram.arena,
        bench.ram.stack,
        bench.bit_exact,
        bench.fits,
        time.monotonic() - start,
    )


def here(trials: Sequence[tuple[Trial, Path]], jobs: int) -> Iterator[tuple[Trial, Outcome]]:
    """On this computer, as they are done."""
    with ProcessPoolExecutor(max(1, jobs)) as pool:
        runs = {pool.submit(run_trial, trial, path.name, path.read_bytes()): trial for trial, path in trials}
        try:
            for run in as_completed(runs):
                yield runs[run], run.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def on_ray(trials: Sequence[tuple[Trial, Path]], address: str) -> Iterator[tuple[Trial, Outcome]]:
    """On the nodes of a cluster, as they are done. Each node must have tinymaix[chips]."""
    try:
        import ray
    except ImportError:
        raise SystemExit('--ray needs the package ray: pip install "tinymaix[ray]"') from None
    ray.init(address=address, log_to_driver=False)
    remote = ray.remote(run_trial)
    content = {path: ray.put(path.read_bytes()) for _, path in trials}
    runs = {remote.remote(trial, path.name, content[path]): trial for trial, path in trials}
    while runs:
        (done, *_), _ = ray.wait(list(runs))
        yield runs.pop(done), ray.get(done)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; what is done is kept", file=sys.stderr)
        sys.exit(130)
