"""The Armv7E-M kernel of int4 weights on emulated cores, and its twin in C on this computer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cores.armv7em_cases import EVERYWHERE, check
from tests.ops.test_int4 import layer
from tinymaix.cores.armv7em.int4 import stream
from tinymaix.graph import Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.int4 import unpack

CASES: list[Callable[[], Node]] = [
    lambda: layer(Conv2D((1, 1), (1, 1), (1, 1, 1, 1), "relu"), (1, 7, 5, 8), (22, 3, 3, 8), 0, 22, 0).nodes[0],
    lambda: layer(Conv2D((2, 1), (1, 2), (2, 0, 1, 2)), (2, 6, 9, 4), (33, 3, 3, 4), 0, 1, 1).nodes[0],
    lambda: layer(Conv2D(), (1, 3, 4, 64), (17, 1, 1, 64), 0, 17, 2).nodes[0],
    lambda: layer(Conv2D((1, 1), (1, 1), (0, 1, 3, 3)), (1, 2, 2, 12), (40, 1, 4, 12), 0, 40, 3).nodes[0],
]


@pytest.mark.parametrize(("core", "optimize", "part"), [e for e in EVERYWHERE if e[1] == "balanced"])
def test_bits(core: str, optimize: str, part: int) -> None:
    layers = [make() for make in CASES]
    check(layers, core, optimize, served=len(layers))


@given(channels=st.integers(1, 9), quads=st.integers(1, 5), seed=st.integers(0, 999))
def test_stream(channels: int, quads: int, seed: int) -> None:
    """Each weight stands where the kernel reads it."""
    weights = np.random.default_rng(seed).integers(-8, 8, (channels, 4 * quads), dtype=np.int8)
    words = stream(weights).reshape(-1, quads, 2)
    for channel in range(channels):
        block, pair, upper = channel // 4, channel % 4 // 2, channel % 2
        halves = unpack(words[block, :, pair].astype("<u4").view(np.int8).reshape(quads, 4), 8)
        assert np.array_equal(halves[:, upper::2].reshape(-1), weights[channel])
