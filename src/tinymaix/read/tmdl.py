"""A .tmdl file -> Graph: all model types, both byte orders, versions 1 and 2.

The file is hostile until shown otherwise. The reader plays the main buffer: each layer must read a tensor that an
earlier layer wrote there and that nothing has overwritten. The operators check the layers' bodies.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Shape, Tensor
from tinymaix.ops import TMDL_OPERATORS
from tinymaix.ops import tmdl as schema
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.tmdl import Dims, Head, LayerHead, ModelType, StoredLayer, has_quantization
from tinymaix.read.tmdl_more import NAMES, TENSOR, read_more

VERSION_2 = 2


def read_tmdl(data: bytes, name: str = "model") -> Graph:
    """Read a .tmdl.

    Biases of integer models get back what the input's zero point took from them; fp16 and fp8 weights become float32.
    The output is raw even where the runtime would turn it into floats; the graph's notes say so.

    Args:
        data: the whole file.
        name: what to call the graph.

    Raises:
        ModelError: a sentence that says what is damaged or not supported, and in which layer.
    """
    head, model, order = _head(data)
    reader = _Reader(head, model, any(data[schema.HEAD_SIZE - schema.RESERVED : schema.HEAD_SIZE]))
    offset = schema.HEAD_SIZE
    for index in range(head.layer_cnt):
        layer = _layer(data, offset, index, model, order)
        try:
            reader.add(layer)
        except ModelError as error:
            raise ModelError(
                [f"layer {index} ({_kind(layer.head)}): {problem}" for problem in error.problems]
            ) from None
        offset += layer.head.size
    if offset != len(data):
        raise ModelError(f"{len(data) - offset} bytes follow the last layer; the file is damaged")
    return reader.graph(name, layer.head)


def _head(data: bytes) -> tuple[Head, ModelType, str]:
    """The file's header, its model type and its byte order."""
    if data[:4] != schema.MAGIC:
        raise ModelError("not a .tmdl file: it does not begin with MAIX")
    if len(data) < schema.HEAD_SIZE:
        raise ModelError(f"the file ends within its header: it has {len(data)} bytes")
    order = ">" if data[6] == 0 else "<"  # input_cnt, which is below 256
    if data[4] >= len(schema.MODEL_TYPES):
        raise ModelError(f"model type {data[4]} is not known; the file is damaged or of a later version")
    model = schema.MODEL_TYPES[data[4]]
    head = Head(*schema.HEAD.unpack(data, 0, model, order))
    problems = []
    start = schema.HEAD_SIZE - schema.RESERVED
    version = int(np.frombuffer(data, order + "u4", 1, start)[0])
    most = 255 if version == VERSION_2 else 1
    if not (1 <= head.input_cnt <= most and 1 <= head.output_cnt <= most):
        problems.append(f"it has {head.input_cnt} inputs and {head.output_cnt} outputs; up to {most} are supported")
    if head.layer_cnt == 0:
        problems.append("it has no layers")
    if version not in (0, VERSION_2) or any(data[start + 4 : schema.HEAD_SIZE]):
        problems.append("reserved bytes of its header are set; it is damaged or of a later version")
    if problems:
        raise ModelError(problems)
    return head, model, order


def _layer(data: bytes, offset: int, index: int, model: ModelType, order: str) -> StoredLayer:
    """The layer at ``offset`` of the file, whose body is yet to be checked."""
    room = len(data) - offset
    if room < schema.LAYER_HEAD_SIZE:
        raise ModelError(f"the file ends where layer {index} should begin")
    head = LayerHead(*schema.LAYER_HEAD.unpack(data, offset, model, order))
    if head.type not in TMDL_OPERATORS and head.type not in NAMES:
        raise ModelError(
            f"layer {index} has type {head.type}; types 0 to {max(TMDL_OPERATORS)} and {min(NAMES)} to {max(NAMES)} "
            "are known"
        )
    if not schema.LAYER_HEAD_SIZE <= head.size <= room or head.size % schema.ALIGNMENT:
        raise ModelError(
            f"layer {index} has a size of {head.size} bytes; it must be a multiple of {schema.ALIGNMENT}, at least "
            f"{schema.LAYER_HEAD_SIZE} and at most the {room} bytes that are left"
        )
    name = f"{_kind(head).replace(' ', '_')}_{index}"
    return StoredLayer(name, head, data[offset : offset + head.size], model, order)


def _kind(head: LayerHead) -> str:
    """The format's name of the layer, whose type is known."""
    if head.type in NAMES:
        return NAMES[head.type]
    tmdl = TMDL_OPERATORS[head.type].tmdl
    assert tmdl is not None
    return tmdl[1]


def shape_of(dims: Dims) -> Shape:
    """The shape, with a batch of 1, that the dims of a file say."""
    rank, *sizes = dims
    if not 1 <= rank <= 3 or min(sizes) < 1 or any(size != 1 for size in sizes[: 3 - rank]):
        raise ModelError(
            f"{list(dims)} are not dimensions: a rank of 1 to 3, then height, width, channels of at least 1"
        )
    return 1, *sizes[3 - rank :]


class _Lying(NamedTuple):
    """A tensor that lies in the main buffer."""

    offset: int
    size: int
    tensor: Tensor

    def overlaps(self, other: _Lying) -> bool:
        return self.offset < other.offset + other.size and other.offset < self.offset + self.size


