"""File -> Graph: one module a format, chosen by what stands in the file."""

from __future__ import annotations

import os
from pathlib import Path

from tinymaix.graph import Graph, ModelError

MAX_FILE_BYTES = 2**29


def read_model(path: str | os.PathLike[str]) -> Graph:
    """Read a .tflite or .tmdl file. The graph is named after the file.

    Raises:
        ModelError: the file cannot be read, is damaged, of an unknown format, or holds what is not supported.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MB, too large for any microcontroller")
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        return read_bytes(data, file.stem)
    except ModelError as error:
        raise ModelError([f"{file.name}: {problem}" for problem in error.problems]) from None


def read_bytes(data: bytes, name: str = "model") -> Graph:
    """`read_model` for a file that is in memory."""
    if data[4:8] == b"TFL3":
        from tinymaix.read.tflite import read_tflite

        return read_tflite(data, name)
    if data[:4] == b"MAIX":
        from tinymaix.read.tmdl import read_tmdl

        return read_tmdl(data, name)
    raise ModelError("not a model that can be read: it is neither a .tflite nor a .tmdl")
