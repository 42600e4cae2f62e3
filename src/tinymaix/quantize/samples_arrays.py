"""Arrays as samples: .npy, .npz and the idx files of MNIST."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinymaix.graph import Array, Shape, Tensor
from tinymaix.quantize.samples_source import MAX_FILE, DataError, Files, Source, read_file

INPUT_NAMES = ("x", "x_test", "x_val", "x_train", "images", "data", "features", "inputs", "in0")
LABEL_NAMES = ("y", "y_test", "y_val", "y_train", "label", "labels", "targets")
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def array_file(path: Path, inputs: Sequence[Tensor]) -> Source:
    """The samples of a .npy or .npz: an array with one axis more in front than the input, or one sample.

    In a .npz the names are those of `INPUT_NAMES` and `LABEL_NAMES`, or in0, in1, ... for several inputs; where there
    are no such names, every array is a sample.
    """
    arrays = _load(read_file(path), str(path))
    names = [f"in{i}" for i in range(len(inputs))]
    if set(names) <= arrays.keys():
        found = [arrays[name] for name in names]
    elif len(inputs) > 1:
        raise DataError(
            f"{path} holds {', '.join(arrays) or 'nothing'}, but the model takes {len(inputs)} inputs; name the arrays "
            + ", ".join(f"in{i} ('{t.name}')" for i, t in enumerate(inputs))
        )
    elif len(arrays) == 1:
        found = list(arrays.values())
    elif any(name in arrays for name in INPUT_NAMES):
        found = [arrays[next(name for name in INPUT_NAMES if name in arrays)]]
    else:
        return _each(arrays, inputs[0], path)
    stacked = [_stacked(a, t, str(path)) for a, t in zip(found, inputs, strict=True)]
    count = len(stacked[0])
    if any(len(array) != count for array in stacked):
        raise DataError(f"{path}: the inputs have {' and '.join(str(len(a)) for a in stacked)} samples")
    return Source([str(i) for i in range(count)], lambda i: [array[i] for array in stacked], _labels(arrays, count))


def _each(arrays: dict[str, Array], tensor: Tensor, path: Path) -> Source:
    """Every array that fits is a sample, or all samples of a class."""
    fitting = {name: _stacked(a, tensor, str(path)) for name, a in arrays.items() if _fits(a, tensor)}
    if not fitting:
        known = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "nothing"
        raise DataError(
            f"{path} holds {known}; name the samples x (with one axis more in front than the input "
            f"{list(tensor.shape)}) and their labels y"
        )
    names = [name if len(a) == 1 else f"{name}[{i}]" for name, a in fitting.items() for i in range(len(a))]
    values = [sample for a in fitting.values() for sample in a]
    classes = [k for k, a in enumerate(fitting.values()) for _ in a]
    labels = np.array(classes) if 1 < len(fitting) < len(values) else _labels(arrays, len(values))
    return Source(names, lambda i: [values[i]], labels)


def _labels(arrays: dict[str, Array], count: int) -> Array | None:
    return next((arrays[n] for n in LABEL_NAMES if n in arrays and arrays[n].shape[:1] == (count,)), None)


def array_files(files: Files) -> Source:
    """One sample a .npy."""

    def get(index: int) -> list[Array]:
        name = files.names[index]
        return list(_load(files.read(name), files.where(name)).values())[:1]

    return Source(files.names, get)


def in_memory(values: Array, labels: Array | None, tensor: Tensor, where: str) -> Source:
    """Samples that are stacked in one array."""
    stacked = _stacked(values, tensor, where)
    return Source([str(i) for i in range(len(stacked))], lambda i: [stacked[i]], labels)


def _stacked(array: Array, tensor: Tensor, where: str) -> Array:
    """The array with samples along its first axis. Raises DataError where it cannot be cut so."""
    if not _fits(array, tensor):
        raise DataError(
            f"{where} holds {array.dtype} of shape {list(array.shape)}, but a sample of the model has shape "
            f"{list(tensor.shape)}; it takes one axis more in front, or one file a sample"
        )
    return array[None] if array.size == tensor.elements and _plain(array.shape) == _plain(tensor.shape) else array


def _fits(array: Array, tensor: Tensor) -> bool:
    """It is a sample or a stack of them."""
    one = array.size == tensor.elements and _plain(array.shape) == _plain(tensor.shape)
    return one or (array.ndim > 0 and 0 < array.size == len(array) * tensor.elements)


def _plain(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def fit_array(array: Array, tensor: Tensor, where: str) -> Array:
    """The array in the shape of the input: axes of one come and go, a flat one is shaped, channels change sides.

    Raises:
        DataError: the shape is another.
    """
    have, want = _plain(array.shape), _plain(tensor.shape)
    if have == want or (array.size == tensor.elements and (len(have) <= 1 or len(want) <= 1)):
        return array.reshape(tensor.shape)
    if len(have) == 3 and have[1:] + have[:1] == want:
        return np.moveaxis(array.reshape(have), 0, -1).reshape(tensor.shape)
    if len(have) == 3 and have[-1:] + have[:-1] == want:
        return np.moveaxis(array.reshape(have), -1, 0).reshape(tensor.shape)
    raise DataError(f"{where} has shape {list(array.shape)} but the model takes {list(tensor.shape)}")


def _load(data: bytes, where: str) -> dict[str, Array]:
    """The arrays of a .npy (under the name "") or .npz; nothing is unpickled, and no more is unpacked than is there."""
    try:
        if not data.startswith(b"PK"):
            return {"": np.load(io.BytesIO(data), allow_pickle=False)}
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > MAX_FILE:
            raise DataError(f"{where} holds {size:,} bytes; {MAX_FILE:,} are the most; split it")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: _numbers(file, name) for name in file.files}
    except DataError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, SyntaxError, MemoryError, RuntimeError,
            NotImplementedError, zlib.error) as error:  # fmt: skip
        raise DataError(f"{where} is not a .npy or .npz of plain numbers ({error})") from None


def _numbers(file: np.lib.npyio.NpzFile, name: str) -> Array:
    return np.asarray(file[name])


def is_idx(data: bytes) -> bool:
    return len(data) >= 4 and data[:2] == b"\0\0" and data[2] in IDX_TYPES and 1 <= data[3] <= 4


def idx_file(path: Path, inputs: Sequence[Tensor]) -> Source:
    """The samples of an idx file such as t10k-images-idx3-ubyte(.gz); labels are those of ...-labels-idx1-... beside
    it, where it is there."""
    values, labels = load_idx(path), None
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if beside != path and beside.is_file():
        labels = load_idx(beside)
        if labels.shape != values.shape[:1]:
            raise DataError(f"{beside} holds {list(labels.shape)} labels for the {len(values)} samples of {path}")
    return in_memory(values, labels, inputs[0], str(path))


def load_idx(path: Path) -> Array:
    """The array of an idx file, packed with gzip or not.

    Raises:
        DataError: it is damaged.
    """
    data = read_file(path)
    if data.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(MAX_FILE + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} cannot be unpacked ({error})") from None
    if not is_idx(data):
        raise DataError(f"{path} is no idx file; samples are a folder, .npy, .npz, .csv, .wav, .zip or idx-ubyte file")
    kind, rank = np.dtype(IDX_TYPES[data[2]]), data[3]
    if len(data) < 4 + 4 * rank:
        raise DataError(f"{path} ends too early")
    shape = struct.unpack_from(f">{rank}I", data, 4)
    if len(data) - 4 - 4 * rank != math.prod(shape) * kind.itemsize:
        raise DataError(f"{path} says that it holds {list(shape)} values but has {len(data) - 4 - 4 * rank:,} bytes")
    return np.frombuffer(data, kind, offset=4 + 4 * rank).reshape(shape).astype(kind.newbyteorder("="))
