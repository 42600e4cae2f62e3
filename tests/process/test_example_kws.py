"""examples/kws: the script, and the firmware's loop compiled with the model, hear the same in the same recordings."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tinymaix

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kws"
HEARD = {"0a": 0, "0b": 0, "1a": 1, "2a": None}
MAIN = """
#include <stdio.h>
#include <string.h>
#include "model.h"
void listen(void);
static FILE *sound;
int microphone_read(int16_t *samples, int count) { return (int)fread(samples, 2, (size_t)count, sound) == count; }
void keyword_heard(int keyword) { printf("%d\\n", keyword); }
int main(int argc, char **argv)
{
    sound = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (sound) listen();
    return !sound;
}
"""


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """The example with its model."""
    shutil.copy(shared / "models" / "tinymaix" / "tmdl" / "kws_q.tmdl", tmp_path)
    shutil.copy(EXAMPLE / "kws.toml", tmp_path)
    return tmp_path


def listen() -> ModuleType:
    spec = importlib.util.spec_from_file_location("listen", EXAMPLE / "listen.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_hears_a_keyword(folder: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shared / "models" / "tinymaix" / "kws" / "1a.wav"
    assert listen().main([str(folder / "kws.toml"), str(path), "--labels", "zero,one,-", "--on", "host"]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["one"]


def test_the_firmware_hears_them_too(folder: Path, shared: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for this machine")
    tinymaix.compile(folder / "kws.toml", "host", folder, name="model")
    (folder / "main.c").write_text(MAIN)
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-I", str(folder)]
    sources = [folder / "main.c", folder / "model.c", EXAMPLE / "microphone.c"]
    subprocess.run([compiler, *flags, "-o", str(folder / "hear"), *map(str, sources)], check=True)
    for name, keyword in HEARD.items():
        samples = listen().recording(str(shared / "models" / "tinymaix" / "kws" / f"{name}.wav"))
        samples.astype("<i2").tofile(folder / "sound")
        result = subprocess.run(
            [str(folder / "hear"), str(folder / "sound")], capture_output=True, text=True, check=True
        )
        assert result.stdout.split() == ([] if keyword is None else [str(keyword)])


def test_a_class_is_said_once() -> None:
    scores = np.array([[0.9, 0.1]] * 5 + [[0.2, 0.8]] * 2 + [[0.9, 0.1]] * 5 + [[0.2, 0.8]] * 4)
    assert list(listen().heard(scores, 0.7, 3)) == [(2, 0), (14, 1)]
