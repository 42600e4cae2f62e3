"""A damaged .onnx or .pt2 is read or refused with a ModelError: no other exception, no hang, no claimed memory.

The mutants are the same in every run; the limits are those of `tests.read.test_fuzz_tflite`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from tests.read import onnx_writer as onnx
from tests.read.fixtures import DATA
from tests.read.test_fuzz_tflite import limits, mutant
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.read.onnx import read_onnx
from tinymaix.read.torch import read_pt2
from tinymaix.rewrite import simplify

MUTANTS_OF_EACH = 60
ONNX_FILES = sorted(path.name for path in DATA.glob("onnx_*.onnx"))
TORCH_FILES = sorted(path.name for path in DATA.glob("torch_*.pt2"))


def _expect_read_or_refused(read: Callable[[bytes], Graph], data: bytes) -> None:
    with limits():
        try:
            simplify(read(data))
        except ModelError as error:
            if not all(error.problems):
                raise AssertionError("a ModelError without a sentence") from error


@pytest.mark.parametrize("file", ONNX_FILES)
def test_damaged_onnx(file: str) -> None:
    data = (DATA / file).read_bytes()
    for i in range(MUTANTS_OF_EACH):
        _expect_read_or_refused(read_onnx, mutant(data, data[::-1], np.random.default_rng([len(file), i])))


def _packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    return stream.getvalue()


def _structural(text: bytes, rng: np.random.Generator) -> bytes:
    """JSON with one number, name or list of it changed, so that it often stays JSON."""
    pieces = text.split(b'"')
    at = int(rng.integers(1, len(pieces) - 1))
    if rng.integers(2):
        pieces[at] = pieces[int(rng.integers(len(pieces)))]
    else:
        digits = [b"0", b"-1", b"7", b"2147483648", b"1e999", b"null", b"[]", b"{}"]
        pieces[at] = pieces[at].replace(b"1", digits[int(rng.integers(len(digits)))])
    return b'"'.join(pieces)


@pytest.mark.parametrize("file", TORCH_FILES)
def test_damaged_pt2(file: str) -> None:
    data = (DATA / file).read_bytes()
    with zipfile.ZipFile(DATA / file) as source:
        members = {name: source.read(name) for name in source.namelist()}
    texts = [name for name in members if name.endswith(".json")]
    for i in range(MUTANTS_OF_EACH):
        rng = np.random.default_rng([len(file), i])
        name = texts[int(rng.integers(len(texts)))]
        if i % 3 == 0:
            changed = mutant(data, data[::-1], rng)
        else:
            text = _structural(members[name], rng) if i % 3 == 1 else mutant(members[name], data, rng)
            changed = _packed({**members, name: text})
        _expect_read_or_refused(read_pt2, changed)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("Expand", [2**20, 2**20]),
        ("ConstantOfShape", [2**20, 2**20]),
        ("ConstantOfShape", [-1]),
        ("Tile", [2**20]),
        ("Reshape", [2**40, -1]),
        ("Pad", [2**30, 2**30]),
    ],
)
def test_a_small_file_that_describes_much_data(kind: str, values: list[int]) -> None:
    constants: dict[str, Array] = {"c": np.array(values, np.int64), "one": np.ones(1, np.float32)}
    inputs = ["c"] if kind == "ConstantOfShape" else ["one", "c"]
    nodes = [onnx.node(kind, inputs, ["big"]), onnx.node("Add", ["x", "big"], ["y"])]
    data = onnx.model(nodes, [onnx.value("x", (1,))], ["y"], constants)
    with limits(), pytest.raises(ModelError):
        read_onnx(data)


def test_a_chain_that_doubles_a_constant() -> None:
    nodes = [onnx.node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)]
    nodes.append(onnx.node("Add", ["x", "c40"], ["y"]))
    data = onnx.model(nodes, [onnx.value("x", (1,))], ["y"], {"c0": np.ones(1024, np.float32)})
    with pytest.raises(ModelError, match="larger than any chip's memory"):
        read_onnx(data)
