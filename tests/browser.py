"""Opens a page in a headless Chromium, as a reader would, and says what it looks like there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
    "--virtual-time-budget=5000",
)  # fmt: skip
PROBE = """\
const page = document.querySelector("iframe");
page.onload = () => {
    const inside = page.contentDocument;
    document.title = JSON.stringify({
        width: inside.documentElement.scrollWidth,
        drawn: [...inside.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().height > 0),
        smallest: Math.min(...[...inside.querySelectorAll("p, td, th, li")].map(
            text => parseFloat(getComputedStyle(text).fontSize))),
        sideways: [...inside.querySelectorAll(".wide:not(.scroll)")].filter(
            frame => frame.scrollWidth > frame.clientWidth).length,
        text: inside.body.innerText,
    });
};
"""
"""Measures the page in a frame, since a window cannot be as narrow as a phone."""


@dataclass(frozen=True)
class Opened:
    """What a browser shows of a page."""

    console: list[str]
    """What it complains about."""
    width: int
    """Pixels that the page takes; more than the window has means scrolling sideways."""
    drawn: list[bool]
    """Of each picture, whether it takes any room."""
    smallest: float
    """Pixels of the smallest letters of paragraphs and tables."""
    sideways: int
    """Tables and pictures that scroll sideways in their frames, but for those that are meant to."""
    text: str


def open_page(html: str, folder: Path, width: int = 1000) -> Opened:
    """The page in a window of so many pixels; skips the test where Chromium is not installed."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed: make browser")
    frame = f'<iframe srcdoc="{escape(html)}" style="border:0; width:{width}px; height:3000px"></iframe>'
    around = folder / "around.html"
    around.write_text(f'<!DOCTYPE html><meta charset="utf-8"><body>{frame}<script>{PROBE}</script>', encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", around.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(\{.*?\})</title>", shown.stdout, re.DOTALL)
    assert title, shown.stderr
    return Opened(re.findall(r"CONSOLE:\d+\] (.*)", shown.stderr), **json.loads(unescape(title[1])))
