"""The example firmware, written against TinyMaix's API alone, compiles without a warning for every architecture."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.device.runtime import DEVICE, STRICT
from tinymaix import api
from tinymaix.chips.build import STARTUP
from tinymaix.chips.tools import zig_cc
from tinymaix.cores import find

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/firmware"
SOURCES = (EXAMPLE / "firmware.c", DEVICE / "tm_model.c", DEVICE / "tm_layers.c")
ZIG = {
    "CPU": "rv32imac",
    "ARM_SIMD": "cortex-m4",
    "ARM_MVEI": "cortex-m55",
    "ARM_NEON": "cortex-a53",
    "ARM_M0": "cortex-m0plus",
    "RV32P": "rv32imac",
    "RV64V": "rv64gcv-vlen128",
}
"""Architecture -> core whose flags compile it."""
PROGRAMS = {
    "AVR": ["avr-gcc", "-mmcu=atmega328p"],
    "XTENSA": ["xtensa-lx106-elf-gcc", "-ffreestanding"],
    "X86_SSE2": ["gcc", "-msse2"],
    "CSKYV2": ["gcc"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.h."""
    folder = tmp_path_factory.mktemp("model")
    api.convert(Path(tinymaix.__file__).parent / "data/mnist_demo.tflite", folder / "model.tmdl")
    return folder


@pytest.mark.parametrize(("language", "level"), [("c", 0), ("c", 1), ("c++", 1)])
@pytest.mark.parametrize("arch", [*ZIG, *PROGRAMS])
def test_no_warning(arch: str, language: str, level: int, model: Path, tmp_path: Path) -> None:
    if arch in PROGRAMS:
        command = PROGRAMS[arch]
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
    else:
        include = str(STARTUP / "include")
        command = [*zig_cc(), *(find(ZIG[arch]).clang or ()), "-isystem", include, "-fno-sanitize=all"]
    standard = ["-x", language, "-std=c99" if language == "c" else "-std=gnu++11"]
    options = ["-O1", *STRICT, f"-DTM_ARCH=TM_ARCH_{arch}", f"-DTM_OPT_LEVEL={level}", f"-I{DEVICE}", f"-I{model}"]
    everything = [*command, *standard, *options, "-c", *map(str, SOURCES)]
    done = subprocess.run(everything, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arch", ["CPU", "X86_SSE2"])
def test_runs(arch: str, model: Path, tmp_path: Path) -> None:
    """On this computer, the digits that the demo knows."""
    library = tmp_path / "firmware.so"
    flags = ["-std=c99", "-O2", "-shared", "-fPIC", f"-DTM_ARCH=TM_ARCH_{arch}", f"-I{DEVICE}", f"-I{model}"]
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    subprocess.run(["gcc", *flags, *map(str, SOURCES), "-o", str(library)], check=True)
    classify = ctypes.CDLL(str(library)).classify
    with np.load(Path(tinymaix.__file__).parent / "data/digits.npz") as file:
        images, labels = (file[name] for name in file.files)
    images = images if images.ndim > 1 else images.reshape(-1, 28, 28)
    found = [classify(np.ascontiguousarray(image, np.uint8).tobytes()) for image in images]
    assert np.mean(np.array(found) == labels) > 0.8
