"""Cross-layer equalization: give the channels between two layers like ranges, so that one scale fits all of them.

Where a channel is scaled down and the weights that read it up, the float network stays the same (Nagel et al. 2019,
"Data-free quantization through weight equalization and bias correction", arXiv 1906.04721, sections 4.1 and 4.1.3).
With samples the ranges are those of the activations, which share one scale while weights have one a channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.transpose_conv import TransposeConv
from tinymaix.quantize.float_run import chunks, steps
from tinymaix.quantize.samples import Samples
from tinymaix.quantize.streams import Stream, activation_of, along, is_layer, streams
from tinymaix.rewrite.batch_norm import OUTPUT_AXIS

SWEEPS = 10
"""Times that each stream is looked at: a layer's input and output factors depend on each other."""
REACH = 1e6
"""The largest ratio of two factors of one stream."""
NEAR = 1 - 1e-5
"""A channel whose largest value is this close to where it saturates does saturate."""
HEADROOM = 0.5
"""The part of a RELU6's range that channels which it does not clamp on the samples may take."""

Ranges = Mapping[int, tuple[Array, Array]]
"""By id of a tensor: least and largest value of each channel of the last axis over the samples."""


@dataclass(eq=False)
class Layer:
    """Weights and bias of a layer, float64, which are changed in place."""

    weights: Array
    bias: Array


def equalize(graph: Graph, samples: Samples | None = None, per_channel: bool = True) -> Graph:
    """The same float network with like ranges in the channels between its layers.

    Args:
        samples: inputs to measure the activations with. Without them the weights' ranges stand for those, and layers
            with a RELU6 stay as they are, since nothing tells which channels it clamps.
        per_channel: the weights will have a scale for each output channel, which makes their own ranges unimportant.

    Outputs on the samples change by the rounding of float32. A note says how many channels were changed.
    """
    ranges = channel_ranges(graph, samples) if samples is not None else None
    layers = {id(node): _layer(node) for node in graph.nodes if is_layer(node)}
    free = [stream for stream in streams(graph) if ranges is not None or stream.clamp == np.inf]
    shifted = sum(_absorb(stream, layers, ranges) for stream in free) if ranges is not None else 0
    largest = {id(s): _largest(s, ranges) for s in free} if ranges is not None else {}
    factors = {id(stream): np.ones(stream.channels) for stream in free}
    for _ in range(SWEEPS):
        for stream in free:
            old = factors[id(stream)]
            reach = largest[id(stream)] / old if ranges is not None and per_channel else _written(stream, layers)
            wanted = _factors(reach, _read(stream, layers, per_channel), per_channel)
            new = _within_clamp(old * wanted, largest[id(stream)], stream.clamp) if ranges is not None else wanted * old
            _scale(stream, layers, new / old)
            factors[id(stream)] = new
    changed = sum(int(np.count_nonzero(np.abs(np.log2(f)) > 0.5)) for f in factors.values())
    note = f"equalization scaled {changed:,} channels of {len(free)} tensors and shifted {shifted:,}"
    nodes = [_rebuilt(node, layers[id(node)]) if id(node) in layers else node for node in graph.nodes]
    return replace(graph, nodes=nodes, notes=[*graph.notes, note])


def channel_ranges(graph: Graph, samples: Samples) -> dict[int, tuple[Array, Array]]:
    """Least and largest value of every channel of every activation over the samples, by id of the tensor."""
    ranges: dict[int, tuple[Array, Array]] = {}
    for part in chunks(graph, samples.inputs):
        for _, made in steps(graph, part):
            for key, values in made.items():
                if values.dtype.kind != "f" or values.ndim < 2 or values.size == 0:
                    continue
                rows = values.reshape(-1, values.shape[-1])
                low, high = rows.min(axis=0), rows.max(axis=0)
                if key in ranges:
                    low, high = np.minimum(low, ranges[key][0]), np.maximum(high, ranges[key][1])
                ranges[key] = low, high
    return ranges


def _layer(node: Node) -> Layer:
    weights, bias = node.input(1), node.optional(2)
    channels = weights.shape[OUTPUT_AXIS[type(node.op)]]
    values = np.zeros(channels) if bias is None else np.asarray(bias.data, np.float64).reshape(-1)
    return Layer(np.asarray(weights.data, np.float64), values)


def _rebuilt(node: Node, layer: Layer) -> Node:
    old, bias = node.input(1), node.optional(2)
    weights = replace(old, data=layer.weights.astype(np.float32))
    if bias is None and not layer.bias.any():
        return replace(node, inputs=[node.input(0), weights])
    name = f"{old.name}_bias" if bias is None else bias.name
    return replace(
        node,
        inputs=[node.input(0), weights, Tensor(name, layer.bias.shape, old.dtype, None, layer.bias.astype(np.float32))],
    )


def _per_channel(values: Array, channels: int) -> Array:
    """The largest value of each channel of a stream in a tensor that may repeat the channels."""
    return np.asarray(values.reshape(-1, channels).max(axis=0), np.float64)


def _largest(stream: Stream, ranges: Ranges) -> Array:
    """The largest magnitude of each channel in any tensor of the stream."""
    found = [_per_channel(np.maximum(-ranges[id(t)][0], ranges[id(t)][1]), stream.channels) for t in stream.tensors]
    return np.asarray(np.max(found, axis=0))


