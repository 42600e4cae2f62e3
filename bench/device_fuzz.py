"""Damaged model files through load and run of the device library under AddressSanitizer and UBSan.

    python bench/device_fuzz.py                       100,000 mutants
    python bench/device_fuzz.py --mutants 1000000 --seed 7

The harness is tests/device/fuzz.c: every mutant lies in memory of exactly its size. Prints a line for each build and
model; the exit status is 1 after a finding. The original: 185 of 500 mutants were unsafe.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.conftest import MODELS
from tests.device.test_fuzz import build, every_layer
from tests.device.test_more import network

from tinymaix.write.tmdl import tmdl_bytes

BUILDS = {
    "TM_OPT0": ["-DTM_OPT_LEVEL=TM_OPT0"],
    "TM_OPT1": ["-DTM_OPT_LEVEL=TM_OPT1"],
    "TM_OPT1, small scratch": ["-DTM_OPT_LEVEL=TM_OPT1", "-DTM_MAX_CSIZE=3", "-DTM_MAX_KCSIZE=20"],
    "TM_OPT1, SSE2": ["-DTM_OPT_LEVEL=TM_OPT1", "-DTM_ARCH=TM_ARCH_X86_SSE2"],
    "TM_SINGLE_LAYER": ["-DTM_SINGLE_LAYER=1"],
    "TM_MORE_LAYERS": ["-DTM_MORE_LAYERS=1", "-DTM_OPT_LEVEL=TM_OPT1"],
}
SHIPPED = ("mnist_arduino_q", "mnist_valid_q", "mnist_resnet_q", "kws_q")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    findings = total = loaded = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        small = folder / "every_layer.tmdl"
        small.write_bytes(every_layer())
        more = folder / "more_layers.tmdl"
        more.write_bytes(tmdl_bytes(network(True), more_layers=True).data)
        models = [small, more, *(path for stem in SHIPPED if (path := MODELS / f"tinymaix/tmdl/{stem}.tmdl").exists())]
        weights = {model: 4 if model in (small, more) else 1 for model in models}
        jobs = [
            (name, model)
            for name in BUILDS
            for model in models
            if model != more or "-DTM_MORE_LAYERS=1" in BUILDS[name]
        ]
        share = -(-options.mutants // sum(weights[model] for _, model in jobs))
        programs = {name: build(Path(tempfile.mkdtemp(dir=folder)), flags) for name, flags in BUILDS.items()}
        for name, model in jobs:
            mutants = share * weights[model]
            command = [str(programs[name]), str(model), str(options.seed), str(mutants)]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            total += mutants
            if done.returncode:
                findings += 1
                print(f"{name}, {model.stem}: FINDING\n{done.stderr[-3000:]}", flush=True)
            else:
                loaded += int(done.stdout)
                print(f"{name}, {model.stem}: {mutants} mutants, {int(done.stdout)} loaded and ran", flush=True)
    print(f"{total} mutants, {loaded} loaded and ran, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
