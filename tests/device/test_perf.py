"""TM_EN_PERF: what the library counts, with a clock that ticks whenever it is read; and firmware with its macros."""

from __future__ import annotations

import ctypes
import subprocess
from ctypes import c_uint64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.device import runtime as r
from tests.device.runtime import Layer, Library, tmdl
from tests.device.test_api import CONV

POINTWISE = replace(
    CONV, in_dims=(4, 4, 3), in_oft=32, out_oft=80, kernel=(1, 1), pad=(0, 0, 0, 0), weights=np.arange(9, dtype=np.int8)
)
DEPTHWISE = replace(
    CONV,
    type=r.DWCONV2D,
    in_dims=(4, 4, 3),
    in_oft=80,
    out_oft=128,
    weights=np.arange(27, dtype=np.int8),
    is_out=0,
)
SOFTMAX = Layer(r.SOFTMAX, (4, 4, 3), (4, 4, 3), 128, 176, (0.1, 3), (1 / 256, -128))
NET = tmdl([replace(CONV, is_out=0), replace(POINTWISE, is_out=0), DEPTHWISE, SOFTMAX], 224)
CLOCK = "extern unsigned reads;\n#define TM_GET_TICK(x) ((x) = reads++)\n#define TM_TICK_PERUS 64\n"
COUNTERS = "conv", "pwconv", "dwconv", "other", "valid", "pad", "sbuf", "dotp", "post"


def counts(folder: Path, level: str) -> dict[str, int]:
    """The counters after one run, whose output is that of a library that counts nothing."""
    (folder / "clock.h").write_text(CLOCK)
    (folder / "clock.c").write_text("unsigned reads;\n")
    perf = ["-DTM_EN_PERF=1", "-include", str(folder / "clock.h"), str(folder / "clock.c")]
    timed = Library(folder, [f"-DTM_OPT_LEVEL={level}", *perf])
    (folder / "plain").mkdir()
    x = np.arange(32, dtype=np.int8).reshape(4, 4, 2)
    expected = Library(folder / "plain", [f"-DTM_OPT_LEVEL={level}"]).load(NET).run(x)
    assert (timed.load(NET).run(x) == expected).all()
    return {counter: c_uint64.in_dll(timed.c, f"t_{counter}").value for counter in COUNTERS}


EDGE = 12
"""Of the 16 windows of 3x3 in a picture of 4x4 with pads."""


def test_small(tmp_path: Path) -> None:
    """Two reads of the clock a window, of which one lies in it; the layers' own reads are around these."""
    found = counts(tmp_path, "TM_OPT0")
    assert [found[k] for k in ("conv", "pwconv", "dwconv", "other")] == [97, 97, 97, 1]
    assert (found["pad"], found["valid"]) == (2 * 3 * EDGE, 2 * 3 * (16 - EDGE) + 3 * 16)
    assert found["sbuf"] == found["dotp"] == found["post"] == 0


def test_fast(tmp_path: Path) -> None:
    found = counts(tmp_path, "TM_OPT1")
    assert (found["pad"], found["valid"]) == (EDGE, 16 - EDGE)
    assert all(found[k] > 0 for k in ("conv", "pwconv", "dwconv", "sbuf", "dotp", "post"))
    assert found["other"] == 1
    assert found["sbuf"] + found["dotp"] + found["post"] < found["conv"] + found["pwconv"] + found["dwconv"]


def test_several_types_in_one_firmware_count_apart(tmp_path: Path) -> None:
    path = tmp_path / "both.so"
    for kind in ("INT8", "FP32"):
        options = ["-fPIC", "-DTM_EN_PERF=1", f"-DTM_MDL_TYPE=TM_MDL_{kind}", f"-DTM_PREFIX={kind}_"]
        for part in ("tm_model", "tm_layers"):
            r.compile_c([*options, "-c", r.DEVICE / f"{part}.c", "-o", tmp_path / f"{kind}_{part}.o"])
    r.compile_c(["-shared", *tmp_path.glob("*.o"), "-o", path])
    library = ctypes.CDLL(str(path))
    assert all(c_uint64.in_dll(library, f"{kind}_t_{k}").value == 0 for kind in ("INT8", "FP32") for k in COUNTERS)


FIRMWARE = """
#include "tinymaix.h"
TM_PERF_REG(t_mine);
TM_PERF_EXTREG(t_conv); TM_PERF_EXTREG(t_pwconv); TM_PERF_EXTREG(t_dwconv);
TM_PERF_EXTREG(t_valid); TM_PERF_EXTREG(t_pad);
TM_PERF_EXTREG(t_sbuf); TM_PERF_EXTREG(t_dotp); TM_PERF_EXTREG(t_post);
int main(void)
{
    int i;
    TM_PERF_INIT(t_mine);
    TM_PERF_START(t_mine);
    for (i = 0; i < 640; i++) {
        TM_PERF_ADD(t_mine);
    }
    TM_PERF_PRINT(t_mine); TM_PERF_PRINT(t_conv); TM_PERF_PRINT(t_pwconv); TM_PERF_PRINT(t_dwconv);
    TM_PERF_PRINT(t_valid); TM_PERF_PRINT(t_pad); TM_PERF_PRINT(t_sbuf); TM_PERF_PRINT(t_dotp); TM_PERF_PRINT(t_post);
    return 0;
}
"""


@pytest.mark.parametrize("level", ["TM_OPT0", "TM_OPT1"])
@pytest.mark.parametrize("flags", [["gcc", "-std=c99"], ["g++", "-x", "c++"]], ids=["c99", "c++"])
def test_firmware(tmp_path: Path, flags: list[str], level: str) -> None:
    """As the original's own examples count; where it is 0, the same text compiles and prints nothing."""
    main, clock = tmp_path / "main.c", tmp_path / "clock.h"
    main.write_text(FIRMWARE)
    clock.write_text("static unsigned reads;\n" + CLOCK.split("\n", 1)[1])
    for perf, printed in ((1, "PERF t_mine: 10 us"), (0, "")):
        options: list[str | Path] = ["-O1", *r.STRICT, "-Wno-unused-variable", "-I", r.DEVICE, f"-DTM_EN_PERF={perf}"]
        with_clock: list[str | Path] = ["-include", clock] if perf else []
        out = tmp_path / f"firmware{perf}"
        r.compile_c(
            [*flags[1:], f"-DTM_OPT_LEVEL={level}", *options, *with_clock, main, *r.SOURCES, "-o", out], flags[0]
        )
        lines = subprocess.run([out], capture_output=True, text=True, check=True).stdout.splitlines()
        assert (lines or [""])[0] == printed
        assert len(lines) == 9 * perf


@pytest.mark.parametrize("level", ["TM_OPT0", "TM_OPT1"])
def test_the_clock_is_the_c_library_s(tmp_path: Path, level: str) -> None:
    for source in r.SOURCES:
        options = ["-std=c99", "-Os", f"-DTM_OPT_LEVEL={level}", "-DTM_EN_PERF=1", *r.STRICT]
        r.compile_c([*options, "-c", source, "-o", tmp_path / "out.o"], "gcc")
