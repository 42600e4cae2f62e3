"""Cycles of Cortex-M4 and M33. The M7 has none: it issues two instructions a cycle and no manual says which.

Cortex-M4: the manual (Arm 100166, table 3-1, section 3.3.2 and, for the FPU, table 7-1). Pipeline refill, stores and
pipelined loads as for the Cortex-M3 (see armv7m/cycles.py; the measurements are on an STM32F407), but every
multiplication takes one cycle, and pre- and post-indexed accesses are pipelined unless they change the base that the
next one uses.

Cortex-M33: its manual (Arm 100230) has no table. It generates addresses and resolves branches in the second of its
three stages, so a load takes one cycle and the next instruction waits one more only if it uses what was loaded
(Elektronik, "Cortex-M23 und -M33 sind erste ARMv8-M-CPUs"); a loop of SUBS and BHI takes 3 cycles (Nordic, nrfx delay).
Pairs of 16-bit instructions that it issues together are not modelled, hence the larger error.
"""

from __future__ import annotations

from tinymaix.cores.costs import Costs, Range

FLOAT_MACS = ("vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms")
FLOAT_LATE = frozenset({"vadd", "vsub", "vmul", "vnmul", "vdiv", "vsqrt", "vcvt", *FLOAT_MACS})
"""One cycle more where the next instruction uses the result (section 7.2.3)."""
LOADS = frozenset({"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "vldr"})

COMMON: dict[str, Range] = {
    "vdiv": (14, 14),
    "vsqrt": (14, 14),
    **dict.fromkeys(FLOAT_MACS, (3, 3)),
    "vmov2": (2, 2),
    "tbb": (3, 3),  # two for the load, one for the addition (section 3.3.2)
    "tbh": (3, 3),
    "mrs": (1, 2),
    "msr": (1, 2),
}

CYCLES = {
    "cortex-m4": Costs(
        source="Cortex-M4 Technical Reference Manual (Arm 100166), tables 3-1 and 7-1, section 3.3.2",
        error=0.08,
        direct=1,
        link=1,
        register=2,
        loaded=3,
        unaligned_target=1,
        load=2,
        store=1,
        store_indexed=2,
        pipelined=True,
        chained=True,
        store_load=1,
        address=1,
        late=FLOAT_LATE,
        folded_it=True,
        others={**COMMON, "sdiv": (2, 12), "udiv": (2, 12)},
    ),
    "cortex-m33": Costs(
        source="the Cortex-M4's table with the pipeline that is published of the Cortex-M33, which has no table",
        error=0.2,
        direct=1,
        link=1,
        register=1,
        loaded=2,
        unaligned_target=1,
        load=1,
        store=1,
        store_indexed=1,
        multiple=(0, 1),
        late=FLOAT_LATE | LOADS,
        folded_it=True,
        others={**COMMON, "sdiv": (2, 11), "udiv": (2, 11)},
    ),
}
"""By the name of the core."""
