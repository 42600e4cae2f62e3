"""Cycles of Cortex-M4, M33 and M7.

Cortex-M4: the manual (Arm 100166, table 3-1, section 3.3.2 and, for the FPU, table 7-1). Pipeline refill, stores and
pipelined loads as for the Cortex-M3 (see armv7m/cycles.py; the measurements are on an STM32F407), but every
multiplication takes one cycle, and pre- and post-indexed accesses are pipelined unless they change the base that the
next one uses.

Cortex-M33: its manual (Arm 100230) has no table. Measured on an RP2350 (jnk0le, "pipeline cycle test", cortex_m33.md):
n words take n cycles; what is loaded, multiplied, or computed from a shifted register is ready a cycle later than other
results, except to be stored or accumulated to; a 16-bit branch issues together with a 16-bit instruction before it.
What a taken branch to a register's address costs and how long PC takes from memory is not published.

Cortex-M7: its manual has none either. Measured on an STM32H743 (jnk0le, cortex_m7.md): which instructions start
together (see chips/cycles_m7.py), and that a multiplication's result and a loaded byte or half word are ready a cycle
later than a loaded word; a branch that was not foreseen takes 6 or 8 cycles more. Divisions as on the M4.
"""

from __future__ import annotations

from tinymaix.cores.costs import Branches, Costs, DualIssue, Range

FLOAT_MACS = ("vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms")
FLOAT_LATE = frozenset({"vadd", "vsub", "vmul", "vnmul", "vdiv", "vsqrt", "vcvt", *FLOAT_MACS})
"""One cycle more where the next instruction uses the result (section 7.2.3)."""
LOADS = frozenset({"ldr", "ldrb", "ldrh", "ldrsb", "ldrsh", "vldr"})
HALVES = ("bb", "bt", "tb", "tt")
MULTIPLY = frozenset({"mul", "mla", "mls", "smull", "umull", "smlal", "umlal", "umaal"})
MULTIPLY |= {f"sm{kind}{x}" for kind in ("uad", "usd", "lad", "lsd", "lald", "lsld") for x in ("", "x")}
MULTIPLY |= {f"sm{kind}{halves}" for kind in ("ul", "la", "lal") for halves in HALVES}
MULTIPLY |= {f"sm{kind}" for kind in ("ulwb", "ulwt", "lawb", "lawt", "mul", "mulr", "mla", "mlar", "mls", "mlsr")}
EXTEND_ADD = frozenset({"sxtab", "sxtah", "sxtab16", "uxtab", "uxtah", "uxtab16"})

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
        error=0.05,
        direct=1,
        link=1,
        register=2,
        loaded=3,
        unaligned_target=1,
        system_target=1,
        split_run=1,
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
        source="measurements of jnk0le on an RP2350, else the Cortex-M4's table; the Cortex-M33 has none",
        error=0.12,
        direct=1,
        link=1,
        register=1,
        loaded=2,
        unaligned_target=1,
        split_run=1,
        load=1,
        store=1,
        store_indexed=1,
        multiple=(0, 0),
        late=FLOAT_LATE | LOADS | MULTIPLY | EXTEND_ADD | {"shifted"},
        folded_it=True,
        folded_branch=True,
        others={**COMMON, "muls": (2, 2), "sdiv": (2, 11), "udiv": (2, 11)},
    ),
}
"""By the name of the core."""

CORTEX_M7 = DualIssue(
    source="measurements of jnk0le on an STM32H743; the Cortex-M7 manual has no table",
    error=0.13,
    branches=Branches("counters", wrong=7, taken=0, jump=0, indirect=7, back=7),
    late={
        **dict.fromkeys(MULTIPLY | {"muls"}, 2),
        **dict.fromkeys(("ldrb", "ldrh", "ldrsb", "ldrsh", "vldr"), 2),
        **dict.fromkeys(("vadd", "vsub", "vmul", "vnmul", "vcvt", "vmov"), 3),
        **dict.fromkeys(("vfma", "vfms", "vfnma", "vfnms"), 5),
        **dict.fromkeys(("vmla", "vmls", "vnmla", "vnmls"), 6),
    },
    alone={"sdiv": (2, 12), "udiv": (2, 12), "vdiv": (16, 16), "vsqrt": (14, 14), "vmov2": (1, 1), "mrs": (1, 2)}
    | {"msr": (1, 2), "dmb": (1, 4), "dsb": (1, 4), "isb": (8, 12)},
)
"""The core that starts two instructions a cycle."""
