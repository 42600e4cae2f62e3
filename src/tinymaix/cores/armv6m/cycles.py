"""Cycles of Cortex-M0 and M0+: their manuals give one figure an instruction, so the counts are exact.

That is: for memory without wait states and the single-cycle multiplier (the 32-cycle one is an option of the core that
general purpose chips do not take).
"""

from __future__ import annotations

from tinymaix.cores.costs import Costs, Range


def _system(cycles: int) -> dict[str, Range]:
    """Special registers and barriers."""
    return dict.fromkeys(("mrs", "msr", "dmb", "dsb", "isb"), (cycles, cycles)) | {"wfe": (2, 2), "wfi": (2, 2)}


CYCLES = {
    # MOV PC, B, taken B<cond> 3, BL 4, BX and BLX 3, POP {PC} 4 + N, loads and stores 2 (1 + N).
    "cortex-m0": Costs(
        source="Cortex-M0 Technical Reference Manual (DDI 0432C), table 3-1",
        error=0.01,
        direct=2,
        link=3,
        register=2,
        loaded=3,
        others=_system(4),
    ),
    # MOV PC, B, taken B<cond> 2, BL 3, BX and BLX 2, POP {PC} 3 + N, loads and stores 2 (1 + N).
    "cortex-m0plus": Costs(
        source="Cortex-M0+ Technical Reference Manual (DDI 0484C), table 3-1",
        error=0.01,
        direct=1,
        link=2,
        register=1,
        loaded=2,
        others=_system(3),
    ),
}
"""By the name of the core."""
