"""AVR's own functions and kernels have the bits of the portable ones, on an emulated ATmega328P."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.oracles import one_op, random_inputs
from tinymaix.chips import ToolError, find_chip
from tinymaix.chips.build import build
from tinymaix.chips.emulate import open_machine
from tinymaix.cores.avr.kernels import DOT_S8, MUL_HIGH, REQUANTIZE
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph, Quantization, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fixed_point import mul_high, requantize

EDGES = [-(2**31), -(2**31) + 1, -(2**30), -256, -255, -1, 0, 1, 127, 2**15, 2**16, 2**30, 2**31 - 1]
COUNT = 150


def run_c(folder: Path, body: str, inputs: dict[str, Array]) -> Array:
    """The int32 results of C that fills ``results`` from int32 arrays."""
    arrays = "".join(f"int32_t {name}[{COUNT}];\n" for name in (*inputs, "results"))
    functions = MUL_HIGH.source + REQUANTIZE.source + DOT_S8.source
    loop = f"    for (int i = 0; i < {COUNT}; i++)\n        {body}\n    return 0;\n"
    main = f"int tm_main(void);\nint tm_main(void)\n{{\n{loop}}}\n"
    (folder / "test.c").write_text(f"#include <stdint.h>\n{arrays}{functions}{main}")
    try:
        machine = open_machine(build([folder / "test.c"], find_chip("atmega328p"), out_dir=folder / "out"))
    except ToolError as error:
        pytest.skip(str(error))
    writes = {name: array.astype(np.int32).tobytes() for name, array in inputs.items()}
    return np.frombuffer(machine.run(writes, {"results": 4 * COUNT}).memory["results"], np.int32)


def values(seed: int) -> Array:
    """int32 of every size, edges first."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(-(2**31), 2**31, COUNT) >> rng.integers(0, 31, COUNT)
    wide[: len(EDGES)] = EDGES
    return wide


def test_mul_high(tmp_path: Path) -> None:
    x, m = values(1), np.random.default_rng(2).permutation(values(3))
    x[x == -(2**31)] += 1  # both at the minimum saturates, which no multiplier of a model does
    found = run_c(tmp_path, "results[i] = mul_high(xs[i], ms[i]);", {"xs": x, "ms": m})
    assert np.array_equal(found, mul_high(x, m))


def test_requantize(tmp_path: Path) -> None:
    x, rng = values(4), np.random.default_rng(5)
    m, shift = rng.integers(2**30, 2**31, COUNT), rng.integers(-31, 3, COUNT)
    inputs = {"xs": x, "ms": m, "shifts": shift}
    found = run_c(tmp_path, "results[i] = requantize(xs[i], ms[i], (int8_t)shifts[i]);", inputs)
    assert np.array_equal(found, requantize(x, m, shift))


def convolution(rng: np.random.Generator, depthwise: bool) -> Graph:
    """A convolution without padding of random shape, with extreme weights."""
    kernel_h, kernel_w, in_c, out_c = (int(n) for n in rng.integers(1, 5, 4))
    stride, dilation = tuple(rng.integers(1, 4, 2).tolist()), tuple(rng.integers(1, 3, 2).tolist())
    height, width = dilation[0] * kernel_h + int(rng.integers(0, 6)), dilation[1] * kernel_w + int(rng.integers(0, 6))
    out_c = in_c if depthwise else out_c
    x = Tensor("x", (1, height, width, in_c), np.dtype(np.int8), Quantization.of(0.1, int(rng.integers(-128, 128))))
    shape = (1, kernel_h, kernel_w, out_c) if depthwise else (out_c, kernel_h, kernel_w, in_c)
    data = rng.choice([-128, -127, 127, 0, 5, -3], shape).astype(np.int8)
    scales = Quantization.of(rng.uniform(0.001, 0.2, out_c).astype(np.float32), axis=3 if depthwise else 0)
    weights = Tensor("w", shape, data.dtype, scales, data)
    bias_data = rng.integers(-(2**16), 2**16, out_c).astype(np.int32)
    bias = Tensor("b", (out_c,), bias_data.dtype, None, bias_data)
    op = (DepthwiseConv2D if depthwise else Conv2D)(stride=stride, dilation=dilation, activation="relu6")
    y_shape = op.infer([x, weights, bias])[0]
    y = Tensor("y", y_shape, np.dtype(np.int8), Quantization.of(0.07, int(rng.integers(-128, 128))))
    return one_op(op, [x, weights, bias], [y])


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_convolution(seed: int, depthwise: bool) -> None:
    graph = convolution(np.random.default_rng(seed), depthwise)
    try:
        deployment = Deployment(graph, find_chip("atmega328p"))
    except ToolError as error:
        pytest.skip(str(error))
    for k in range(3):
        inputs = random_inputs(graph, k)
        assert np.array_equal(deployment.run(inputs)[0][0], graph.run(inputs)[0])
