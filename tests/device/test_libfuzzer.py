"""A short run of libFuzzer over load and run, led by what it covers: docs/porting.md says how to run it for longer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.device.runtime import DEVICE
from tests.device.test_fuzz import every_layer
from tests.device.test_more import network
from tinymaix.write.tmdl import tmdl_bytes

CLANG = shutil.which("clang")
BUILDS = {
    "OPT0": (["-DTM_OPT_LEVEL=TM_OPT0"], False),
    "OPT1": (["-DTM_OPT_LEVEL=TM_OPT1", "-DTM_MORE_LAYERS=1"], True),
}


@pytest.mark.parametrize("name", BUILDS)
def test_short(tmp_path: Path, name: str) -> None:
    flags, more = BUILDS[name]
    corpus, program = tmp_path / "corpus", tmp_path / "fuzz"
    corpus.mkdir()
    (corpus / "every_layer.tmdl").write_bytes(every_layer())
    if more:
        (corpus / "more_layers.tmdl").write_bytes(tmdl_bytes(network(True), more_layers=True).data)
    sources = [Path(__file__).with_name("fuzz.c"), *(DEVICE / f"tm_{part}.c" for part in ("model", "layers", "more"))]
    options = ["-O1", "-g", "-DFUZZ_ENTRY=1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    if CLANG is None:
        pytest.skip("clang is not installed (apt-get install clang libclang-rt-dev)")
    built = subprocess.run(
        [CLANG, *options, *flags, "-I", DEVICE, *sources, "-o", program], capture_output=True, text=True, check=False
    )
    if "cannot find" in built.stderr and "fuzzer" in built.stderr:
        pytest.skip("clang has no libFuzzer here (apt-get install libclang-rt-dev)")
    assert built.returncode == 0, built.stderr
    limits = ["-runs=8000", "-max_total_time=6", "-max_len=4096", "-timeout=20", "-seed=1", "-rss_limit_mb=4096"]
    environment = {"ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=0"}
    done = subprocess.run(
        [program, *limits, f"-artifact_prefix={tmp_path}/", corpus],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DONE" in done.stderr
