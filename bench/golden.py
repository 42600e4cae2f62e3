"""Every shared .tflite on the reference, the host and an emulated Cortex-M4, against its golden outputs.

    python bench/golden.py                      all models
    python bench/golden.py zoo/ --no-chip       those whose path contains "zoo/", without the emulator
    python bench/golden.py --json > golden.json

Golden are the outputs of TFLM's reference kernels; floats may differ by 1e-4 of the largest output.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.conftest import MODELS, model_files, model_id
from tests.models.golden import check_on, check_reference, golden_samples, read_or_reason

from tinymaix import report


def outcome(check: Callable[[], None]) -> str:
    """yes, or the first line of what is wrong."""
    try:
        check()
    except (AssertionError, ValueError, RuntimeError) as error:
        return f"NO: {str(error).splitlines()[0]}"
    return "yes"


def row(path: Path, chip: bool) -> dict[str, str]:
    """What one model does on each target."""
    graph = read_or_reason(path)
    if isinstance(graph, str):
        return {"model": model_id(path), "read": "-", "reason": graph.split(": ", 1)[1]}
    samples = golden_samples(path, graph)
    result = {"model": model_id(path), "read": "yes"}
    result["reference"] = outcome(lambda: check_reference(graph, samples))
    result["host"] = outcome(lambda: check_on(graph, samples, "host"))
    if chip:
        result["cortex-m4"] = outcome(lambda: check_on(graph, samples, "cortex-m4"))
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("match", nargs="?", default="", help="only models whose path contains this")
    parser.add_argument("--no-chip", action="store_true", help="leave the emulated Cortex-M4 out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    paths = [p for p in model_files() if options.match in model_id(p) and "seanet_int16" not in p.parts]
    if not paths:
        print(f"no models in {MODELS} match '{options.match}'", file=sys.stderr)
        return 2
    rows = []
    for i, path in enumerate(paths):
        print(f"{i + 1}/{len(paths)} {model_id(path)}", file=sys.stderr)
        rows.append(row(path, not options.no_chip))
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        columns = ["model", "read", "reference", "host", "cortex-m4"]
        report.show(report.table(None, columns, [[r.get(c, "-")[:60] for c in columns] for r in rows], left=5))
        report.show(*(f"{r['model']}: {r['reason']}" for r in rows if "reason" in r))
        good = sum(all(r.get(c, "yes") == "yes" for c in columns[1:]) for r in rows)
        report.show(f"{good} of {len(rows)} models exact on every target")
    return 0


if __name__ == "__main__":
    sys.exit(main())
