"""Many layers in one firmware: each its own input and output, compared with the reference on an emulated core."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from tests.ops.make import ZERO_POINTS, output_scale
from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.emulate import open_machine
from tinymaix.compile.project import compile_graph, golden_inputs
from tinymaix.graph import Graph, Node, Quantization, Tensor
from tinymaix.ops.base import Operator

INT8, INT32 = np.dtype("int8"), np.dtype("int32")
EVERYWHERE = [
    ("cortex-m4", "speed", 0),
    ("cortex-m4", "balanced", 1),
    ("cortex-m7", "speed", 2),
    ("cortex-m33", "balanced", 3),
    ("twins", "speed", 4),
    ("twins", "balanced", 5),
]
"""(core, optimize, which part of the samples): every core, both widths of weights, and the portable twins."""


@st.composite
def layer(
    draw: st.DrawFn, op: Operator, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], unsigned: bool
) -> Node:
    """A layer with random weights, extreme ones among them; ``unsigned``: the zero point that goes with ReLU."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = Tensor("x", x_shape, INT8, Quantization.of(draw(st.floats(0.002, 0.1)), draw(ZERO_POINTS)))
    channels, taps = weight_shape[0], int(np.prod(weight_shape[1:]))
    data = rng.integers(-127, 128, weight_shape, np.int8)
    if draw(st.booleans()):
        data[rng.random(weight_shape) < 0.4] = draw(st.sampled_from([-128, 127, 0]))
    scales = rng.uniform(0.001, 0.02, channels if draw(st.booleans()) else 1).astype(np.float32)
    if draw(st.booleans()):  # further apart than one shift serves
        scales = scales * np.exp2(rng.integers(-12, 1, len(scales))).astype(np.float32)
    weights = Tensor("w", weight_shape, INT8, Quantization.of(scales), data)
    bias = Tensor("b", (channels,), INT32, None, rng.integers(-9000, 9000, channels, np.int32))
    inputs: list[Tensor | None] = [x, weights, bias]
    scale = output_scale(x, weights, taps) * draw(st.sampled_from([0.5, 1.0, 4.0]))
    y = Tensor("y", op.infer(inputs)[0], INT8, Quantization.of(scale, -128 if unsigned else draw(ZERO_POINTS)))
    return Node(op, inputs, [y])


def check(layers: Sequence[Node], core: str, optimize: str, served: int) -> None:
    """All layers in one firmware give the reference's bits; at least ``served`` of them by kernels of the core's own.

    core "twins": the C for the M4, compiled for this computer, so that the portable twins run.
    """
    for i, node in enumerate(layers):
        for k, tensor in enumerate((*node.activations, node.output)):
            tensor.name = f"x{i}_{k}"
    activations = [tensor for node in layers for tensor in node.activations]
    graph = Graph(list(layers), activations, [node.output for node in layers], "layers")
    chip = find_chip("cortex-m4" if core == "twins" else core)
    project = compile_graph(graph, chip.core, optimize=optimize)
    assert sum(bool(layer.reason) for layer in project.layers) >= served
    with tempfile.TemporaryDirectory() as folder:
        project.write(folder)
        sources = [Path(folder) / "model.c", Path(folder) / "harness.c"]
        target = find_chip("host") if core == "twins" else chip
        machine = open_machine(
            build(sources, target, include=[Path(folder)], optimize=optimize, out_dir=Path(folder) / "build")
        )
        places = {id(t): f"layers_arena+{project.plan.offsets[id(t)]}" for t in (*graph.inputs, *graph.outputs)}
        for seed in range(2):
            inputs = golden_inputs(graph, seed)
            writes = {places[id(t)]: x.tobytes() for t, x in zip(graph.inputs, inputs, strict=True)}
            memory = machine.run(writes, {places[id(t)]: t.nbytes for t in graph.outputs}, count=False).memory
            for node, expected in zip(layers, graph.run(inputs), strict=True):
                assert memory[places[id(node.output)]] == expected.tobytes(), (node.op, node.present)