def _written(stream: Stream, layers: Mapping[int, Layer]) -> Array:
    """The largest weight that makes each channel."""
    rows = [
        np.moveaxis(np.abs(layers[id(n)].weights), OUTPUT_AXIS[type(n.op)], 0).reshape(stream.channels, -1).max(axis=1)
        for n in stream.writers
    ]
    return np.asarray(np.max(rows, axis=0))


def _read(stream: Stream, layers: Mapping[int, Layer], per_channel: bool) -> Array | None:
    """The largest weight that reads each channel, as a part of its output channel's where those have their own scales;
    None where any factor is as good for the readers, since each of their scales serves one input channel."""
    found = []
    for node in stream.readers:
        weights = np.abs(layers[id(node)].weights)
        if isinstance(node.op, DepthwiseConv2D):
            if per_channel:
                continue
            found.append(weights.max(axis=(0, 1, 2)).reshape(stream.channels, -1).max(axis=1))
            continue
        rows = weights.reshape(weights.shape[0], -1, weights.shape[-1])
        if per_channel:
            rows = rows / np.maximum(rows.max(axis=(1, 2), keepdims=True), np.finfo(np.float64).tiny)
        found.append(_per_channel(rows.max(axis=(0, 1)), stream.channels))
    return np.asarray(np.max(found, axis=0)) if found else None


def _factors(reach: Array, read: Array | None, per_channel: bool) -> Array:
    """What to divide each channel by: sqrt(r1 / r2), which makes both ranges sqrt(r1 * r2) (equation 11), or all of r1.

    The factors leave the largest range as it is; channels without any range keep theirs.
    """
    alive = (reach > 0) & (np.ones(reach.shape, bool) if read is None else read > 0)
    if not alive.any():
        return np.ones(reach.shape)
    ratio = np.where(alive, reach if read is None else np.sqrt(reach / np.where(alive, read, 1)), 1)
    ratio = np.maximum(ratio, ratio[alive].max() / REACH)
    return np.where(alive, ratio * (reach[alive] / ratio[alive]).max() / reach[alive].max(), 1)


def _within_clamp(factors: Array, largest: Array, clamp: float) -> Array:
    """Factors under which a RELU6 still clamps exactly the values of the samples that it clamped before."""
    if clamp == np.inf:
        return factors
    clamped = largest >= clamp * NEAR
    if clamped.any():
        factors = factors / np.exp(np.log(factors[clamped]).mean())
    return np.where(clamped, 1.0, np.maximum(factors, np.minimum(largest / (HEADROOM * clamp), 1)))


def _scale(stream: Stream, layers: Mapping[int, Layer], factors: Array) -> None:
    for node in stream.writers:
        layer = layers[id(node)]
        layer.weights = layer.weights / along(factors, node, layer.weights, output=True)
        layer.bias = layer.bias / factors
    for node in stream.readers:
        layer = layers[id(node)]
        layer.weights = layer.weights * along(factors, node, layer.weights, output=False)


def _absorb(stream: Stream, layers: Mapping[int, Layer], ranges: dict[int, tuple[Array, Array]]) -> int:
    """Take what every value of a channel has in common out of it and into the bias of the layers that read it.

    Exact on the samples: behind a RELU only what lies below the least value goes; without one the middle of the range.
    Returns the number of channels.
    """
    if not _shifts(stream):
        return 0
    (writer,) = stream.writers
    found = [ranges[id(t)] for t in stream.tensors]
    low = -_per_channel(
        -np.min([r[0].reshape(-1, stream.channels).min(axis=0) for r in found], axis=0), stream.channels
    )
    high = np.max([_per_channel(r[1], stream.channels) for r in found], axis=0)
    shift = np.maximum(low, 0) if activation_of(writer) == "relu" else (low + high) / 2
    shift = np.where(np.abs(shift) > (high - low) / 8, shift, 0)  # less is not worth another bias
    layers[id(writer)].bias = layers[id(writer)].bias - shift
    for node in stream.readers:
        layer = layers[id(node)]
        moved = layer.weights * along(shift, node, layer.weights, output=False)
        axes = tuple(i for i in range(moved.ndim) if i != OUTPUT_AXIS[type(node.op)])
        layer.bias = layer.bias + moved.sum(axis=axes)
    for tensor in stream.tensors:
        repeated = np.tile(shift, ranges[id(tensor)][0].size // stream.channels)
        ranges[id(tensor)] = ranges[id(tensor)][0] - repeated, ranges[id(tensor)][1] - repeated
    return int(np.count_nonzero(shift))


def _shifts(stream: Stream) -> bool:
    """Whether a shift of a channel can be undone in the readers: nothing on the way may add zeros or bend values."""
    plain = all(
        node.op.is_view or (isinstance(node.op, MaxPool2D | AveragePool2D) and activation_of(node) == "none")
        for node in stream.between
    )
    padded = any(isinstance(n.op, TransposeConv) or any(getattr(n.op, "padding", ())) for n in stream.readers)
    return plain and not padded and len(stream.writers) == 1 and activation_of(stream.writers[0]) in ("none", "relu")
