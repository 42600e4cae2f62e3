"""Pictures -> pixels -> a model's input. BMP, PPM, PGM and PNG need nothing else; JPEG needs Pillow."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np

from tinymaix.graph import Array, Shape, Tensor
from tinymaix.quantize.samples_png import MAX_PIXELS, decode_png
from tinymaix.quantize.samples_source import DataError, Files, Source

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm")
"""Those that the original's converter knows."""


def pictures(files: Files) -> Source:
    """The pictures of a folder."""

    def get(index: int) -> list[Array]:
        name = files.names[index]
        return [decode(files.read(name), files.where(name))]

    return Source(files.names, get, pictures=True)


def decode(data: bytes, where: str) -> Array:
    """Pixels of a picture as u8, height x width x channels. A palette is looked up; equal colours become one channel.

    Raises:
        DataError: it is damaged, of a kind that is not known, or a JPEG without Pillow.
    """
    decoder = next((decoder for start, decoder in DECODERS if data.startswith(start)), None)
    try:
        pixels = _decode_with_pillow(data) if decoder is None else decoder(data)
    except ValueError as error:
        if "interlaced" not in str(error):
            raise DataError(f"{where} cannot be read: {error}; export it again") from None
        pixels = _with_pillow(data, where)
    except ImportError:
        raise _needs_pillow(where) from None
    return pixels


def _with_pillow(data: bytes, where: str) -> Array:
    try:
        return _decode_with_pillow(data)
    except ImportError:
        raise _needs_pillow(where) from None
    except ValueError as error:
        raise DataError(f"{where} cannot be read: {error}; export it again") from None


def _needs_pillow(where: str) -> DataError:
    return DataError(
        f"{where} is no BMP, PNG, PPM or PGM that is read without help; for JPEG: pip install 'tinymaix[images]'"
    )


