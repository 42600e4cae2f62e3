"""Fine-tuning in integers: a few epochs after which weights and biases fit the rounding that the chip does.

What goes forward is the integer graph itself, computed by the operators' own references; gradients are those of real
numbers (Jacob et al. 2018, arXiv 1712.05877, section 3, simulate the rounding; here nothing is simulated, so that the
graph that comes out is the one that was trained, bit for bit). Needs the extra `torch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from tinymaix.graph import Array, Graph, ModelError, Node
from tinymaix.quantize.agreement import raw_values, real_outputs, real_values
from tinymaix.quantize.correct import set_bias
from tinymaix.quantize.float_run import chunks, run_node
from tinymaix.quantize.matrices import copied, drawn, is_product
from tinymaix.quantize.pipeline import run
from tinymaix.quantize.samples import Samples
from tinymaix.quantize.scheme import Scheme
from tinymaix.quantize.train_gradients import gradient_problems, surrogate
from tinymaix.quantize.weights import LARGEST

CALIBRATION = 200
"""Samples that find the ranges at the start."""
HELD_OUT = 0.1
"""The part of the samples that is not trained with and says which epoch is the best one."""
BIAS_STEPS = 64
"""A bias moves in so many of its own steps, which are much finer than those of weights."""


def fine_tune(
    graph: Graph,
    samples: Samples,
    scheme: Scheme | None = None,
    *,
    epochs: int = 5,
    rate: float = 0.05,
    batch: int = 32,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Graph:
    """The integer graph of a float graph, trained on in integers.

    Args:
        samples: inputs with labels: classes (integers) or targets in the shape of the output (floats). Without labels
            the outputs of the float graph are what is learned.
        rate: the learning rate of Adam at the start, in integer steps of a weight; it falls to 0 along a cosine.
        progress: called with a sentence before each batch.

    The epoch with the least loss on samples that are held out is taken; it may be the start.

    Raises:
        ModelError: as `quantize`; or an operator cannot be trained through, or labels do not fit the output.
    """
    say = progress or (lambda sentence: None)
    some = [samples.inputs[i] for i in drawn(len(samples), CALIBRATION)]
    start = run(graph, Samples(some), scheme, say)
    trainer = Trainer(start)
    targets = _targets(graph, trainer, samples)
    with _one_thread():
        note = _train(trainer, samples, targets, epochs, rate, batch, seed, say)
    return replace(trainer.graph, notes=[*start.notes, note])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tensors here are small: threads would wait for each other, and sums would depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(
    trainer: Trainer,
    samples: Samples,
    targets: Array,
    epochs: int,
    rate: float,
    batch: int,
    seed: int,
    say: Callable[[str], None],
) -> str:
    """Leave the trainer with the constants of the best epoch; returns what to say of it."""
    order = np.random.default_rng(seed).permutation(len(samples))
    held = order[: max(1, round(HELD_OUT * len(order)))]
    rest = order[len(held) :] if len(order) > 1 else order
    losses, best = [trainer.loss_of(samples, targets, held, batch)], trainer.constants()
    rounds = epochs * -(-len(rest) // batch)
    optimizer = torch.optim.Adam(trainer.parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(rounds, 1))
    rng, done = np.random.default_rng(seed), 0
    for epoch in range(epochs):
        mixed = rng.permutation(rest)
        for first in range(0, len(mixed), batch):
            done += 1
            say(f"training: batch {done} of {rounds}, epoch {epoch + 1}, loss {losses[-1]:.4g}")
            rows = mixed[first : first + batch]
            optimizer.zero_grad()
            loss = trainer.loss(trainer.forward(_rows(samples, rows)), targets[rows])
            if not loss.requires_grad:
                raise ModelError(f"no layer that can be trained leads to output '{trainer.graph.outputs[0].name}'")
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        losses.append(trainer.loss_of(samples, targets, held, batch))
        if losses[-1] < min(losses[:-1]):
            best = trainer.constants()
    taken = int(np.argmin(losses))
    trainer.set_constants(best)
    return (
        f"fine-tuned: the loss on {len(held)} samples that were held out fell from {losses[0]:.4g} to "
        f"{losses[taken]:.4g} after {taken} of {epochs} epochs"
    )


@dataclass
class Layer:
    """A layer's constants in real-valued steps of their integers; what the graph has is these, rounded."""

    node: Node
    weights: torch.Tensor
    bias: torch.Tensor


