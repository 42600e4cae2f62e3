"""Tiles and sliding windows on emulated cores without SIMD against the reference: every remainder of their sides."""

from __future__ import annotations

import pytest

from tests.cores.armv7em_cases import check
from tests.cores.test_armv7em_conv import convolution
from tests.cores.test_armv7em_depthwise import ANY, depthwise
from tests.cores.test_armv7em_fully_connected import fully_connected
from tests.cores.test_armv7em_pointwise import pointwise
from tests.ops.make import sample
from tinymaix.chips import find_chip
from tinymaix.compile.choose import variants

CORES = [("cortex-m3", 0), ("cortex-m0plus", 1), ("rv32imc", 2), ("rv64gc", 3)]
LAYERS = {
    "convolution": convolution(),
    "pointwise": pointwise(),
    "fully_connected": fully_connected(),
    "depthwise": depthwise(),
    "depthwise of any window": depthwise(ANY),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("core", "part"), CORES)
def test_layers(layer: str, core: str, part: int) -> None:
    served = 1 if layer.endswith("any window") else 12
    check(sample(LAYERS[layer], 80)[part * 20 : part * 20 + 20], core, "speed", served)


def test_cores_without_a_multiplier_keep_the_portable_kernels() -> None:
    for node in sample(pointwise(), 3):
        ways = variants(node, find_chip("rv32ec").core, "speed")
        assert [way.portable for way in ways] == [True]