def _decode_with_pillow(data: bytes) -> Array:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it says that it is {image.width}x{image.height}")
            pixels = np.asarray(image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB"), np.uint8)
    except (OSError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        text = "it is no picture of a known kind" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ValueError(text) from None
    return pixels if pixels.ndim == 3 else pixels[..., None]


def decode_bmp(data: bytes) -> Array:
    """An uncompressed BMP of 1, 4, 8, 24 or 32 bits a pixel. Raises ValueError where it is damaged or another kind."""
    if len(data) < 54:
        raise ValueError("it ends too early")
    start, size, width, height, planes, depth, compression = struct.unpack_from("<10xIIiiHHI", data)
    if size < 40 or planes != 1 or depth not in (1, 4, 8, 24, 32) or compression not in (0, 3):
        raise ValueError(f"it is a BMP of {depth} bits a pixel with compression {compression}, which is not known")
    rows = abs(height)
    if not 0 < width * rows <= MAX_PIXELS or width < 0:
        raise ValueError(f"it says that it is {width}x{height}")
    stride = (width * depth + 31) // 32 * 4
    if start + rows * stride > len(data):
        raise ValueError("it ends too early")
    lines = np.frombuffer(data, np.uint8, rows * stride, start).reshape(rows, stride)
    lines = lines if height < 0 else lines[::-1]  # from the bottom upwards, unless the height is negative
    if depth > 8:
        return lines[:, : width * depth // 8].reshape(rows, width, -1)[..., 2::-1].copy()  # BGR, a fourth byte unused
    bits = np.unpackbits(lines, axis=1).reshape(rows, -1, depth)[:, :width]
    indices = (bits * (1 << np.arange(depth)[::-1])).sum(-1)
    used = struct.unpack_from("<I", data, 46)[0] or 1 << depth
    palette = np.frombuffer(data[14 + size : min(14 + size + 4 * used, start)], np.uint8)
    colours = palette[: palette.size // 4 * 4].reshape(-1, 4)[:, 2::-1]
    if indices.max() >= len(colours):
        raise ValueError("its palette is too short")
    grey = (colours == colours[:, :1]).all()  # a palette of greys is how a BMP spells a grey picture
    pixels: Array = colours[indices]
    return pixels[..., :1] if grey else pixels


def decode_pnm(data: bytes) -> Array:
    """A PGM or PPM, as text (P2, P3) or bytes (P5, P6), of up to 8 bits. Raises ValueError where it is damaged."""
    kind, at, numbers = data[:2], 2, list[int]()
    while len(numbers) < 3:
        while data[at : at + 1].isspace() or data[at : at + 1] == b"#":
            at = (data.find(b"\n", at) if data[at : at + 1] == b"#" else at) + 1
        end = at
        while data[end : end + 1].isdigit():
            end += 1
        if not 0 < end - at < 10:
            raise ValueError("its header is damaged")
        numbers.append(int(data[at:end]))
        at = end
    width, height, top = numbers
    channels = 1 if kind in (b"P2", b"P5") else 3
    count = width * height * channels
    if not 0 < width * height <= MAX_PIXELS or not 0 < top < 256:
        raise ValueError(f"it says that it is {width}x{height} with values up to {top}; up to 255 are known")
    if kind in (b"P5", b"P6"):
        values = np.frombuffer(data[at + 1 : at + 1 + count], np.uint8)
    else:
        words = data[at:].split(maxsplit=count)[:count]
        values = np.array([int(word) for word in words]).clip(0, top)
    if values.size < count:
        raise ValueError("it ends too early")
    return (values.reshape(height, width, channels).astype(np.uint32) * 255 // top).clip(0, 255).astype(np.uint8)


Decoder = Callable[[bytes], Array]
DECODERS: tuple[tuple[bytes, Decoder], ...] = (
    (b"BM", decode_bmp),
    (b"\x89PNG", decode_png),
    *((kind, decode_pnm) for kind in (b"P2", b"P3", b"P5", b"P6")),
)
"""How a file begins -> what reads it."""


def fit_picture(pixels: Array, tensor: Tensor, where: str, *, resize: bool, bgr: bool) -> Array:
    """The pixels in the layout of an input, with batch axis. Channels last, channels first, or any shape that has as
    many values as the picture.

    Raises:
        DataError: the size or the number of channels is another.
    """
    height, width, channels, first = _wanted(tensor.shape, pixels.shape)
    pixels = with_channels(pixels, channels, where)
    if pixels.shape[:2] != (height, width):
        if not resize:
            raise DataError(
                f"{where} is {pixels.shape[1]}x{pixels.shape[0]} but the model takes {width}x{height}; give pictures "
                f"of that size, or let them be resized"
            )
        pixels = resized(pixels, height, width)
    pixels = pixels[..., ::-1] if bgr else pixels
    return (pixels.transpose(2, 0, 1) if first else pixels).reshape(tensor.shape)


def _wanted(shape: Shape, picture: Shape) -> tuple[int, int, int, bool]:
    """Height, width, channels of an input, and whether channels come first."""
    sizes = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    if len(sizes) == 3:
        first = sizes[0] in (1, 3) and sizes[2] not in (1, 3)
        return (sizes[1], sizes[2], sizes[0], True) if first else (sizes[0], sizes[1], sizes[2], False)
    if len(sizes) == 2 and 1 not in sizes:
        return sizes[0], sizes[1], 1, False
    elements = int(np.prod(sizes))
    for channels in dict.fromkeys((picture[2], 1, 3)):
        square = round((elements / channels) ** 0.5)
        side = picture[:2] if elements == picture[0] * picture[1] * channels else (square, square)
        if side[0] * side[1] * channels == elements:
            return side[0], side[1], channels, False
    raise DataError(f"the model's input of shape {list(shape)} is no picture; give the samples as .npy or .npz")


def with_channels(pixels: Array, channels: int, where: str) -> Array:
    """The picture with as many channels, where nothing is lost: grey becomes colour, a colour picture without colours
    becomes grey, an alpha channel that is opaque throughout goes.

    Raises:
        DataError: something would be lost.
    """
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if found in (2, 4) and (pixels[..., -1] == 255).all():
        return with_channels(pixels[..., :-1], channels, where)
    if found == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=2)
    if found == 3 and channels == 1 and (pixels == pixels[..., :1]).all():
        return pixels[..., :1]
    kinds = {1: "is grey", 2: "is grey with transparency", 3: "has 3 colour channels", 4: "has transparency"}
    raise DataError(
        f"{where} {kinds[found]} but the model takes {channels} channel{'s' if channels > 1 else ''}; convert the "
        f"pictures, or check that these are the model's"
    )


def resized(pixels: Array, height: int, width: int) -> Array:
    """Stretched to another size; every new pixel is the mean of those that it covers, weighted by a triangle."""
    rows, columns = _weights(pixels.shape[0], height), _weights(pixels.shape[1], width)
    values = np.einsum("yi,ijc,xj->yxc", rows, pixels.astype(np.float64), columns, optimize=True)
    return np.asarray((values + 0.5).clip(0, 255), np.uint8)


def _weights(before: int, after: int) -> Array:
    """after x before: how much each old pixel counts in each new one."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale - 0.5
    reach = max(scale, 1.0)
    weights = np.maximum(0.0, 1 - abs(np.arange(before) - centres[:, None]) / reach)
    result: Array = weights / weights.sum(1, keepdims=True)
    return result
