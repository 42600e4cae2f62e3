"""Give every buffer an offset so that what is alive together does not overlap, in as few bytes as possible.

This is dynamic storage allocation, which is NP-hard (Garey and Johnson, SR2). In practice greedy orders, a placement
from both ends of the arena (optimal for a chain of layers) or else a local search meets the lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tinymaix.plan.liveness import Buffer


@dataclass(frozen=True, eq=False)
class Problem:
    """Buffers by index. ``above[i][j]``: how far above i's offset j must begin where j is the higher one of the two."""

    buffers: Sequence[Buffer]
    sizes: list[int]
    above: list[dict[int, int]]

    @staticmethod
    def of(buffers: Sequence[Buffer]) -> Problem:
        above: list[dict[int, int]] = [{} for _ in buffers]
        alive: list[int] = []
        for j in sorted(range(len(buffers)), key=lambda j: buffers[j].first):
            alive = [i for i in alive if buffers[i].last >= buffers[j].first]
            for i in alive:
                above[i][j] = buffers[i].size_during(buffers[j].first, buffers[j].last)
                above[j][i] = buffers[j].size_during(buffers[i].first, buffers[i].last)
            alive.append(j)
        index = {id(buffer): i for i, buffer in enumerate(buffers)}
        for j, buffer in enumerate(buffers):
            if buffer.behind is not None:
                source = index[id(buffer.behind.source)]
                above[j][source] = min(above[j][source], buffer.behind.lead)
        return Problem(buffers, [b.size for b in buffers], above)

    def arena(self, offsets: Sequence[int]) -> int:
        return max((p + s for p, s in zip(offsets, self.sizes, strict=True)), default=0)

    def lowest(self, j: int, offsets: dict[int, int]) -> int:
        """The lowest offset of j that is free beside those already placed."""
        offset = 0
        for low, high in sorted(self._forbidden(j, offsets)):
            if offset <= low:
                break
            offset = max(offset, high)
        return offset

    def highest(self, j: int, offsets: dict[int, int], top: int) -> int:
        """The highest free offset of j that ends at ``top`` or below; negative where there is none."""
        offset = top - self.sizes[j]
        for high, low in sorted(((h, low) for low, h in self._forbidden(j, offsets)), reverse=True):
            if offset >= high:
                break
            offset = min(offset, low)
        return offset

    def _forbidden(self, j: int, offsets: dict[int, int]) -> list[tuple[int, int]]:
        """Open intervals in which j must not begin."""
        return [(offsets[i] - d, offsets[i] + self.above[i][j]) for i, d in self.above[j].items() if i in offsets]


BUDGET = 40_000  # placements of one buffer tried by the local search; it decides the worst case of the planning time


def place(buffers: Sequence[Buffer], bound: int) -> list[int]:
    """Offsets of the buffers. ``bound`` is the most bytes alive in any step: the search stops where it is met."""
    problem = Problem.of(buffers)
    orders = [sorted(range(len(buffers)), key=key(buffers)) for key in ORDERS]
    offsets = [_bottom_up(problem, order) for order in orders]
    best = min(range(len(orders)), key=lambda i: problem.arena(offsets[i]))
    if problem.arena(offsets[best]) > bound:
        both_ends = _from_both_ends(problem, bound)
        return both_ends or _improve(problem, orders[best], offsets[best], bound)
    return offsets[best]


def _improve(problem: Problem, order: list[int], offsets: list[int], bound: int) -> list[int]:
    """Local search over the orders of `_bottom_up`, of which at least one is optimal: that by optimal offset.

    A step moves a buffer that ends at the top of the arena to an earlier turn, or any buffer to any turn.
    """
    draw = Random(0).random  # the one method whose sequence is the same in every version of Python
    best = problem.arena(offsets)
    for _ in range(BUDGET // len(order)):
        if best == bound:
            break
        if draw() < 0.3:
            source, target = int(draw() * len(order)), int(draw() * len(order))
        else:
            top = [i for i, j in enumerate(order) if offsets[j] + problem.sizes[j] == best]
            source = top[int(draw() * len(top))]
            target = int(draw() * (source + 1))
        other = [*order[:source], *order[source + 1 :]]
        other.insert(target, order[source])
        candidate = _bottom_up(problem, other)
        arena = problem.arena(candidate)
        if arena <= best:
            order, offsets, best = other, candidate, arena
    return offsets


def _bottom_up(problem: Problem, order: Sequence[int]) -> list[int]:
    """Each buffer in turn at its lowest free offset."""
    offsets: dict[int, int] = {}
    for j in order:
        offsets[j] = problem.lowest(j, offsets)
    return [offsets[j] for j in range(len(offsets))]


def _from_both_ends(problem: Problem, top: int) -> list[int] | None:
    """In order of time, each buffer at the bottom or the top of the arena where free, else as low as it goes."""
    offsets: dict[int, int] = {}
    for j in sorted(range(len(problem.sizes)), key=lambda j: (problem.buffers[j].first, -problem.buffers[j].last)):
        low, high = problem.lowest(j, offsets), problem.highest(j, offsets, top)
        if high < 0 or low > high:
            return None
        offsets[j] = high if low > 0 and high == top - problem.sizes[j] else low
    return [offsets[j] for j in range(len(offsets))]


_Key = Callable[[Sequence[Buffer]], Callable[[int], tuple[int, ...]]]

ORDERS: list[_Key] = [
    lambda b: lambda j: (-b[j].size, b[j].first, j),
    lambda b: lambda j: (-b[j].size * (b[j].last - b[j].first + 1), -b[j].size, j),
    lambda b: lambda j: (b[j].first - b[j].last, -b[j].size, j),
    lambda b: lambda j: (b[j].first, -b[j].size, j),
]
