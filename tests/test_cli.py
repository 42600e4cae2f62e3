"""The command line as a user meets it: contracts, errors, odd paths."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinymaix
from tinymaix.cli import main
from tinymaix.compile.project import golden_inputs
from tinymaix.demo import DATA

MODEL = DATA / "mnist_demo.tflite"


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    """A .npy with one input of the demo model, in a folder whose name has a space."""
    folder = tmp_path / "my digits"
    folder.mkdir()
    x = np.random.default_rng(3).integers(-128, 128, tinymaix.read(MODEL).inputs[0].shape, dtype=np.int8)
    np.save(folder / "x.npy", x)
    return folder / "x.npy"


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The sentence of a command that must fail with status 2, without a traceback and without output."""
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("tinymaix: ")
    assert "Traceback" not in captured.err
    assert captured.out == ""
    return captured.err


def test_run_on_reference_and_host(digit: Path) -> None:
    for on in ("reference", "host"):
        assert (
            main(["run", str(MODEL), "--input", str(digit), "--output", str(digit.parent / f"{on}.npy"), "--on", on])
            == 0
        )
    expected = tinymaix.run(MODEL, np.load(digit))[0]
    for on in ("reference", "host"):
        assert np.array_equal(np.load(digit.parent / f"{on}.npy"), expected)


def test_run_npz(digit: Path) -> None:
    np.savez(digit.parent / "x.npz", in0=np.load(digit))
    out = digit.parent / "y.npz"
    assert main(["run", str(MODEL), "--input", str(digit.parent / "x.npz"), "--output", str(out)]) == 0
    assert np.array_equal(np.load(out)["out0"], tinymaix.run(MODEL, np.load(digit))[0])


def test_bench_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(MODEL), "--chip", "cortex-m4", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["bit_exact"] is True
    assert figures["instructions"] > figures["macs"] > 0
    assert figures["flash"]["total"] == figures["flash"]["code"] + figures["flash"]["weights"]
    assert figures["ram"]["total"] == sum(figures["ram"][k] for k in ("arena", "static", "stack"))
    assert {"cycles", "milliseconds"} <= figures.keys()


