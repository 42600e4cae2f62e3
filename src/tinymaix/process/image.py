"""A camera in front of a network: its picture instead of the network's input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinymaix.graph import Graph, ModelError, Node, Tensor
from tinymaix.ops.image import Image
from tinymaix.ops.image_pixels import BYTES, CHANNELS
from tinymaix.process.join import image_scale, only_input, prepend

FITS = ("stretch", "crop")
Reals = float | Sequence[float]


def with_image(
    graph: Graph,
    source: tuple[int, int],
    pixels: str = "rgb888",
    *,
    order: str = "",
    resize: str = "bilinear",
    fit: str = "crop",
    crop: tuple[int, int, int, int] | None = None,
    normalize: str | tuple[Reals, Reals] = "0to1",
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
        normalize: what the model was trained on: "0to1", "-1to1", "none" (0 to 255), or (mean, std) that were
            subtracted from, and divided, pixels from 0 to 1; numbers for each channel, in the model's order, or one.

    Raises:
        ModelError: the model takes no image, or an argument makes no sense; one sentence.
    """
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
    multiplier, bias, shift = _affine(normalization(normalize, channels), target)
    x = Tensor("picture", (1, *source, BYTES[pixels]), np.dtype(np.uint8), image_scale())
    y = Tensor(f"{target.name}_image", target.shape, target.dtype, target.quantization)
    op = Image(pixels, order, part, (height, width), resize, multiplier, bias, shift)
    op.infer([x])
    return prepend(Graph([Node(op, [x], [y], "image")], [x], [y], graph.name), graph)


def normalization(text: str | tuple[Reals, Reals], channels: int) -> list[tuple[float, float]]:
    """(factor, offset) of each channel: the model's real input is pixel (0 to 255) * factor + offset."""
    fixed = {"0to1": (1 / 255, 0.0), "-1to1": (2 / 255, -1.0), "none": (1.0, 0.0)}
    if isinstance(text, str):
        if text not in fixed:
            raise ModelError(f"normalization '{text}' is none of {', '.join(fixed)}, nor a mean and a deviation")
        return [fixed[text]] * channels
    means, deviations = (np.broadcast_to(np.asarray(v, np.float64), channels).tolist() for v in text)
    if not all(math.isfinite(v) for v in (*means, *deviations)) or min(deviations) <= 0:
        raise ModelError("a mean and a deviation must be numbers, and the deviation above 0")
    return [(1 / 255 / d, -m / d) for m, d in zip(means, deviations, strict=True)]


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


def _affine(channels: Sequence[tuple[float, float]], y: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """(multipliers, biases, shift) from pixels to raw values of ``y``, rounded half up."""
    integer = y.dtype.kind in "iu"
    scale, zero, half = (y.q.s, y.q.z, 0.5) if integer else (1.0, 0, 0.0)
    factors = [(factor / scale, offset / scale + zero + half) for factor, offset in channels]
    largest = max(max(abs(b), abs(255 * m + b)) for m, b in factors)
    shift = min(22 if integer else 30, math.floor(math.log2((2**31 - 512) / largest)))
    if shift < 0:
        raise ModelError(f"the scale {scale:.3g} of '{y.name}' is too small for pixels")
    unit = 2.0**shift
    return tuple(round(m * unit) for m, _ in factors), tuple(round(b * unit) for _, b in factors), shift
