"""Sums and tables on the emulated M4, M7 and M33 against the reference, and every sum of the shared models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.conftest import model_files
from tests.cores.armv7em_cases import check
from tests.ops.make import ACTIVATIONS, SEEDS, ZERO_POINTS, constant, int8, sample
from tinymaix import api
from tinymaix.chips import find_chip
from tinymaix.cores.armv7em.elementwise import choose_sum
from tinymaix.graph import Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.base import Operator
from tinymaix.ops.hard_swish import HardSwish
from tinymaix.ops.maximum import Maximum
from tinymaix.ops.mul import Mul
from tinymaix.ops.sub import Sub

PARTS = [("cortex-m4", 0), ("cortex-m7", 1), ("cortex-m33", 2), ("twins", 3)]


@st.composite
def sums(draw: st.DrawFn) -> Node:
    """ADD and SUB of two tensors, or of a tensor and one constant on either side."""
    shape = (1, draw(st.integers(1, 3)), draw(st.integers(1, 21)))
    scales = st.floats(0.01, 0.1)
    inputs = [int8("a", shape, draw(scales), draw(ZERO_POINTS)), int8("b", shape, draw(scales), draw(ZERO_POINTS))]
    if draw(st.integers(0, 4)) == 0:
        index = draw(st.integers(0, 1))
        scalar = int8("c", draw(st.sampled_from([(), (1,), (1, 1)])), 0.05, draw(ZERO_POINTS))
        inputs[index] = constant(np.random.default_rng(draw(SEEDS)), scalar)
    op = draw(st.sampled_from([Add, Sub]))(draw(ACTIVATIONS))
    scale = draw(st.sampled_from([0.02, 0.05, 0.2])) * draw(st.floats(0.8, 1.25))
    return Node(op, list(inputs), [int8("y", shape, scale, draw(ZERO_POINTS))])


@st.composite
def tables(draw: st.DrawFn) -> Node:
    """Operators of one operand, and of one operand and a constant."""
    shape = (draw(st.integers(1, 40)),)
    x, y = int8("x", shape, 0.05, draw(ZERO_POINTS)), int8("y", shape, 0.04, draw(ZERO_POINTS))
    op: Operator = draw(st.sampled_from([HardSwish(), Mul(), Maximum()]))
    if isinstance(op, HardSwish):
        return Node(op, [x], [y])
    scalar = constant(np.random.default_rng(draw(SEEDS)), int8("c", (1,), 0.03, x.q.z))
    if isinstance(op, Maximum):
        scalar.quantization = y.quantization = x.quantization
    inputs: list[Tensor | None] = [x, scalar]
    return Node(op, inputs if draw(st.booleans()) else inputs[::-1], [y])


@pytest.mark.parametrize(("core", "part"), PARTS)
def test_sums(core: str, part: int) -> None:
    check(sample(sums(), 160)[part * 40 : part * 40 + 40], core, "speed", served=32)


@st.composite
def products(draw: st.DrawFn) -> Node:
    """MUL of two tensors, one of which may be a row that goes with each row of the other."""
    shape = (1, draw(st.integers(1, 3)), draw(st.integers(1, 21)))
    row = draw(st.sampled_from([shape, shape[1:], shape[2:], (1, 1, shape[2])]))
    scales = st.floats(0.01, 0.1)
    inputs: list[Tensor | None] = [
        int8("a", shape, draw(scales), draw(ZERO_POINTS)),
        int8("b", row, draw(scales), draw(ZERO_POINTS)),
    ]
    y = int8("y", shape, draw(st.floats(0.002, 0.2)), draw(ZERO_POINTS))
    return Node(Mul(draw(ACTIVATIONS)), inputs if draw(st.booleans()) else inputs[::-1], [y])


@pytest.mark.parametrize(("core", "part"), PARTS)
def test_products(core: str, part: int) -> None:
    check(sample(products(), 160)[part * 40 : part * 40 + 40], core, "speed", served=32)


@pytest.mark.parametrize(("core", "part"), PARTS)
def test_tables(core: str, part: int) -> None:
    check(sample(tables(), 60)[part * 15 : part * 15 + 15], core, "balanced", served=4)


@pytest.mark.parametrize("name", ["pretrainedResnet_quant", "mltk__keyword_spotting_mobilenetv2", "tinyengine__vww"])
def test_every_sum_of_real_models_is_served(name: str) -> None:
    files = model_files(f"**/{name}.tflite")
    if not files:
        pytest.skip("the shared models are absent")
    core = find_chip("cortex-m4").core
    nodes = [node for node in api.read(files[0]).nodes if isinstance(node.op, Add)]
    assert nodes
    assert all(choose_sum(node, core, "balanced") for node in nodes)
