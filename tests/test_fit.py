"""`tinymaix fit`: which chips a model fits, in which order, and what it says about the others."""

from __future__ import annotations

import json

import pytest

import tinymaix
from tinymaix.chips import find_chip
from tinymaix.cli import main
from tinymaix.demo import DATA
from tinymaix.fit import Limits, fit

MODEL = DATA / "mnist_demo.tflite"
CHIPS = ("rp2040", "stm32f411ce", "stm32h743zi", "esp32")


def test_fastest_first_and_the_unknown_last() -> None:
    found = fit(tinymaix.read(MODEL), [find_chip(name) for name in CHIPS])
    assert [f.chip.name for f in found] == ["stm32f411ce", "rp2040", "stm32h743zi", "esp32"]
    fast, slow, uncounted, unknown = found
    assert fast.fits
    assert slow.fits
    assert fast.bench
    assert fast.bench.bit_exact
    assert fast.fps
    assert slow.fps
    assert fast.fps > slow.fps
    assert uncounted.fits
    assert uncounted.milliseconds is None  # no cycle model of the Cortex-M7
    assert unknown.bench is None
    assert "No compiler" in unknown.note


def test_limits() -> None:
    graph, chip = tinymaix.read(MODEL), find_chip("rp2040")
    (plain,) = fit(graph, [chip])
    assert plain.bench
    assert plain.fps
    (slow,) = fit(graph, [chip], limits=Limits(fps=plain.fps * 2))
    assert slow.fits is False
    assert "slower" in slow.note
    (short,) = fit(graph, [chip], limits=Limits(ram=plain.bench.ram.total - 100, flash=10**6))
    assert short.fits is False
    assert short.ram_missing == 100
    assert short.flash_missing == 0


def test_leaner_ways_are_named() -> None:
    graph, chip = tinymaix.read(MODEL), find_chip("stm32f411ce")
    plain, lean = (fit(graph, [chip], optimize=mode)[0].bench for mode in ("speed", "flash"))
    assert plain
    assert lean
    assert lean.flash.total < plain.flash.total
    (found,) = fit(graph, [chip], optimize="speed", limits=Limits(flash=lean.flash.total))
    assert found.fits is False
    assert "fits with --optimize flash" in found.note


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(MODEL), "--match", "rp2040", "--json"]) == 0
    (chip,) = json.loads(capsys.readouterr().out)
    assert chip["chip"] == "rp2040"
    assert chip["fits"]
    assert chip["bit_exact"]
    assert main(["fit", str(MODEL), "--match", "rp2040"]) == 0
    assert "rp2040" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--match", "no such chip"], "No chip matches"), (["--need-fps", "0"], "more than 0")],
)
def test_mistakes_are_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["fit", str(MODEL), *arguments])
    except SystemExit as exit_:  # argparse's own
        status = int(exit_.code or 0)
    assert status == 2
    assert sentence in capsys.readouterr().err
