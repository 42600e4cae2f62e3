"""h5_to_tflite and tflite2tmdl: the forms and the log of TinyMaix's own tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tinymaix
from tinymaix.cli import main
from tinymaix.demo import DATA

MODEL = str(DATA / "mnist_demo.tflite")


def test_the_readme_from_h5_to_tmdl(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = shared / "models/tinymaix"
    h5, float_file, file = str(models / "h5/mnist_valid.h5"), str(tmp_path / "f.tflite"), str(tmp_path / "q.tflite")
    assert main(["h5_to_tflite", h5, float_file, "0"]) == 0
    assert capsys.readouterr().out == "Done\n"
    assert tinymaix.read(float_file).inputs[0].dtype == "float32"
    assert main(["h5_to_tflite", h5, file, "1", str(models / "images/mnist_quant"), "0to1"]) == 0
    assert capsys.readouterr().out.startswith("Done, quant used time:")
    x = tinymaix.read(file).inputs[0]
    assert x.q.s == pytest.approx(1 / 255)
    assert x.q.z == -128
    assert main(["h5_to_tflite", h5, file, "1", str(models / "images/mnist_quant"), "-1to1"]) == 0
    assert tinymaix.read(file).inputs[0].q.s == pytest.approx(1 / 128, rel=0.01)


def test_tflite2tmdl_prints_the_log_of_the_readme(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (shared / "reference/tinymaix-readme.txt").read_text().splitlines()
    begin = next(i for i, line in enumerate(readme) if "pack model head" in line)
    end = next(i for i, line in enumerate(readme) if line.startswith("Saved to"))
    model = str(shared / "models/tinymaix/tflite/mnist_valid_q.tflite")
    assert main(["tflite2tmdl", model, str(tmp_path / "mnist_q.tmdl"), "int8", "1", "28,28,1", "10"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:-1] == readme[begin:end]
    assert printed[-1] == f"Saved to {tmp_path / 'mnist_q.tmdl'}, {tmp_path / 'mnist_q.h'}"
    assert (tmp_path / "mnist_q.h").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tflite2tmdl", MODEL, "OUT", "int8", "1", "28,28,3", "10"], "the model's input is 28,28,1 and not 28,28,3"),
        (["tflite2tmdl", MODEL, "OUT", "int8", "1", "28,28,1", "ten"], "dimensions are numbers"),
        (["tflite2tmdl", MODEL, "OUT", "fp16", "1", "28,28,1", "10"], "cannot be written as fp16"),
        (["h5_to_tflite", MODEL, "OUT", "1"], "h5_to_tflite takes IN OUT 0"),
        (["h5_to_tflite", MODEL, "OUT", "0", "images", "0to1"], "h5_to_tflite takes IN OUT 0"),
        (["h5_to_tflite", MODEL, "OUT", "1", "nothing-here", "0to1"], "nothing-here does not exist"),
    ],
)
def test_mistakes(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "out") if word == "OUT" else word for word in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tflite2tmdl", MODEL, str(tmp_path / "m.tmdl"), "int8", "0", "28,28,1", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out_deq"] is False
