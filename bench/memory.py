"""Arena bytes of our plan beside the least possible, TinyMaix's main buffer and TFLM's arena.

    python bench/memory.py [FOLDER]    # the shared folder; default: TINYMAIX_SHARED, or shared beside the repository

The peers' figures are those of reference/peers.md in the shared folder, section "Memory (bytes)": TinyMaix without its
static scratch (6,404 bytes more, or 22,468 with OPT1), TFLM with CMSIS-NN on a Cortex-M4. "overlapped" is the plan for
kernels that compute row by row (`row_lead`); the ratios are its own to the peer's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tinymaix.graph import Graph, ModelError
from tinymaix.plan import plan, row_lead, verify
from tinymaix.plan.ping_pong import ping_pong
from tinymaix.read.tflite import read_tflite
from tinymaix.rewrite import simplify

PEERS: dict[str, tuple[int | None, int]] = {  # model: (TinyMaix, TFLM)
    "mlperf_tiny/models/kws/kws_ref_model.tflite": (None, 22_820),
    "mlperf_tiny/models/vww/vww_96_int8.tflite": (None, 100_708),
    "mlperf_tiny/models/ic/pretrainedResnet_quant.tflite": (None, 54_996),
    "mlperf_tiny/models/ad/ad01_int8.tflite": (None, 2_580),
    "tinymaix/tflite/mnist_valid_q.tflite": (1_464, 2_884),
    "tinymaix/tflite/cifar10_q.tflite": (11_264, 15_588),
    "tinymaix/tflite/vww96_q.tflite": (55_296, 100_644),
    "tinymaix/tflite/mbnet128_0.25_q.tflite": (98_304, 168_836),
}


def row(graph: Graph, tinymaix: int | None, tflm: int) -> list[str]:
    """The cells of one model behind its name."""
    placed, overlapped = plan(graph), plan(graph, lead=row_lead)
    verify(placed)
    verify(overlapped)
    try:
        layout = f"{ping_pong(graph).size:,}"
    except ModelError:
        layout = "no chain"
    return [
        f"{placed.arena:,}",
        f"{placed.bound:,}",
        f"{overlapped.arena:,}",
        layout,
        "-" if tinymaix is None else f"{tinymaix:,}",
        "-" if tinymaix is None else f"{overlapped.arena / tinymaix:.2f}",
        f"{tflm:,}",
        f"{overlapped.arena / tflm:.2f}",
    ]


def main() -> None:
    default = os.environ.get("TINYMAIX_SHARED") or Path(__file__).resolve().parents[2] / "shared"
    models = Path(sys.argv[1] if len(sys.argv) > 1 else default) / "models"
    table = Table(title="Arena, bytes")
    table.add_column("model", no_wrap=True)
    for heading in ("apart", "least apart", "overlapped", "ping-pong", "TinyMaix", "ratio", "TFLM", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    skipped = []
    for name, (tinymaix, tflm) in PEERS.items():
        path = models / name
        try:
            table.add_row(path.stem, *row(simplify(read_tflite(path.read_bytes(), path.stem)), tinymaix, tflm))
        except (OSError, ModelError) as error:
            skipped.append(f"{path.stem}: {str(error).splitlines()[0]}")
    console = Console(width=120)
    console.print(table)
    for reason in skipped:
        console.print(f"left out: {reason}", highlight=False)


if __name__ == "__main__":
    main()
