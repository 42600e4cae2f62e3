"""Where samples come from: files of a folder or of a .zip, in an order that never changes."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinymaix.graph import Array, ModelError

MAX_FILE = 1 << 30
"""Bytes of one file at most: far more than a sample for a microcontroller has."""


class DataError(ModelError):
    """Samples or labels that cannot be used, in a sentence that says what was found, where, and what to do."""


@dataclass(frozen=True)
class Source:
    """Samples that were found but not read yet."""

    names: list[str]
    get: Callable[[int], list[Array]]
    """The arrays of one sample as they are stored, one for each input."""
    labels: Array | None = None
    pictures: bool = False
    """The arrays are pictures: u8, height x width x channels."""
    sounds: bool = False
    """The arrays are sound: int16, one axis."""


@dataclass(frozen=True)
class Files:
    """The files of one kind in a folder or .zip: names relative to it, with / between the parts, sorted."""

    root: Path
    names: list[str]
    archive: zipfile.ZipFile | None = None

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises DataError where they are too many or damaged, OSError where there are none."""
        if self.archive is None:
            return read_file(self.root / name)
        try:
            if self.archive.getinfo(name).file_size > MAX_FILE:
                raise DataError(f"{self.root}: '{name}' is larger than {MAX_FILE:,} bytes")
            return self.archive.read(name)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
            raise DataError(f"{self.root}: '{name}' cannot be unpacked ({error})") from None

    def where(self, name: str) -> str:
        """The file as a sentence names it."""
        return os.fspath(self.root / name)

    def of_kind(self, suffixes: Sequence[str]) -> Files:
        """Those whose names end so: the ones that lie directly in the folder, or else those in its folders."""
        found = [name for name in self.names if name.lower().endswith(tuple(suffixes))]
        direct = [name for name in found if "/" not in name]
        return Files(self.root, direct or found, self.archive)


def read_file(path: Path) -> bytes:
    """The bytes of a file. Raises DataError where it is no file or too large."""
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    if path.stat().st_size > MAX_FILE:
        raise DataError(f"{path} is larger than {MAX_FILE:,} bytes; split it")
    return path.read_bytes()


def list_files(root: Path) -> Files:
    """Every visible file below a folder, or in a .zip."""
    archive = None
    if root.is_dir():
        names = [
            (Path(folder) / name).relative_to(root).as_posix() for folder, _, files in os.walk(root) for name in files
        ]
    else:
        try:
            archive = zipfile.ZipFile(root)
        except zipfile.BadZipFile as error:
            raise DataError(f"{root} is not a .zip ({error})") from None
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if len(set(names)) < len(names):  # only names tell them apart
            raise DataError(f"{root} holds two files of the same name")
    shown = [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))]
    return Files(root, sorted(shown), archive)
