"""File -> Graph: one module a format, chosen by what stands in the file."""

from __future__ import annotations

import os
from pathlib import Path

from tinymaix.graph import Graph, ModelError

MAX_FILE_BYTES = 2**29


def read_model(path: str | os.PathLike[str]) -> Graph:
    """Read a .tflite, .tmdl, .h5, .keras, .onnx or .pt2 file. The graph is named after the file.

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
        return read_bytes(data, file.stem, file.parent)
    except ModelError as error:
        raise ModelError([f"{file.name}: {problem}" for problem in error.problems]) from None


def read_bytes(data: bytes, name: str = "model", folder: Path | None = None) -> Graph:
    """`read_model` for a file that is in memory; ``folder`` is where the external data of an .onnx file may lie."""
    if data[4:8] == b"TFL3":
        from tinymaix.read.tflite import read_tflite

        return read_tflite(data, name)
    if data[:4] == b"MAIX":
        from tinymaix.read.tmdl import read_tmdl

        return read_tmdl(data, name)
    if data[:8] == b"\x89HDF\r\n\x1a\n":
        from tinymaix.read.keras import read_h5

        return read_h5(data, name)
    if data[:4] == b"PK\3\4":
        from tinymaix.read.keras import is_keras, read_keras

        if is_keras(data):
            return read_keras(data, name)
        from tinymaix.read.torch import is_torch, read_pt2

        if is_torch(data):
            return read_pt2(data, name)
        raise ModelError(
            "a ZIP archive that is neither a .keras nor a .pt2 file, or a part of one; save or copy the model again"
        )
    if data[:1] == b"\x80":
        from tinymaix.read.torch_file import UNPACKED

        raise ModelError(f"this looks like a pickled file, and {UNPACKED}")
    from tinymaix.read.onnx import looks_like_onnx, read_onnx

    if looks_like_onnx(data):
        return read_onnx(data, name, folder)
    raise ModelError("not a model that can be read: it is no .tflite, .tmdl, .h5, .keras, .onnx or .pt2 file")
