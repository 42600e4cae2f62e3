"""Recordings as samples: 16-bit or 8-bit mono .wav, cut into as many windows of the model's length as they hold."""

from __future__ import annotations

import io
import wave

import numpy as np

from tinymaix.graph import Array, Tensor
from tinymaix.quantize.samples_source import DataError, Files, Source

FULL_SCALE = 32768
"""Value of a 16-bit sample that counts as 1.0."""


def recordings(files: Files, tensor: Tensor) -> Source:
    """Every whole window of every recording; the end of one that is shorter than a window is filled with silence."""
    if max(tensor.shape) != tensor.elements:
        raise DataError(
            f"the model takes {list(tensor.shape)}, features and not sound: give the features as .npy or .npz, or put "
            f"their computation in front of the model so that it takes the sound itself"
        )
    length = tensor.elements
    names, places = [], []
    for name in files.names:
        count = max(_count(files.read(name), files.where(name)) // length, 1)
        names += [name if count == 1 else f"{name}@{i * length}" for i in range(count)]
        places += [(name, i * length) for i in range(count)]

    def get(index: int) -> list[Array]:
        name, start = places[index]
        sound = decode_wav(files.read(name), files.where(name))[start : start + length]
        return [np.pad(sound, (0, length - len(sound)))]

    return Source(names, get, sounds=True)


def _count(data: bytes, where: str) -> int:
    return len(decode_wav(data, where))


def decode_wav(data: bytes, where: str) -> Array:
    """The sound as int16.

    Raises:
        DataError: it is damaged, has several channels, or is not PCM of 8 or 16 bits.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width = file.getnchannels(), file.getsampwidth()
            frames = file.readframes(min(file.getnframes(), len(data)))
    except (wave.Error, EOFError, ValueError, OSError, RuntimeError) as error:
        raise DataError(f"{where} is not a .wav of plain PCM ({error or 'it ends too early'})") from None
    if channels != 1:
        raise DataError(f"{where} has {channels} channels; give mono recordings")
    if width == 2:
        return np.frombuffer(frames[: len(frames) // 2 * 2], "<i2").astype(np.int16)
    if width == 1:  # unsigned
        return ((np.frombuffer(frames, np.uint8).astype(np.int16) - 128) * 256).astype(np.int16)
    raise DataError(f"{where} has {8 * width} bits a sample; 8 and 16 are known")