class _Reader:
    """The nodes so far, and what lies in the main buffer after them."""

    def __init__(self, head: Head, model: ModelType, version_2: bool) -> None:
        self.head = head
        self.version_2 = version_2
        self.model = model
        self.dtype = np.dtype(model.name if model.is_integer else "float32")
        self.nodes: list[Node] = []
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.lying: list[_Lying] = []

    def add(self, layer: StoredLayer) -> None:
        """Append the layer's node."""
        head = layer.head
        shape = shape_of(head.in_dims)
        stated = layer.quantization(head.in_s, head.in_zp)
        if not self.inputs:
            if head.in_dims != self.head.in_dims:
                raise ModelError(f"it reads {list(head.in_dims)}, but the model's input is {list(self.head.in_dims)}")
            self._input(Tensor("input", shape, self.dtype, stated), head.in_oft)
        elif len(self.inputs) < self.head.input_cnt:
            self._input(Tensor(f"input_{len(self.inputs)}", shape, self.dtype, stated), head.in_oft)
        x = self._find(head.in_oft, shape)
        if head.type == TENSOR:
            if head.is_out:
                self.outputs.append(x)
            return
        y = Tensor(layer.name, shape_of(head.out_dims), self.dtype, layer.quantization(head.out_s, head.out_zp))
        place = self._place(y, head.out_oft)
        if head.type in NAMES:
            node = read_more(layer, x, y, self._find_values)
        else:
            node = TMDL_OPERATORS[head.type].from_tmdl(layer, x, y, lambda offset: self._find(offset, shape))
        # With two operands it is for the operator to say whose scale the header states.
        if len(node.activations) == 1 and not has_quantization(x, stated):
            raise ModelError(f"its input scale and zero point are not those that '{x.name}' was computed with")
        inferred = node.op.infer(node.inputs)
        if inferred != [y.shape]:
            raise ModelError(f"it gives {list(inferred[0])}, but the file says {list(y.shape)}")
        problems = node.op.problems(node)
        if problems:
            raise ModelError(problems)
        self._write(node, place)
        self.nodes.append(node)
        if head.is_out and self.head.output_cnt == 1:
            self.outputs = [y]

    def graph(self, name: str, last: LayerHead) -> Graph:
        """The whole graph; ``last`` is the header of the last layer."""
        if not last.is_out or (len(self.outputs) == 1 and last.out_dims != self.head.out_dims):
            raise ModelError(
                f"the last layer is not the output of shape {list(self.head.out_dims)} that the header states"
            )
        notes = []
        if self.head.out_deq and self.model.name != "fp32":
            notes.append("the runtime turns the output of this .tmdl into float32 (out_deq); here it is raw")
        if not self.model.is_integer and self.model.name != "fp32":
            notes.append(f"the weights are {self.model.name} in the .tmdl; here they and the activations are float32")
        if (len(self.inputs), len(self.outputs)) != (self.head.input_cnt, self.head.output_cnt):
            raise ModelError(
                f"it names {len(self.inputs)} inputs and {len(self.outputs)} outputs, but its header states "
                f"{self.head.input_cnt} and {self.head.output_cnt}"
            )
        return Graph(self.nodes, self.inputs, self.outputs, name, notes)

    def _input(self, tensor: Tensor, offset: int) -> None:
        self.inputs.append(tensor)
        self.lying.append(self._place(tensor, offset))

    def _place(self, tensor: Tensor, offset: int) -> _Lying:
        size = tensor.elements * self.model.unit
        if offset + size > self.head.buf_size or offset % self.model.unit:
            raise ModelError(
                f"'{tensor.name}' with {size} bytes at offset {offset} does not fit the buffer of {self.head.buf_size}"
            )
        return _Lying(offset, size, tensor)

    def _find(self, offset: int, shape: Shape) -> Tensor:
        """The tensor of that shape that lies at the offset."""
        for place in reversed(self.lying):
            if place.offset == offset and place.tensor.shape == shape:
                return place.tensor
        try:
            x = self._find_values(offset, math.prod(shape))
        except ModelError:
            raise ModelError(
                f"it reads {list(shape)} at offset {offset} of the buffer, where no such tensor lies"
            ) from None
        view = Tensor(f"{x.name}_view_{len(self.nodes)}", shape, x.dtype, x.quantization)
        self.nodes.append(Node(Reshape(shape), [x], [view], view.name))
        self.lying.append(self._place(view, offset))
        return view

    def _find_values(self, offset: int, count: int) -> Tensor:
        """The tensor of so many values that lies at the offset, of any shape. Only version 2 asks for it."""
        for place in reversed(self.lying):
            if place.offset == offset and place.tensor.elements == count and self.version_2:
                return place.tensor
        raise ModelError(f"it reads {count} values at offset {offset} of the buffer, where no such tensor lies")

    def _write(self, node: Node, place: _Lying) -> None:
        """Put the node's output into the buffer, in place of all that it overwrites."""
        ends = [old for old in self.lying if old.overlaps(place)]
        in_place = {id(node.inputs[i]) for i in node.op.overwrites(node)}
        for old in ends:
            moved = node.op.is_view or (id(old.tensor) in in_place and place.offset <= old.offset)
            if any(t is old.tensor for t in node.activations) and not moved:
                raise ModelError(f"its output at offset {place.offset} would overwrite its input '{old.tensor.name}'")
        if node.op.is_view:  # the same bytes under another shape: both can still be read
            ends = [old for old in ends if old.offset != place.offset or old.size != place.size]
        self.lying = [old for old in self.lying if not any(old is end for end in ends)] + [place]
