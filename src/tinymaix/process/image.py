"""A camera in front of a network: its picture instead of the network's input."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Tensor
from tinymaix.ops.image import Image
from tinymaix.ops.image_pixels import BYTES, CHANNELS
from tinymaix.process.join import image_scale, only_input, prepend, quantized_input
from tinymaix.quantize.samples_normalize import normalization
from tinymaix.quantize.samples_source import DataError

FITS = ("stretch", "crop")


def with_image(
    graph: Graph,
    source: tuple[int, int],
    pixels: str = "rgb888",
    *,
    order: str = "",
    resize: str = "bilinear",
    fit: str = "crop",
    crop: tuple[int, int, int, int] | None = None,
    normalize: str = "0to1",
) -> Graph:
    """The graph with a camera's picture as its input: uint8 (1, height, width, bytes a pixel).

    Args:
        graph: takes one image (1, height, width, 1 or 3 channels), quantized or float.
        source: (height, width) of the camera's picture.
        pixels: "rgb888", "bgr888", "rgb565" (low byte first), "rgb565be", "yuyv" or "grey".
        order: what the model's channels are: "rgb", "bgr" or "grey"; rgb or grey, as many as there are, where left out.
        resize: "nearest" or "bilinear".
        fit: of another aspect ratio: "crop" the middle, or "stretch".
        crop: (top, left, height, width) of the picture to use, instead of ``fit``.
        normalize: what the model was trained on, in the words of `tinymaix quantize`: "0to1", "-1to1", "none" (pixels
            as they are, 0 to 255), or "MEAN,STD" of pixels, for each channel as "MEAN,MEAN,MEAN,STD,STD,STD".

    Raises:
        ModelError: the model takes no image, or an argument makes no sense; one sentence.
    """
    graph = quantized_input(graph)
    target = only_input(graph)
    if len(target.shape) != 4 or target.shape[0] != 1 or target.shape[3] not in (1, 3):
        raise ModelError(f"the model takes {list(target.shape)}, no image (1, height, width, 1 or 3 channels)")
    _, height, width, channels = target.shape
    order = order or ("rgb" if channels == 3 else "grey")
    if CHANNELS.get(order) != channels:
        raise ModelError(f"the model takes {channels} channels; '{order}' is not one of their orders (rgb, bgr; grey)")
    if pixels not in BYTES:
        raise ModelError(f"'{pixels}' is no pixel format; known are {', '.join(BYTES)}")
    part = crop or _part(source, (height, width), fit)
    factors, offsets = _normalized(normalize, channels)
    x = Tensor("picture", (1, *source, BYTES[pixels]), np.dtype(np.uint8), image_scale())
    y = Tensor(f"{target.name}_image", target.shape, target.dtype, target.quantization)
    op = Image(pixels, order, part, (height, width), resize, factors, offsets)
    op.infer([x])
    node = Node(op, [x], [y], "image")
    if problems := op.problems(node):
        raise ModelError(problems)
    return prepend(Graph([node], [x], [y], graph.name), graph)


def _normalized(text: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(factors, offsets) of the channels: the model's real input is pixel (0 to 255) * factor + offset."""
    try:
        found = normalization(text)
        means, deviations = (np.broadcast_to(v, channels).tolist() for v in (found.mean, found.std))
    except DataError as error:
        raise ModelError(str(error)) from None
    except ValueError:
        raise ModelError(
            f"normalize '{text}' names {found.mean.size} channels, but the model takes {channels}"
        ) from None
    pairs = list(zip(means, deviations, strict=True))
    return tuple(1 / deviation for _, deviation in pairs), tuple(-mean / deviation for mean, deviation in pairs)


def _part(source: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part of the picture that is resized."""
    if fit not in FITS:
        raise ModelError(f"fit '{fit}' is none of {', '.join(FITS)}")
    if min(source) < 1:
        raise ModelError(f"a picture of {source[0]}x{source[1]} holds nothing")
    if fit == "stretch":
        return 0, 0, *source
    height = min(source[0], max(1, round(source[1] * size[0] / size[1])))
    width = min(source[1], max(1, round(source[0] * size[1] / size[0])))
    return (source[0] - height) // 2, (source[1] - width) // 2, height, width
