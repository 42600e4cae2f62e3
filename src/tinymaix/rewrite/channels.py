"""Remove channels that hold one value for every input, or that nothing reads. No bit of any output changes.

A constant channel goes into the biases of the layers that read it. Where padding makes a layer see it at some positions
and the zero point at others, it stays, unless that makes no difference. Channels that operators tie together (those of
a sum, or of a depthwise layer's input and output) go together or stay together; inputs and outputs of the graph stay.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinymaix.graph import Array, Graph, Node, unique
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.rewrite.channels_groups import Groups
from tinymaix.rewrite.channels_slice import slice_channels
from tinymaix.rewrite.intervals import Interval, by_tap, intervals, window_sums


def drop_constant_channels(graph: Graph) -> Graph:
    """The graph without the channels of int8 tensors that are constant or unread, and a note on what remains.

    The accumulators of the channels that stay hold the same integers as before. At least one channel of each tensor
    stays.
    """
    pruned = graph
    while (smaller := _without_channels(pruned)) is not None:
        pruned = smaller
    if pruned is graph:
        return replace(graph, notes=list(graph.notes))
    note = (
        f"removed channels that are constant or unread, outputs unchanged: {pruned.macs:,} of {graph.macs:,} MACs, "
        f"{_weight_bytes(pruned):,} of {_weight_bytes(graph):,} weight bytes remain"
    )
    return replace(pruned, notes=[*graph.notes, note])


def _without_channels(graph: Graph) -> Graph | None:
    """The graph without the channels that one analysis finds, or None where it finds none."""
    groups, ranges = Groups(graph), intervals(graph)
    removed = _removable(groups, ranges)
    if not removed.any():
        return None
    return slice_channels(graph, {key: ~removed[labels] for key, labels in groups.labels.items()}, ranges)


def _removable(groups: Groups, ranges: dict[int, Interval]) -> Array:
    """Which groups nothing needs. Layers need fewer inputs the fewer outputs they keep, hence the loop."""
    layers = [
        (groups.labels[id(node.output)], groups.columns(node), _reads(node, ranges[id(node.input(0))]))
        for node in groups.layers
    ]
    removed = np.zeros(groups.fixed.size, bool)
    while True:
        needed = groups.fixed.copy()
        for outputs, columns, reads in layers:
            needed[columns[reads[~removed[outputs]].any(axis=0)]] = True
        more = ~needed & ~removed
        for labels in groups.labels.values():
            left = labels[~removed[labels]]
            if more[left].all():
                more[left[0]] = False
        if not more.any():
            return removed
        removed |= more


def _reads(node: Node, x: Interval) -> Array:
    """(out_c, in_c): whether an output channel needs a column of the layer's input.

    It does not where all weights are zero, nor where the input is constant and adds the same at every position.
    """
    weights = by_tap(node)
    reads = np.asarray(weights.any(axis=(0, 1)))
    x = x.as_rows(reads.shape[1])
    constant = np.flatnonzero(x.constant)
    sums = window_sums(node, weights[..., constant])
    reads[:, constant] = (sums != sums[0]).any(axis=0) & (x.low[constant] != node.input(0).q.z)
    return reads


def _weight_bytes(graph: Graph) -> int:
    layers = [n for n in graph.nodes if isinstance(n.op, Conv2D | DepthwiseConv2D | FullyConnected)]
    return sum(weights.nbytes for weights in unique(n.input(1) for n in layers))
