"""Graph -> Graph that computes the same. Each rewrite returns a new graph and leaves the given one as it was."""

from __future__ import annotations

from tinymaix.graph import Graph
from tinymaix.rewrite.activation import fuse_activation
from tinymaix.rewrite.batch_norm import fold_batch_norm
from tinymaix.rewrite.fold import drop_dead, fold_constants
from tinymaix.rewrite.fuse_pad import fuse_pad
from tinymaix.rewrite.identity import drop_identities
from tinymaix.rewrite.last_state import keep_last_state
from tinymaix.rewrite.layer_norm import fuse_layer_norm, recognize_layer_norm
from tinymaix.rewrite.layout import cancel_transposes
from tinymaix.rewrite.recognize import recognize
from tinymaix.rewrite.reduced_shape import fuse_reduced_shape
from tinymaix.rewrite.tables import recognize_tables
from tinymaix.rewrite.views import sink_views

__all__ = [
    "cancel_transposes",
    "drop_dead",
    "drop_identities",
    "fold_batch_norm",
    "fold_constants",
    "fuse_activation",
    "fuse_layer_norm",
    "fuse_pad",
    "fuse_reduced_shape",
    "keep_last_state",
    "recognize",
    "recognize_layer_norm",
    "recognize_tables",
    "simplify",
    "sink_views",
]


def simplify(graph: Graph) -> Graph:
    """All rewrites: fewer nodes, the same network. Every output of an integer model stays as it is bit for bit.

    Constants are folded, dead nodes and identities dropped, transposes cancelled, padding fused; in float models batch
    norm is folded into the weights, activations and layer norms are put together and fused, which changes the rounding.
    """
    graph = keep_last_state(recognize(cancel_transposes(fuse_reduced_shape(recognize_tables(fold_constants(graph))))))
    graph = fold_batch_norm(fuse_reduced_shape(sink_views(recognize_layer_norm(graph))))
    return drop_identities(fuse_pad(fuse_activation(fuse_layer_norm(graph))))
