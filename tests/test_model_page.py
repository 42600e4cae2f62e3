"""tinymaix report: the page as a browser shows it, and the picture of the arena."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

import tinymaix
from tests.browser import open_page
from tests.graphs import classifier_graph
from tinymaix.arena_picture import arena_svg, boxes
from tinymaix.cli import main
from tinymaix.demo import DATA
from tinymaix.plan import plan


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("a page") / "my page.html"
    words = ["report", str(DATA / "mnist_demo.tflite"), "-o", str(path), "--chip", "rp2040", "--match", "cortex-m0"]
    assert main(words) == 0
    return path.read_text(encoding="utf-8")


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
