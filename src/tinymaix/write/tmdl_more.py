"""Graph -> .tmdl, version 2: more operators than the original's seven, any graph, several inputs and outputs.

A runtime of the original refuses such a file by its types of layers. docs/tmdl.md describes them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Tensor
from tinymaix.ops import tmdl as schema
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.fixed_point import ACTIVATIONS
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.tmdl import LayerHead, LayerToWrite, ModelType, dims_of
from tinymaix.plan.arena import Plan, plan

VERSION = 2
WORDS = 4  # of every layer: how many, offset and number of values in the file, activation
TENSOR, MAX_POOL, AVERAGE_POOL, CONCAT, PAD, SLICE, TRANSPOSE, RESIZE, UNARY = range(16, 25)
BINARY = {"ADD": 25, "SUB": 26, "MUL": 27, "MINIMUM": 28, "MAXIMUM": 29}
FUNCTIONS = ("RELU", "RELU_N1_TO_1", "RELU6", "LEAKY_RELU", "HARD_SWISH", "LOGISTIC", "TANH")
VIEWS = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE")
RESHAPE_TYPE = 4


@dataclass
class Layer:
    """A layer before it has its place: tensors, and either its body or what the words and values of a new type say."""

    kind: str
    type: int
    x: Tensor
    y: Tensor
    words: list[int] = field(default_factory=list)
    values: Array | None = None
    activation: str = "none"
    body: bytes | None = None


@dataclass(frozen=True)
class Context:
    """What layers depend on: the number format, the byte order, and where a tensor lies."""

    model: ModelType
    order: str
    places: dict[int, int]  # id(tensor) -> offset

    def offset(self, tensor: Tensor) -> int:
        return self.places[id(tensor)]

    def scale(self, tensor: Tensor) -> list[int]:
        """Scale and zero point as words; those of floats are 1 and 0."""
        return [bits(tensor.q.s), tensor.q.z] if self.model.is_integer else [bits(1.0), 0]

    def store(self, values: Array) -> bytes:
        """Values as activations are stored."""
        dtype = np.dtype({"int8": "i1", "int16": "i2", "fp32": "f4", "fp16": "f2"}.get(self.model.name, "u1"))
        coded = self.model.float8.encode(values) if self.model.float8 else values
        return coded.astype(np.dtype(self.order + dtype.str[1:])).tobytes()


def bits(value: float) -> int:
    """The bits of a float32."""
    return int(np.float32(value).view(np.uint32))


def layers_of(node: Node, context: Context) -> list[Layer]:
    """The layers that compute a node.

    Raises:
        ModelError: version 2 has no way to say it.
    """
    kind, x, y = node.op.kind, node.activations[0], node.output
    if kind in VIEWS:
        return [Layer(kind, RESHAPE_TYPE, x, y, body=b"")]
    if kind in BINARY:
        return [_binary(node, context)]
    spell = SPELLINGS.get(kind)
    if spell is not None:
        return spell(node, context)
    if kind in FUNCTIONS or (kind == "QUANTIZE" and x.dtype == y.dtype == np.int8):
        return [_unary(node, context)]
    if isinstance(node.op, FullyConnected) and node.op.activation != "none":
        node = _as_convolution(node, context)
        x, y = node.input(0), node.output
    if node.op.tmdl is None:
        raise ModelError("a .tmdl has no such layer")
    problems = node.op.tmdl_problems(node, context.model)
    if problems:
        raise ModelError(problems)
    body = node.op.to_tmdl(LayerToWrite(node, x, context.model, context.order, context.offset))
    return [Layer(kind, node.op.tmdl[0], x, y, body=body)]


def _as_convolution(node: Node, context: Context) -> Node:
    """A fully connected layer with an activation: a 1x1 convolution of one pixel, whose layer has a field for it."""
    assert isinstance(node.op, FullyConnected)
    x, weights, y = node.input(0), node.input(1), node.output
    if weights.data is None or x.elements != weights.shape[1]:
        raise ModelError("it takes several rows at once; a .tmdl takes one")
    data = np.asarray(weights.data).reshape(weights.shape[0], 1, 1, -1)
    kernel = Tensor(weights.name, data.shape, weights.dtype, weights.quantization, data)
    pixel = Tensor(x.name, (1, 1, 1, x.elements), x.dtype, x.quantization)
    result = Tensor(y.name, (1, 1, 1, y.elements), y.dtype, y.quantization)
    context.places.update({id(pixel): context.offset(x), id(result): context.offset(y)})
    return Node(Conv2D(activation=node.op.activation), [pixel, kernel, *node.inputs[2:]], [result], node.name)


def _unary(node: Node, context: Context) -> Layer:
    """int8: a table of the results of all inputs, in the order of the input's byte."""
    x, y, kind = node.input(0), node.output, node.op.kind
    alpha = float(getattr(node.op, "alpha", 0.0))
    words = [FUNCTIONS.index(kind) if kind in FUNCTIONS else len(FUNCTIONS), bits(alpha)]
    if context.model.name == "int8":
        every = np.arange(256, dtype=np.uint8).view(np.int8)
        return Layer(kind, UNARY, x, y, words, node.op.reference(node, [every])[0])
    if context.model.is_integer:
        raise ModelError(f"{context.model.name} has no {kind} layer")
    return Layer(kind, UNARY, x, y, words)


