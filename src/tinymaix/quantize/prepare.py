"""Rewrite float operators that have no integer form into ones that have."""

from __future__ import annotations

from tinymaix.graph import Graph
from tinymaix.quantize.scheme import Scheme


def prepare(graph: Graph, scheme: Scheme) -> Graph:
    """The same network of operators that the scheme's types have, as far as there are such."""
    return graph