class Trainer:
    """An integer graph whose layers are trained. ``graph`` always holds the integers of the last forward pass.

    Raises:
        ModelError: the graph has states, or an operator cannot be trained through.
    """

    def __init__(self, graph: Graph) -> None:
        problems = ["a model with states cannot be trained here: its samples hang together"] if graph.states else []
        problems += [p for node in graph.nodes if node.activations for p in gradient_problems(node)]
        if problems:
            raise ModelError(list(dict.fromkeys(problems)))
        self.graph = copied(graph)
        self.layers = {id(n): _layer(n) for n in self.graph.nodes if is_product(n) and n.output.dtype.kind == "i"}
        if not self.layers:
            raise ModelError(f"'{graph.name}' has no integer layers to train")
        for layer in self.layers.values():
            self._round(layer)
        self.parameters = [p for layer in self.layers.values() for p in (layer.weights, layer.bias)]
        last = next(n for n in reversed(self.graph.nodes) if any(t is self.graph.outputs[0] for t in n.outputs))
        while last.op.kind in ("SOFTMAX", "DEQUANTIZE", "QUANTIZE") and last.activations:
            maker = self.graph.producer(last.input(0))
            if maker is None:
                break
            last = maker
        self.result = last.output
        """What the loss is of: the first output, or what a last softmax is of."""

    def forward(self, inputs: Sequence[Sequence[Array]]) -> torch.Tensor:
        """The result for float inputs, (samples, elements): the integer graph's, as real numbers with gradients."""
        count = len(inputs)
        raw: dict[int, Array] = {}
        real: dict[int, torch.Tensor] = {}
        for i, tensor in enumerate(self.graph.inputs):
            raw[id(tensor)] = np.stack([raw_values(tensor, sample[i]) for sample in inputs])
            real[id(tensor)] = torch.from_numpy(real_values(tensor, raw[id(tensor)]))
        for node in self.graph.nodes:
            layer = self.layers.get(id(node))
            if layer is not None:
                self._round(layer)
            raw.update(run_node(node, raw, count))
            exact = torch.from_numpy(real_values(node.output, raw[id(node.output)]))
            smooth = surrogate(node, self._operands(node, layer, real, count))
            real[id(node.output)] = exact + (smooth - smooth.detach()) if smooth.requires_grad else exact
            if node.output is self.result:
                break
        return real[id(self.result)].reshape(count, -1)

    def loss(self, result: torch.Tensor, targets: Array) -> torch.Tensor:
        """Cross entropy for classes; for values the squared error, as a part of their power."""
        if targets.dtype.kind in "iu":
            return functional.cross_entropy(result, torch.from_numpy(targets.astype(np.int64)))
        wanted = torch.from_numpy(targets.reshape(len(targets), -1).astype(np.float32))
        return (result - wanted).square().mean() / wanted.square().mean().clamp(min=1e-12)

    def loss_of(self, samples: Samples, targets: Array, rows: Array, batch: int) -> float:
        """The mean loss over some of the samples."""
        total = 0.0
        with torch.no_grad():
            for first in range(0, len(rows), batch):
                part = rows[first : first + batch]
                total += len(part) * float(self.loss(self.forward(_rows(samples, part)), targets[part]))
        return total / len(rows)

    def constants(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """A copy of what is trained."""
        return [(layer.weights.detach().clone(), layer.bias.detach().clone()) for layer in self.layers.values()]

    def set_constants(self, constants: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Give the graph's layers what `constants` returned."""
        with torch.no_grad():
            for layer, (weights, bias) in zip(self.layers.values(), constants, strict=True):
                layer.weights.copy_(weights)
                layer.bias.copy_(bias)
                self._round(layer)

    def _round(self, layer: Layer) -> None:
        """Put the nearest integers into the graph."""
        node, tensor = layer.node, layer.node.input(1)
        limit = LARGEST[4 if tensor.is_int4 else 8]
        steps = np.clip(np.rint(layer.weights.detach().numpy()), -limit, limit).astype(np.int8)
        node.inputs[1] = replace(tensor, data=steps)
        scale = np.float64(node.input(0).q.s) * tensor.q.scale.astype(np.float64)
        set_bias(node, np.rint(layer.bias.detach().numpy().astype(np.float64) * BIAS_STEPS) * scale)

    def _operands(
        self, node: Node, layer: Layer | None, real: dict[int, torch.Tensor], count: int
    ) -> list[torch.Tensor]:
        """The node's inputs as real numbers; a layer's weights and bias are those of its integers, with gradients."""
        if layer is None:
            return [
                real[id(t)] if t.data is None else torch.from_numpy(real_values(t, t.data)).expand(count, *t.shape)
                for t in node.present
            ]
        weights = node.input(1)
        along = [-1 if i == weights.q.axis else 1 for i in range(len(weights.shape))] if weights.q.per_channel else []
        scale = torch.from_numpy(weights.q.scale.reshape(along).copy())
        rounded = torch.from_numpy(np.asarray(weights.data, np.float32))
        limit = LARGEST[4 if weights.is_int4 else 8]
        steps = layer.weights.clamp(-limit - 0.5, limit + 0.5)
        unit = torch.from_numpy(BIAS_STEPS * np.float64(node.input(0).q.s) * weights.q.scale.astype(np.float64))
        return [real[id(node.input(0))], scale * (rounded + steps - steps.detach()), (unit * layer.bias).float()]


def _layer(node: Node) -> Layer:
    weights, bias = node.input(1), node.optional(2)
    channels = node.output.shape[-1]
    steps = np.zeros(channels) if bias is None else np.asarray(bias.data, np.float64).reshape(-1) / BIAS_STEPS
    return Layer(
        node,
        torch.tensor(np.asarray(weights.data, np.float32), requires_grad=True),
        torch.tensor(steps.astype(np.float64), requires_grad=True),
    )


def _rows(samples: Samples, rows: Array) -> list[list[Array]]:
    return [samples.inputs[i] for i in rows]


def _targets(graph: Graph, trainer: Trainer, samples: Samples) -> Array:
    """What each sample's result is to be."""
    labels = samples.labels
    elements = trainer.result.elements
    if labels is None:
        named = [t for t in graph.tensors if t.name == trainer.result.name and t.shape == trainer.result.shape]
        taught = replace(graph, outputs=named or graph.outputs[:1])
        return np.concatenate([real_outputs(taught, part)[0] for part in chunks(graph, samples.inputs)])
    if labels.dtype.kind in "iu" and elements > 1 and labels.ndim == 1:
        if not 0 <= labels.min() <= labels.max() < elements:
            raise ModelError(f"labels reach from {labels.min()} to {labels.max()}; the model has {elements} classes")
        return labels
    if labels.size != len(samples) * elements:
        raise ModelError(f"labels of shape {list(labels.shape)} do not fit {len(samples)} outputs of {elements} values")
    return labels.astype(np.float32)