def _pool(node: Node, context: Context) -> list[Layer]:
    op = node.op
    words = [*getattr(op, "pool"), *getattr(op, "stride"), *getattr(op, "padding")[::2]]  # noqa: B009
    kind = MAX_POOL if op.kind == "MAX_POOL_2D" else AVERAGE_POOL
    return [Layer(op.kind, kind, node.input(0), node.output, words, activation=getattr(op, "activation", "none"))]


def _concat(node: Node, context: Context) -> list[Layer]:
    y = node.output
    if len(node.activations) < len(node.present):
        raise ModelError("it joins constants; a .tmdl joins computed tensors")
    axis = getattr(node.op, "axis", 0) % len(y.shape)
    if axis == 0:
        raise ModelError("it joins along the batch; a .tmdl has a batch of 1")
    at = axis + 4 - len(y.shape)
    sizes = [n for x in node.activations for n in (context.offset(x), dims_of(x.shape)[at])]
    return [Layer(node.op.kind, CONCAT, node.input(0), y, [at, len(node.activations), *sizes])]


def _pad(node: Node, context: Context) -> list[Layer]:
    pads = getattr(node.op, "pads")  # noqa: B009
    if max(pads[0]) > 0:
        raise ModelError("it pads the batch; a .tmdl has a batch of 1")
    before = [0] * (4 - len(pads)) + [pair[0] for pair in pads[1:]]
    fill = getattr(node.op, "fill")(node.output)  # noqa: B009
    word = int(fill) if context.model.is_integer else bits(float(fill))
    return [Layer(node.op.kind, PAD, node.input(0), node.output, [*before, word])]


def _slices(node: Node, context: Context) -> list[Layer]:
    """Begin and stride follow from where the elements of each output come from."""
    x = node.input(0)
    dims = dims_of(x.shape)[1:]
    constants = [None if t is None else t.data for t in node.inputs[1:]]
    sources = node.op.reference(node, [np.arange(x.elements).reshape(x.shape), *constants])
    layers = []
    for y, source in zip(node.outputs, sources, strict=True):
        shape = dims_of(y.shape)[1:]
        places = np.unravel_index(source.reshape(-1), dims)
        begin = [int(place[0]) for place in places]
        grids = [place.reshape(shape) for place in places]
        stride = [1, 1, 1]
        for axis in range(3):
            if shape[axis] > 1:
                stride[axis] = int(np.take(grids[axis], 1, axis).flat[0]) - begin[axis]
        index = np.indices(shape)
        regular = all((grids[a] == begin[a] + stride[a] * index[a]).all() for a in range(3))
        if not regular or min(stride) < 1:
            raise ModelError(f"'{y.name}' is not every n-th element along each axis; a .tmdl takes no other slices")
        layers.append(Layer(node.op.kind, SLICE, x, y, [*begin, *stride]))
    return layers


def _transpose(node: Node, context: Context) -> list[Layer]:
    rank = len(node.output.shape)
    order = [axis % rank for axis in getattr(node.op, "order")]  # noqa: B009
    if order[0] != 0:
        raise ModelError("it moves the batch; a .tmdl has a batch of 1")
    axes = [*range(4 - rank), *(axis + 3 - rank for axis in order[1:])]
    return [Layer(node.op.kind, TRANSPOSE, node.input(0), node.output, axes)]


