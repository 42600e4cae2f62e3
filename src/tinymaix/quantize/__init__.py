"""Float Graph + calibration data -> integer Graph, by the TFLite specification of int8 and 16x8.

Light to import: `tinymaix` does, to keep its own function of this name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tinymaix.graph import Graph
from tinymaix.quantize.scheme import Scheme

if TYPE_CHECKING:
    from tinymaix.quantize.samples import Samples

__all__ = ["Scheme", "quantize"]


def quantize(
    graph: Graph, samples: Samples, scheme: Scheme | None = None, progress: Callable[[str], None] | None = None
) -> Graph:
    """An integer graph that computes nearly what the float graph does on data like the samples.

    Args:
        progress: called with a sentence before each step.

    Raises:
        ModelError: the graph is no float one, the samples cannot calibrate it, or the scheme does not fit it; one
            sentence each.
    """
    from tinymaix.quantize.pipeline import run

    return run(graph, samples, scheme, progress)
