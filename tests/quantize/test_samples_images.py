"""Pictures: our BMP, PNM and PNG against Pillow, and damaged ones."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.graph import Array
from tinymaix.quantize.samples_images import decode, resized, with_channels
from tinymaix.quantize.samples_source import DataError

Image = pytest.importorskip("PIL.Image")


def saved(pixels: Array, kind: str, mode: str | None = None, **ways: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **ways)
    return buffer.getvalue()


def smooth(height: int, width: int, channels: int, seed: int = 0) -> Array:
    """A picture for which every filter of PNG is chosen somewhere."""
    y, x = np.mgrid[:height, :width]
    waves = [127 * (1 + np.sin(x / (3 + c) + y / 5)) for c in range(channels)]
    noise = np.random.default_rng(seed).integers(0, 9, (height, width, channels))
    return np.asarray((np.stack(waves, -1) + noise).clip(0, 255), np.uint8)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 3, 4]))
def test_png(height: int, width: int, channels: int) -> None:
    pixels = smooth(height, width, channels)
    assert np.array_equal(decode(saved(pixels, "PNG"), "x.png"), pixels)


def png(
    lines: list[bytes], width: int, depth: int, colour: int, *chunks: tuple[bytes, bytes], interlace: int = 0
) -> bytes:
    head = struct.pack(">IIBBBBB", width, len(lines), depth, colour, 0, 0, interlace)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize("filter_", range(5))
def test_every_filter_of_png(filter_: int) -> None:
    rows = np.random.default_rng(filter_).integers(0, 256, (7, 15), np.uint8)
    data = png([bytes([filter_]) + row.tobytes() for row in rows], 5, 8, 2)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data, "x.png"), np.asarray(image))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_of_few_bits(depth: int) -> None:
    rows = np.random.default_rng(depth).integers(0, 256, (5, -(-11 * depth // 8)), np.uint8)
    data = png([b"\0" + row.tobytes() for row in rows], 11, depth, 0)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data, "x.png")[..., 0], np.asarray(image.convert("L")))
    palette = bytes(range(3 * (1 << depth)))
    data = png([b"\0" + row.tobytes() for row in rows], 11, depth, 3, (b"PLTE", palette))
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data, "x.png"), np.asarray(image.convert("RGB")))


def test_png_of_16_bits_and_interlaced() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (3, 8), np.uint8)
    assert np.array_equal(decode(png([b"\0" + r.tobytes() for r in rows], 4, 16, 0), "x")[..., 0], rows[:, ::2])
    pixels = smooth(1, 1, 3)  # of one pixel, so that interlacing changes nothing
    data = png([b"\0" + pixels.tobytes()], 1, 8, 2, interlace=1)
    assert np.array_equal(decode(data, "x.png"), pixels)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("1", 1), ("P", 3)])
def test_bmp(mode: str, channels: int) -> None:
    data = saved(smooth(7, 9, 3), "BMP", mode)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(7, 9, channels)
    assert np.array_equal(decode(data, "x.bmp"), expected)


def test_pnm() -> None:
    for channels, kind in ((1, "PPM"), (3, "PPM")):
        pixels = smooth(5, 6, channels)
        assert np.array_equal(decode(saved(pixels, kind), "x.ppm"), pixels)
    assert decode(b"P2\n# a comment\n2 1 15\n0 15\n", "x.pgm").ravel().tolist() == [0, 255]


def test_jpeg() -> None:
    pixels = smooth(16, 16, 3)
    data = saved(pixels, "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data, "x.jpg"), np.asarray(image))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "JPEG"])
def test_a_damaged_picture_is_a_sentence(kind: str) -> None:
    data = saved(smooth(9, 9, 3), kind)
    rng = np.random.default_rng(1)
    for cut in range(0, len(data), max(len(data) // 25, 1)):
        changed = bytearray(data)
        changed[cut] ^= int(rng.integers(1, 256))
        for bad in (data[:cut], bytes(changed)):
            with suppress(DataError):
                decode(bad, "x")


def test_a_picture_that_lies_about_its_size() -> None:
    head = struct.pack(">IIBBBBB", 1 << 30, 1 << 30, 8, 2, 0, 0, 0)
    for data in (
        png([b"\0\0\0\0"], 1, 8, 2).replace(struct.pack(">II", 1, 1), head[:8]),
        b"P6 99999999 99999999 255\n",
        b"BM" + bytes(8) + struct.pack("<IIiiHHI", 54, 40, 1 << 30, 1 << 30, 1, 24, 0) + bytes(24),
    ):
        with pytest.raises(DataError):
            decode(data, "x")


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(smooth(8, 8, 3), "JPEG")
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(DataError, match=r"for JPEG: pip install 'tinymaix\[images\]'"):
        decode(data, "x.jpg")


def test_channels_change_only_where_nothing_is_lost() -> None:
    grey = smooth(4, 4, 1)
    opaque = np.concatenate([np.repeat(grey, 3, 2), np.full_like(grey, 255)], 2)
    assert np.array_equal(with_channels(opaque, 1, "x"), grey)
    with pytest.raises(DataError, match="has transparency but the model takes 3 channels"):
        with_channels(opaque // 2, 3, "x")


def test_resized_is_near_pillow() -> None:
    pixels = smooth(40, 30, 3)
    for height, width in ((20, 15), (13, 31), (80, 60)):
        expected = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        assert abs(resized(pixels, height, width).astype(int) - expected).max() <= 1


def test_the_shared_pictures(shared: Path) -> None:
    folder = shared / "models/tinymaix"
    for name in ("images/tiger.bmp", "images/mnist_quant/7.bmp", "images/mnist_example_digit.png"):
        data = (folder / name).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            expected = np.asarray(image.convert("L") if decode(data, name).shape[2] == 1 else image.convert("RGB"))
        assert np.array_equal(decode(data, name).squeeze(), expected)
