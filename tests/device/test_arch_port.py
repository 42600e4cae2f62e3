"""The proof of a port: random layers, on the core and by its header, give the bytes of the plain C on this computer.

For a header of your own: TINYMAIX_PORT=cortex-m4:path/to/arch_mine.h pytest tests/device/test_arch_port.py -k mine
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.device.arch import Device, Target, open_or_skip
from tests.device.runtime import CONV2D, DWCONV2D, FC, Layer, Library, tmdl
from tinymaix.graph import Array

LAYERS = 24
ROOM = (64 << 10, 8 << 10, 4 << 10, 4 << 10)
TARGETS = [
    Target("host", "CPU", 1, room=ROOM),
    Target("host", "X86_SSE2", 1, room=ROOM),
    Target("host", "CSKYV2", 1, room=ROOM),
    Target("host", header="arch_template.h", room=ROOM),
    Target("cortex-m0plus", "ARM_M0", 1, room=ROOM),
    Target("cortex-m4", "ARM_SIMD", 1, room=ROOM),
    Target("cortex-m55", "ARM_MVEI", 1, room=ROOM),
    Target("cortex-a7", "ARM_NEON", 1, room=ROOM),
    Target("cortex-a53", "ARM_NEON", 1, room=ROOM),
    Target("cortex-a53", "CPU", 1, room=ROOM),
    Target("rv32imc", "CPU", 1, room=ROOM),
    Target("rv64gcv-vlen128", "RV64V", 1, room=ROOM),
    Target("rv64gcv-vlen256", "RV64V", 1, room=ROOM),
]
if PORT := os.environ.get("TINYMAIX_PORT"):
    core, _, path = PORT.partition(":")
    TARGETS += [Target(core, header=str(Path(path).resolve()), level=level, room=ROOM) for level in (0, 1)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("plain"), ["-DTM_OPT_LEVEL=TM_OPT0"])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: Path(target.name).name)
def test_random_layers(target: Target, plain: Library, tmp_path: Path) -> None:
    check(open_or_skip(target, tmp_path), plain, LAYERS)


def test_random_layers_avr(plain: Library, tmp_path: Path) -> None:
    check(Device(Target("avr5", "AVR", 1, room=(12 << 10, *ROOM[1:])), tmp_path), plain, 8)


def check(device: Device, plain: Library, number: int) -> None:
    """Assert that random layers have the same output on both."""
    rng = np.random.default_rng(7)
    for _ in range(number):
        layer, size = random_layer(rng)
        file = tmdl([layer], size)
        if len(file) > device.target.room[0] or size > device.target.room[1]:
            continue
        model = plain.load(file)
        assert model.error == 0
        x = extreme(rng, int(np.prod(layer.in_dims))).reshape(layer.in_dims)
        wanted = model.run(x).tobytes()
        device.load(file)
        found, _, _ = device.run(x, len(wanted))
        assert found == wanted, layer


def extreme(rng: np.random.Generator, size: int) -> Array:
    """int8, often at the ends of the range."""
    values = rng.integers(-128, 128, size).astype(np.int8)
    return np.where(rng.random(size) < 0.3, rng.choice(np.array([-128, 127], np.int8), size), values).astype(np.int8)


def random_layer(rng: np.random.Generator) -> tuple[Layer, int]:
    """A convolution, depthwise or fully connected layer, and the size of the main buffer."""
    kind = int(rng.choice([CONV2D, CONV2D, DWCONV2D, FC]))
    draw: Any = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    kernel = (1, 1) if draw(0, 2) == 0 else (3, 3) if draw(0, 1) else (draw(1, 5), draw(1, 5))
    stride, dilation = (draw(1, 2), draw(1, 3)), (draw(1, 2), 1) if draw(0, 3) == 0 else (1, 1)
    pad = (0, 0, 0, 0) if draw(0, 2) == 0 else (draw(0, 2), draw(0, 2), draw(0, 2), draw(0, 2))
    c = draw(1, 20)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    h, w = (max(1, reach[i] - pad[2 * i] - pad[2 * i + 1]) + draw(0, 7) for i in (0, 1))
    if kind == FC:
        in_dims, out_dims, taps = (1, 1, draw(1, 300)), (1, 1, draw(1, 20)), 0
        taps = in_dims[2]
    else:
        room = (h + pad[0] + pad[1] - reach[0], w + pad[2] + pad[3] - reach[1])
        outputs = c * draw(1, 2) if kind == DWCONV2D else draw(1, 40)
        in_dims, out_dims = (h, w, c), (room[0] // stride[0] + 1, room[1] // stride[1] + 1, outputs)
        taps = kernel[0] * kernel[1] * (1 if kind == DWCONV2D else c)
    n_in, n_out = int(np.prod(in_dims)), int(np.prod(out_dims))
    n_in += -n_in % 8
    weights = extreme(rng, out_dims[2] * taps)
    layer = Layer(
        kind,
        in_dims,
        out_dims,
        0,
        n_in,
        in_q=(0.05, draw(-128, 127)),
        out_q=(float(rng.choice([0.01, 0.5, 4.0])) * taps**0.5, draw(-128, 127)),
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        pad=pad,
        act=0 if kind == FC else draw(0, 3),
        scales=rng.uniform(0.001, 0.3, out_dims[2]).astype(np.float32),
        weights=weights,
        bias=rng.integers(-20000, 20000, out_dims[2], np.int32),
    )
    return layer, n_in + n_out + -n_out % 8
