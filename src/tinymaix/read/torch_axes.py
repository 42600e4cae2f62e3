"""ATen operators that move elements: other shapes and orders of axes, slices, parts, joins, padding."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import layers
from tinymaix.read.functions import edge_padded
from tinymaix.read.torch_layer import TorchLayer


def _reshape(n: TorchLayer) -> Tensor:
    return n.b.reshape_to(n.x, n.integers("shape") or n.integers("size"))


def _flatten(n: TorchLayer) -> Tensor:
    first, last = positive_axis(n.integer("start_dim", 0), n.rank), positive_axis(n.integer("end_dim", -1), n.rank)
    shape = n.x.shape
    return n.b.reshape(n.x, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def _unflatten(n: TorchLayer) -> Tensor:
    axis = positive_axis(n.integer("dim", 0), n.rank)
    return n.b.reshape_to(n.x, (*n.x.shape[:axis], *n.integers("sizes"), *n.x.shape[axis + 1 :]))


def _squeeze(n: TorchLayer) -> Tensor:
    drop = {positive_axis(axis, n.rank) for axis in n.integers("dim")} or set(range(n.rank))
    return n.b.reshape(n.x, [s for i, s in enumerate(n.x.shape) if s != 1 or i not in drop])


def _unsqueeze(n: TorchLayer) -> Tensor:
    shape = list(n.x.shape)
    shape.insert(positive_axis(n.integer("dim", 0), n.rank + 1), 1)
    return n.b.reshape(n.x, shape)


def _transpose(n: TorchLayer) -> Tensor:
    order = list(range(n.rank))
    a, b = (positive_axis(n.integer(name, i), n.rank) for i, name in enumerate(("dim0", "dim1")))
    order[a], order[b] = b, a
    return n.b.transpose(n.x, order)


def _shuffle(n: TorchLayer) -> Tensor:
    groups, (batch, channels, *sizes) = n.integer("groups", 1), n.x.shape
    parts = n.b.reshape(n.x, (batch, groups, channels // max(groups, 1), *sizes))
    return n.b.reshape(n.b.transpose(parts, (0, 2, 1, *range(3, len(parts.shape)))), n.x.shape)


def _slice(n: TorchLayer) -> Tensor:
    axis = positive_axis(n.integer("dim", 0), n.rank)
    begin, end, step = [0] * n.rank, list(n.x.shape), [1] * n.rank
    begin[axis], end[axis], step[axis] = n.integer("start", 0), n.integer("end", 2**31), n.integer("step", 1)
    return layers.box(n.b, n.x, begin, end, step)


def _select(n: TorchLayer) -> Tensor:
    return layers.take(n.b, n.x, n.b.constant(n.integer("index", 0)), n.integer("dim", 0))


def _split(n: TorchLayer) -> list[Tensor]:
    axis = positive_axis(n.integer("dim", 0), n.rank)
    size = n.x.shape[axis]
    given = n.arguments.get("split_sizes", n.arguments.get("split_size"))
    if "chunk" in n.kind:
        given = -(-size // max(n.integer("chunks", 1), 1))
    if isinstance(given, int):
        given = [min(given, size - at) for at in range(0, size, max(given, 1))]
    if not isinstance(given, list):
        raise ModelError("its sizes are missing")
    return layers.split(n.b, n.x, given, axis)


def _unbind(n: TorchLayer) -> list[Tensor]:
    axis = positive_axis(n.integer("dim", 0), n.rank)
    shape = [s for i, s in enumerate(n.x.shape) if i != axis]
    return [n.b.reshape(part, shape) for part in layers.split(n.b, n.x, [1] * n.x.shape[axis], axis)]


def _cat(n: TorchLayer) -> Tensor:
    parts = n.tensors("tensors")
    return n.b.op("CONCATENATION", *parts, axis=positive_axis(n.integer("dim", 0), len(parts[0].shape)))


def _stack(n: TorchLayer) -> Tensor:
    parts = n.tensors("tensors")
    axis = positive_axis(n.integer("dim", 0), len(parts[0].shape) + 1)
    shape = list(parts[0].shape)
    shape.insert(axis, 1)
    return n.b.op("CONCATENATION", *(n.b.reshape(part, shape) for part in parts), axis=axis)


def _pad(n: TorchLayer) -> Tensor:
    pads = n.integers("pad") or n.integers("padding")
    kinds = {"reflection": "reflect", "replication": "replicate"}
    mode = n.text("mode", next((mode for word, mode in kinds.items() if word in n.kind), "constant"))
    before, after = [0] * n.rank, [0] * n.rank
    for i, (first, last) in enumerate(zip(pads[::2], pads[1::2], strict=True)):  # the last axis comes first
        before[n.rank - 1 - i], after[n.rank - 1 - i] = first, last
    if mode == "reflect":
        return n.b.op("MIRROR_PAD", n.x, pads=tuple(zip(before, after, strict=True)))
    if mode == "replicate":
        return edge_padded(n.b, n.x, before, after)
    if mode != "constant":
        raise ModelError(f"padding of mode '{mode}' is not supported; constant, reflect and replicate are")
    return layers.padded(n.b, n.x, before, after, n.number("value", 0.0))


def _expand(n: TorchLayer) -> Tensor:
    sizes = n.integers("size")
    own = (*(1,) * (len(sizes) - n.rank), *n.x.shape)
    return layers.broadcast(n.b, n.x, [b if a == -1 else a for a, b in zip(sizes, own, strict=True)])


LAYERS: dict[str, Callable[[TorchLayer], Tensor | list[Tensor]]] = {
    "aten.view": _reshape, "aten.reshape": _reshape, "aten._unsafe_view": _reshape, "aten.flatten": _flatten,
    "aten.unflatten": _unflatten, "aten.squeeze": _squeeze, "aten.unsqueeze": _unsqueeze, "aten.transpose": _transpose,
    "aten.t": lambda n: n.b.transpose(n.x, (1, 0)) if n.rank == 2 else n.x,
    "aten.mT": lambda n: n.b.transpose(n.x, (*range(n.rank - 2), n.rank - 1, n.rank - 2)),
    "aten.permute": lambda n: n.b.transpose(n.x, n.integers("dims")), "aten.channel_shuffle": _shuffle,
    "aten.slice": _slice, "aten.select": _select,
    "aten.narrow": lambda n: layers.take(
        n.b, n.x, n.b.constant(np.arange(n.integer("start", 0), n.integer("start", 0) + n.integer("length", 0))),
        n.integer("dim", 0),
    ),
    "aten.index_select": lambda n: layers.take(n.b, n.x, n.tensor("index"), n.integer("dim", 0)),
    "aten.split": _split, "aten.split_with_sizes": _split, "aten.chunk": _split, "aten.unbind": _unbind,
    "aten.cat": _cat, "aten.stack": _stack, "aten.pad": _pad, "aten.constant_pad_nd": _pad,
    "aten.reflection_pad1d": _pad, "aten.reflection_pad2d": _pad, "aten.replication_pad1d": _pad,
    "aten.replication_pad2d": _pad, "aten.expand": _expand,
    "aten.expand_as": lambda n: layers.broadcast(n.b, n.x, n.tensor("other").shape),
}  # fmt: skip
