"""Give every buffer an offset so that what is alive together does not overlap, in as few bytes as possible.

This is dynamic storage allocation, which is NP-hard (Garey and Johnson, SR2). In practice greedy orders, a placement
from both ends of the arena (optimal for a chain of layers) and then a bounded exact search meet the lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinymaix.plan.liveness import Buffer
from tinymaix.plan.search import search


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


SEARCH_BUDGET = 1500  # placements tried by each exact search; it decides the worst case of the planning time


def place(buffers: Sequence[Buffer], bound: int, alignment: int) -> list[int]:
    """Offsets of the buffers. ``bound`` is the most bytes alive in any step: the search stops where it is met."""
    problem = Problem.of(buffers)
    orders = [sorted(range(len(buffers)), key=key(buffers)) for key in ORDERS]
    candidates = [_bottom_up(problem, order) for order in orders]
    both_ends = _from_both_ends(problem, bound)
    if both_ends is not None:
        candidates.append(both_ends)
    best = min(candidates, key=problem.arena)
    capacity = bound
    while problem.arena(best) > bound:
        for order in orders:
            found, complete = search(problem.sizes, problem.above, order, capacity, SEARCH_BUDGET)
            if found is not None or complete:
                break
        if found is not None:
            best = found
        elif capacity >= problem.arena(best) - alignment:
            break
        capacity = problem.arena(best) - alignment
    return best


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
