"""Layers of version 2, single-layer mode and floats on emulated Cortex-M0+ and M4."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.device.arch import MAIN
from tests.device.runtime import DEVICE, OK
from tests.oracles import random_inputs
from tests.tmdl_graphs import Chain
from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.emulate import open_machine
from tinymaix.graph import Array, Graph
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.mul import Mul
from tinymaix.ops.relu6 import Relu6
from tinymaix.write.tmdl import tmdl_bytes

SIZES = {"FILE_SIZE": 16 << 10, "BUFFER_SIZE": 16 << 10, "INPUT_SIZE": 4 << 10, "OUTPUT_SIZE": 1 << 10}


def network(integer: bool) -> Graph:
    chain = Chain(integer, (1, 8, 8, 2), 4)
    chain.conv(3, Conv2D(padding=(1, 1, 1, 1), activation="relu"))
    chain.apply(MaxPool2D(), quantization=chain.end.quantization)
    kept = chain.end
    chain.apply(Relu6())
    chain.apply(Mul(), [chain.end, kept], kept.quantization)
    chain.apply(Concatenation(3), [kept, chain.end], kept.quantization)
    chain.apply(AveragePool2D((4, 4), (1, 1)), quantization=kept.quantization)
    chain.reshape((1, 6))
    chain.dense(5)
    chain.softmax()
    return chain.graph()


def run(core: str, folder: Path, options: dict[str, str], model: bytes, x: Array, size: int) -> bytes:
    """``size`` bytes of output of the model on a core."""
    defines = {name: str(bytes_) for name, bytes_ in SIZES.items()} | {"TM_MORE_LAYERS": "1"} | options
    sources = [MAIN, DEVICE / "tm_model.c", DEVICE / "tm_layers.c", DEVICE / "tm_more.c"]
    firmware = build(sources, find_chip(core), include=[DEVICE], optimize="flash", out_dir=folder, defines=defines)
    machine = open_machine(firmware)
    writes = {"tm_file": model, "tm_command": struct.pack("<2I", 0, len(model))}
    assert machine.run(writes, {}, count=False).result == OK
    done = machine.run(
        {"tm_input": x.tobytes(), "tm_command": struct.pack("<2I", 1, 0)}, {"tm_output": size}, count=False
    )
    assert done.result == OK
    return done.memory["tm_output"]


@pytest.mark.parametrize("single", ["0", "1"], ids=["in place", "single layer"])
@pytest.mark.parametrize("core", ["host", "cortex-m0plus", "cortex-m4"])
def test_int8(tmp_path: Path, core: str, single: str) -> None:
    graph = network(True)
    inputs = random_inputs(graph)
    expected = graph.run(inputs)[0]
    data = tmdl_bytes(graph, more_layers=True, out_deq=False, big_endian=single == "1").data
    assert run(core, tmp_path, {"TM_SINGLE_LAYER": single}, data, inputs[0], expected.size) == expected.tobytes()


@pytest.mark.parametrize("kind", ["fp32", "fp16"])
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_floats(tmp_path: Path, core: str, kind: str) -> None:
    graph = network(False)
    inputs = random_inputs(graph)
    expected = graph.run(inputs)[0]
    data = tmdl_bytes(graph, mdl_type=kind, more_layers=True, out_deq=True).data
    x = inputs[0].astype({"fp32": np.float32, "fp16": np.float16}[kind])
    output = run(core, tmp_path, {"TM_MDL_TYPE": f"TM_MDL_{kind.upper()}"}, data, x, 4 * expected.size)
    found = np.frombuffer(output, np.float32)
    np.testing.assert_allclose(found, expected.ravel(), atol={"fp32": 1e-5, "fp16": 0.05}[kind])
