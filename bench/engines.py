"""Quantize every shared float model and run what was written in both of TensorFlow's engines: do they give our bytes?

    python bench/engines.py                           int8, 20 random inputs each
    python bench/engines.py --activations int16 mnist only models whose path contains "mnist", with int16 activations
    python bench/engines.py --json > engines.json

Values of the outputs that differ from ours in TFLM and in LiteRT's reference kernels; floats may differ by 1e-6 of the
largest. Calibrated on random values: this is about bytes, not about accuracy.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.conftest import MODELS
from tests.oracles import litert, random_inputs, tflm

import tinymaix
from tinymaix import report
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.samples import Samples
from tinymaix.write.tflite import tflite_bytes
from tinymaix.write.tflite_tables import in_tables

MOST_MACS = 100_000_000
DIFFERENT = {"UNIDIRECTIONAL_SEQUENCE_LSTM": "int8", "MUL": "int16"}
"""Operators that the two engines compute differently, and the type in which they do."""


@dataclass(frozen=True)
class Row:
    """One model; ``tflm`` and ``litert`` are how many of ``values`` differ, or why it was refused."""

    model: str
    values: int
    tflm: int | str
    litert: int | str
    operators: str


def float_model(path: Path) -> Graph | None:
    """What can be quantized."""
    try:
        graph = tinymaix.read(path)
    except ModelError:
        return None
    small = sum(node.op.macs(node) for node in graph.nodes) <= MOST_MACS
    return graph if small and all(t.dtype == np.float32 for t in graph.inputs) else None


def differing(run: Sequence[Array], expected: Sequence[Array]) -> int:
    """How many values are not the same."""
    count = 0
    for x, y in zip(run, expected, strict=True):
        room = 1e-6 * float(np.abs(y).max(initial=0)) if y.dtype.kind == "f" else 0
        count += int((np.abs(x.astype(np.float64) - y) > room).sum())
    return count


def row(name: str, graph: Graph, scheme: Scheme, inputs: int) -> Row | str:
    """One model's figures, or why it cannot be quantized."""
    try:
        integers = quantize(graph, Samples([random_inputs(graph, seed) for seed in range(8)]), scheme)
    except ModelError as error:
        return str(error)
    data = tflite_bytes(in_tables(integers))
    values, counts = 0, dict[str, int | str](tflm=0, litert=0)
    for seed in range(inputs):
        given = random_inputs(integers, seed)
        ours = integers.run(given)
        values += sum(y.size for y in ours)
        for engine, run in (("tflm", tflm), ("litert", litert)):
            before = counts[engine]
            if isinstance(before, int):
                try:
                    counts[engine] = before + differing(run(data, given), ours)
                except RuntimeError as error:
                    counts[engine] = str(error)
    kinds = sorted({n.op.kind for n in integers.nodes if DIFFERENT.get(n.op.kind) == n.output.dtype.name})
    return Row(name, values, counts["tflm"], counts["litert"], ", ".join(kinds))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("match", nargs="?", default="", help="only models whose path contains this")
    parser.add_argument("--activations", choices=("int8", "int16"), default="int8")
    parser.add_argument("--inputs", type=int, default=20, help="of each model (default: 20)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    paths = sorted(p for kind in ("*.h5", "*.tflite") for p in MODELS.rglob(kind) if options.match in str(p))
    rows: list[Row] = []
    for path in paths:
        graph, name = float_model(path), str(path.relative_to(MODELS))
        if graph is None:
            continue
        print(name, file=sys.stderr)
        found = row(name, graph, Scheme(activations=options.activations), options.inputs)
        if isinstance(found, Row):
            rows.append(found)
    if options.json:
        print(json.dumps([asdict(each) for each in rows], indent=2))
        return 0
    columns = ["model", "values", "TFLM differs", "LiteRT differs", "not alike in both"]
    cells = [[r.model, f"{r.values:,}", str(r.tflm)[:40], str(r.litert)[:40], r.operators] for r in rows]
    report.show(report.table(None, columns, cells, left=5))
    same = [sum(each == 0 for each in column) for column in zip(*((r.tflm, r.litert) for r in rows), strict=True)]
    report.show(f"{len(rows)} models; all bytes the same in TFLM: {same[0]}, in LiteRT: {same[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
