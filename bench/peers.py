"""Our instructions, cycles, code and RAM per inference beside those of the peers in peers.csv.

    python bench/peers.py                                   # every model of peers.csv that is found
    python bench/peers.py --models kws,mnist --json
    python bench/peers.py --targets cortex-m33:speed,cortex-m4:flash

Models are searched in the shared folder: TINYMAIX_SHARED, or shared beside the repository. A ratio below 1 means that
ours needs less. "~" marks modelled cycles; "best exact" counts only peers with the bits of TFLM's reference kernels; a
board is a figure of MLPerf Tiny, in cycles of its clock; code is flash without the model's constants.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tinymaix import api, report
from tinymaix.chips import find_chip
from tinymaix.deploy import Bench
from tinymaix.graph import Graph

SHARED = Path(os.environ.get("TINYMAIX_SHARED") or Path(__file__).resolve().parents[2] / "shared")
PEERS = Path(__file__).with_name("peers.csv")
TARGETS = "cortex-m4:speed,cortex-m4:balanced,cortex-m0plus:speed,rv32imc:speed,atmega328p:speed"
COLUMNS = (
    "target", "optimize", "instructions", "cycles", "best exact", "ratio", "best of all", "ratio", "board", "ratio",
    "code", "peer", "RAM", "peer", "exact",
)  # fmt: skip

BRIEF = (0, 2, 3, 6, 7, 10, 11, 12, 13)
"""Columns of the one table of all models."""


@dataclass(frozen=True)
class Peer:
    """One figure of another engine."""

    model: str
    core: str
    engine: str
    outputs: str
    """"exact": the bits of TFLM's reference kernels; "inexact"; "board": a published time, outputs unknown."""
    figure: str
    """"instructions", "cycles", "code" (flash without the model), "flash" (all of it) or "ram", in bytes."""
    value: int
    source: str


def read_peers() -> list[Peer]:
    with PEERS.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [
        Peer(m, core, engine, outputs, figure, int(value), at) for m, core, engine, outputs, figure, value, at in rows
    ]


def models(names: Iterable[str], wanted: list[str]) -> Iterator[tuple[str, Path]]:
    """Those models whose name contains one of the wanted words, where their file is found."""
    for name in names:
        if not wanted or any(word in name for word in wanted):
            if found := sorted((SHARED / "models").rglob(f"{name}.tflite")):
                yield name, found[0]
            else:
                say(f"{name}: no such file below {SHARED / 'models'}; left out")


def run(graph: Graph, target: str, optimize: str) -> Bench | str:
    """Our figures, or why there are none."""
    try:
        chip = find_chip(target)
        parameters = sum(tensor.nbytes for tensor in graph.constants)
        if chip.flash is not None and parameters > chip.flash:
            return f"{parameters:,} bytes of parameters do not fit into the {chip.title}"
        bench = api.bench(graph, target, optimize=optimize)
    except (ValueError, RuntimeError) as error:
        return str(error).splitlines()[0]
    return bench if bench.fits is not False else f"{bench.ram.total:,} bytes of RAM do not fit into the {chip.title}"


def best(peers: Iterable[Peer], figure: str, outputs: str = "") -> Peer | None:
    """The least figure of its kind, of the peers with those outputs."""
    fitting = (peer for peer in peers if peer.figure == figure and (not outputs or peer.outputs == outputs))
    return min(fitting, key=lambda peer: peer.value, default=None)


def cells(bench: Bench, peers: list[Peer]) -> list[object]:
    """One row of the table, behind the model. AVR peers are counted in cycles, the others in instructions."""
    counted = "cycles" if bench.cycles_exact else "instructions"
    ours = bench.cycles if bench.cycles_exact else bench.instructions
    engines = [peer for peer in peers if peer.outputs != "board"]
    row: list[object] = [bench.chip, bench.optimize, bench.instructions, report.cycles(bench, bench.cycles)]
    for value, peer in (
        (ours, best(engines, counted, outputs="exact")),
        (ours, best(engines, counted)),
        (bench.cycles, best(peers, "cycles", outputs="board")),
    ):
        row += [None, None] if peer is None else [f"{peer.value:,} {peer.engine}", ratio(value, peer.value)]
    code, ram = best(engines, "code", outputs="exact"), best(engines, "ram")
    row += [bench.flash.code, code and code.value, bench.ram.total, ram and ram.value]
    return [*row, bench.bit_exact]


def ratio(ours: int | None, peer: int) -> float | None:
    return None if ours is None else ours / peer


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default="", help="words of the models' names, with commas (default: all)")
    parser.add_argument("--targets", default=TARGETS, help=f"chip:optimize, with commas (default: {TARGETS})")
    parser.add_argument("--json", action="store_true", help="print one JSON list, with every peer of each row")
    parser.add_argument("--brief", action="store_true", help="one table of all models, with the best peer of all")
    options = parser.parse_args()
    everyone, tables, records = read_peers(), [], []
    brief: list[list[object]] = []
    names = list(dict.fromkeys(peer.model for peer in everyone))
    for name, path in models(names, [word for word in options.models.split(",") if word]):
        graph, rows = api.read(path), []
        for target, _, optimize in (item.partition(":") for item in options.targets.split(",")):
            bench = run(graph, target, optimize or "balanced")
            if isinstance(bench, str):
                say(f"{name} on {target}: {bench}; left out")
                continue
            say(f"{name} on {target}, {bench.optimize}: {bench.instructions:,} instructions")
            peers = [peer for peer in everyone if peer.model == name and peer.core == target]
            rows.append(cells(bench, peers))
            brief.append([name, *(rows[-1][column] for column in BRIEF)])
            records.append({**bench.as_dict(), "peers": [asdict(peer) for peer in peers]})
        tables.append(report.table(f"{name}: {graph.macs:,} MACs", COLUMNS, rows, left=2))
    if options.json:
        print(json.dumps(records, indent=1))
    elif options.brief:
        columns = ("model", *(COLUMNS[column] for column in BRIEF))
        report.show(report.table(None, columns, brief, left=2), width=None if sys.stdout.isatty() else 160)
    else:
        report.show(*tables, width=None if sys.stdout.isatty() else 240)


if __name__ == "__main__":
    main()
