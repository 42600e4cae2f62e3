"""IMAGE: pixels against independent formulas, and C against numpy, on the host and on an emulated chip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS
from tests.oracles import check_compiled, expect_same, one_op, random_inputs
from tinymaix.chips import ToolError, find_chip
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph, ModelError, Quantization, Tensor
from tinymaix.ops.image import RESIZES, Image
from tinymaix.ops.image_pixels import BYTES, CHANNELS, decode

PLAIN = Image("rgb888", "rgb", (0, 0, 6, 8), (6, 8), "nearest", (1 / 255,) * 3, (0.0,) * 3)


def graph_of(op: Image, source: tuple[int, int] = (6, 8), dtype: str = "int8") -> Graph:
    x = Tensor("picture", (1, *source, BYTES[op.pixels]), np.dtype(np.uint8))
    y = Tensor(
        "y",
        op.infer([x])[0],
        np.dtype(dtype),
        None if dtype == "float32" else Quantization.of(1 / 255, 0 if dtype == "uint8" else -128),
    )
    return one_op(op, [x], [y])


def resized(size: tuple[int, int], resize: str = "bilinear", pixels: str = "rgb888", order: str = "rgb") -> Image:
    count = CHANNELS[order]
    return Image(pixels, order, (1, 2, 5, 6), size, resize, (0.004, 0.0047, 0.003)[:count], (0.1, 0.0, -0.1)[:count])


def many_ways() -> list[Graph]:
    ways = [(pixels, "rgb", "bilinear") for pixels in BYTES]
    ways += [(pixels, order, "nearest") for pixels in ("rgb565", "yuyv") for order in CHANNELS]
    return [graph_of(resized((4, 7), resize, pixels, order)) for pixels, order, resize in ways]


def test_equal_size_gives_the_pixels() -> None:
    x = np.random.default_rng(1).integers(0, 256, (1, 6, 8, 3), np.uint8)
    for resize in RESIZES:
        assert (graph_of(replace(PLAIN, resize=resize), dtype="uint8").run([x])[0] == x).all()


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_16_bit_colours_are_the_nearest(order: str, r: int, g: int, b: int) -> None:
    word = (r * 31 + 127) // 255 << 11 | (g * 63 + 127) // 255 << 5 | (b * 31 + 127) // 255
    little = np.array([[[word & 255, word >> 8]]], np.uint8)
    found = decode(little, "rgb565", order)[0, 0]
    wanted = np.array([r, g, b] if order == "rgb" else [b, g, r])
    assert (np.abs(found - wanted) <= 5).all()
    assert (decode(little[..., ::-1], "rgb565be", order)[0, 0] == found).all()


@given(SEEDS)
def test_yuv_is_that_of_jpeg(seed: int) -> None:
    x = np.random.default_rng(seed).integers(0, 256, (2, 4, 2), np.uint8)
    y = x[..., 0].astype(np.float64)
    u, v = (np.repeat(x[:, k::2, 1].astype(np.float64) - 128, 2, axis=1) for k in (0, 1))
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=2)
    assert np.abs(decode(x, "yuyv", "rgb") - np.clip(rgb, 0, 255)).max() <= 1
    assert (decode(x, "yuyv", "grey")[..., 0] == x[..., 0]).all()


@given(SEEDS, st.tuples(st.integers(1, 20), st.integers(1, 20)), st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_bilinear_is_close_to_floating_point(seed: int, source: tuple[int, int], size: tuple[int, int]) -> None:
    x = np.random.default_rng(seed).integers(0, 256, (1, *source, 1), np.uint8)
    op = Image("grey", "grey", (0, 0, *source), size, "bilinear", (1 / 255,), (0.0,))
    found = graph_of(op, source, "uint8").run([x])[0][0, ..., 0].astype(np.float64)
    assert np.abs(found - in_floating_point(x[0, ..., 0].astype(np.float64), size)).max() <= 2.5


def in_floating_point(x: Array, size: tuple[int, int]) -> Array:
    places = [np.clip((np.arange(n) + 0.5) * s / n - 0.5, 0, s - 1) for n, s in zip(size, x.shape, strict=True)]
    rows = np.array([np.interp(places[1], np.arange(x.shape[1]), row) for row in x])
    return np.array([np.interp(places[0], np.arange(x.shape[0]), column) for column in rows.T]).T


def test_compiled() -> None:
    graphs = many_ways()
    graphs += [graph_of(resized((9, 3)), dtype=dtype) for dtype in ("int16", "uint8", "float32")]
    check_compiled([(graph, [random_inputs(graph, k)]) for k, graph in enumerate(graphs)])


@pytest.mark.parametrize(("pixels", "order"), [("rgb565", "rgb"), ("yuyv", "bgr"), ("bgr888", "grey")])
def test_on_a_chip(pixels: str, order: str) -> None:
    graph = graph_of(resized((4, 7), "bilinear", pixels, order))
    try:
        deployment = Deployment(graph, find_chip("cortex-m4"))
    except ToolError as error:
        pytest.skip(str(error))
    inputs = random_inputs(graph)
    expect_same(deployment.run(inputs)[0], graph.run(inputs), f"{pixels} to {order}")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pixels": "nv12"}, "'nv12' is no pixel format"),
        ({"crop": (0, 0, 7, 8)}, "cannot be resized"),
        ({"size": (0, 8)}, "cannot be resized"),
        ({"factors": (1.0,)}, "rgb needs 3 factors"),
        ({"offsets": (float("nan"),) * 3}, "rgb needs 3 factors"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, object], sentence: str) -> None:
    x = Tensor("picture", (1, 6, 8, 3), np.dtype(np.uint8))
    with pytest.raises(ModelError, match=sentence):
        replace(PLAIN, **change).infer([x])  # type: ignore[arg-type]
