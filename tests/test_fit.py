"""`tinymaix fit`: which chips a model fits, in which order, what it says about the others, what it keeps on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tinymaix
from tinymaix import measured
from tinymaix.advice import lighter
from tinymaix.chips import chips, find_chip
from tinymaix.cli import main
from tinymaix.demo import DATA
from tinymaix.fit import Limits, fit

MODEL = DATA / "mnist_demo.tflite"
CHIPS = ("rp2040", "stm32f411ce", "k210", "esp32")


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the entries of this file, which its tests share."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured, "folder", lambda: folder)
        yield folder


def test_fastest_first_and_the_unknown_last() -> None:
    found = fit(tinymaix.read(MODEL), [find_chip(name) for name in CHIPS])
    assert [f.chip.name for f in found] == ["stm32f411ce", "rp2040", "k210", "esp32"]
    fast, slow, uncounted, unknown = found
    assert fast.fits
    assert slow.fits
    assert fast.bench
    assert fast.bench.bit_exact
    assert fast.fps
    assert slow.fps
    assert fast.fps > slow.fps
    assert uncounted.fits
    assert uncounted.milliseconds is None  # no cycle model of its core
    assert unknown.bench is None
    assert "No compiler" in unknown.note


def test_figures_are_those_of_the_command_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(MODEL), "--match", "stm32f411re", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert main([*row["command"].split()[1:], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["flash"]["total"] == row["flash"]
    assert again["ram"]["total"] == row["ram"]
    for name in ("cycles", "cycles_error", "milliseconds", "millijoules", "instructions", "bit_exact", "fits"):
        assert again[name] == row[name]


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


def test_energy() -> None:
    graph, chip = tinymaix.read(MODEL), replace(find_chip("rp2040"), active_ma=20, volts=3.0)
    (plain,) = fit(graph, [chip])
    assert plain.milliseconds
    assert plain.millijoules == pytest.approx(plain.milliseconds * 0.06)
    assert plain.millijoules
    (hungry,) = fit(graph, [chip], limits=Limits(millijoules=plain.millijoules / 2))
    assert hungry.fits is False
    assert "mJ" in hungry.note
    (unknown,) = fit(graph, [replace(chip, active_ma=None)], limits=Limits(millijoules=1))
    assert unknown.fits is None


def test_leaner_ways_are_named() -> None:
    graph, chip = tinymaix.read(MODEL), find_chip("stm32f411ce")
    plain, lean = (fit(graph, [chip], optimize=mode)[0].bench for mode in ("speed", "flash"))
    assert plain
    assert lean
    assert lean.flash.total < plain.flash.total
    (found,) = fit(graph, [chip], optimize="speed", limits=Limits(flash=lean.flash.total))
    assert found.fits is False
    assert "fits with --optimize flash" in found.note
    (slow,) = fit(graph, [chip], optimize="speed", limits=Limits(flash=lean.flash.total, fps=1e6))
    assert "slower than 1e+06 a second; with --optimize flash its memories suffice" in slow.note


def test_advice_counts_bytes() -> None:
    graph, chip = tinymaix.read(MODEL), find_chip("stm32f411ce")
    (found,) = fit(graph, [chip])
    assert found.bench
    layers = [node for node in graph.nodes if node.op.kind in ("CONV_2D", "FULLY_CONNECTED")]
    weights = sum(node.input(1).elements for node in layers)
    (enough,) = lighter(graph, found.bench, 10, 0)
    assert enough.startswith("int4 weights (")
    assert enough.endswith(f"save {weights // 2:,} bytes of flash")
    (short,) = lighter(graph, found.bench, weights, 0)
    assert short.endswith(f"{weights - weights // 2:,} too few")
    (smaller,) = lighter(graph, found.bench, 0, found.bench.ram.arena // 2)
    assert smaller.startswith("an input of 19x19 instead of 28x28")
    (alone,) = lighter(graph, found.bench, 0, found.bench.ram.arena)
    assert f"{found.bench.ram.arena:,} bytes" in alone


def test_measured_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, chip = tinymaix.read(MODEL), find_chip("rp2040")
    (first,) = fit(graph, [chip])
    monkeypatch.setattr(measured, "Deployment", None)
    assert fit(tinymaix.read(MODEL), [chip]) == [first]
    monkeypatch.undo()
    for path in own_cache.glob("*.json"):
        path.write_text('{"bench": {}}')
    assert fit(graph, [chip]) == [first]
    other = tinymaix.read(MODEL)
    other.name = "other"
    assert measured.model_key(graph) == measured.model_key(tinymaix.read(MODEL)) != measured.model_key(other)


def test_cores_that_run_the_same_program_are_built_for_once() -> None:
    names = ("esp32c6", "ch32v203c8", "rp2350-hazard3")
    keys = {measured.build_key(find_chip(name).core) for name in names}
    assert len(keys) == 1
    others = {measured.build_key(find_chip(name).core) for name in ("w801", "sc5864b-dsp", "rp2040", "stm32f030r8")}
    assert len(others | keys) == 5


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(MODEL), "--match", "rp2040", "--json"]) == 0
    (chip,) = json.loads(capsys.readouterr().out)
    assert chip["chip"] == "rp2040"
    assert chip["fits"]
    assert chip["bit_exact"]
    assert main(["fit", str(MODEL), "--match", "rp2040"]) == 0
    out = capsys.readouterr().out
    assert "rp2040" in out
    assert "--chip rp2040 --optimize balanced --layers" in out


def test_there_are_chips_enough() -> None:
    assert sum(chip.core.buildable and chip.core.emulator is not None for chip in chips().values()) >= 80


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
