"""Weights of 4 bits: packing, files, and the kernels that read them packed, on every core."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS, bias_int32, int8, output_scale
from tests.oracles import check_compiled, check_exact, one_op, random_inputs
from tinymaix.chips import find_chip
from tinymaix.deploy import Deployment
from tinymaix.graph import Graph, Quantization, Shape, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.int4 import pack, unpack
from tinymaix.read import read_bytes
from tinymaix.write.tflite import tflite_bytes


@given(count=st.integers(1, 9), rows=st.integers(1, 3), seed=SEEDS)
def test_packing(count: int, rows: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-8, 8, (rows, count), dtype=np.int8)
    packed = pack(values)
    assert packed.shape == (rows, (count + 1) // 2)
    assert np.array_equal(unpack(packed, count), values)
    assert int(packed[0, 0]) & 15 == int(values[0, 0]) & 15, "the lower half comes first"


def layer(op: Operator, shape: Shape, weights: Shape, axis: int, scales: int, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    x = int8("x", shape, 0.05, int(rng.integers(-128, 128)))
    data = rng.integers(-8, 8, weights, dtype=np.int8)
    q = Quantization.of(rng.uniform(0.01, 0.1, scales), 0, axis)
    w = Tensor("weights", weights, data.dtype, q, data, is_int4=True)
    channels, sums = weights[axis], int(np.prod(weights)) // weights[axis]
    bias = bias_int32(rng, x, w, channels, max(sums // 100, 1))
    y = int8("y", op.infer([x, w, bias])[0], output_scale(x, w, sums) / 16, int(rng.integers(-128, 128)))
    return one_op(op, [x, w, bias], [y])


CASES: dict[str, Callable[[], Graph]] = {
    "conv": lambda: layer(Conv2D((2, 1), (1, 1), (1, 0, 1, 0), "relu"), (1, 7, 5, 3), (5, 3, 3, 3), 0, 5, 0),
    "dilated": lambda: layer(Conv2D((1, 1), (2, 1)), (1, 7, 5, 3), (4, 3, 3, 3), 0, 1, 1),
    "grouped": lambda: layer(Conv2D(), (2, 4, 5, 6), (4, 2, 2, 3), 0, 4, 2),
    "depthwise": lambda: layer(DepthwiseConv2D((1, 2), (1, 1), (1, 1, 1, 1)), (2, 5, 6, 3), (1, 3, 3, 6), 3, 6, 3),
    "fully_connected": lambda: layer(FullyConnected("relu6"), (3, 9), (4, 9), 0, 1, 4),
}


@pytest.mark.parametrize("name", CASES)
def test_files(name: str) -> None:
    """TFLM and LiteRT read what we write, and so do we."""
    graph = CASES[name]()
    inputs = random_inputs(graph)
    check_exact(graph, inputs, litert_too=name != "fully_connected")
    weights = read_bytes(tflite_bytes(graph), "x").nodes[-1].input(1)
    assert weights.is_int4
    assert np.array_equal(np.asarray(weights.data), np.asarray(graph.nodes[0].input(1).data))


def test_compiled() -> None:
    graphs = [make() for make in CASES.values()]
    check_compiled([(graph, [random_inputs(graph, seed) for seed in range(2)]) for graph in graphs])


@pytest.mark.parametrize("chip", ["cortex-m4", "avr5"])
def test_flash_holds_them_packed(chip: str) -> None:
    """Also where the core has kernels of its own, unless speed is all that counts: then it unpacks them in flash."""
    graph = layer(Conv2D(), (1, 4, 4, 16), (80, 1, 1, 16), 0, 80, 5)
    found = {o: Deployment(graph, find_chip(chip), optimize=o).bench() for o in ("balanced", "speed")}
    assert all(bench.bit_exact for bench in found.values())
    assert found["balanced"].flash.weights == 80 * 16 // 2 + 80 * (4 + 4 + 1)
    if chip == "cortex-m4":
        assert found["speed"].flash.weights > 80 * 16
