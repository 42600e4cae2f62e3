"""bench/farm.py: what is done is kept, and is not done again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.browser import open_page
from tinymaix.demo import DATA

FARM = Path(__file__).parents[1] / "bench" / "farm.py"


def farm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FARM), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_farm_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "damaged.tflite").write_bytes(b"no model")
    (tmp_path / "digits.tflite").write_bytes((DATA / "mnist_demo.tflite").read_bytes())
    first = farm(tmp_path, ".", "--chips", "cortex-m0plus", "--optimize", "speed,flash", "--jobs", "1")
    assert first.returncode == 1
    assert "damaged.tflite on cortex-m0plus, speed: " in first.stdout
    query = "select optimize, bit_exact, instructions > 0 from trials where error is null order by optimize"
    with sqlite3.connect(tmp_path / "farm.sqlite") as database:
        assert database.execute(query).fetchall() == [("flash", 1, 1), ("speed", 1, 1)]
    again = farm(tmp_path, ".", "--chips", "cortex-m0plus", "--optimize", "speed,flash", "--jobs", "1")
    assert "4 trials; farm.sqlite has 4 of them" in again.stdout
    page = [sys.executable, str(FARM.with_name("farm_page.py")), "farm.sqlite", "-o", "farm.html"]
    subprocess.run(page, cwd=tmp_path, check=True)
    opened = open_page((tmp_path / "farm.html").read_text(encoding="utf-8"), tmp_path, 390)
    assert opened.console == []
    assert opened.width <= 390
    assert "2 trials, 0 of them not bit-exact; 2 that could not be run." in opened.text


def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "farm.sqlite").write_bytes(b"no database" * 100)
    model = str(DATA / "mnist_demo.tflite")
    for words, sentence in (
        ((model, "--chips", "nonesuch"), "nonesuch"),
        (("missing.tflite",), "no such file or folder"),
        ((model, "--optimize", "fast"), "unknown --optimize: fast"),
        ((model,), "no database of trials"),
    ):
        refused = farm(tmp_path, *words)
        assert refused.returncode != 0
        assert sentence in refused.stderr
