"""mul_high without a 64-bit product has the bits of the portable one."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.cores.narrow import MUL_HIGH
from tinymaix.ops.fixed_point import mul_high


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for this machine")
    folder = tmp_path_factory.mktemp("narrow")
    source: Path = folder / "narrow.c"
    source.write_text("#include <stdint.h>\n" + MUL_HIGH.source.replace("static ", ""))
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", folder / "narrow.so", source], check=True)
    return ctypes.CDLL(str(folder / "narrow.so"))


EDGES = [-(2**31), -(2**31) + 1, -(2**30), -1, 0, 1, 2**15, 2**16 - 1, 2**16, 2**30, 2**31 - 1]


@given(
    x=st.integers(-(2**31), 2**31 - 1) | st.sampled_from(EDGES),
    multiplier=st.integers(2**30, 2**31 - 1) | st.sampled_from([0, 2**30, 2**30 + 2**16, 2**31 - 1]),
)
def test_narrow(narrow: ctypes.CDLL, x: int, multiplier: int) -> None:
    found = ctypes.c_int32(narrow.mul_high(ctypes.c_int32(x), ctypes.c_int32(multiplier))).value
    assert found == int(mul_high(np.array(x), multiplier))
