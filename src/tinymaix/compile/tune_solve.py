"""Which way of each layer, given what each costs: the fastest within a limit of bytes, or the best by any measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

Costs = Sequence[Mapping[int, int]]
"""For each layer, the cost of each way that is known, by the index of the way."""


def fastest(costs: Costs, weights: Sequence[Sequence[int]], limit: int | None) -> list[int]:
    """The ways with the least sum of costs whose weights are at most ``limit`` bytes in all; the ways with the least
    weights where nothing fits. Of equal costs the lighter way, then the earlier one.

    This is the multiple-choice knapsack problem, solved exactly by dynamic programming over the bytes
    (Kellerer, Pferschy, Pisinger, Knapsack Problems, section 11.5).
    """
    free = [min(ways, key=lambda way: (ways[way], weights[i][way], way)) for i, ways in enumerate(costs)]
    if limit is None or sum(weights[i][way] for i, way in enumerate(free)) <= limit:
        return free
    light = [min(ways, key=lambda way: (weights[i][way], ways[way], way)) for i, ways in enumerate(costs)]
    room = max(0, limit - sum(weights[i][way] for i, way in enumerate(light)))
    best = np.zeros(room + 1, np.int64)  # the least cost of the layers so far with that many bytes more than `light`
    taken = []
    for i, ways in enumerate(costs):
        layer, choice = np.full(room + 1, np.iinfo(np.int64).max), np.full(room + 1, light[i], np.int16)
        for way in sorted(ways, key=lambda way: (weights[i][way], way)):
            more = weights[i][way] - weights[i][light[i]]
            if more <= room:
                total = best[: room + 1 - more] + ways[way]
                better = total < layer[more:]
                layer[more:][better], choice[more:][better] = total[better], way
        best = layer
        taken.append(choice)
    result, left = light, room
    for i in reversed(range(len(costs))):
        result[i] = int(taken[i][left])
        left -= weights[i][result[i]] - min(weights[i][way] for way in costs[i])
    return result


@dataclass(frozen=True)
class Code:
    """What is known of the code of each way of each layer."""

    kernels: Sequence[Sequence[AbstractSet[str]]]
    """The functions that it calls. A function that several layers call counts once."""
    sizes: Mapping[str, int]
    """Bytes of each function."""
    own: Sequence[Mapping[int, int]]
    """Bytes within the run function."""

    def bytes(self, choice: Sequence[int]) -> int:
        """Bytes of code of a choice."""
        return sum(self.sizes.get(name, 0) for name in self.called(choice)) + sum(
            self.own[i].get(way, 0) for i, way in enumerate(choice)
        )

    def called(self, choice: Sequence[int]) -> set[str]:
        return set().union(*(self.kernels[i][way] for i, way in enumerate(choice)))


def descend(
    starts: Sequence[Sequence[int]], costs: Costs, code: Code, value: Callable[[Sequence[int]], tuple[float, ...]]
) -> list[int]:
    """The choice with the least ``value`` that small steps lead to from any of the ``starts``.

    A step changes one layer, or gives up a function: the layers that called it take what is then the cheapest for them
    without a new function, where there is such a way.
    """

    def without(name: str, choice: Sequence[int], called: set[str]) -> list[int]:
        moved = list(choice)
        for i, way in enumerate(choice):
            if name in code.kernels[i][way]:
                others = [other for other in costs[i] if name not in code.kernels[i][other]]
                moved[i] = min(others, key=lambda o: (not code.kernels[i][o] <= called, costs[i][o], o), default=way)
        return moved

    ends = []
    for start in starts:
        choice, before = list(start), None
        while before != choice:
            before = list(choice)
            for i, ways in enumerate(costs):
                choice = min(([*choice[:i], way, *choice[i + 1 :]] for way in (choice[i], *sorted(ways))), key=value)
            called = code.called(choice)
            choice = min((choice, *(without(name, choice, called) for name in sorted(called))), key=value)
        ends.append(choice)
    return min(ends, key=value)
