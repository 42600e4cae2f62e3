"""What changes of the flow cost on cores that foresee some of them, from how often each went which way.

Two-bit counters: a branch that goes its rarer way was not foreseen. That is so for loops, which end once, and nearly so
for branches that depend on data: with a chance p to be taken, and q = 1 - p, they are wrong in p q / (1 - 2 p q) of all
cases.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinymaix.cores.costs import Branches


def conditional(costs: Branches, taken: int, falls: int, *, backward: bool, inner: bool) -> tuple[float, float]:
    """Cycles beyond its own of a branch that was so often taken and not taken, and how far they may be off.

    inner: whether it ends a loop in which no other branch backward is taken.
    """
    if costs.predict == "never" or (costs.predict == "backward" and not backward):
        return taken * costs.wrong, 0.0
    if costs.predict == "backward":
        return taken * costs.taken + falls * costs.wrong, 0.0
    if costs.predict == "last":
        wrong = 2 * min(taken, falls) if backward and inner else taken
        return wrong * costs.wrong + max(taken - wrong, 0) * costs.taken, 0.0
    wrong = min(taken, falls)
    return wrong * costs.wrong + taken * costs.taken, wrong * costs.wrong / 4


def indirect(costs: Branches, cost: int, targets: Sequence[int]) -> int:
    """The same of jumps to addresses from a register, by how often each address was taken."""
    total = sum(targets)
    return (total - max(targets, default=0) if costs.predict == "counters" else total) * cost
