"""tinymaix report: the page as a browser shows it, and the picture of the arena."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tinymaix
from tests.browser import open_page
from tests.graphs import classifier_graph
from tests.quantize.float_nets import Net, random_samples
from tinymaix.arena_picture import arena_svg, boxes
from tinymaix.cli import main
from tinymaix.demo import DATA
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.softmax import Softmax
from tinymaix.plan import plan
from tinymaix.write.tflite import write_tflite


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("a page") / "my page.html"
    words = ["report", str(DATA / "mnist_demo.tflite"), "-o", str(path), "--chip", "rp2040", "--match", "cortex-m0"]
    assert main(words) == 0
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 made pictures, each with the class that the model gives it but for the first, which gets another one."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    graph = tinymaix.read(DATA / "mnist_demo.tflite")
    x = np.random.default_rng(0).integers(0, 256, (40, *graph.inputs[0].shape[1:]), np.uint8)
    found = np.array([graph.run([(sample[None].astype(int) - 128).astype(np.int8)])[0].argmax() for sample in x])
    found[0] = (found[0] + 1) % 10
    np.savez(path, x=x, y=found)
    return path


def report(path: Path, *words: object) -> int:
    model = str(DATA / "mnist_demo.tflite")
    return main(["report", model, "-o", str(path), "--match", "rp2040", *map(str, words)])


def test_accuracy_is_shown_where_there_is_data(digits: Path, tmp_path: Path) -> None:
    assert report(tmp_path / "a.html", "--data", digits) == 0
    opened = open_page((tmp_path / "a.html").read_text(encoding="utf-8"), tmp_path, 390)
    assert opened.console == []
    assert opened.width <= 390
    assert opened.sideways == 0
    for word in ("On 40 samples.", "accuracy: 97.50%", "right of each class, in percent"):
        assert word in opened.text


def test_accuracy_beside_float(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Net((1, 8, 8, 3), uneven=False)
    net.layer(Conv2D(activation="relu"), 6, 8)
    net.add(Softmax())
    graph, samples = net.graph(), random_samples(net.graph(), 24)
    write_tflite(graph, tmp_path / "float.tflite")
    write_tflite(tinymaix.quantize(graph, samples), tmp_path / "int8.tflite")
    x = np.concatenate([sample[0] for sample in samples.inputs])
    np.savez(tmp_path / "x.npz", x=x, y=np.array([graph.run([a[None]])[0].argmax() for a in x]))
    words = ["report", str(tmp_path / "int8.tflite"), "-o", str(tmp_path / "page.html"), "--match", "rp2040", "--json"]
    assert main([*words, "--data", str(tmp_path / "x.npz"), "--float", str(tmp_path / "float.tflite")]) == 0
    accuracy, agreement = json.loads(capsys.readouterr().out)["accuracy"]
    assert accuracy.startswith("accuracy: float 100.00%, integers ")
    assert agreement.startswith("first class is float's: ")
    (tmp_path / "page.html").unlink()
    np.save(tmp_path / "x.npy", x)
    for wrong, text in (
        (["--float", str(tmp_path / "float.tflite")], "--float goes with --data"),
        (["--data", str(tmp_path / "x.npy")], "no labels that fit"),
        (["--data", str(tmp_path / "none.npy")], "none.npy"),
        (["--data", str(tmp_path / "x.npy"), "--float", str(tmp_path / "int8.tflite")], "takes integers"),
    ):
        assert main([*words, *wrong]) == 2
        assert text in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("width", [1000, 390])
def test_a_browser_shows_it_on_a_desk_and_on_a_phone(page: str, width: int, tmp_path: Path) -> None:
    opened = open_page(page, tmp_path, width)
    assert opened.console == []
    assert opened.width <= width
    assert len(opened.drawn) >= 2
    assert all(opened.drawn)
    assert opened.smallest >= 13
    for word in (
        "On the Raspberry Pi RP2040",
        "every byte is that of the reference",
        "The arena over time",
        "Arm Cortex-M0",
    ):
        assert word in opened.text


def test_every_byte_of_the_arena_that_is_alive_is_in_the_picture() -> None:
    for graph in (classifier_graph(), tinymaix.read(DATA / "mnist_demo.tflite")):
        placed = plan(graph)
        found = boxes(placed)
        assert max(box.offset + box.size for box in found) <= placed.arena
        assert {box.kind for box in found} >= {"input", "output"}
        assert ElementTree.fromstring(arena_svg(placed)).tag.endswith("svg")


def test_nothing_is_written_where_something_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.html"
    model = str(DATA / "mnist_demo.tflite")
    assert main(["report", model, "-o", str(path), "--match", "nonesuch"]) == 2
    assert main(["report", model, "-o", str(path), "--chip", "nonesuch"]) == 2
    assert main(["report", "missing.tflite", "-o", str(path)]) == 2
    assert "nonesuch" in capsys.readouterr().err
    assert not path.exists()
