"""Instructions of one inference with the device library, by architecture header, beside the original TinyMaix.

    python bench/device_arch.py                     every core, the models that TinyMaix was measured with
    python bench/device_arch.py --all               every shipped int8 model
    python bench/device_arch.py --cores cortex-m4,rv32imc --models vww96

Compiled with clang, -O3; AVR with gcc, -O3, in cycles. The original's figure is that of its best configuration without
TM_FASTSCALE, at either level (gcc, the better of -O2 and -O3; bench/peers.csv). "exact": all stored samples have the
golden bytes. Every configuration of ours is exact, so TM_OPT1 is our best exact one: the last table compares it with
theirs, core by core. TM_OPT0 is for size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers import read_peers
from tests.device.arch import FULL, SMALL, Device, Target, expected, shipped

MEASURED = ("mnist_arduino_q", "mnist_valid_q", "cifar10_q", "vww96_q", "mbnet128_0.25_q")
SAME = {"avr5": "atmega328p"}
"""Cores whose figures in peers.csv bear the name of a chip."""


def original(model: str, core: str) -> int | None:
    """TinyMaix's fewest instructions (AVR: cycles) with exact scales."""
    figure = "cycles" if core in SAME else "instructions"
    return min(
        (
            peer.value
            for peer in read_peers()
            if (peer.model, peer.core, peer.figure) == (model, SAME.get(core, core), figure)
            and peer.engine.startswith("TinyMaix")
            and "FASTSCALE" not in peer.engine
        ),
        default=None,
    )


def rows(target: Target, files: list[Path], best: dict[str, float]) -> Iterator[list[str]]:
    """A row of the table for each model. best: by core and model, the highest ratio to the original so far."""
    with tempfile.TemporaryDirectory() as folder:
        device = Device(replace(target, optimize="speed"), Path(folder))
        for path in files:
            if path.stat().st_size > target.room[0]:
                continue
            device.load(path.read_bytes())
            samples = expected(path)
            outputs = [device.run(x, len(y), count=k == 0) for k, (x, y) in enumerate(samples)]
            exact = all(found[0] == y for found, (_, y) in zip(outputs, samples, strict=True))
            ours = outputs[0][2] or outputs[0][1]
            theirs = original(path.stem, target.core)
            ratio = f"{theirs / ours:.2f} x" if theirs else ""
            if theirs and exact:
                key = f"{target.core} {path.stem}"
                best[key] = max(best.get(key, 0), theirs / ours)
            yield [path.stem, f"{ours:,}", f"{theirs:,}" if theirs else "", ratio, "yes" if exact else "NO"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every shipped int8 model")
    parser.add_argument("--cores", default="", help="only these, separated by commas")
    parser.add_argument("--models", default="", help="only models whose name contains one of these")
    options = parser.parse_args()
    files = [path for path in shipped() if options.all or path.stem in MEASURED]
    if options.models:
        files = [path for path in files if any(part in path.stem for part in options.models.split(","))]
    best: dict[str, float] = {}
    for target in (*FULL, *SMALL):
        if target.core == "host" or (options.cores and target.core not in options.cores.split(",")):
            continue
        unit = "cycles" if target.core in SAME else "instructions"
        table = Table(title=f"{target.core}, TM_ARCH_{target.arch}, TM_OPT{target.level}: {unit} of one inference")
        for column in ("model", "ours", "TinyMaix", "fewer", "exact"):
            table.add_column(column, justify="left" if column in ("model", "exact") else "right")
        for row in rows(target, files, best):
            table.add_row(*row)
        Console(width=100).print(table)
    table = Table(title="Our best exact configuration beside the original's best exact one")
    table.add_column("core and model")
    table.add_column("fewer", justify="right")
    for key, ratio in best.items():
        table.add_row(key, f"{ratio:.2f} x{'' if ratio >= 1 else ' MORE'}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
