"""What a depthwise kernel is made for, and where it keeps things: registers, stack frame, distances."""

from __future__ import annotations

from dataclasses import dataclass

from tinymaix.cores.armv7em.depthwise_taps import Tile
from tinymaix.cores.exact_high import HighRequant

POOL = ("r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr")
"""r0 walks the widened rows, r1 the output."""
COLUMNS = 2
NEAR = 4095
NEAR_PAIR = 1020
"""The largest literal offset of a load or store, and of one of two words."""

START, CONSTANTS, STOP, INNER, OUTER, JUMP, LAST, CHANNEL, PLANE, OUT, COUNT, LONE, WEIGHTS = (0, 4, *range(16, 60, 4))
"""Where things stand on the stack; CHANNEL to COUNT as the first four arguments come.

The inner loop of turns moves r0 by INNER bytes to STOP; the outer one moves STOP by OUTER bytes to LAST, r1 by JUMP.
"""


@dataclass(frozen=True)
class Distances:
    """Bytes between neighbouring outputs of a row and between rows, where a kernel serves only these."""

    step: int
    down: int


@dataclass(frozen=True)
class Dot:
    """What a kernel is made for."""

    tile: Tile
    requant: HighRequant
    distances: Distances | None
    across: bool  # whether the inner loop goes along a row rather than down a pair of columns
    odd: bool  # whether rows of an odd number of outputs occur, whose last column takes code of its own

    @property
    def resident(self) -> bool:
        """Whether all weights stay in registers beside the sums and two words of pixels."""
        return len(self.tile.words) + COLUMNS * self.tile.turn + 2 <= len(POOL)

    @property
    def frame(self) -> int:
        """Bytes of the stack frame, a multiple of eight."""
        return -(-(WEIGHTS + (0 if self.resident else 8 * self.tile.packed)) // 8) * 8

    def argument(self, index: int) -> int:
        """Where an argument behind the first four stands: plane_step, rows, out_w, step, down, center."""
        return self.frame + 36 + 4 * index

    @property
    def weights(self) -> tuple[str, ...]:
        return POOL[len(POOL) - len(self.tile.words) :] if self.resident else ()

    @property
    def words(self) -> int:
        """Words of a channel in flash: its weights, the first value of its sums, what finishing them takes."""
        return self.tile.packed + 1 + int(self.requant.constants.shape[1])

    @property
    def free(self) -> tuple[str, ...]:
        """Registers that hold no weights."""
        return POOL[: len(POOL) - len(self.weights)]

    @property
    def right_bytes(self) -> int:
        """From a pair of columns to the next."""
        return self.tile.pitch * self.tile.stride[1] * COLUMNS // 2

    @property
    def down_bytes(self) -> int:
        """From the widened rows of a turn to those of the next one below."""
        return self.tile.turn * self.tile.stride[0] * self.tile.row_bytes

    @property
    def step_bytes(self) -> int:
        """By which the inner loop moves r0."""
        return self.right_bytes if self.across else self.down_bytes

    @property
    def far(self) -> bool:
        """Whether an offset does not fit into an instruction."""
        products = self.tile.products(COLUMNS)
        reach = max(p.pair for p in products) * self.tile.pitch + max(p.row for p in products) * self.tile.row_bytes
        out = self.distances.down * self.tile.turn + self.distances.step if self.distances else 0
        return max(reach, self.right_bytes, self.down_bytes, out) > NEAR or self.argument(5) > NEAR_PAIR

    @property
    def name(self) -> str:
        """depthwise_dot_3x3_s1_10, depthwise_dot_5x5_s2x1_signed_12_64_320, ..."""
        tile = self.tile
        parts = ["depthwise_dot", f"{tile.kernel[0]}x{tile.kernel[1]}", f"s{_pair(tile.stride)}"]
        parts += [f"d{_pair(tile.dilation)}"] * (tile.dilation != (1, 1)) + [f"r{tile.rows}"]
        parts += [f"c{tile.lanes}"] * (tile.lanes != 4) + ["single"] * (tile.turn == 1) + ["down"] * (not self.across)
        parts += ["even"] * (not self.odd) + ["varied"] * self.requant.varied
        parts += ["signed"] * self.requant.signed + ["centered"] * (self.requant.centered > self.requant.signed)
        parts += [str(self.requant.shift)]
        parts += [f"{self.distances.step}_{self.distances.down}"] if self.distances else []
        return "_".join(parts)


def _pair(sizes: tuple[int, int]) -> str:
    return str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]}x{sizes[1]}"
