"""Samples of a model's inputs, with labels where they are known: to calibrate, to measure, to compare."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinymaix.graph import Array, Tensor
from tinymaix.quantize.samples_arrays import array_file, array_files, fit_array, idx_file, in_memory
from tinymaix.quantize.samples_audio import recordings
from tinymaix.quantize.samples_images import SUFFIXES, fit_picture, pictures
from tinymaix.quantize.samples_labels import labels_from_names, load_labels
from tinymaix.quantize.samples_normalize import Normalization, normalization
from tinymaix.quantize.samples_source import DataError, Files, Source, list_files
from tinymaix.quantize.samples_tables import tables

Data = str | os.PathLike[str] | Array | Iterable[Array | Sequence[Array]]
"""A path, one array with a sample for each index of its first axis, or an iterator over samples."""


@dataclass(frozen=True)
class Samples:
    """Inputs of a model: for each sample an array for each of the graph's inputs, in its shape (with batch axis) and
    type: float32, or raw integers where the input is an integer."""

    inputs: list[list[Array]]
    labels: Array | None = None
    """One a sample: integers are classes, floats are scores or targets; None where they are not known."""
    names: list[str] = field(default_factory=list)
    """What to call each sample: its file, or its place in one."""

    def __len__(self) -> int:
        return len(self.inputs)


def load_samples(
    data: Data | Samples,
    inputs: Sequence[Tensor],
    *,
    normalize: str = "0to1",
    limit: int | None = None,
    labels: str | os.PathLike[str] | Array | Sequence[float] | None = None,
    seed: int = 0,
    resize: bool = False,
    bgr: bool = False,
) -> Samples:
    """Read samples for the inputs of a graph.

    Args:
        data: a folder or .zip of pictures (BMP, PNG, PPM, PGM; JPEG with Pillow), of .wav, of .npy or of .csv; a .npy,
            .npz, .csv, .wav or idx-ubyte(.gz) file; an array; an iterator. A folder in the folder is a class.
        normalize: how pixels become reals: "0to1", "-1to1", "none" or "MEAN,STD", see `normalization`. The names hold
            for integers (and sound, whose full scale becomes 1); floats are reals already. "none" gives an integer
            input its own raw values.
        limit: so many at most, drawn with ``seed``, in their order.
        labels: a file with labels, see `load_labels`, or the labels themselves.
        resize: stretch pictures that have another size than the model takes.
        bgr: the model takes blue first.

    Raises:
        DataError: one sentence: nothing there, a wrong size or number of channels, not a number, labels missing.
        OSError: a file cannot be read.
    """
    if isinstance(data, Samples):
        return data
    how = normalization(normalize)
    if limit is not None and limit < 1:
        raise DataError(f"a limit of {limit} samples leaves none; it must be at least 1")
    if not inputs or any(not tensor.elements for tensor in inputs):
        raise DataError("the model takes no input that samples could fill")
    source = _source(data, inputs, limit)
    known = _labels(labels, source)
    chosen = list(range(len(source.names)))
    if limit is not None and limit < len(chosen):
        chosen = sorted(np.random.default_rng(seed).choice(len(chosen), limit, replace=False).tolist())
    names = [source.names[i] for i in chosen]
    stored = [source.get(i) for i in chosen]
    if source.pictures:
        _check_colour(stored, inputs[0], resize)
    arrays = [
        [
            _fitted(a, t, source, how, name, resize=resize, bgr=bgr)
            for a, t in zip(_as_many(sample, inputs, name), inputs, strict=True)
        ]
        for sample, name in zip(stored, names, strict=True)
    ]
    return Samples(arrays, None if known is None else known[chosen], names)


def _source(data: Data, inputs: Sequence[Tensor], limit: int | None) -> Source:
    if isinstance(data, str | os.PathLike):
        return _of_path(Path(data), inputs)
    if isinstance(data, np.ndarray):
        return in_memory(data, None, inputs[0], "the array")
    found: list[list[Array]] = []
    for item in data:
        if len(found) == limit:  # an iterator may never end
            break
        found.append([np.asarray(item)] if len(inputs) == 1 and not _is_list(item) else [np.asarray(a) for a in item])
    if not found:
        raise DataError("the iterator gave no samples")
    return Source([str(i) for i in range(len(found))], lambda i: found[i])


def _is_list(item: Array | Sequence[Array]) -> bool:
    return isinstance(item, list | tuple) and len(item) == 1 and isinstance(item[0], np.ndarray)


def _of_path(path: Path, inputs: Sequence[Tensor]) -> Source:
    """What a path holds."""
    if not path.exists():
        raise DataError(f"{path} does not exist; samples are a folder, or a .npy, .npz, .csv, .wav, .zip or idx file")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".zip":
        return _of_files(list_files(path), inputs)
    if suffix in (".npy", ".npz"):
        return array_file(path, inputs)
    if suffix in (".csv", ".wav", *SUFFIXES):
        return _of_files(Files(path.parent, [path.name]), inputs)
    return idx_file(path, inputs)


def _of_files(files: Files, inputs: Sequence[Tensor]) -> Source:
    """The samples of a folder: those of the first kind of file that is there."""
    if len(inputs) > 1:
        raise DataError(f"the model takes {len(inputs)} inputs; give a .npz with in0, in1, ... instead of files")
    kinds = (
        (SUFFIXES, pictures),
        ((".wav",), lambda found: recordings(found, inputs[0])),
        ((".npy",), array_files),
        ((".csv",), lambda found: tables(found, inputs[0])),
    )
    for suffixes, read in kinds:
        found = files.of_kind(suffixes)
        if found.names:
            return read(found)
    known = ", ".join(SUFFIXES)
    raise DataError(f"{files.root} holds no samples: {len(files.names)} files, but no {known}, .wav, .npy or .csv")


def _labels(labels: str | os.PathLike[str] | Array | Sequence[float] | None, source: Source) -> Array | None:
    if labels is None:
        return source.labels if source.labels is not None else labels_from_names(source.names)
    if isinstance(labels, str | os.PathLike):
        return load_labels(Path(labels), source.names)
    known = np.asarray(labels)
    if known.shape[:1] != (len(source.names),):
        raise DataError(f"there are {len(source.names)} samples but labels of shape {list(known.shape)}")
    return known


def _check_colour(stored: Sequence[Sequence[Array]], tensor: Tensor, resize: bool) -> None:
    """One grey picture among others may stand for colour, but nobody trains a colour model with grey ones only."""
    colour = any(pixels.shape[2] > 2 for pixels, *_ in stored)
    height, width, _ = stored[0][0].shape
    if not colour and tensor.elements % 3 == 0 and (tensor.elements == 3 * height * width or 3 in tensor.shape):
        raise DataError(
            f"all {len(stored)} pictures are grey but the model takes 3 channels; check that they are the model's"
        )


def _as_many(sample: list[Array], inputs: Sequence[Tensor], name: str) -> list[Array]:
    if len(sample) != len(inputs):
        raise DataError(f"sample '{name}' has {len(sample)} arrays but the model takes {len(inputs)} inputs")
    return sample


def _fitted(
    array: Array, tensor: Tensor, source: Source, how: Normalization, name: str, *, resize: bool, bgr: bool
) -> Array:
    """One stored array as the input takes it."""
    where = f"sample '{name}'"
    if array.dtype.kind not in "iufb":
        raise DataError(f"{where} holds {array.dtype}, not numbers")
    fitted = (
        fit_picture(array, tensor, where, resize=resize, bgr=bgr)
        if source.pictures
        else fit_array(array, tensor, where)
    )
    if tensor.dtype.kind != "f" and tensor.quantization is None:
        return _whole(fitted, tensor, where)
    if tensor.dtype.kind != "f" and how.name == "none":
        if not np.can_cast(fitted.dtype, tensor.dtype):
            raise DataError(f"{where} holds {fitted.dtype}, but the input '{tensor.name}' takes raw {tensor.dtype}")
        return fitted.astype(tensor.dtype)
    reals = how.apply(fitted, tensor, where, sounds=source.sounds)
    if not np.isfinite(reals).all():
        raise DataError(f"{where} holds values that are no numbers (NaN or infinite); leave it out or mend it")
    return reals if tensor.dtype.kind == "f" else quantized(reals, tensor)


def _whole(values: Array, tensor: Tensor, where: str) -> Array:
    """Indices and counts, which no normalization applies to; from a table they come as floats."""
    with np.errstate(invalid="ignore"):
        whole = values.astype(tensor.dtype)
    if not np.array_equal(whole, values):
        raise DataError(f"{where} holds values that are no {tensor.dtype}, which the input '{tensor.name}' takes")
    return whole


def quantized(reals: Array, tensor: Tensor) -> Array:
    """Reals as raw values of an integer tensor, rounded to the nearest and saturated as a runtime does it.

    Raises:
        ModelError: the tensor has no quantization.
    """
    limits = np.iinfo(tensor.dtype)
    raw = np.rint(reals / np.float32(tensor.q.s)) + tensor.q.z
    return raw.clip(limits.min, limits.max).astype(tensor.dtype)
