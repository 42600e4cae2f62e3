"""Float graphs of one layer or a few, for the tests of the lowering; constants are random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinymaix.graph import Array, Graph, Node, Shape, Tensor
from tinymaix.ops import OPERATORS
from tinymaix.quantize.agreement import raw_values
from tinymaix.quantize.samples import Samples

FLOAT = np.dtype(np.float32)


class Layers:
    """Nodes over float inputs of the given shapes."""

    def __init__(self, *shapes: Shape, seed: int = 0) -> None:
        self.inputs = [Tensor(f"in{i}", shape, FLOAT) for i, shape in enumerate(shapes)]
        self.nodes: list[Node] = []
        self.rng = np.random.default_rng(seed)

    def constant(self, *shape: int, scale: float = 1.0) -> Tensor:
        data = (self.rng.normal(size=shape) * scale).astype(np.float32)
        return Tensor(f"c{self.rng.integers(10**9)}", data.shape, FLOAT, None, data)

    def op(self, kind: str, *inputs: Tensor, dtype: str = "float32", **attributes: Any) -> Tensor:
        operator: Any = OPERATORS[kind]
        op = operator(**attributes)
        shapes = op.infer(list(inputs))
        outputs = [Tensor(f"y{len(self.nodes)}_{i}", shape, np.dtype(dtype)) for i, shape in enumerate(shapes)]
        self.nodes.append(Node(op, list(inputs), outputs, f"n{len(self.nodes)}"))
        return outputs[0]

    def graph(self, *outputs: Tensor) -> Graph:
        return Graph(self.nodes, self.inputs, list(outputs or self.nodes[-1].outputs), "layers")


def one(kind: str, *shapes: Shape, constants: Sequence[Shape] = (), seed: int = 0, **attributes: Any) -> Graph:
    """A graph of one operator on inputs of ``shapes`` and then constants."""
    layers = Layers(*shapes, seed=seed)
    layers.op(kind, *layers.inputs, *(layers.constant(*shape) for shape in constants), **attributes)
    return layers.graph()


IMAGE = (1, 6, 6, 4)
ROW = (1, 12)
CASES: dict[str, Callable[[], Graph]] = {
    "conv": lambda: one("CONV_2D", IMAGE, constants=[(5, 3, 3, 4), (5,)], padding=(1, 1, 1, 1), activation="relu"),
    "conv_without_bias": lambda: one("CONV_2D", IMAGE, constants=[(5, 3, 3, 4)], activation="relu6"),
    "depthwise": lambda: one("DEPTHWISE_CONV_2D", IMAGE, constants=[(1, 3, 3, 8), (8,)], padding=(1, 1, 1, 1)),
    "transpose_conv": lambda: one("TRANSPOSE_CONV", IMAGE, constants=[(3, 2, 2, 4)], size=(12, 12), stride=(2, 2)),
    "add": lambda: one("ADD", IMAGE, IMAGE, activation="relu"),
    "add_constant": lambda: one("ADD", IMAGE, constants=[(4,)]),
    "sub": lambda: one("SUB", IMAGE, IMAGE),
    "mul": lambda: one("MUL", IMAGE, IMAGE),
    "maximum": lambda: one("MAXIMUM", IMAGE, IMAGE),
    "minimum_constant": lambda: one("MINIMUM", IMAGE, constants=[(1,)]),
    "squared_difference": lambda: one("SQUARED_DIFFERENCE", IMAGE, IMAGE),
    "prelu": lambda: one("PRELU", IMAGE, constants=[(1, 1, 4)]),
    "batch_matmul": lambda: one("BATCH_MATMUL", (1, 3, 5, 4), (1, 3, 4, 6)),
    "batch_matmul_constant": lambda: one("BATCH_MATMUL", (1, 5, 4), constants=[(1, 4, 6)]),
    "sum": lambda: one("SUM", IMAGE, axes=(1, 2), keep_dims=False),
    "mean": lambda: one("MEAN", IMAGE, axes=(1, 2), keep_dims=True),
    "concatenation": lambda: one("CONCATENATION", IMAGE, IMAGE, axis=3),
    "pack": lambda: one("PACK", ROW, ROW, axis=1),
    "max_pool": lambda: one("MAX_POOL_2D", IMAGE),
    "average_pool": lambda: one("AVERAGE_POOL_2D", IMAGE),
    "softmax": lambda: one("SOFTMAX", ROW),
    "log_softmax": lambda: one("LOG_SOFTMAX", ROW),
    "l2_normalization": lambda: one("L2_NORMALIZATION", ROW),
    "pad": lambda: one("PAD", IMAGE, pads=((0, 0), (1, 1), (1, 2), (0, 0))),
    "pad_v2": lambda: one("PADV2", IMAGE, pads=((0, 0), (1, 1), (1, 2), (0, 0)), value=-9.0),
    "leaky_relu": lambda: one("LEAKY_RELU", IMAGE, alpha=0.1),
    "resize_nearest": lambda: one("RESIZE_NEAREST_NEIGHBOR", IMAGE, size=(12, 12)),
    "resize_bilinear": lambda: one("RESIZE_BILINEAR", IMAGE, size=(12, 12)),
    "reshape": lambda: one("RESHAPE", IMAGE, shape=(1, 144)),
    "transpose": lambda: one("TRANSPOSE", IMAGE, order=(0, 3, 1, 2)),
    "split": lambda: one("SPLIT", IMAGE, count=2, axis=3),
    "slice": lambda: one("SLICE", IMAGE, begin=(0, 1, 2, 0), size=(1, 3, 4, 4)),
    "gather": lambda: gather(),
    "less": lambda: one("LESS", ROW, ROW, dtype="bool"),
    "greater_constant": lambda: one("GREATER", ROW, constants=[(12,)], dtype="bool"),
    "zeros_like": lambda: one("ZEROS_LIKE", ROW),
    "topk": lambda: topk(),
    "argmax": lambda: one("ARG_MAX", ROW, axis=1, dtype="int32"),
    "div_constant": lambda: one("DIV", IMAGE, constants=[(4,)]),
    "layer_norm": lambda: one("LAYER_NORM", (1, 5, 24), constants=[(24,), (24,)]),
    **{
        kind.lower(): (lambda kind=kind: one(kind, IMAGE))  # type: ignore[misc]
        for kind in (
            "RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "HARD_SWISH", "ABS", "NEG", "SQUARE", "EXP", "SIN",
        )
    },
}  # fmt: skip


def topk() -> Graph:
    """The three largest values and where they are."""
    layers = Layers(ROW)
    layers.op("TOPK_V2", layers.inputs[0], k=3)
    layers.nodes[0].outputs[1].dtype = np.dtype(np.int32)
    return layers.graph()


def gather() -> Graph:
    """An embedding: rows of a constant by an int32 input."""
    layers = Layers((1, 3))
    layers.inputs[0].dtype = np.dtype(np.int32)
    layers.op("GATHER", layers.constant(7, 5), layers.inputs[0], axis=0)
    return layers.graph()


def samples(graph: Graph, count: int = 8, seed: int = 1) -> Samples:
    rng = np.random.default_rng(seed)
    return Samples([[random_input(t, rng) for t in graph.inputs] for _ in range(count)])


def random_input(tensor: Tensor, rng: np.random.Generator) -> Array:
    if tensor.dtype.kind == "i":
        return rng.integers(0, 5, tensor.shape).astype(tensor.dtype)
    return rng.normal(size=tensor.shape).astype(np.float32)


def raw_inputs(graph: Graph, sample: Sequence[Array]) -> list[Array]:
    """A sample as the integer graph takes it."""
    return [raw_values(t, a) for t, a in zip(graph.inputs, sample, strict=True)]
