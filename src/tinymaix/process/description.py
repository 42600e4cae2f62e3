"""A model with its processing, described in a .toml: what stands in front of it, the model, what stands behind it.

model = "kws_q.tmdl"            # beside the description

[sound]                         # or [picture], or [front] with a model of its own
preset = "tinymaix-fbank"
stream = true

[classes]                       # or [yolo], [ssd], [fomo]
top = 1
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinymaix.graph import Array, Graph, ModelError
from tinymaix.process.audio import MLPERF_MFCC, MLPERF_WAKE_WORD, TINYMAIX_FBANK, AudioFrontEnd, with_audio
from tinymaix.process.detect import with_arg_max, with_fomo, with_ssd, with_top_k, with_yolo
from tinymaix.process.image import with_image
from tinymaix.process.join import overlapping, prepend, sliding

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, Any]
PRESETS = {"tinymaix-fbank": TINYMAIX_FBANK, "mlperf-mfcc": MLPERF_MFCC, "mlperf-wake-word": MLPERF_WAKE_WORD}
MAX_BYTES = 2**20
LIMITS = ("threshold", "overlap", "detections", "candidates", "across")


def read_description(path: Path, read: Callable[[Path], Graph]) -> Graph:
    """The graph of a description. ``read`` reads the models that it names, which lie in its folder or below.

    Raises:
        ModelError: the file is no description, or something in it does not fit; sentences that name the table.
    """
    tables = _load(path)
    try:
        graph = read(_beside(path, tables.pop("model", None), "model"))
        for name in [*BEHIND, *FRONT]:  # behind first: anchors may count in pixels of the model's own input
            if name in tables:
                build = BEHIND.get(name) or FRONT[name]
                graph = _apply(name, build, graph, tables.pop(name), path, read)
        if tables:
            known = ", ".join(["model", *FRONT, *BEHIND])
            raise ModelError(f"it has '{next(iter(tables))}', which is none of {known}")
        return graph
    except ModelError as error:
        raise ModelError([f"{path.name}: {problem}" for problem in error.problems]) from None


def _load(path: Path) -> Table:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path.name}: larger than {MAX_BYTES >> 20} MB, too large for a description")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path.name}: not a description in TOML ({error})") from None


def _apply(name: str, build: Builder, graph: Graph, table: object, path: Path, read: Callable[[Path], Graph]) -> Graph:
    """One table of the description, applied."""
    if not isinstance(table, dict):
        raise ModelError(f"'{name}' must be a table: [{name}]")
    try:
        return build(graph, dict(table), _Files(path, read))
    except ModelError as error:
        raise ModelError([f"[{name}] {problem}" for problem in error.problems]) from None
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise ModelError(f"[{name}] a value makes no sense: {error}") from None


class _Files:
    """The files that a description may name."""

    def __init__(self, path: Path, read: Callable[[Path], Graph]) -> None:
        self.path, self._read = path, read

    def model(self, name: object) -> Graph:
        return self._read(_beside(self.path, name, "model"))

    def numbers(self, name: object) -> Array:
        file = _beside(self.path, name, "anchors")
        try:
            return np.asarray(np.load(file, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise ModelError(f"{file.name} is no .npy with numbers ({error})") from None


Builder = Callable[[Graph, Table, _Files], Graph]


def _beside(path: Path, name: object, what: str) -> Path:
    """A file in the folder of the description."""
    if not isinstance(name, str) or not name:
        raise ModelError(f"it needs {what} = the name of a file beside it")
    return path.parent / name


def _sound(graph: Graph, table: Table, files: _Files) -> Graph:
    stream = _flag(table, "stream")
    preset = table.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise ModelError(f"preset '{preset}' is none of {', '.join(PRESETS)}")
    kinds = {field.name: type(field.default) for field in fields(AudioFrontEnd)}
    _known(table, [*kinds, "preset", "stream"])
    values: Table = {name: _number(value, name) if kinds[name] is float else value for name, value in table.items()}
    for name, value in values.items():
        if type(value) is not kinds[name]:
            raise ModelError(f"{name} = {value!r} must be of type {kinds[name].__name__}")
    return with_audio(graph, replace(PRESETS.get(preset, AudioFrontEnd()), **values), stream)


def _picture(graph: Graph, table: Table, files: _Files) -> Graph:
    _known(table, ["size", "pixels", "order", "resize", "fit", "crop", "normalize"])
    if "crop" in table:
        table["crop"] = tuple(int(v) for v in table["crop"])
        if len(table["crop"]) != 4:
            raise ModelError("crop is top, left, height and width")
    return with_image(graph, _size(table.pop("size", None)), **table)


def _front(graph: Graph, table: Table, files: _Files) -> Graph:
    _known(table, ["model", "hop", "frames"])
    front = files.model(table.get("model"))
    if "hop" in table:
        front = overlapping(front, int(table["hop"]))
    return prepend(sliding(front, int(table["frames"])) if "frames" in table else front, graph)


def _yolo(graph: Graph, table: Table, files: _Files) -> Graph:
    _known(table, ["anchors", "style", "unit", *LIMITS])
    return with_yolo(graph, table.pop("anchors", None), **table)


def _ssd(graph: Graph, table: Table, files: _Files) -> Graph:
    _known(table, ["anchors", "background", "order", "variance", "logits", *LIMITS])
    if "variance" in table:
        table["variance"] = tuple(float(v) for v in table["variance"])
    return with_ssd(graph, files.numbers(table.pop("anchors", None)), **table)


def _fomo(graph: Graph, table: Table, files: _Files) -> Graph:
    _known(table, ["threshold", "detections"])
    return with_fomo(graph, **table)


def _classes(graph: Graph, table: Table, files: _Files) -> Graph:
    _known(table, ["top"])
    return with_top_k(graph, int(table["top"])) if "top" in table else with_arg_max(graph)


FRONT: Mapping[str, Builder] = {"picture": _picture, "sound": _sound, "front": _front}
BEHIND: Mapping[str, Builder] = {"yolo": _yolo, "ssd": _ssd, "fomo": _fomo, "classes": _classes}


def _known(table: Table, names: list[str]) -> None:
    for name in table:
        if name not in names:
            raise ModelError(f"'{name}' is not known; known are {', '.join(names)}")


def _flag(table: Table, name: str) -> bool:
    value = table.pop(name, False)
    if not isinstance(value, bool):
        raise ModelError(f"{name} = {value!r} must be true or false")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"{name} = {value!r} must be a number")
    return float(value)


def _size(value: object) -> tuple[int, int]:
    """(height, width) of "320x240", which has the width first as cameras are named."""
    parts = value.lower().split("x") if isinstance(value, str) else []
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise ModelError(f'size = {value!r} must be the width and height of the camera\'s picture, as "320x240"')
    return int(parts[1]), int(parts[0])
