"""A page of every part, as it is written and as a browser shows it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.browser import open_page
from tinymaix.page import Page, shown


def every_part() -> Page:
    page = (
        Page("a <model> & its report").heading("Figures").text("one\x07paragraph", "x" * 300).points(["this", "that"])
    )
    page.table(["layer", "cycles", "exact"], [["CONV_2D " * 20, 1234567, True], ["SOFTMAX", None, False]], "Layers")
    page.bars("cycles", {"CONV_2D with a long name " * 4: 1200, "FULLY_CONNECTED": 30.5, "nothing": 0}, "k")
    page.lines("a line", {"a": [(0, 1), (2, 3)], "b": [(1, -1), (2, 2)]}, "steps", "bytes")
    page.scatter("points", {"chips": [(10, 3e6), (0, 1), (5000, 20)]}, "ms", "$", logarithmic=True)
    page.scatter("nothing to see", {"none": []})
    return page.svg("a picture", '<svg xmlns="http://www.w3.org/2000/svg" width="3000" height="20"></svg>', scroll=True)


def test_names_cannot_become_markup() -> None:
    html = every_part().html()
    assert "<model>" not in html
    assert "a &lt;model&gt; &amp; its report" in html
    assert "\x07" not in html


def test_the_pictures_are_xml() -> None:
    html = every_part().html()
    pictures = [part.split("</svg>")[0] + "</svg>" for part in html.split("<svg")[1:]]
    assert [ElementTree.fromstring("<svg" + picture).tag.endswith("svg") for picture in pictures] == [True] * 3


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "yes"), (1234567, "1,234,567"), (0.123456, "0.1235"), (3.0, "3"), ("a", "a")],
)
def test_values_for_a_reader(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("width", [1000, 390])
def test_a_browser_shows_it_whole_on_a_desk_and_on_a_phone(width: int, tmp_path: Path) -> None:
    opened = open_page(every_part().html(), tmp_path, width)
    assert opened.console == []
    assert opened.width <= width
    assert opened.drawn == [True] * 3
    assert opened.smallest >= 13
    assert "1,234,567" in opened.text
