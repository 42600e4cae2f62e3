"""Every layer of an integer graph against the same layer of the float graph.

A layer's difference from float has two parts: what it inherits, since its inputs differ already, and its own error.
The own error is that against the float layer computed on the integer layer's inputs; a part of it is there already
when only the weights are integers. Channels that equalization has scaled and shifted are brought back first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinymaix.compare.accuracy import decibels
from tinymaix.compare.match import CONVERSIONS, Pair, match
from tinymaix.compare.scaling import flat, scalable, scaled, shifted, unscaled
from tinymaix.graph import Array, Graph, Node, Tensor
from tinymaix.quantize.agreement import raw_values, real_values
from tinymaix.quantize.float_run import Values, run_float, run_node
from tinymaix.quantize.samples import Samples

SAMPLES = 64
ROOM = 512 << 20
"""Layers are compared on so many samples, or as many as have all their values in so many bytes."""

MOST = 0.999
"""The share of values that a range is compared with."""
WORST = 5


@dataclass(frozen=True)
class LayerFigures:
    """Ratios in dB, shares from 0 to 1; None where there is no such thing."""

    index: int
    """In the integer graph."""

    name: str
    """In the float graph, whose layers `tinymaix quantize` knows."""

    kind: str
    shape: tuple[int, ...]
    dtype: str
    sqnr: float
    """Against float, with all that the layer inherits."""

    own: float | None
    """Against the float layer on the same inputs."""

    weights: float | None
    """What of `own` is there when only the weights and biases are integers."""

    shift: float
    """Share of the own error's power that is a constant of each channel."""

    saturated: float
    """Share of the values at an end of the type that float has beyond it."""

    width: float
    """The range that the type holds, over that of 99.9 % of the float values."""

    channels: float
    """The range of the widest channel of the output, over that of the middle one."""

    input_channels: float
    """The same of the inputs."""

    weight_channels: float | None
    """The same of the weights, where one scale serves all channels."""

    is_int4: bool
    worst: list[tuple[int, float]]
    """Channels with the lowest `sqnr`, and that."""


def layer_figures(
    graph: Graph, integers: Graph, samples: Samples, say: Callable[[str], None]
) -> tuple[list[LayerFigures], list[str]]:
    """The figures of every layer that both graphs have, and a sentence for what they lack."""
    pairs = match(graph, integers)
    inputs = _drawn(graph, integers, samples)
    say(f"layers on {len(inputs)} samples: float")
    stream = bool(graph.states)
    real = run_float(graph, inputs, sequence=stream)
    say(f"layers on {len(inputs)} samples: integers")
    raw = [[raw_values(t, a) for t, a in zip(integers.inputs, sample, strict=True)] for sample in inputs]
    ours = run_float(integers, raw, sequence=stream)
    together = [*zip(graph.inputs, integers.inputs, strict=True), *((p.real.output, p.ours.output) for p in pairs)]
    work = _Work(real, ours, len(inputs), together, scalable(graph))
    found = []
    for k, pair in enumerate(pairs):
        say(f"layer {k + 1} of {len(pairs)}")
        found.append(work.figures(pair))
    matched = {id(node) for pair in pairs for node in (pair.ours, pair.weighted)}
    lost = [n for n in integers.nodes if id(n) not in matched and not n.op.is_view and n.op.kind not in CONVERSIONS]
    names = ", ".join(f"{n.op.kind} '{n.name}'" for n in lost[:5])
    notes = [f"{len(lost)} layers have no counterpart in the float model: {names}"] if lost else []
    return found, notes


