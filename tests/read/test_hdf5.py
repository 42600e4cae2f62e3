"""The own HDF5 reader against the library: what h5py writes by default is read alike, what is not read is refused."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.graph import ModelError
from tinymaix.read.hdf5 import Hdf5, Object


def written(**options: str) -> tuple[io.BytesIO, h5py.File]:
    buffer = io.BytesIO()
    return buffer, h5py.File(buffer, "w", **options)


def member(root: Object, path: str) -> Object:
    found = root.member(path)
    assert found is not None
    return found


@given(
    dtype=st.sampled_from(["<f2", "<f4", "<f8", ">f4", ">f8"]),
    shape=st.lists(st.integers(0, 4), max_size=5).map(tuple),
    seed=st.integers(0, 99),
)
def test_datasets(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    data = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    buffer, file = written()
    with file:
        file["a/b/data"] = data
    found = member(Hdf5(buffer.getvalue()).root, "a/b/data")
    assert found.shape == shape
    np.testing.assert_array_equal(found.floats(), data.astype(np.float32))


def test_many_groups_and_long_names() -> None:
    names = [f"{i:03}" + "x" * (i % 90) for i in range(400)]
    buffer, file = written()
    with file:
        for i, name in enumerate(names):
            file[f"layers/{name}/vars/0"] = np.full(2, i, np.float32)
    root = Hdf5(buffer.getvalue()).root
    assert set(member(root, "layers").members) == set(names)
    for i, name in enumerate(names):
        assert member(root, f"layers/{name}/vars/0").floats().tolist() == [i, i]
    assert root.member("layers/none") is None
    assert root.member("layers/000/vars/0/deeper") is None


def test_texts() -> None:
    long = "text äöü " * 8000
    buffer, file = written()
    with file:
        group = file.create_group("g")
        group.attrs["variable"] = long
        group.attrs["fixed"] = np.bytes_(b"fixed")
        group.attrs["names"] = [b"one", b"three", b""]
        group.attrs["strings"] = np.array(["a", "bcd"], dtype=h5py.string_dtype())
        group.attrs["empty"] = np.zeros(0)
        group.attrs["number"] = 3.5
        for i in range(40):  # more than the first block of the header holds
            group.attrs[f"many{i}"] = f"value {i}"
    found = member(Hdf5(buffer.getvalue()).root, "g")
    assert found.texts("variable") == [long]
    assert found.texts("fixed") == ["fixed"]
    assert found.texts("names") == ["one", "three", ""]
    assert found.texts("strings") == ["a", "bcd"]
    assert found.texts("empty") == []
    assert found.texts("number") == []
    assert found.texts("absent") is None
    assert [found.texts(f"many{i}") for i in range(40)] == [[f"value {i}"] for i in range(40)]


def test_links_out_of_the_file_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as other:
        other["secret"] = np.ones(3, np.float32)
    buffer, file = written()
    with file:
        file["inner"] = np.ones(1, np.float32)
        file["soft"] = h5py.SoftLink("/inner")
        file["external"] = h5py.ExternalLink(str(outside), "secret")
    root = Hdf5(buffer.getvalue()).root
    assert root.member("soft") is None
    assert root.member("external") is None


def test_data_outside_the_file_is_not_read(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(np.ones(4, np.float32).tobytes())
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("d", (4,), "f4", external=[(str(raw), 0, 16)])
    with pytest.raises(ModelError, match="another file"):
        member(Hdf5(path.read_bytes()).root, "d").floats()


def test_what_is_refused() -> None:
    buffer, file = written()
    with file:
        file.create_dataset("packed", data=np.ones((50, 50), np.float32), compression="gzip")
        file["integers"] = np.ones(3, np.int8)
    root = Hdf5(buffer.getvalue()).root
    with pytest.raises(ModelError, match="without compression"):
        member(root, "packed").floats()
    assert member(root, "integers").float_bytes is None
    buffer, file = written(libver="latest")
    with file:
        file["x"] = np.ones(3, np.float32)
    with pytest.raises(ModelError, match="Keras does not write"):
        Hdf5(buffer.getvalue())


def test_a_group_within_itself_ends() -> None:
    buffer, file = written()
    with file:
        group = file.create_group("a")
        group["a"] = group
    with pytest.raises(ModelError, match="without end"):
        descend(Hdf5(buffer.getvalue()).root)


def descend(node: Object) -> None:
    while True:
        node = member(node, "a")
