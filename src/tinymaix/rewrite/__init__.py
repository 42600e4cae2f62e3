"""Graph -> Graph that computes the same. Each rewrite returns a new graph and leaves the given one as it was."""

from __future__ import annotations

from tinymaix.graph import Graph
from tinymaix.rewrite.fold import drop_dead, fold_constants
from tinymaix.rewrite.fuse_pad import fuse_pad
from tinymaix.rewrite.identity import drop_identities

__all__ = ["drop_dead", "drop_identities", "fold_constants", "fuse_pad", "simplify"]


def simplify(graph: Graph) -> Graph:
    """All rewrites that keep every output bit for bit: constants folded, padding fused, no dead nodes or identities."""
    return drop_identities(fuse_pad(fold_constants(graph)))
