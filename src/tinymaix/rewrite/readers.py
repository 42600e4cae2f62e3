"""Which tensors have one reader, so that a rewrite may fuse the node that makes it with the node that reads it."""

from __future__ import annotations

from collections import Counter

from tinymaix.graph import Graph, unique


def read_once(graph: Graph) -> set[int]:
    """Ids of the tensors that exactly one node reads and that are no outputs of the graph."""
    readers = Counter(id(t) for node in graph.nodes for t in unique(node.present))
    outputs = {id(t) for t in graph.outputs}
    return {tensor for tensor, count in readers.items() if count == 1 and tensor not in outputs}
