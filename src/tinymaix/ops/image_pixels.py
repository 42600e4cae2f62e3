"""Pixel formats of cameras: how one pixel becomes 8-bit channels, in numpy and in C."""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array
from tinymaix.ops.emit import Kernel

BYTES = {"rgb888": 3, "bgr888": 3, "rgb565": 2, "rgb565be": 2, "yuyv": 2, "grey": 1}
"""Formats with their bytes a pixel. rgb565be has its high byte first; yuyv shares U and V between two pixels, full
range, as JPEG has them."""
CHANNELS = {"rgb": 3, "bgr": 3, "grey": 1}
"""What a model takes, with its channels."""


def decode(image: Array, pixels: str, order: str) -> Array:
    """uint8 (height, width, bytes) in a camera's format -> int64 (height, width, channels) from 0 to 255."""
    x = image.astype(np.int64)
    if pixels == "grey":
        return np.repeat(x, CHANNELS[order], axis=2)
    if pixels == "yuyv":
        luma = x[..., 0]
        if order == "grey":
            return luma[..., None]
        u = np.repeat(x[:, 0::2, 1], 2, axis=1) - 128
        v = np.repeat(x[:, 1::2, 1], 2, axis=1) - 128
        parts = [luma + (359 * v + 128 >> 8), luma - (88 * u + 183 * v + 128 >> 8), luma + (454 * u + 128 >> 8)]
        rgb = np.clip(np.stack(parts, axis=2), 0, 255)
    elif pixels in ("rgb565", "rgb565be"):
        low, high = (x[..., 1], x[..., 0]) if pixels == "rgb565be" else (x[..., 0], x[..., 1])
        word = high << 8 | low
        r, g, b = word >> 11, word >> 5 & 63, word & 31
        rgb = np.stack([r << 3 | r >> 2, g << 2 | g >> 4, b << 3 | b >> 2], axis=2)
    else:
        rgb = x if pixels == "rgb888" else x[..., ::-1]
    if order == "grey":
        return np.asarray((rgb @ np.array([77, 150, 29]) + 128 >> 8)[..., None])
    return np.asarray(rgb if order == "rgb" else rgb[..., ::-1])


_RGB565 = """\
    uint32_t word = {word};
    int32_t r = (int32_t)(word >> 11), g = (int32_t)(word >> 5 & 63), b = (int32_t)(word & 31);
    r = r << 3 | r >> 2;
    g = g << 2 | g >> 4;
    b = b << 3 | b >> 2;
"""
_PLAIN = "    int32_t r = x[3 * column{red}], g = x[3 * column + 1], b = x[3 * column{blue}];\n"
_YUYV = """\
    const uint8_t *pair = x + 4 * (column / 2);
    int32_t y = x[2 * column], u = pair[1] - 128, v = pair[3] - 128;
    int32_t r = y + ((359 * v + 128) >> 8), g = y - ((88 * u + 183 * v + 128) >> 8), b = y + ((454 * u + 128) >> 8);
    r = r < 0 ? 0 : r > 255 ? 255 : r;
    g = g < 0 ? 0 : g > 255 ? 255 : g;
    b = b < 0 ? 0 : b > 255 ? 255 : b;
"""
_COLOURS = {
    "rgb888": _PLAIN.format(red="", blue=" + 2"),
    "bgr888": _PLAIN.format(red=" + 2", blue=""),
    "rgb565": _RGB565.format(word="(uint32_t)x[2 * column + 1] << 8 | x[2 * column]"),
    "rgb565be": _RGB565.format(word="(uint32_t)x[2 * column] << 8 | x[2 * column + 1]"),
    "yuyv": _YUYV,
}
_STORE = {
    "rgb": "    p[0] = r;\n    p[1] = g;\n    p[2] = b;\n",
    "bgr": "    p[0] = b;\n    p[1] = g;\n    p[2] = r;\n",
    "grey": "    p[0] = (77 * r + 150 * g + 29 * b + 128) >> 8;\n",
}


def pixel_kernel(pixels: str, order: str) -> Kernel:
    """C function that decodes the pixel of a column of the row ``x`` to 8-bit channels ``p``."""
    if pixels == "grey" or (pixels, order) == ("yuyv", "grey"):
        size = BYTES[pixels]
        place = "x[column]" if size == 1 else "x[2 * column]"
        body = "".join(f"    p[{c}] = {place};\n" for c in range(CHANNELS[order]))
    else:
        body = _COLOURS[pixels] + _STORE[order]
    name = f"pixel_{pixels}_{order}"
    return Kernel(
        name, f"static inline void {name}(const uint8_t *x, int column, int32_t *p)\n{{\n{body}}}\n"
    )  # fmt: skip
