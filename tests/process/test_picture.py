"""A camera in front of networks: what a picture becomes, against plain formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.ops.make import float32, int8
from tests.oracles import check_compiled, expect_same, one_op
from tinymaix.chips import ToolError, find_chip
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph, ModelError, Node, Tensor
from tinymaix.ops.dequantize import Dequantize
from tinymaix.ops.quantize import Quantize
from tinymaix.ops.reshape import Reshape
from tinymaix.process import with_arg_max, with_fomo, with_image
from tinymaix.quantize.samples_normalize import normalization


def network(x: Tensor, y: Tensor) -> Graph:
    return one_op(Reshape(y.shape), [x], [y])


def quantized(size: tuple[int, int], channels: int = 3, scale: float = 1 / 255, zero: int = -128) -> Graph:
    count = size[0] * size[1] * channels
    return network(int8("x", (1, *size, channels), scale, zero), int8("y", (1, count), scale, zero))


def picture(height: int, width: int, size: int = 3, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, size), np.uint8)


def test_pixels_of_the_models_own_size_only_change_type() -> None:
    x = picture(6, 8)
    y = with_image(quantized((6, 8)), (6, 8)).run([x])[0]
    assert (y == (x.astype(np.int64) - 128).reshape(1, -1)).all()


@pytest.mark.parametrize("normalize", ["0to1", "-1to1", "none", "128,64", "123.7,116.8,103.5,58.4,57.1,57.4"])
def test_normalization_is_that_of_quantization(normalize: str) -> None:
    x = picture(6, 8)
    real = normalization(normalize).apply(x[0], float32("x", (1, 6, 8, 3)), "x").astype(np.float64)
    scale = float(np.ptp(real) / 250)
    zero = round(-128 - real.min() / scale)
    found = with_image(quantized((6, 8), 3, scale, zero), (6, 8), normalize=normalize).run([x])[0]
    expected = np.clip(np.floor(real / np.float32(scale) + zero + 0.5), -128, 127).reshape(1, -1)
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 0.02
    graph = network(float32("x", (1, 6, 8, 3)), float32("y", (1, 144)))
    floats = with_image(graph, (6, 8), normalize=normalize).run([x])[0]
    assert np.abs(floats - real.reshape(1, -1)).max() < 1e-5


def test_the_middle_is_used_or_all_of_it() -> None:
    x = np.zeros((1, 12, 20, 1), np.uint8)
    x[0, :, 4:16] = 255
    kept = with_image(quantized((6, 6), 1), (12, 20), "grey").run([x])[0]
    assert (kept == 127).all()
    stretched = with_image(quantized((6, 6), 1), (12, 20), "grey", fit="stretch").run([x])[0]
    assert (stretched == -128).any()
    corner = with_image(quantized((6, 6), 1), (12, 20), "grey", crop=(0, 0, 4, 4)).run([x])[0]
    assert (corner == -128).all()


def test_a_colour_camera_and_a_grey_model() -> None:
    graph = with_image(quantized((5, 5), 1), (10, 10), "rgb565")
    assert graph.inputs[0].shape == (1, 10, 10, 2)
    assert (graph.run([np.full((1, 10, 10, 2), 255, np.uint8)])[0] == 127).all()


def test_compiled() -> None:
    graphs = [with_image(quantized((5, 7)), (9, 12), pixels) for pixels in ("rgb565be", "yuyv")]
    check_compiled([(graph, [[picture(9, 12, 2, seed)] for seed in range(2)]) for graph in graphs])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"pixels": "nv21"}, "'nv21' is no pixel format"),
        ({"order": "grey"}, "takes 3 channels"),
        ({"fit": "zoom"}, "fit 'zoom'"),
        ({"normalize": "0-1"}, "normalize '0-1' is not known"),
        ({"normalize": "1,2,3,4"}, "names 2 channels, but the model takes 3"),
        ({"crop": (0, 0, 40, 40)}, "cannot be resized"),
        ({"pixels": "yuyv", "source": (8, 9)}, "even width"),
    ],
)
def test_what_does_not_fit_is_said(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        with_image(quantized((6, 8)), **{"source": (12, 20), **arguments})  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no image"):
        with_image(network(int8("x", (1, 12)), int8("y", (12,))), (4, 4))


def test_faces_of_a_camera_on_a_chip(shared: Path) -> None:
    """openmv's FOMO network behind a camera's RGB565, in front of its own decoding."""
    model = tinymaix.read(shared / "models" / "zoo" / "openmv__fomo_face_detection.tflite")
    graph = with_image(with_fomo(model, threshold=0.3), (60, 80), "rgb565")
    x = picture(60, 80, 2)
    try:
        deployment = Deployment(graph, find_chip("cortex-m4"))
    except ToolError as error:
        pytest.skip(str(error))
    expect_same(deployment.run([x])[0], graph.run([x]), "FOMO on a camera's picture")


def test_people_on_a_cameras_picture(shared: Path) -> None:
    """TinyMaix's six pictures as a camera of twice the size gives them, with 16 bits a pixel."""
    model = tinymaix.read(shared / "models" / "tinymaix" / "tflite" / "vww96_q.tflite")
    graph = with_image(model, (192, 192), "rgb565be")
    with np.load(shared / "models" / "tinymaix" / "images" / "vww" / "arrays.npz") as pictures:
        for name in pictures:
            x = pictures[name].repeat(2, 0).repeat(2, 1).astype(np.uint16)
            word = x[..., 0] >> 3 << 11 | x[..., 1] >> 2 << 5 | x[..., 2] >> 3
            scores = graph.run([np.stack([word >> 8, word & 255], axis=-1).astype(np.uint8)[None]])[0]
            assert scores.argmax() == ("noperson" not in name), name


def test_a_float_ends_model_is_joined_inside() -> None:
    """What converters write by default, float inputs and outputs around int8, takes pixels without a float."""
    x, inner, y = float32("x", (1, 6, 8, 3)), int8("q", (1, 6, 8, 3), 1 / 255, -128), int8("r", (1, 144), 1 / 255, -128)
    out = float32("y", (1, 144))
    nodes = [
        Node(Quantize(), [x], [inner]), Node(Reshape((1, 144)), [inner], [y]), Node(Dequantize(), [y], [out]),
    ]  # fmt: skip
    graph = with_arg_max(with_image(Graph(nodes, [x], [out]), (6, 8)))
    assert [node.op.kind for node in graph.nodes] == ["IMAGE", "RESHAPE", "ARG_MAX"]
    pixels = picture(6, 8)
    assert graph.run([pixels])[0].tolist() == [pixels.argmax()]