def test_weights_in_ram(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where flash is slow, bench says what they would gain there; then it is so, for as much RAM."""
    command = ["bench", str(MODEL), "--chip", "nrf52832", "--json"]
    in_flash, in_ram = (bench_of(capsys, *command, "--weights", where) for where in ("flash", "ram"))
    assert in_flash["constant_waits"] > 0.05 * in_flash["cycles"]
    assert in_ram["constant_waits"] < 0.1 * in_flash["constant_waits"]
    assert in_ram["cycles"] < in_flash["cycles"]
    assert in_ram["bit_exact"]
    assert in_ram["flash"]["weights"] == in_flash["flash"]["weights"]
    more = in_ram["ram"]["total"] - in_flash["ram"]["total"]
    assert 0 <= more - in_flash["flash"]["weights"] < 32
    assert main(command[:-1]) == 0
    out = capsys.readouterr().out
    assert re.search(r"nrf52832: \d+% of the cycles wait for constants in flash; --weights ram reads them", out)
    assert main([*command[:-1], "--weights", "ram"]) == 0
    assert "--weights" not in capsys.readouterr().out
    assert main(["compile", str(MODEL), "--chip", "cortex-m4", "--weights", "ram", "-o", str(tmp_path / "ram")]) == 0
    assert "#define WEIGHTS_IN_RAM\n" in (tmp_path / "ram/model.c").read_text()
    assert main(["compile", str(MODEL), "--chip", "atmega328p", "--weights", "ram", "-o", str(tmp_path / "avr")]) == 2
    assert "reads constants from flash" in capsys.readouterr().err
    assert not (tmp_path / "avr").exists()


def bench_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(list(arguments)) == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


def test_bench_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for _ in range(2):
        assert main(["bench", str(MODEL), "--chip", "cortex-m0plus", "--json"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_compile_writes_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my firmware"
    assert main(["compile", str(MODEL), "--chip", "atmega328p", "-o", str(folder), "--json"]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["harness.c", "model.c", "model.h", "selftest.c"]
    assert "mnist_demo_run" in (folder / "model.h").read_text()
    assert json.loads(capsys.readouterr().out)["arena"] > 0


def test_selftest_passes(tmp_path: Path) -> None:
    from tinymaix.chips.tools import host_cc

    main(["compile", str(MODEL), "--chip", "host", "-o", str(tmp_path)])
    sources = [str(tmp_path / name) for name in ("model.c", "selftest.c")]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-DSELFTEST_MAIN", "-o", str(tmp_path / "selftest")]
    subprocess.run([*host_cc(), *flags, *sources], check=True)
    assert subprocess.run([tmp_path / "selftest"]).returncode == 0


def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.tmdl"
    assert main(["convert", str(MODEL), str(out)]) == 0
    assert "pack model head" in capsys.readouterr().out
    assert out.read_bytes()[:4] == b"MAIX"
    assert "mdl_data" in (tmp_path / "m.h").read_text()


def test_inspect_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(MODEL), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["macs"] == sum(layer["macs"] for layer in figures["layers"])


def test_tables_print(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(MODEL)]) == 0
    assert main(["chips", "stm32"]) == 0
    text = capsys.readouterr().out
    assert "CONV_2D" in text
    assert "stm32f411ce" in text


def test_unknown_chip_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "atmega328p" in fails(capsys, "bench", MODEL, "--chip", "atmega32p")


def test_missing_and_damaged_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read" in fails(capsys, "inspect", tmp_path / "none.tflite")
    (tmp_path / "text.tflite").write_text("hello")
    assert "not a model that can be read" in fails(capsys, "inspect", tmp_path / "text.tflite")
    (tmp_path / "cut.tflite").write_bytes(MODEL.read_bytes()[:1000])
    assert "damaged" in fails(capsys, "inspect", tmp_path / "cut.tflite")
    assert "cannot be read" in fails(capsys, "inspect", tmp_path)


def test_wrong_inputs(digit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = digit.parent / "y.npy"
    np.save(digit.parent / "float.npy", np.zeros((1, 28, 28, 1), np.float64))
    assert "takes int8" in fails(capsys, "run", MODEL, "--input", digit.parent / "float.npy", "--output", out)
    (digit.parent / "bad.npy").write_bytes(b"\x93NUMPY nonsense")
    assert "not a .npy" in fails(capsys, "run", MODEL, "--input", digit.parent / "bad.npy", "--output", out)
    np.savez(digit.parent / "other.npz", x=np.load(digit))
    assert "no array 'in0'" in fails(capsys, "run", MODEL, "--input", digit.parent / "other.npz", "--output", out)
    assert "No such file" in fails(capsys, "run", MODEL, "--input", digit.parent / "none.npy", "--output", out)
    assert not out.exists()


def test_unwritable_output_leaves_nothing(digit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = digit.parent / "no folder" / "y.npy"
    assert (
        fails(capsys, "run", MODEL, "--input", digit, "--output", out)
        == f"tinymaix: {out}: No such file or directory\n"
    )
    assert [p.name for p in digit.parent.iterdir()] == ["x.npy"]


def test_missing_tool_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ziglang", None)
    monkeypatch.setitem(sys.modules, "unicorn", None)
    assert "tinymaix[chips]" in fails(capsys, "bench", MODEL, "--chip", "cortex-m4")


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("inspect", "convert", "compile", "run", "bench", "chips", "cache", "demo"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert f"tinymaix {command}" in capsys.readouterr().out.split("examples:")[1]


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinymaix", "chips", "rp2040", "--json"], capture_output=True, check=True
    )
    assert json.loads(done.stdout)[0]["name"] == "rp2040"


def test_a_broken_pipe_is_quiet() -> None:
    shell = f'"{sys.executable}" -m tinymaix.cli chips --json | head -c 10'
    result = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, env=os.environ)
    assert result.stderr == ""


def test_run_by_steps(digit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model without states gives each step what it gives alone; a wrong number of steps is a sentence."""
    one, steps, out = np.load(digit), digit.parent / "steps.npy", digit.parent / "y.npy"
    np.save(steps, np.stack([one, -one]))
    for on in ("reference", "host"):
        assert main(["run", str(MODEL), "--input", str(steps), "--output", str(out), "--steps", "--on", on]) == 0
        expected = [tinymaix.run(MODEL, x)[0] for x in (one, -one)]
        assert np.array_equal(np.load(out), np.stack(expected))
    np.save(steps, np.zeros((0, *one.shape), np.int8))
    sentence = fails(capsys, "run", MODEL, "--input", steps, "--output", out, "--steps")
    assert "one axis more in front" in sentence


def test_inspect_for_a_chip(capsys: pytest.CaptureFixture[str]) -> None:
    """What computes each layer: the core's kernels on a Cortex-M4, portable C on an AVR."""
    ways = {}
    for chip in ("cortex-m4", "atmega328p"):
        assert main(["inspect", str(MODEL), "--chip", chip, "--json"]) == 0
        ways[chip] = {layer["way"] for layer in json.loads(capsys.readouterr().out)["layers"]}
    assert any("channels a turn" in way for way in ways["cortex-m4"])
    assert "portable C" in ways["atmega328p"]
    assert main(["inspect", str(MODEL), "--chip", "cortex-m4"]) == 0
    assert "computed by" in capsys.readouterr().out


def test_convert_with_more_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    """What the original runtime cannot run is refused, and written where it is asked for."""
    model, out = shared / "models" / "mlperf_tiny" / "models" / "kws" / "kws_ref_model.tflite", tmp_path / "m.tmdl"
    fails(capsys, "convert", model, out)
    assert not out.exists()
    assert main(["convert", str(model), str(out), "--more-layers"]) == 0
    x = golden_inputs(tinymaix.read(model))
    assert np.array_equal(tinymaix.run(model, x)[0].astype(np.float32).argmax(), tinymaix.run(out, x)[0].argmax())