def _drawn(graph: Graph, integers: Graph, samples: Samples) -> list[list[Array]]:
    """Samples from all over, as many as there is room for; the first ones of a stream."""
    floats = sum(4 * t.elements for g in (graph, integers) for n in g.nodes for t in n.outputs)
    count = min(len(samples), SAMPLES, max(1, ROOM // max(floats, 1)))
    if graph.states:
        return samples.inputs[:count]
    return [samples.inputs[i] for i in np.linspace(0, len(samples) - 1, count).round().astype(int)]


@dataclass
class _Work:
    """Values of both graphs, and the integer ones as reals in the float tensors' units."""

    real: Values
    ours: Values
    samples: int
    together: Sequence[tuple[Tensor, Tensor]]
    """Tensors of the float graph, and of the integer graph, that stand for the same."""
    scalable: set[int]

    def __post_init__(self) -> None:
        """``reals``: by id of a float tensor the integer values as they are; ``scaled``: factor and offset of each of
        its channels."""
        self.reals = {id(a): real_values(b, self.ours[id(b)]) for a, b in self.together}
        none = {i: unscaled(values) for i, values in self.reals.items()}
        may_be = [i for i in self.reals if i in self.scalable]
        found = {i: scaled(self.real[i], self.reals[i]) for i in may_be}
        if any(found.values()):  # then shifts are on purpose, too
            found = {i: each or shifted(self.real[i], self.reals[i]) for i, each in found.items()}
        self.scaled = none | {i: each for i, each in found.items() if each}

    def figures(self, pair: Pair) -> LayerFigures:
        y, made = pair.real.output, pair.ours.output
        exact, got = flat(self.real[id(y)]), flat(self._back(y))
        factor, offset = self.scaled[id(y)]
        noise = np.square(got - exact, dtype=np.float64).sum(0)
        signal = np.square(exact, dtype=np.float64).sum(0)
        own, shift = self._own(pair)
        by_channel = [(i, decibels(s, n)) for i, (s, n) in enumerate(zip(signal, noise, strict=True)) if s > 0]
        return LayerFigures(
            index=pair.index,
            name=pair.real.name or y.name,
            kind=pair.real.op.kind,
            shape=made.shape,
            dtype=made.dtype.name,
            sqnr=decibels(signal.sum(), noise.sum()),
            own=own,
            weights=self._weights(pair),
            shift=shift,
            saturated=_saturated(made, self.ours[id(made)], exact * factor + offset),
            width=_width(made, self.reals[id(y)]),
            channels=self._channels(y),
            input_channels=max((self._channels(t) for t in pair.real.activations), default=1.0),
            weight_channels=_weight_spread(pair.weighted),
            is_int4=any(t.is_int4 for t in pair.weighted.present),
            worst=sorted(by_channel, key=lambda each: each[1])[:WORST],
        )

    def _back(self, tensor: Tensor) -> Array:
        """The integer values of a float tensor, in its units."""
        return self._brought_back(tensor, self.reals[id(tensor)])

    def _brought_back(self, tensor: Tensor, values: Array) -> Array:
        factor, offset = self.scaled[id(tensor)]
        return (values - offset) / factor

    def _channels(self, tensor: Tensor) -> float:
        """How far the ranges of a tensor's channels are apart in the integer model."""
        return _spread(abs(flat(self.reals[id(tensor)])).max(0)) if id(tensor) in self.reals else 1.0

    def _own(self, pair: Pair) -> tuple[float | None, float]:
        """SQNR against the float layer on the same inputs, and the share of a constant shift in the error."""
        node = pair.real
        if node.states or any(id(t) not in self.reals for t in node.activations):
            return None, 0.0
        exact = flat(run_node(node, {id(t): self._back(t) for t in node.activations}, self.samples)[id(node.output)])
        error = np.asarray(flat(self._back(node.output)) - exact, np.float64)
        noise = float(np.square(error).sum())
        shift = len(error) * float(np.square(error.mean(0)).sum()) / noise if noise else 0.0
        return decibels(float(np.square(exact, dtype=np.float64).sum()), noise), shift

    def _weights(self, pair: Pair) -> float | None:
        """SQNR of the float layer with the integer layer's weights, on the same inputs."""
        node, constants = pair.real, _constants(pair)
        if node.states or len(node.activations) != 1 or id(node.input(0)) not in self.reals or not constants:
            return None
        given = {id(node.input(0)): self.reals[id(node.input(0))]}
        made = run_node(replace(node, inputs=[node.inputs[0], *constants]), given, self.samples)[id(node.output)]
        got = self._brought_back(node.output, made)
        exact = run_node(node, {id(node.input(0)): self._back(node.input(0))}, self.samples)[id(node.output)]
        noise = np.square(exact - got, dtype=np.float64).sum()
        return decibels(float(np.square(exact, dtype=np.float64).sum()), float(noise))


def _constants(pair: Pair) -> list[Tensor | None]:
    """The integer layer's weights and bias as reals, in the float layer's shapes; none where they are not the same."""
    real, ours = pair.real, pair.weighted
    if len(real.inputs) < 2 or len(ours.inputs) < 2 or ours.input(0).quantization is None:
        return []
    weights = ours.inputs[1]
    if weights is None or weights.quantization is None:
        return []
    found: list[Tensor | None] = []
    for a, b in zip([*real.inputs[1:], None][:2], [*ours.inputs[1:], None][:2], strict=True):
        if b is None:
            found.append(a)
            continue
        shape = b.shape if a is None else a.shape
        if b.data is None or int(np.prod(shape)) != b.elements:
            return []
        data = _reals(b, ours.input(0).q.s, weights).reshape(shape)
        found.append(Tensor(b.name, shape, data.dtype, None, data))
    return found


def _reals(tensor: Tensor, input_scale: float, weights: Tensor) -> Array:
    """A quantized constant as float32; a bias without a scale of its own has that of the sums."""
    assert tensor.data is not None
    q = tensor.quantization
    if q is None:
        return np.asarray(tensor.data * (input_scale * weights.q.scale), np.float32)
    along = [-1 if i == q.axis and q.per_channel else 1 for i in range(len(tensor.shape))]
    return np.asarray((tensor.data - q.zero_point.reshape(along)) * q.scale.reshape(along), np.float32)


def _saturated(tensor: Tensor, raw: Array, exact: Array) -> float:
    """Share of values at an end of the type that float has more than a step beyond it."""
    if tensor.dtype.kind == "f" or tensor.quantization is None:
        return 0.0
    limits = np.iinfo(tensor.dtype)
    steps = exact / np.float32(tensor.q.s) + tensor.q.z
    raw = flat(raw)
    beyond = ((raw == limits.min) & (steps < limits.min - 1)) | ((raw == limits.max) & (steps > limits.max + 1))
    return float(beyond.mean())


def _width(tensor: Tensor, values: Array) -> float:
    """The type's range over that of most values, both with zero in them."""
    if tensor.dtype.kind == "f" or tensor.quantization is None:
        return 1.0
    limits = np.iinfo(tensor.dtype)
    held = tensor.q.s * (int(limits.max) - int(limits.min))
    low, high = np.quantile(values, [(1 - MOST) / 2, (1 + MOST) / 2])
    return held / max(float(max(high, 0) - min(low, 0)), tensor.q.s)


def _spread(ranges: Array) -> float:
    """The largest over the middle one of those that are used."""
    used = ranges[ranges > 0]
    return float(used.max() / np.median(used)) if used.size else 1.0


def _weight_spread(node: Node) -> float | None:
    weights = node.inputs[1] if len(node.inputs) > 1 else None
    if weights is None or weights.data is None or weights.quantization is None or weights.quantization.per_channel:
        return None
    if weights.dtype.kind != "i" or weights.dtype.itemsize > 1:
        return None
    axis = len(weights.shape) - 1 if node.op.kind == "DEPTHWISE_CONV_2D" else 0
    moved = np.moveaxis(weights.data.astype(np.int32), axis, 0).reshape(weights.shape[axis], -1)
    return _spread(abs(moved).max(1)) if weights.shape[axis] > 1 else None
