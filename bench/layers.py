"""Instructions and cycles per MAC of each kind of layer, for each model and for all of them.

    python bench/layers.py model.tflite ...
    python bench/layers.py --chip cortex-m33 --optimize balanced --each model.tflite

MACs are those that the compiled model computes. "~" marks modelled cycles.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tinymaix import api, report
from tinymaix.deploy import Bench
from tinymaix.profile import LayerCost, by_kind

COLUMNS = ("operator", "layers", "MACs", "instructions", "cycles", "instructions/MAC", "cycles/MAC", "share")


def rows(bench: Bench, costs: list[LayerCost]) -> list[list[object]]:
    whole = sum(cost.cycles if cost.cycles is not None else cost.instructions for cost in costs)
    return [
        [
            kind, layers, macs, instructions, report.cycles(bench, cycles),
            instructions / macs if macs else None, cycles / macs if macs and cycles is not None else None,
            f"{100 * (instructions if cycles is None else cycles) / whole:.1f} %",
        ]
        for kind, layers, macs, instructions, cycles in by_kind(costs)
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--chip", default="cortex-m4", help="default: cortex-m4")
    parser.add_argument("--optimize", default="speed", help="default: speed")
    parser.add_argument("--tune", default="off", help="default: off")
    parser.add_argument("--toolchain", default="auto", help="default: auto")
    parser.add_argument("--each", action="store_true", help="show every layer, too")
    options = parser.parse_args()
    everything: list[LayerCost] = []
    for path in options.models:
        bench = api.bench(
            path, options.chip, optimize=options.optimize, toolchain=options.toolchain, tune=options.tune, layers=True
        )
        if bench.layers is None:
            raise SystemExit(f"{options.chip}: its emulator does not count, so layers have no figures")
        if options.each:
            report.show(report.layers_table(bench))
        report.show(report.table(f"{bench.model} on {bench.chip}", COLUMNS, rows(bench, bench.layers)))
        everything += bench.layers
    if len(options.models) > 1:
        report.show(report.table(f"all on {bench.chip}", COLUMNS, rows(bench, everything)))


if __name__ == "__main__":
    main()