def _resize(node: Node, context: Context) -> list[Layer]:
    x = node.input(0)
    _, height, width, _ = x.shape
    source = node.op.reference(node, [np.arange(height * width).reshape(1, height, width, 1)])[0][0, :, :, 0]
    flags = [int(getattr(node.op, name)) for name in ("align_corners", "half_pixel_centers")]
    words = [*flags, *(int(n) // width for n in source[:, 0]), *(int(n) % width for n in source[0])]
    return [Layer(node.op.kind, RESIZE, x, node.output, words)]


SPELLINGS: dict[str, Callable[[Node, Context], list[Layer]]] = {
    "MAX_POOL_2D": _pool,
    "AVERAGE_POOL_2D": _pool,
    "CONCATENATION": _concat,
    "PAD": _pad,
    "PADV2": _pad,
    "SLICE": _slices,
    "STRIDED_SLICE": _slices,
    "SPLIT": _slices,
    "SPLIT_V": _slices,
    "UNPACK": _slices,
    "TRANSPOSE": _transpose,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
}
"""How operators are spelled that version 1 does not have."""


def _binary(node: Node, context: Context) -> Layer:
    """The first operand has the output's shape; the second may be smaller, or a constant."""
    a, b, y = node.input(0), node.input(1), node.output
    if a.is_constant or a.shape != y.shape:
        if node.op.kind == "SUB":
            raise ModelError(f"it subtracts from '{a.name}', which is constant or broadcast; a .tmdl cannot")
        a, b = b, a
    if a.is_constant or a.shape != y.shape:
        raise ModelError("both operands are constant or broadcast; a .tmdl takes one such")
    shape = (1,) * (4 - len(y.shape)) + (1,) * (len(y.shape) - len(b.shape)) + b.shape
    if len(shape) != 4 or shape[0] != 1:
        raise ModelError(f"'{b.name}' has shape {list(b.shape)}; a .tmdl takes a batch of 1 and three more dimensions")
    offset = context.offset(a) if b.data is not None else context.offset(b)
    words = [offset, *context.scale(b), *shape[1:]]
    activation = getattr(node.op, "activation", "none")
    return Layer(node.op.kind, BINARY[node.op.kind], a, y, words, b.data, activation)


def pack_body(layer: Layer, context: Context) -> bytes:
    """Words and values behind the layer's header, padded to a multiple of 8 bytes."""
    if layer.body is not None:
        return layer.body
    count = WORDS + len(layer.words)
    at = schema.align8(schema.LAYER_HEAD_SIZE + 4 * count)
    values = b"" if layer.values is None else context.store(np.asarray(layer.values).reshape(-1))
    size = 0 if layer.values is None else np.asarray(layer.values).size
    all_words = [count, at if size else 0, size, ACTIVATIONS.index(layer.activation), *layer.words]
    data = struct.pack(f"{context.order}{count}I", *(word & 0xFFFFFFFF for word in all_words))
    body = data.ljust(at - schema.LAYER_HEAD_SIZE, b"\0") + values
    return body.ljust(schema.align8(len(body)), b"\0")


@dataclass(frozen=True)
class Memory:
    """Where tensors lie: the plan of the float32 or integer graph, in units of the model's type."""

    plan: Plan
    factor: int

    @staticmethod
    def of(graph: Graph, model: ModelType) -> Memory:
        factor = 4 // model.unit if graph.inputs[0].dtype == np.float32 else 1
        return Memory(plan(graph, alignment=schema.ALIGNMENT * factor), factor)

    def offset(self, tensor: Tensor) -> int:
        return self.plan.offsets[id(tensor)] // self.factor

    @property
    def size(self) -> int:
        return schema.align8(-(-self.plan.arena // self.factor))


def record(layer: Layer, size: int, context: Context, is_out: bool, out_oft: int | None = None) -> LayerHead:
    """The header of a layer."""

    def quantization(tensor: Tensor) -> tuple[float, int]:
        return (tensor.q.s, tensor.q.z) if context.model.is_integer else (1.0, 0)

    (in_s, in_zp), (out_s, out_zp) = quantization(layer.x), quantization(layer.y)
    return LayerHead(
        layer.type,
        int(is_out),
        schema.LAYER_HEAD_SIZE + size,
        context.offset(layer.x),
        context.offset(layer.y) if out_oft is None else out_oft,
        dims_of(layer.x.shape),
        dims_of(layer.y.shape),
        in_s,
        in_zp,
        out_s,
        out_zp,
    )


def stored_layers(
    graph: Graph, model: ModelType, order: str, out_deq: bool
) -> tuple[list[tuple[Layer, LayerHead, bytes]], int]:
    """The layers with headers and bodies, and the size of the main buffer.

    Raises:
        ModelError: one sentence for everything that version 2 has no way to say.
    """
    memory = Memory.of(graph, model)
    computed = (*graph.inputs, *(t for n in graph.nodes for t in n.outputs))
    context = Context(model, order, {id(t): memory.offset(t) for t in computed})
    layers: list[Layer] = []
    problems: list[str] = []
    for node in memory.plan.order:
        try:
            layers += layers_of(node, context)
        except ModelError as error:
            where = f"{node.op.kind} '{node.name or node.output.name}'"
            problems += [f"{where}: {problem}" for problem in error.problems]
    if problems:
        raise ModelError(problems)
    return _with_ends(graph, layers, context, memory.size, out_deq and model.name != "fp32")


def _with_ends(
    graph: Graph, layers: Sequence[Layer], context: Context, size: int, floats: bool
) -> tuple[list[tuple[Layer, LayerHead, bytes]], int]:
    """The layers between those that name several inputs and outputs. Outputs with floats behind them are copied."""
    unit, heads = context.model.unit, []
    named = [Layer("TENSOR", TENSOR, t, t) for t in graph.inputs] if len(graph.inputs) > 1 else []
    several = len(graph.outputs) > 1 or layers[-1].y is not graph.outputs[0]
    ends = [Layer("TENSOR", TENSOR, t, t) for t in graph.outputs] if several else []
    for i, layer in enumerate([*named, *layers, *ends]):
        is_out = i >= len(named) + len(layers) - (0 if several else 1)
        out_oft = None
        if is_out and floats:
            bytes_out = unit * layer.y.elements
            out_oft = size if several else context.offset(layer.y)
            size = max(size, out_oft + schema.align8(bytes_out) + 4 * layer.y.elements)
            size = schema.align8(size)
        body = pack_body(layer, context)
        heads.append((layer, record(layer, len(body), context, is_out, out_oft), body))
    return heads, size
