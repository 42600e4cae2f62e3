"""Inputs from and outputs to .npy and .npz files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinymaix.graph import Array, ModelError
from tinymaix.write.atomic import write_atomic


def load_inputs(path: Path, count: int) -> list[Array]:
    """The arrays of a .npy (one input) or a .npz with in0, in1, ....

    Raises:
        ModelError: the file is damaged, holds objects, or lacks an input.
        OSError: the file cannot be read.
    """
    names = [f"in{i}" for i in range(count)]
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return [np.array(loaded)]
        with loaded:
            missing = [name for name in names if name not in loaded.files]
            if missing:
                raise ModelError(f"{path} has no array '{missing[0]}'; it holds {', '.join(loaded.files) or 'nothing'}")
            return [loaded[name] for name in names]
    except (EOFError, zipfile.BadZipFile, SyntaxError, MemoryError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} is not a .npy or .npz of plain numbers ({error})") from None


def save_outputs(path: Path, outputs: Sequence[Array]) -> None:
    """Write a .npy (one output) or a .npz with out0, out1, ..., whole or not at all.

    Raises:
        ModelError: several outputs do not fit into a .npy.
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(buffer, allow_pickle=False, **{f"out{i}": array for i, array in enumerate(outputs)})
    elif len(outputs) == 1:
        np.save(buffer, outputs[0])
    else:
        raise ModelError(f"the model has {len(outputs)} outputs; name the output file .npz")
    write_atomic(path, buffer.getvalue())
