"""Cancel transposes: hand them down through the graph until they meet their inverse, a view, or the end.

A tensor's `Twin` is another tensor that holds the same elements with its axes in another order; axes of size 1 may come
and go. TRANSPOSE and RESHAPE only note a twin. An operator that can work on the twins does, and its output gets a twin;
one that cannot gets its inputs as they were. A dense layer behind a flattened twin has its weights permuted instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Shape, Tensor
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.transpose import Transpose
from tinymaix.rewrite.fold import drop_dead
from tinymaix.rewrite.layout_dense import absorb_into_dense
from tinymaix.rewrite.layout_rules import RULES, Axes


@dataclass(frozen=True)
class Twin:
    """Axis i of the tensor is axis ``axes[i]`` of ``source``; None where it has size 1 and the source has no such axis.

    Axes of the source that are not named have size 1.
    """

    source: Tensor
    axes: Axes

    @property
    def is_plain(self) -> bool:
        return self.axes == tuple(range(len(self.source.shape)))

    @property
    def moves_nothing(self) -> bool:
        """Whether the elements stand in memory as the tensor has them."""
        order = [axis for axis in self.axes if axis is not None and self.source.shape[axis] > 1]
        return order == sorted(order)


def cancel_transposes(graph: Graph) -> Graph:
    """The graph with as few transposes as handing them down leaves, or the graph itself where that moves no less.

    No element of any output changes.
    """
    before = _moved(graph)
    if not before[1]:
        return graph
    ways = [drop_dead(absorb_into_dense(drop_dead(_Sinking(graph, gather).run()))) for gather in (False, True)]
    after = min(ways, key=_moved)
    return after if _moved(after) < before else graph


def _moved(graph: Graph) -> tuple[int, int]:
    """(elements that transposes move, transposes)."""
    sizes = [node.output.elements for node in graph.nodes if isinstance(node.op, Transpose)]
    return sum(sizes), len(sizes)


@dataclass
class _Sinking:
    graph: Graph
    gather: bool  # whether axes that a view merges are brought together in the twin's source, else in the tensor itself
    twins: dict[int, Twin] = field(default_factory=dict)  # by id of the tensor
    nodes: list[Node] = field(default_factory=list)
    made: set[int] = field(default_factory=set)  # ids of tensors that a node of the new graph makes

    def run(self) -> Graph:
        for node in self.graph.nodes:
            if not (self._noted(node) or self._on_twins(node)):
                for tensor in node.activations:
                    self._materialize(tensor)
                inputs = [None if t is None else self._plain(t) for t in node.inputs]
                self.nodes.append(replace(node, inputs=inputs))
        for tensor in self.graph.outputs:
            self._materialize(tensor, keep=True)
        return replace(self.graph, nodes=self.nodes)

    def twin(self, tensor: Tensor) -> Twin:
        """The twin of a tensor, which is itself where there is no other."""
        return self.twins.get(id(tensor)) or Twin(tensor, tuple(range(len(tensor.shape))))

    def _noted(self, node: Node) -> bool:
        """Note the twin of the output of a TRANSPOSE or view, where its axes are those of its input's twin."""
        if not (isinstance(node.op, Transpose) or node.op.is_view) or node.input(0).is_constant:
            return False
        x, y = self.twin(node.input(0)), node.output
        if node.input(0).quantization is not y.quantization and not _same_scale(node.input(0), y):
            return False
        if isinstance(node.op, Transpose):
            rank = len(y.shape)
            self.twins[id(y)] = Twin(x.source, tuple(x.axes[axis % rank] for axis in node.op.order))
            return True
        axes = _past_ones(node.input(0).shape, y.shape, x.axes)
        if axes is not None:
            self.twins[id(y)] = Twin(x.source, axes)
            return True
        return self._split_or_merged(node, x)

    def _split_or_merged(self, node: Node, x: Twin) -> bool:
        """A RESHAPE that splits or merges axes which stand side by side in the twin's source, done there."""
        if x.is_plain:
            return False
        old, new = node.input(0).shape, node.output.shape
        found = _regrouped(old, new, x)
        if found is None and self.gather:
            x = self._gathered(old, new, x)
            found = _regrouped(old, new, x)
        if found is None:
            return False
        shape, axes = found
        source = replace(node.output, shape=shape, name=node.output.name)
        self.nodes.append(Node(Reshape(shape), [x.source], [source], node.name))
        self.twins[id(node.output)] = Twin(source, axes)
        return True

    def _gathered(self, old: Shape, new: Shape, x: Twin) -> Twin:
        """A twin in which the axes that a view merges stand side by side, where the last of them stood."""
        order = list(range(len(x.source.shape)))
        for olds, _ in _groups(old, new) or []:
            places = [place for place in (x.axes[i] for i in olds if old[i] > 1) if place is not None]
            if len(places) > 1:
                order = [axis for axis in order if axis not in places or axis == max(places)]
                at = order.index(max(places))
                order[at : at + 1] = places
        if order == list(range(len(order))):
            return x
        shape = tuple(x.source.shape[axis] for axis in order)
        moved = replace(x.source, name=f"{x.source.name}_gathered", shape=shape)
        self.nodes.append(Node(Transpose(tuple(order)), [x.source], [moved], moved.name))
        return Twin(moved, tuple(None if axis is None else order.index(axis) for axis in x.axes))

    def _on_twins(self, node: Node) -> bool:
        """Let the operator work on its inputs' twins, if one has another order of axes and it can."""
        rule = next((rule for kind, rule in RULES if isinstance(node.op, kind)), None)
        twins = [self.twin(t) for t in node.activations]
        moved = [twin for twin in twins if not twin.is_plain]
        if rule is None or not moved or any(t.is_state for t in node.present):
            return False
        lead = max(moved, key=lambda twin: (not twin.moves_nothing, twin.source.elements))
        leading = node.activations[twins.index(lead)]
        if not lead.source.shape:
            return False
        changed = rule(node, leading, lead.axes, len(lead.source.shape))
        if changed is None:
            return False
        inputs: list[Tensor | None] = [lead.source if t is leading else t for t in node.inputs]
        if changed.aligns:
            inputs = [None if t is None else self._aligned(t, lead, leading) for t in node.inputs]
            if any(t is None for t in inputs):
                return False
        try:
            shapes = changed.op.infer(inputs)
        except ModelError:
            return False
        outputs = [replace(t, shape=shape) for t, shape in zip(node.outputs, shapes, strict=True)]
        self.nodes.append(Node(changed.op, inputs, outputs, node.name))
        for old, new in zip(node.outputs, outputs, strict=True):
            self.twins[id(old)] = Twin(new, changed.axes)
        return True

    def _aligned(self, tensor: Tensor, lead: Twin, leading: Tensor) -> Tensor | None:
        """An input with its axes where the leading input's source has them; None where it has an axis too many."""
        if tensor is leading:
            return lead.source
        rank = len(lead.source.shape)
        shape = (*(1,) * (len(lead.axes) - len(tensor.shape)), *tensor.shape)
        if len(shape) > len(lead.axes):
            return None
        if any(place is None and size > 1 for place, size in zip(lead.axes, shape, strict=True)):
            return None
        if tensor.data is not None:
            return _constant_in(tensor, shape, lead.axes, rank)
        own = self.twin(tensor)
        offset = len(shape) - len(tensor.shape)
        places = {  # axis of the lead's source -> axis of this tensor's source
            place: own.axes[i - offset] for i, place in enumerate(lead.axes) if place is not None and i >= offset
        }
        order = [places.get(axis) for axis in range(rank)]
        if own.is_plain and order == list(range(len(own.source.shape))):
            return own.source
        wanted = tuple(1 if axis is None else own.source.shape[axis] for axis in order)
        aligned = Tensor(f"{tensor.name}_aligned", wanted, tensor.dtype, tensor.quantization)
        return self._emit(Twin(own.source, tuple(order)), aligned)

    def _materialize(self, tensor: Tensor, keep: bool = False) -> None:
        """Make the tensor itself from its twin; ``keep`` its identity, as outputs of the graph need."""
        twin = self.twins.get(id(tensor))
        if twin is None or id(tensor) in self.made or (twin.is_plain and not keep):
            return
        self.made.add(id(tensor))
        if twin.is_plain and self._renamed(twin.source, tensor):
            return
        self._emit(twin, tensor)

    def _renamed(self, source: Tensor, tensor: Tensor) -> bool:
        """Let the node that makes the source make the tensor instead."""
        for node in self.nodes:
            if any(t is source for t in node.outputs) and not any(t is source for t in self.graph.outputs):
                node.outputs = [tensor if t is source else t for t in node.outputs]
                for other in self.nodes:
                    other.inputs = [tensor if t is source else t for t in other.inputs]
                self.twins = {
                    key: replace(twin, source=tensor) if twin.source is source else twin
                    for key, twin in self.twins.items()
                }
                return True
        return False

    def _plain(self, tensor: Tensor) -> Tensor:
        """The tensor, or its twin where that is the same."""
        twin = self.twins.get(id(tensor))
        return twin.source if twin is not None and twin.is_plain and id(tensor) not in self.made else tensor

    def _emit(self, twin: Twin, target: Tensor) -> Tensor:
        """Nodes that make ``target`` from the twin's source: a RESHAPE where no element moves."""
        source = twin.source
        if twin.moves_nothing:
            self.nodes.append(Node(Reshape(target.shape), [source], [target], target.name))
            return target
        named = [axis for axis in twin.axes if axis is not None]
        order = (*named, *(axis for axis in range(len(source.shape)) if axis not in named))
        shape = tuple(source.shape[axis] for axis in order)
        if shape == target.shape:
            self.nodes.append(Node(Transpose(order), [source], [target], target.name))
            return target
        moved = replace(target, name=f"{target.name}_moved", shape=shape, data=None)
        self.nodes.append(Node(Transpose(order), [source], [moved], target.name))
        self.nodes.append(Node(Reshape(target.shape), [moved], [target], target.name))
        return target


