"""Bad model files as a user meets them: one clear sentence, exit status 2, nothing written, nothing executed."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.keras_files import DENSE, KERNEL, archive, layer, old, sequential
from tests.read import onnx_writer as onnx
from tinymaix.cli import main
from tinymaix.demo import DATA

TFLITE = (DATA / "mnist_demo.tflite").read_bytes()
PT2 = (Path(__file__).parents[1] / "data" / "torch_cnn_1d.pt2").read_bytes()
KERAS = archive(sequential(DENSE), KERNEL)
H5 = old(sequential(DENSE), {"dense/dense/kernel:0": np.ones((4, 3)), "dense/dense/bias:0": np.ones(3)})


class Bomb:
    """What no reader may ever unpickle."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("the file was unpickled",)


def dense(external: dict[str, str] | None = None, opset: int = 17, shape: tuple[int, ...] = (1, 4)) -> bytes:
    """An .onnx of one product, whose weights may stand in another file."""
    weights = onnx.tensor("w", np.ones((4, 3), np.float32), external)
    node = onnx.node("MatMul", ["x", "w"], ["y"])
    return onnx.model([node], [onnx.value("x", shape)], ["y"], opset=opset, initializers=[weights])


def zipped(name: str, content: bytes, archive: bytes = b"") -> bytes:
    """A zip file with one file more."""
    stream = io.BytesIO(archive)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as target:
        target.writestr(name, content)
    return stream.getvalue()


FILES: dict[str, tuple[str, bytes, str]] = {
    "nothing": ("model.tflite", b"", "not a model that can be read"),
    "something else": ("model.onnx", b"PNG and so on" * 99, "not a model that can be read"),
    "half a .tflite": ("model.tflite", TFLITE[: len(TFLITE) // 2], "model.tflite: "),
    "half an .onnx": ("model.onnx", dense()[:60], "model.onnx: "),
    "half an .h5": ("model.h5", H5[: len(H5) // 2], "model.h5: "),
    "half a .keras": ("model.keras", KERAS[: len(KERAS) // 2], "neither a .keras nor a .pt2 file, or a part of one"),
    "half a .pt2": ("model.pt2", PT2[: len(PT2) // 2], "neither a .keras nor a .pt2 file, or a part of one"),
    "external data that are missing": ("model.onnx", dense({"location": "weights.bin", "length": "48"}), "weights.bin"),
    "external data elsewhere": ("model.onnx", dense({"location": "../secret", "length": "48"}), "../secret"),
    "external data anywhere": ("model.onnx", dense({"location": "/etc/passwd", "length": "48"}), "/etc/passwd"),
    "an old opset": ("model.onnx", dense(opset=3), "opset 3; opsets 7 to"),
    "an opset to come": ("model.onnx", dense(opset=99), "opset 99; opsets 7 to"),
    "an operator": (
        "model.onnx",
        onnx.model([onnx.node("NonZero", ["x"], ["y"])], [onnx.value("x", (4,))], ["y"]),
        "NonZero 'the NonZero' is not supported",
    ),
    "a custom operator": (
        "model.onnx",
        onnx.model([onnx.node("Swirl", ["x"], ["y"], "my.domain")], [onnx.value("x", (4,))], ["y"]),
        "of domain 'my.domain' is not supported",
    ),
    "a huge input": ("model.onnx", dense(shape=(2**20, 2**20, 4)), "model.onnx: "),
    "an open input": ("model.keras", archive(sequential(DENSE, shape=(None, None)), KERNEL), "open shape"),
    "a Lambda": ("model.keras", archive(sequential(layer("Lambda", "trick", function=[])), KERNEL), "never executed"),
    "a custom layer": ("model.h5", old(sequential(layer("Swirl", "s")), {"s/none": 0}), "custom or not supported"),
    "a pickle": ("model.pth", pickle.dumps(Bomb()), "can run any code when it is loaded, so it is never read"),
    "a pickle in a zip": ("model.pt", zipped("model/data.pkl", pickle.dumps(Bomb())), "so it is never read"),
    "a bomb of .keras": ("model.keras", archive({}, {}, config__json=b" " * (9 << 20)), "more than 8 MB"),
    "a bomb of .pt2": ("model.pt2", zipped("zeros", b"\0" * (80 << 20), PT2), "far more data"),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("command", ["compile", "inspect"])
def test_one_sentence(case: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, data, sentence = FILES[case]
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / name).write_bytes(data)
    (tmp_path / "secret").write_bytes(b"\0" * 48)
    target = ["--chip", "cortex-m4", "-o", str(tmp_path / "out")] if command == "compile" else []
    assert main([command, str(folder / name), *target]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tinymaix: ")
    assert sentence in captured.err
    assert "Traceback" not in captured.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["models", name, "secret"])


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx: cannot be read (No such file or directory)" in capsys.readouterr().err
