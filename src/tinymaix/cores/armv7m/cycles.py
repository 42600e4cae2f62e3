"""Cycles of Cortex-M3.

The manual (Arm 100165, table 3-1 and section 3.3.2) gives P, the refill of the pipeline, as 1 to 3. The target of a
branch to a constant address is fetched while the branch is decoded (P = 1: a loop of SUBS and BNE takes 3 cycles), of
one to a register's while it is executed (P = 2), of one to an address in memory after its load (P = 3: LDR PC takes at
least 5). A 32-bit target across two words needs one fetch more. Measured on an STM32F103 (jnk0le, "pipeline cycle
test"): a store with constant offset takes one cycle, also right after a load, whose second cycle it fills; a load waits
one cycle after a store; pre- and post-indexed accesses are not pipelined after a load. Three 32-bit instructions in a
row across words may wait for their fetch (compendium.i-0.nl, "Alignment rules"). Fetches over the system bus, from RAM
at 0x20000000 and above, are registered and a cycle late, which the target of a branch waits for (section 1.3; measured
for modm on an STM32F103 and L152, and on five STM32F4).
"""

from __future__ import annotations

from tinymaix.cores.costs import Costs

CYCLES = {
    "cortex-m3": Costs(
        source="Cortex-M3 Technical Reference Manual (Arm 100165), table 3-1 and section 3.3.2",
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
        store_load=1,
        address=1,
        folded_it=True,
        others={
            "mla": (2, 2),
            "mls": (2, 2),
            "smull": (3, 5),
            "umull": (3, 5),
            "smlal": (4, 7),
            "umlal": (4, 7),
            "sdiv": (2, 12),
            "udiv": (2, 12),
            "tbb": (3, 3),  # two for the load, one for the addition (section 3.3.2)
            "tbh": (3, 3),
            "mrs": (1, 2),
            "msr": (1, 2),
        },
    )
}
"""By the name of the core."""
