"""Does a placement within a given arena exist? A depth-first search that is exact unless it runs out of its budget.

Buffers are placed in order of their offsets, each resting on the bottom or on one placed before. Any placement can be
pushed down into this form, so nothing is missed. The pruning rules follow M. Moffitt, "MiniMalloc: A Lightweight Memory
Allocator for Hardware-Accelerated Machine Learning", ASPLOS 2023.
"""

from __future__ import annotations

from collections.abc import Sequence


def search(
    sizes: Sequence[int], above: Sequence[dict[int, int]], order: Sequence[int], capacity: int, budget: int
) -> tuple[list[int] | None, bool]:
    """Offsets within ``capacity`` or None, and whether the answer is final (the budget was enough).

    Args:
        above: as in `tinymaix.plan.place.Problem`.
        order: which buffers to prefer.
        budget: how many placements to try at most.
    """
    floor = [0] * len(sizes)  # above everything placed that is alive together with it
    placed: list[tuple[int, list[tuple[int, int]]]] = []  # (buffer, floors that it raised as they were)
    waiting = dict.fromkeys(j for j in order if sizes[j])
    if any(size > capacity for size in sizes):
        return None, True
    choices = [iter(_candidates(sizes, floor, list(waiting), 0))]
    while waiting:
        j = next(choices[-1], None)
        if j is None:
            choices.pop()
            if not placed:
                return None, True
            i, raised = placed.pop()
            for k, before in raised:
                floor[k] = before
            waiting[i] = None
            continue
        if budget == 0:
            return None, False
        budget -= 1
        del waiting[j]
        raised = []
        for k, distance in above[j].items():
            if k in waiting and floor[j] + distance > floor[k]:
                raised.append((k, floor[k]))
                floor[k] = floor[j] + distance
        placed.append((j, raised))
        fits = all(_fits(k, sizes, above, floor, waiting, capacity) for k, _ in raised)
        left = [k for k in order if k in waiting] if fits else []
        choices.append(iter(_candidates(sizes, floor, left, floor[j])))
    return floor, True


def _candidates(sizes: Sequence[int], floor: Sequence[int], left: Sequence[int], lowest: int) -> list[int]:
    """Buffers that may come next: not below the one before, and not so high that another one would fit under it."""
    limit = min((floor[k] + sizes[k] for k in left), default=0)
    return [k for k in left if lowest <= floor[k] < limit]


def _fits(
    k: int, sizes: Sequence[int], above: Sequence[dict[int, int]], floor: Sequence[int], left: dict[int, None], top: int
) -> bool:
    """Whether k can still be stacked with each of its waiting neighbours, one way or the other."""
    if floor[k] + sizes[k] > top:
        return False
    return all(
        max(floor[i], floor[k] + distance) + sizes[i] <= top or max(floor[k], floor[i] + above[i][k]) + sizes[k] <= top
        for i, distance in above[k].items()
        if i in left
    )
