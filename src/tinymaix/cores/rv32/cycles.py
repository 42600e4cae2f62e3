"""Cycles of RV32 cores, each from its public documentation or from published measurements.

Where neither tells a figure, the reading that agrees better with published CoreMark figures was chosen, and the error
is wider; docs/cycles.md names those.
"""

from __future__ import annotations

from tinymaix.cores.costs import Branches, Pipeline

FLOAT = {"fdiv": (16, 16), "fsqrt": (16, 16)}
FLOAT_LATENCY = {"fadd": 4, "fmul": 4, "fma": 5, "fload": 2}

CYCLES = {
    "qingke-v2": Pipeline(
        source="measurements on a CH32V003 (jnk0le, ch32v003_(qkv2).md; cpldcpu, instruction_timing)",
        error=0.06,
        branches=Branches("never", wrong=2, taken=2, jump=2, indirect=2, back=2, unaligned=1),
        cycles={"load": (2, 2), "byte": (2, 2), "store": (2, 2)},
    ),
    "qingke-v3": Pipeline(
        source="QingKe V3 manual (static prediction, hardware multiplier), cycles as measured on the QingKe V2",
        error=0.25,
        branches=Branches("never", wrong=2, taken=2, jump=2, indirect=2, back=2, unaligned=1),
        cycles={"load": (2, 2), "byte": (2, 2), "store": (2, 2), "div": (8, 34)},
    ),
    "qingke-v4": Pipeline(
        source="QingKe V4 manual (prediction, single-cycle multiplier); latencies of a short pipeline",
        error=0.15,
        branches=Branches("backward", wrong=2, taken=1, jump=1, indirect=2, back=2, unaligned=1),
        cycles={"div": (8, 34), **FLOAT},
        latency={"load": 2, "byte": 2, **FLOAT_LATENCY},
    ),
    "bumblebee": Pipeline(
        source="Nuclei N200 data sheet (two stages, static prediction, single-cycle multiplier)",
        error=0.15,
        branches=Branches("backward", wrong=2, taken=1, jump=1, indirect=2, back=2, unaligned=1),
        cycles={"div": (17, 33)},
        latency={"load": 2, "byte": 2},
    ),
    "e907": Pipeline(
        source="XuanTie E907 overview (five stages, BHT, BTB, RAS); latencies as in its GCC tuning",
        error=0.2,
        branches=Branches("counters", wrong=4, taken=0, jump=0, indirect=4, back=0),
        cycles={"div": (6, 34), **FLOAT},
        latency={"load": 2, "byte": 2, "mul": 3, "mulh": 3, **FLOAT_LATENCY},
    ),
    "espressif-c6": Pipeline(
        source="measurements on an ESP32-C6 (LLTA-Bench, RESULTS.md)",
        error=0.16,
        branches=Branches("backward", wrong=3, taken=1, jump=1, indirect=2, back=2),
        cycles={"mulh": (2, 2), "div": (10, 10), "amo": (6, 6)},
        latency={"load": 2, "byte": 2},
    ),
    "espressif-c3": Pipeline(
        source="the ESP32-C6's measured latencies without its branch prediction, which the ESP32-C3 lacks",
        error=0.15,
        branches=Branches("never", wrong=3, taken=3, jump=1, indirect=2, back=2),
        cycles={"mulh": (2, 2), "div": (10, 10), "amo": (6, 6)},
        latency={"load": 2, "byte": 2},
    ),
    "hazard3": Pipeline(
        source="Hazard3 documentation, instruction cycle counts (RP2350 data sheet, section 3.8.7)",
        error=0.04,
        branches=Branches("last", wrong=1, taken=0, jump=1, indirect=1, back=1, unaligned=1),
        cycles={"div": (18, 19), "amo": (4, 4)},
        latency={"load": 2, "byte": 2},
        store_late=True,
    ),
    "ibex": Pipeline(
        source='Ibex documentation, pipeline details: two stages, "fast" multiplier',
        error=0.14,
        branches=Branches("never", wrong=2, taken=2, jump=1, indirect=1, back=1, unaligned=1),
        cycles={"load": (2, 2), "byte": (2, 2), "store": (2, 2), "mul": (3, 3), "mulh": (4, 4), "div": (38, 38)},
    ),
    "picorv32": Pipeline(
        source="PicoRV32 README, cycles per instruction (two register ports, ENABLE_MUL, two-stage shifts)",
        error=0.05,
        branches=Branches("never", wrong=2, taken=2, jump=0, indirect=3, back=3),
        cycles={
            "load": (5, 5),
            "byte": (5, 5),
            "store": (5, 5),
            "shift": (4, 14),
            "mul": (40, 40),
            "mulh": (72, 72),
            "div": (40, 40),
        },
        usual=3,
    ),
    "e31": Pipeline(
        source="SiFive FE310-G000 manual, chapter 3 (E31)",
        error=0.16,
        branches=Branches("counters", wrong=3, taken=0, jump=0, indirect=3, back=0),
        cycles={"mul": (5, 5), "mulh": (5, 5), "div": (2, 33)},
        latency={"load": 2, "byte": 3, "csr": 3},
    ),
}
CYCLES["qingke-v4f"] = CYCLES["qingke-v4"]
"""By the name of the core."""
