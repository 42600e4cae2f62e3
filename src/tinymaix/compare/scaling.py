"""Channels that equalization scaled and shifted: which tensors they can be in, and by how much."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array, Graph

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
KEEP_SCALES = ("RELU", "LEAKY_RELU", "PRELU", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "PAD", "RESHAPE", "ADD")
"""Operators that take scaled channels in, and those that hand them on."""

SCALED = 0.3
"""Half of the channels scaled by more than 2 to this are scaled on purpose..."""
EXPLAINED = 0.25
"""... where scaling them back leaves at most so much of the difference."""
SMALLEST = 1e-6
"""No factor is smaller: such a channel is constant."""
LARGE = 0.03
"""A difference of so much of the signal's power is more than a wrong bias makes."""


def scalable(graph: Graph) -> set[int]:
    """Ids of the tensors that equalization may scale: made by layers with weights or what keeps a scale, for such."""
    wanted = {id(t) for t in graph.outputs}
    for node in reversed(graph.nodes):
        if node.op.kind in WEIGHTED:
            continue
        if node.op.kind not in KEEP_SCALES or any(id(t) in wanted for t in node.outputs):
            wanted |= {id(t) for t in node.activations}
    return {id(t) for node in graph.nodes for t in node.outputs} - wanted


def unscaled(values: Array) -> tuple[Array, Array]:
    """Factor and offset of each channel that change nothing."""
    channels = values.shape[-1:]
    return np.ones(channels, np.float32), np.zeros(channels, np.float32)


def scaled(real: Array, ours: Array) -> tuple[Array, Array] | None:
    """Factor and offset of each channel where most channels are scaled far from one, and that explains nearly all of
    the difference."""
    factor, offset = _line(real, ours)
    far = np.median(abs(np.log2(factor))) > SCALED
    return (factor, offset) if far and _explains(factor, offset, real, ours) else None


def shifted(real: Array, ours: Array) -> tuple[Array, Array] | None:
    """The same where they explain nearly all of a large difference."""
    factor, offset = _line(real, ours)
    noise = np.square(ours - real, dtype=np.float64).sum()
    large = noise > LARGE * np.square(real, dtype=np.float64).sum()
    return (factor, offset) if large and _explains(factor, offset, real, ours) else None


def _line(real: Array, ours: Array) -> tuple[Array, Array]:
    """Factor and offset of each channel by least squares; one and zero for a channel that they bring no nearer."""
    x, y = flat(real).astype(np.float64), flat(ours).astype(np.float64)
    power, product = x.var(0), ((x - x.mean(0)) * y).mean(0)
    factor = product / np.where(power > 0, power, 1)
    factor = np.where(factor > SMALLEST, factor, 1.0)
    offset = y.mean(0) - factor * x.mean(0)
    nearer = np.square((y - offset) / factor - x).sum(0) < np.square(y - x).sum(0)
    return np.where(nearer, factor, 1).astype(np.float32), np.where(nearer, offset, 0).astype(np.float32)


def _explains(factor: Array, offset: Array, real: Array, ours: Array) -> bool:
    left = np.square((ours - offset) / factor - real, dtype=np.float64).sum()
    return bool(left <= EXPLAINED * np.square(ours - real, dtype=np.float64).sum())


def flat(values: Array) -> Array:
    """Positions of all samples x channels."""
    return values.reshape(-1, values.shape[-1])
