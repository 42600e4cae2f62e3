"""Every shipped int8 .tmdl gives the bytes of the .tflite that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import load_reference, model_files
from tests.device.runtime import ERR_ENDIAN, ERR_MDLTYPE, OK, Library


@pytest.mark.parametrize("path", model_files("tinymaix/tmdl/*_q.tmdl"), ids=lambda path: path.stem)
def test_bit_exact(library: Library, path: Path) -> None:
    data = path.read_bytes()
    model = library.load(data, int.from_bytes(data[12:16], "little"))
    assert model.error == OK
    for inputs, outputs in load_reference(path.parent.parent / "tflite" / f"{path.stem}.tflite"):
        found = model.run(inputs[0]).ravel()
        assert model.file[5] == 1  # dequantized: softmax's 1/256 and -128
        np.testing.assert_array_equal(found * 256 - 128, outputs[0].ravel().astype(np.float32))


@pytest.mark.parametrize("path", model_files("tinymaix/tmdl/*_be.tmdl"), ids=lambda path: path.stem)
def test_other_byte_order_is_refused(library: Library, path: Path) -> None:
    assert library.load(path.read_bytes()).error == ERR_ENDIAN


@pytest.mark.parametrize(
    "path", [p for p in model_files("tinymaix/tmdl/*.tmdl") if "_q" not in p.stem], ids=lambda path: path.stem
)
def test_other_types_are_refused(library: Library, path: Path) -> None:
    assert library.load(path.read_bytes()).error == ERR_MDLTYPE
