"""The finish of sums in assembly and its twin in C against `HighRequant.finish`, in each of its four forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.emulate import open_machine
from tinymaix.cores.armv7em.assembly import assembly
from tinymaix.cores.armv7em.requantize import finish_lines, twin_finish
from tinymaix.cores.exact_high import HighRequant, prove_high
from tinymaix.cores.finish import FINISHED_S8, HIGH_PRODUCT
from tinymaix.ops.fixed_point import quantize_multipliers

SUMS = 500
REALS = {"relu": [0.004, 0.003], "varied relu": [5e-5, 0.02], "both signs": [0.004, 0.003], "varied": [5e-5, 0.02]}


def requant(kind: str) -> HighRequant:
    reals = np.array(REALS[kind])
    zero = -128 if kind.endswith("relu") else 3
    reach = np.rint(200 / reals).astype(np.int64)
    shifts = () if kind.startswith("varied") else (12, 10)
    fast = prove_high(*quantize_multipliers(reals), zero, -128, 127, -reach, reach, 0 * reach, shifts, varied=True)
    assert fast is not None
    assert (fast.varied, fast.signed) == (kind.startswith("varied"), zero != -128)
    return fast


def source(fast: HighRequant) -> str:
    """tm_main finishes the sums of both channels, in assembly on an Armv7E-M."""
    words = fast.constants.shape[1]
    constants = ["r4", "r5", "r6"][:words]
    lines = [*(f"ldr {c}, [%2, #{4 * i}]" for i, c in enumerate(constants)), "ldr r7, [%1]"]
    lines += [*finish_lines(["r7"], constants, fast, "%3", "r8"), "mov %0, r7"]
    return f"""\
#include <stdint.h>
{HIGH_PRODUCT.source}{FINISHED_S8.source}
int32_t sums[2][{SUMS}], constants[2][{words}];
int8_t results[2][{SUMS}];
int tm_main(void);
int tm_main(void)
{{
    const int32_t center = {fast.center};
    for (int channel = 0; channel < 2; channel++)
        for (int i = 0; i < {SUMS}; i++) {{
#if defined(__ARM_FEATURE_DSP)
            int32_t y;
            __asm__ volatile(
{assembly(lines)}
                : "=r"(y) : "r"(&sums[channel][i]), "r"(constants[channel]), "r"(center)
                : "r4", "r5", "r6", "r7", "r8", "memory");
            results[channel][i] = (int8_t)y;
#else
            uint32_t sum = (uint32_t)sums[channel][i];
            const int32_t *constant = constants[channel];
            results[channel][i] = {twin_finish(fast)};
#endif
        }}
    return 0;
}}
"""


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "host"])
@pytest.mark.parametrize("kind", REALS)
def test_finish(kind: str, core: str, tmp_path: Path) -> None:
    fast = requant(kind)
    (tmp_path / "finish.c").write_text(source(fast))
    machine = open_machine(build([tmp_path / "finish.c"], find_chip(core), out_dir=tmp_path / "build"))
    reach = np.array([200 * 256 / real for real in REALS[kind]])
    sums = np.linspace(-reach, reach, SUMS, axis=1).astype("<i4")
    writes = {"sums": sums.tobytes(), "constants": fast.constants.astype("<i4").tobytes()}
    memory = machine.run(writes, {"results": 2 * SUMS}, count=False).memory
    expected = fast.finish(sums.T.astype(np.int64)).T.astype(np.int8)
    assert memory["results"] == expected.tobytes()
