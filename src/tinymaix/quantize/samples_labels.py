"""Labels of samples: from the folders that they lie in, from their names, or from a file."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinymaix.graph import Array
from tinymaix.quantize.samples_source import DataError, read_file

NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(0|[1-9]\d{0,2})_.+",  # 7_anything.png
        r"\d+-(\d{1,3})\.\w+",  # 51-8.jpg: number and class, as TinyMaix names its CIFAR pictures
    )
)


def labels_from_names(names: Sequence[str]) -> Array | None:
    """The classes that folders or names of files tell, None where they do not.

    A folder is a class: its number where all of them are numbers, else its place in alphabetical order.
    """
    folders = [name.split("/")[0] if "/" in name else "" for name in names]
    if len(set(folders)) > 1:
        return as_labels(folders)
    for pattern in NAMES:
        found = [pattern.fullmatch(name.split("/")[-1]) for name in names]
        if found and all(found):
            return np.array([int(match[1]) for match in found if match])
    return None


def as_labels(words: Sequence[str]) -> Array | None:
    """Words as labels: whole numbers or other numbers as they are, else their places in alphabetical order; None where
    they say nothing."""
    if not any(words):
        return None
    for kind in (int, float):
        try:
            return np.array([kind(word) for word in words])
        except ValueError:
            continue
        except OverflowError:
            break
    order = {word: i for i, word in enumerate(sorted(set(words)))}
    return np.array([order[word] for word in words])


def load_labels(path: Path, names: Sequence[str]) -> Array:
    """The labels of the samples with those names.

    A .npy holds one a sample, and so does a text file with one on each line; a .csv says file,label or, as MLPerf Tiny
    does, file,classes,label.

    Raises:
        DataError: there are too few, or a sample has none.
    """
    if path.suffix == ".npy":
        try:
            labels = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{path} is not a .npy of plain numbers ({error})") from None
        return _counted(labels, names, path)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(read_file(path).decode("utf-8-sig").splitlines())]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no text with labels ({error})") from None
    rows = [row for row in rows if any(row)]
    if all(len(row) == 1 for row in rows):
        return _counted(_known([row[0] for row in rows], path), names, path)
    by_name = {_stem(row[0]): row[2 if len(row) > 2 else 1] for row in rows if len(row) > 1}
    missing = next((name for name in names if _stem(name) not in by_name), None)
    if missing is not None:
        raise DataError(f"{path} has no label for '{missing}'; it has {len(by_name)} labels by name of file")
    return _known([by_name[_stem(name)] for name in names], path)


def _stem(name: str) -> str:
    """The name of a sample's file without folders, ending, and the place of a window in it."""
    return re.sub(r"\.\w+([@:]\d+)?$", "", name.replace("\\", "/").split("/")[-1])


def _known(words: Sequence[str], path: Path) -> Array:
    labels = as_labels(words)
    if labels is None:
        raise DataError(f"{path} holds no labels")
    return labels


def _counted(labels: Array, names: Sequence[str], path: Path) -> Array:
    if labels.ndim < 1 or len(labels) != len(names):
        raise DataError(f"{path} holds {len(labels) if labels.ndim else 1} labels for {len(names)} samples")
    return labels
