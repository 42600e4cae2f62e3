"""Shipped int8 models give their golden bytes on every core and by every architecture header that can be run here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.conftest import model_files, model_id
from tests.device.arch import FULL, SMALL, Converted, Device, Target, convertible, open_or_skip, shipped

BIG = 100 << 10
"""Larger ones run one sample on the fast emulators only; bench/device_arch.py runs all of them everywhere."""
FAST = ("host", "cortex-m4", "cortex-a53")


@pytest.mark.parametrize("target", FULL, ids=lambda target: target.name)
def test_golden(target: Target, tmp_path: Path) -> None:
    device = open_or_skip(target, tmp_path)
    for path in shipped():
        big = path.stat().st_size > BIG
        if not big or (target.core in FAST and target.level == 1):
            device.check(path, 1 if big or target.core not in FAST else 2)


@pytest.fixture(scope="module")
def small_tflites() -> list[Converted]:
    """Single layers and small networks; bench/device_everywhere.py runs every convertible .tflite everywhere."""
    return list(convertible(most=3000))


ONE_EACH = ("cortex-m0plus", "cortex-m4", "cortex-m55", "cortex-a53", "rv32imc", "rv64gcv-vlen128", "avr5")
"""A core for each header."""


@pytest.mark.parametrize(
    "target",
    [target for target in (*FULL, *SMALL) if target.core in ONE_EACH and target.level == 1],
    ids=lambda target: target.name,
)
def test_convertible(target: Target, small_tflites: list[Converted], tmp_path: Path) -> None:
    room = target.room if target in SMALL else (64 << 10, 64 << 10, 32 << 10, 16 << 10)
    device = open_or_skip(replace(target, more=True, room=room), tmp_path)
    for model in filter(device.fits, small_tflites):
        device.load(model.data)
        x, y = model.samples[0]
        assert device.run(x, len(y))[0] == y, model_id(model.path)


@pytest.mark.parametrize("target", SMALL, ids=lambda target: target.name)
def test_golden_avr(target: Target, tmp_path: Path) -> None:
    device = Device(target, tmp_path)
    for path in shipped(most=3000):
        device.check(path, 1)


@pytest.mark.parametrize("target", [Target("rv64gcv-vlen128", "RV64V", 1, type="FP32")], ids=lambda target: target.name)
def test_float(target: Target, tmp_path: Path) -> None:
    """Headers with float vectors: sums in another order than the reference's."""
    device = open_or_skip(target, tmp_path)
    for path in model_files("tinymaix/tmdl/mnist_*_f.tmdl"):
        graph = tinymaix.read(path)
        x = np.random.default_rng(1).uniform(0, 1, graph.inputs[0].shape).astype(np.float32)
        wanted = graph.run([x])[0].ravel()
        device.load(path.read_bytes())
        found = np.frombuffer(device.run(x, wanted.nbytes)[0], np.float32)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
