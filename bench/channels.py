"""MACs and bytes of weights with and without the channels whose value is constant or that nothing reads.

    python bench/channels.py MODEL... [--inputs 100]

The outputs of both graphs are compared, byte for byte, on random inputs. Weights are those of convolutions and fully
connected layers; what requantization needs (8 to 12 bytes a channel) comes on top.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import tinymaix
from tinymaix.compile.project import golden_inputs
from tinymaix.graph import Graph
from tinymaix.rewrite.channels import drop_constant_channels

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def weights(graph: Graph) -> int:
    """Bytes of weights, without biases."""
    constants = {id(t): t for node in graph.nodes if node.op.kind in WEIGHTED for t in node.inputs[1:2] if t}
    return sum(tensor.nbytes for tensor in constants.values())


def unchanged(whole: Graph, live: Graph, inputs: int) -> int:
    """On how many of the inputs all output bytes are equal."""
    equal = 0
    for seed in track(range(inputs), description=whole.name, transient=True, console=Console(stderr=True)):
        values = golden_inputs(whole, seed)
        pairs = zip(whole.run(values), live.run(values), strict=True)
        equal += all(np.array_equal(a, b) for a, b in pairs)
    return equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--inputs", type=int, default=100)
    options = parser.parse_args()
    table = Table()
    table.add_column("model", no_wrap=True)
    for heading in ("MACs", "live", "weights, bytes", "live", "same outputs"):
        table.add_column(heading, justify="right", no_wrap=True)
    wrong = 0
    for path in options.models:
        whole = tinymaix.read(path)
        live = drop_constant_channels(whole)
        equal = unchanged(whole, live, options.inputs)
        wrong += equal != options.inputs
        figures = (whole.macs, live.macs, weights(whole), weights(live))
        table.add_row(path.stem, *(f"{n:,}" for n in figures), f"{equal} of {options.inputs}")
    Console(width=120).print(table)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
