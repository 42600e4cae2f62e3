"""The memory layout of the original TinyMaix: each layer writes to the end of the buffer that it does not read from.

One tensor at a time may survive longer than to the next layer; it is kept in a part of its own behind the buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tinymaix.graph import Graph, ModelError, Node, Tensor, unique

ALIGNMENT = 8
FLOAT_BYTES = 4


class Place(NamedTuple):
    offset: int
    size: int
    """Bytes that are reserved, not all of which the tensor needs: see `ping_pong`."""


@dataclass(frozen=True)
class PingPong:
    """Bytes of the ping-pong part and of the kept part behind it; the place of each activation, by id of the tensor."""

    buffer: int
    kept: int
    places: dict[int, Place]

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return self.buffer + self.kept

    def place(self, tensor: Tensor) -> Place:
        return self.places[id(tensor)]


def ping_pong(graph: Graph, unit: int | None = None, float_output: bool = False) -> PingPong:
    """Place the activations of a chain of layers.

    SOFTMAX reserves a float32 for each value, since the original computes with them in place; a view shares the place
    of its input.

    Args:
        unit: bytes of one value; None: as many as its type has.
        float_output: reserve float32 values behind the output, for the runtime to dequantize it.

    Raises:
        ModelError: one sentence for each node that does not read the output of the node before it, or needs a second
            kept tensor.
    """
    problems = _chain_problems(graph)
    if problems:
        raise ModelError(problems)
    roots = _roots(graph)
    kept = _kept(graph, roots)
    sizes = _reserved(graph, unit, float_output)
    buffer = max((_need(node, sizes) for node in graph.nodes), default=0)
    places = {id(graph.inputs[0]): Place(0, sizes[id(graph.inputs[0])])}
    at_top = False
    for node in graph.nodes:
        output, size = node.output, sizes[id(node.output)]
        if node.op.is_view:
            places[id(output)] = Place(places[id(node.activations[0])].offset, size)
            continue
        at_top = not at_top
        offset = buffer if id(roots[id(output)]) in kept else buffer - size if at_top else 0
        places[id(output)] = Place(offset, size)
    return PingPong(buffer, max((sizes[key] for key in kept), default=0), places)


def _reserved(graph: Graph, unit: int | None, float_output: bool) -> dict[int, int]:
    """Bytes to reserve for each activation, by id. A tensor and its views reserve what the largest of them needs."""
    sizes: dict[int, int] = {}
    for tensor in [*graph.inputs, *(node.output for node in graph.nodes)]:
        sizes[id(tensor)] = _align(tensor.elements * (unit or tensor.dtype.itemsize))
    for node in graph.nodes:
        floats = _align(FLOAT_BYTES * node.output.elements)
        if float_output and any(t is node.output for t in graph.outputs):
            sizes[id(node.output)] += floats
        elif node.op.kind == "SOFTMAX":
            sizes[id(node.output)] = floats
    for node in reversed(graph.nodes):
        if node.op.is_view:
            source = id(node.activations[0])
            sizes[source] = max(sizes[source], sizes[id(node.output)])
    return sizes


def _need(node: Node, sizes: dict[int, int]) -> int:
    output = sizes[id(node.output)]
    return output if node.op.is_view else output + sizes[id(node.activations[0])]


def _roots(graph: Graph) -> dict[int, Tensor]:
    """The tensor whose memory each activation lives in, by id: itself, but for views."""
    roots = {id(tensor): tensor for tensor in graph.inputs}
    for node in graph.nodes:
        roots[id(node.output)] = roots[id(node.activations[0])] if node.op.is_view else node.output
    return roots


def _kept(graph: Graph, roots: dict[int, Tensor]) -> set[int]:
    """Ids of the tensors that must survive the layer behind them.

    Raises:
        ModelError: the input of the model is one of them, or two of them live at the same time.
    """
    readers: dict[int, list[int]] = {}
    for i, node in enumerate(graph.nodes):
        for root in unique(roots[id(tensor)] for tensor in node.activations):
            if roots[id(node.output)] is not root:
                readers.setdefault(id(root), []).append(i)
    problems = []
    if len(readers.get(id(graph.inputs[0]), [])) > 1:
        problems.append(f"'{graph.inputs[0].name}', the input of the model, is read again after the first layer")
    kept: list[Tensor] = []
    for i, node in enumerate(graph.nodes):
        if node.op.is_view or len(readers.get(id(node.output), [])) < 2:
            continue
        if kept and not _may_replace(i, node, kept[-1], readers[id(kept[-1])][-1], roots):
            problems.append(f"'{kept[-1].name}' and '{node.output.name}' would have to be kept at the same time")
        kept.append(node.output)
    if problems:
        raise ModelError(problems)
    return {id(tensor) for tensor in kept}


def _may_replace(index: int, maker: Node, kept: Tensor, last_reader: int, roots: dict[int, Tensor]) -> bool:
    """Whether node ``index`` may write where ``kept`` lies: all have read it, or the node overwrites as it reads."""
    if index != last_reader:
        return index > last_reader
    return any(roots[id(t)] is kept for i in maker.op.overwrites(maker) if (t := maker.inputs[i]) is not None)


def _chain_problems(graph: Graph) -> list[str]:
    """One sentence for each node that does not continue the chain."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return [
            f"the model has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; the layout takes one of each"
        ]
    problems = []
    previous = graph.inputs[0]
    for node in graph.nodes:
        what = f"{node.op.kind} '{node.name}'"
        if len(node.outputs) != 1:
            problems.append(f"{what} has {len(node.outputs)} outputs; the layout takes one")
        elif not any(t is previous for t in node.activations):
            read = " and ".join(f"'{t.name}'" for t in node.activations) or "constants only"
            problems.append(f"{what} reads {read}, but not '{previous.name}' that is computed just before it")
        elif len(node.activations) > 2 or len(unique(node.activations)) < len(node.activations):
            problems.append(f"{what} reads more than the tensor computed just before it and one that is kept")
        previous = node.output
    if not problems and previous is not graph.outputs[0]:
        problems.append(f"'{graph.outputs[0].name}', the output of the model, is not what its last node computes")
    return problems


def _align(size: int) -> int:
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
