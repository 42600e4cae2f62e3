"""Tiles and sliding windows on emulated cores without SIMD against the reference: every remainder of their sides."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from tests.cores.armv7em_cases import check, layer
from tests.cores.test_armv7em_conv import convolution
from tests.cores.test_armv7em_depthwise import ANY, depthwise
from tests.cores.test_armv7em_fully_connected import fully_connected
from tests.cores.test_armv7em_pointwise import pointwise
from tests.ops.make import sample
from tinymaix.chips import find_chip
from tinymaix.compile.choose import variants
from tinymaix.graph import Node
from tinymaix.ops.conv_2d import Conv2D


@st.composite
def winograd(draw: st.DrawFn) -> Node:
    """What Winograd's filtering serves: borders of any width, halves of tiles, blocks of channels that are not full."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    pads = (max(padding[0], 3 - height), padding[1], max(padding[2], 3 - width), padding[3])
    in_c, out_c, unsigned = draw(st.sampled_from([8, 12, 16])), draw(st.integers(8, 13)), draw(st.booleans())
    op = Conv2D((1, 1), (1, 1), pads, draw(st.sampled_from(["relu", "relu6"])) if unsigned else "none")
    shape = (draw(st.sampled_from([1, 1, 2])), height, width, in_c)
    return draw(layer(op, shape, (out_c, 3, 3, in_c), unsigned))


CORES = [("cortex-m3", 0), ("cortex-m0plus", 1), ("rv32imc", 2), ("rv64gc", 3)]
LAYERS = {
    "convolution": convolution(),
    "pointwise": pointwise(),
    "fully_connected": fully_connected(),
    "depthwise": depthwise(),
    "depthwise of any window": depthwise(ANY),
    "winograd": winograd(),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("core", "part"), CORES)
def test_layers(layer: str, core: str, part: int) -> None:
    served = 1 if layer.endswith("any window") else 12
    check(sample(LAYERS[layer], 80)[part * 20 : part * 20 + 20], core, "speed", served)


@pytest.mark.parametrize("layer", LAYERS)
def test_little_ram(layer: str) -> None:
    layers = sample(LAYERS[layer], 80)[60:]
    check(layers, "cortex-m0plus", "ram", 1)
    ways = [way for node in layers for way in variants(node, find_chip("cortex-m0plus").core, "ram")]
    assert not any("Winograd" in way.reason for way in ways)


def test_winograd_is_for_speed_and_for_many_channels() -> None:
    core = find_chip("cortex-m0plus").core
    for node in sample(winograd(), 5):
        assert "Winograd" in variants(node, core, "speed")[0].reason
        assert "Winograd" not in variants(node, core, "balanced")[0].reason
    for node in sample(convolution(), 20):
        assert not any("Winograd" in way.reason for way in variants(node, core, "speed"))


def test_cores_without_a_multiplier_keep_the_portable_kernels() -> None:
    for node in sample(pointwise(), 3):
        ways = variants(node, find_chip("rv32ec").core, "speed")
        assert [way.portable for way in ways] == [True]
