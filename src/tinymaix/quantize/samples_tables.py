"""Tables as samples: CSV files of sensor values, cut into windows of the model's length."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator

import numpy as np

from tinymaix.graph import Array, Tensor
from tinymaix.quantize.samples_labels import as_labels
from tinymaix.quantize.samples_source import DataError, Files, Source

LABEL_COLUMNS = ("label", "class", "activity", "target", "y")


def tables(files: Files, tensor: Tensor) -> Source:
    """Windows of the rows of every table, one behind the other; where a row holds a whole sample, every row.

    A column beyond the model's, the last or one with a name of `LABEL_COLUMNS`, is the label: a window ends where it
    changes.
    """
    names: list[str] = []
    windows: list[Array] = []
    labels: list[str] = []
    for name in files.names:
        values, marks = _table(files.read(name), files.where(name), tensor)
        rows = tensor.elements // values.shape[1]
        for start in _starts(marks, rows):
            names.append(f"{name}:{start + 1}")
            windows.append(values[start : start + rows].reshape(tensor.shape))
            labels += marks[start : start + 1]
    if not names:
        rows = tensor.elements // values.shape[1]
        raise DataError(f"{files.root} has no {rows} rows in a row that share a label, which one sample takes")
    known = as_labels(labels) if len(labels) == len(names) else None
    return Source(names, lambda i: [windows[i]], known)


def _starts(marks: list[str], rows: int) -> Iterator[int]:
    """The first rows of windows that lie within one label."""
    start = 0
    for end in range(1, len(marks) + 1):
        if marks[end - 1] != marks[start]:
            start = end - 1
        if end - start == rows:
            yield start
            start = end


def _table(data: bytes, where: str, tensor: Tensor) -> tuple[Array, list[str]]:
    """The values, rows x columns, and the label of every row ("" where there is none)."""
    try:
        lines = [row for row in csv.reader(data.decode("utf-8-sig").splitlines()) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is no table of numbers ({error})") from None
    header = [word.strip().lower() for word in lines[0]] if lines and not any(map(_is_number, lines[0])) else []
    lines = lines[1:] if header else lines
    if not lines:
        raise DataError(f"{where} holds no rows of numbers")
    width = len(lines[0])
    uneven = next((i for i, row in enumerate(lines) if len(row) != width), None)
    if uneven is not None:
        raise DataError(f"{where}: row {uneven + 1} has {len(lines[uneven])} columns, the first has {width}")
    columns = [size for size in _columns(tensor) if size in (width, width - 1)]
    if not columns:
        raise DataError(
            f"{where} has {width} columns, but a sample of the model has shape {list(tensor.shape)}: give "
            f"{' or '.join(map(str, _columns(tensor)))} columns, and one more for the label"
        )
    at = next((header.index(word) for word in LABEL_COLUMNS if word in header), width - 1)
    marks = [""] * len(lines) if columns[0] == width else [row.pop(at) for row in lines]
    return _numbers(lines, where), marks


def _columns(tensor: Tensor) -> list[int]:
    """How many columns a table may have: the values of one step, or of a whole sample."""
    sizes = [size for size in (tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape) if size != 1]
    steps = math.prod(sizes[1:])
    return list(dict.fromkeys([steps, tensor.elements]))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _numbers(rows: list[list[str]], where: str) -> Array:
    try:
        return np.array([[float(word) for word in row] for row in rows], np.float32)
    except ValueError as error:
        raise DataError(f"{where}: {error}; every cell behind the header must be a number") from None
