"""What several commands have in common: options, progress, JSON."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tinymaix.chips import Chip

OPTIMIZE = ("speed", "balanced", "ram", "flash")
WEIGHTS = ("flash", "ram")
TUNE = ("off", "quick", "full")
TOOLCHAINS = ("auto", "clang", "gcc")
MODELS = "a .tflite, .tmdl, .h5, .keras, .onnx or .pt2 file, or a .toml that describes one with its processing"


class Add(Protocol):
    """Adds a command that can print JSON: its name, what does it, what it does, and examples of its use."""

    def __call__(
        self, name: str, function: Callable[[argparse.Namespace], int], text: str, *examples: str
    ) -> argparse.ArgumentParser: ...


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", type=Path, help=MODELS)


def add_build_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--optimize", choices=OPTIMIZE, default="balanced", help="default: balanced")
    command.add_argument("--toolchain", choices=TOOLCHAINS, default="auto", help="default: auto")


def add_tune_options(command: argparse.ArgumentParser) -> None:
    text = "try kernels on the emulated chip: a few, or all of them (default: off, the best guess)"
    where = "where constants are read from; start-up code copies them to RAM, which is faster where flash is slow"
    command.add_argument("--weights", choices=WEIGHTS, default="flash", help=f"{where} (default: flash)")
    command.add_argument("--tune", choices=TUNE, default="off", help=text)
    command.add_argument("--max-flash", type=int, metavar="BYTES", help="the tuned firmware's flash at most")
    command.add_argument("--max-ram", type=int, metavar="BYTES", help="the tuned firmware's RAM with stack at most")


def tuning(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_build_options` and `add_tune_options`, as the API takes them."""
    names = ("optimize", "toolchain", "weights", "tune", "max_flash", "max_ram")
    return {name: getattr(options, name) for name in names}


def matching(word: str) -> list[Chip]:
    """The chips whose name, title, core or boards contain a word."""
    from tinymaix.chips import chips as known

    return [
        c for c in known().values() if word.lower() in f"{c.name} {c.title} {c.core.name} {' '.join(c.boards)}".lower()
    ]


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line on a terminal's standard error that says what is going on; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda sentence: None
        return
    from rich.console import Console

    with Console(stderr=True).status("reading the model") as status:
        yield status.update


@contextmanager
def progress_bar() -> Iterator[Callable[[str], None]]:
    """`progress` with a bar, which moves with sentences that say "3 of 10"."""
    if not sys.stderr.isatty():
        yield lambda sentence: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading the model", total=None)

        def say(sentence: str) -> None:
            part = re.search(r"(\d+) of (\d+)", sentence)
            done, total = (int(part[1]), int(part[2])) if part else (0, None)
            bar.update(task, description=sentence, completed=done, total=total)

        yield say


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2))
