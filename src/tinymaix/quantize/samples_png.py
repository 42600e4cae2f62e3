"""PNG -> pixels, with zlib and numpy. ISO/IEC 15948; interlaced files are left to Pillow."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from tinymaix.graph import Array

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples a pixel."""
MAX_PIXELS = 1 << 26
NONE, SUB, UP, AVERAGE, PAETH = range(5)


def decode_png(data: bytes) -> Array:
    """Pixels as u8, height x width x channels (1 grey, 2 grey and alpha, 3 RGB, 4 RGBA); a palette is looked up.

    Of 16 bits a sample the upper 8 are kept.

    Raises:
        ValueError: it is damaged or interlaced.
    """
    chunks = _chunks(data)
    width, height, depth, colour, method, filters, interlace = struct.unpack(">IIBBBBB", _chunk(chunks, b"IHDR", 13))
    if colour not in CHANNELS or depth not in (1, 2, 4, 8, 16) or method or filters:
        raise ValueError("its header is damaged")
    if interlace:
        raise ValueError("it is interlaced")
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"it says that it is {width}x{height}")
    bits = CHANNELS[colour] * depth
    stride = (width * bits + 7) // 8
    lines = np.frombuffer(_inflate(b"".join(chunks.get(b"IDAT", [])), height * (stride + 1)), np.uint8)
    lines = lines.reshape(height, stride + 1)
    if lines[:, 0].max() > PAETH:
        raise ValueError("its lines are damaged")
    plain = _unfilter(lines[:, 1:], lines[:, 0], max(bits // 8, 1))
    samples = _samples(plain, depth, width, CHANNELS[colour])
    return _looked_up(samples, chunks) if colour == 3 else _to_8_bits(samples, depth)


def _chunks(data: bytes) -> dict[bytes, list[bytes]]:
    if not data.startswith(SIGNATURE):
        raise ValueError("it is not a PNG")
    chunks: dict[bytes, list[bytes]] = {}
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        check = data[at + 8 + size : at + 12 + size]
        if len(check) < 4 or zlib.crc32(kind + body) != int.from_bytes(check, "big"):
            raise ValueError("it is damaged")
        chunks.setdefault(kind, []).append(body)
        at += 12 + size
    return chunks


def _chunk(chunks: dict[bytes, list[bytes]], kind: bytes, size: int) -> bytes:
    found = chunks.get(kind, [b""])[0]
    if len(found) < size:
        raise ValueError(f"its {kind.decode()} is missing")
    return found[:size]


def _inflate(data: bytes, size: int) -> bytes:
    """Exactly ``size`` bytes; no more is ever unpacked."""
    try:
        lines = zlib.decompressobj().decompress(data, size)
    except zlib.error as error:
        raise ValueError(f"it is damaged ({error})") from None
    if len(lines) < size:
        raise ValueError("it ends too early")
    return lines


def _unfilter(lines: Array, filters: Array, step: int) -> Array:
    """Undo the filters of all lines. A byte needs those to its left, above, and above to its left, so that every
    diagonal can be done at once."""
    height, stride = lines.shape
    width = -(-stride // step)
    raw = np.zeros((height, width * step), np.int32)
    raw[:, :stride] = lines
    raw = raw.reshape(height, width, step)
    done = np.zeros((height + 1, width + 1, step), np.int32)
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, up, corner = done[y + 1, x], done[y, x + 1], done[y, x]
        kind = filters[y, None]
        paeth = np.zeros_like(left)
        if (kind == PAETH).any():
            guess = left + up - corner
            by_left, by_up, by_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
            nearer = np.where(by_up <= by_corner, up, corner)
            paeth = np.where((by_left <= by_up) & (by_left <= by_corner), left, nearer)
        guess = np.choose(kind, [np.zeros_like(left), left, up, (left + up) >> 1, paeth])
        done[y + 1, x + 1] = (raw[y, x] + guess) & 255
    return done[1:, 1:].reshape(height, -1)[:, :stride].astype(np.uint8)


def _samples(lines: Array, depth: int, width: int, channels: int) -> Array:
    """Lines of bytes -> height x width x channels, at the depth that the file has."""
    height = lines.shape[0]
    if depth == 16:
        return lines.reshape(height, width, channels, 2)[..., 0]  # big-endian: the upper byte comes first
    if depth < 8:
        bits = np.unpackbits(lines, axis=1).reshape(height, -1, depth)
        lines = (bits * (1 << np.arange(depth)[::-1])).sum(-1).astype(np.uint8)[:, : width * channels]
    return lines.reshape(height, width, channels)


def _to_8_bits(samples: Array, depth: int) -> Array:
    return samples if depth >= 8 else (samples * (255 // ((1 << depth) - 1))).astype(np.uint8)


def _looked_up(samples: Array, chunks: dict[bytes, list[bytes]]) -> Array:
    palette = chunks.get(b"PLTE", [b""])[0]
    colours = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
    if samples.max() >= len(colours):
        raise ValueError("its palette is too short")
    return colours[samples[..., 0]]
