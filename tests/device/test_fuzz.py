"""Damaged files through load and run under AddressSanitizer and UBSan: an error code or a result, never a finding."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.device.runtime import (
    ADD,
    CONV2D,
    DEVICE,
    DWCONV2D,
    FC,
    GAP,
    RESHAPE,
    SOFTMAX,
    STRICT,
    Layer,
    compile_c,
    tmdl,
)
from tests.device.runtime import TYPES as MODEL_TYPES
from tests.device.test_more import CASES, network, tensor
from tests.oracles import one_op
from tinymaix.write.tmdl import tmdl_bytes

INT8, FLOAT = np.dtype("int8"), np.dtype("float32")


BUILDS = ["-DTM_OPT_LEVEL=TM_OPT0", "-DTM_OPT_LEVEL=TM_OPT1", "-DTM_SINGLE_LAYER=1"]
TYPES: dict[str, np.dtype[Any]] = {"int8": INT8, "fp32": FLOAT}


def build(folder: Path, options: Sequence[str]) -> Path:
    path = folder / "fuzz"
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g"]
    sources = [Path(__file__).with_name("fuzz.c"), DEVICE / "tm_model.c", DEVICE / "tm_layers.c", DEVICE / "tm_more.c"]
    compile_c(["-std=c99", *sanitize, *options, *STRICT, "-I", DEVICE, *sources, "-o", path])
    return path


@pytest.fixture(scope="module", params=BUILDS)
def fuzzer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fuzz"), [request.param])


def every_layer() -> bytes:
    """A small model with all seven types of layer: small files are hit where it matters."""
    rng = np.random.default_rng(0)

    def random(outputs: int, weights: int) -> dict[str, Any]:
        return {
            "scales": rng.uniform(0.001, 0.05, outputs).astype(np.float32),
            "weights": rng.integers(-127, 128, outputs * weights, np.int8),
            "bias": rng.integers(-900, 900, outputs, np.int32),
        }

    q: dict[str, Any] = {"in_q": (0.05, -3), "out_q": (0.05, -3), "is_out": 0}
    conv: dict[str, Any] = {"kernel": (3, 2), "pad": (1, 1, 0, 1), "act": 3}
    return tmdl(
        [
            Layer(CONV2D, (6, 5, 2), (6, 5, 4), 0, 120, **q, **conv, **random(4, 12)),
            Layer(DWCONV2D, (6, 5, 4), (6, 5, 4), 120, 0, **q, **conv, **random(4, 6)),
            Layer(ADD, (6, 5, 4), (6, 5, 4), 0, 240, **q, in1=(120, 0.04, 2)),
            Layer(GAP, (6, 5, 4), (1, 1, 4), 240, 0, (0.05, -3), (0.02, 1), is_out=0),
            Layer(FC, (1, 1, 4), (1, 1, 6), 0, 16, **q, **random(6, 4)),
            Layer(RESHAPE, (1, 1, 6), (1, 2, 3), 16, 24, **q),
            Layer(SOFTMAX, (1, 2, 3), (1, 2, 3), 24, 32, (0.05, -3), (1 / 256, -128)),
        ],
        360,
        out_deq=1,
    )


def fuzz(fuzzer: Path, model: Path, seed: int, mutants: int) -> int:
    done = subprocess.run([fuzzer, model, str(seed), str(mutants)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)


@pytest.mark.parametrize("seed", range(4))
def test_every_layer(fuzzer: Path, tmp_path: Path, seed: int) -> None:
    path = tmp_path / "model.tmdl"
    path.write_bytes(every_layer())
    assert 100 < fuzz(fuzzer, path, seed, 2000) < 2000


@pytest.mark.parametrize("name", ["mnist_arduino_q", "mnist_valid_q", "kws_q"])
def test_shipped(fuzzer: Path, shared: Path, name: str) -> None:
    path = shared / f"models/tinymaix/tmdl/{name}.tmdl"
    assert 20 < fuzz(fuzzer, path, 1, 500) < 500


@pytest.mark.parametrize("single", [0, 1])
@pytest.mark.parametrize("kind", ["int8", "fp32"])
def test_more_layers(tmp_path: Path, kind: str, single: int) -> None:
    """A file for each new type of layer, and one with several inputs and outputs."""
    number = list(MODEL_TYPES).index(kind)
    fuzzer = build(tmp_path, ["-DTM_MORE_LAYERS=1", f"-DTM_SINGLE_LAYER={single}", f"-DTM_MDL_TYPE={number}"])
    path, loaded = tmp_path / "model.tmdl", 0
    for case in [*CASES, "network"]:
        if case == "network":
            graph = network(kind == "int8")
        else:
            op, inputs, q = CASES[case](TYPES[kind])
            graph = one_op(op, inputs, [tensor("y", op.infer(inputs)[0], TYPES[kind], q)])
        path.write_bytes(tmdl_bytes(graph, more_layers=True).data)
        loaded += fuzz(fuzzer, path, 1, 400)
    assert loaded > 1000