def _same_scale(a: Tensor, b: Tensor) -> bool:
    if a.quantization is None or b.quantization is None:
        return a.quantization is b.quantization
    return np.array_equal(a.q.scale, b.q.scale) and np.array_equal(a.q.zero_point, b.q.zero_point)


def _past_ones(old: Shape, new: Shape, axes: Axes) -> Axes | None:
    """The axes behind a reshape that only adds and drops axes of size 1, else None."""
    places = [place for size, place in zip(old, axes, strict=True) if size != 1]
    if [size for size in old if size != 1] != [size for size in new if size != 1]:
        return None
    left = iter(places)
    return tuple(None if size == 1 else next(left) for size in new)


def _regrouped(old: Shape, new: Shape, twin: Twin) -> tuple[Shape, Axes] | None:
    """(shape of the source, axes) behind a reshape; None where it merges axes that are apart in the source."""
    groups = _groups(old, new)
    if groups is None:
        return None
    pieces: list[tuple[int, list[int]]] = []  # (first axis in the source, axes of the new shape) of each group
    covered: list[int] = []
    for olds, news in groups:
        places = [twin.axes[i] for i in olds if old[i] > 1]
        if any(place is None for place in places):
            return None
        here = [place for place in places if place is not None]
        if here != list(range(here[0], here[0] + len(here))) if here else False:
            return None
        covered += here
        pieces.append((here[0] if here else -1, list(news)))
    if any(twin.source.shape[a] > 1 and a not in covered for a in range(len(twin.source.shape))):
        return None
    pieces = [(first, news) for first, news in pieces if first >= 0]
    shape: list[int] = []
    axes: list[int | None] = [None] * len(new)
    for _, ours in sorted(pieces):
        for axis in ours:
            axes[axis] = len(shape)
            shape.append(new[axis])
    return tuple(shape), tuple(axes)


def _groups(old: Shape, new: Shape) -> list[tuple[range, range]] | None:
    """Runs of old axes and the new axes that hold the same elements, as short as possible."""
    groups = []
    i = j = 0
    while i < len(old) or j < len(new):
        first, second = i, j
        a = old[i] if i < len(old) else 1
        b = new[j] if j < len(new) else 1
        i, j = min(i + 1, len(old)), min(j + 1, len(new))
        while a != b:
            if a < b and i < len(old):
                a, i = a * old[i], i + 1
            elif b < a and j < len(new):
                b, j = b * new[j], j + 1
            else:
                return None
        groups.append((range(first, i), range(second, j)))
    return groups


def _constant_in(tensor: Tensor, shape: Shape, axes: Axes, rank: int) -> Tensor:
    """A constant with its axes where ``axes`` puts them among ``rank``; without leading ones where it is broadcast."""
    assert tensor.data is not None
    places = [(place, i) for i, place in enumerate(axes) if place is not None]
    moved = tensor.data.reshape(shape).transpose(
        [i for _, i in sorted(places)] + [i for i, p in enumerate(axes) if p is None]
    )
    sizes = [1] * rank
    for place, i in places:
        sizes[place] = shape[i]
    while len(sizes) > 1 and sizes[0] == 1 and tensor.elements in (1, sizes[-1]):
        sizes.pop(0)
    data = np.ascontiguousarray(moved).reshape(sizes)
    return replace(tensor, shape=data.shape, data=data)
