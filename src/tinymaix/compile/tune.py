"""Which kernel of each layer wins: projects with different kernels are measured, then the best choice is solved for.

The layers are measured in place, not alone: a kernel that several layers share is compiled for all of them, and one
that is called once is compiled for that call, so a layer alone may cost several percent more or less than in its model.
A measured project tells the cost of each of its layers, so as many projects as the layer with the most kernels has
kernels tell them all. The choice that they lead to is measured, too, until it no longer changes. What was measured to
be the best is the result, which is never worse than the choice without trials.
"""

from __future__ import annotations

from tinymaix.compile.project import Draft, Project
from tinymaix.compile.tune_search import Search
from tinymaix.compile.tune_trial import EFFORTS, Budget, Measure, Trial


def tune(draft: Draft, measure: Measure, effort: str, budget: Budget) -> tuple[Project, Trial]:
    """The project with the best kernels that were tried, and its figures. Where nothing fits into the budget, what
    exceeds it least.

    Args:
        measure: gives the figures of projects, which must not depend on anything else.
        effort: "quick" or "full".
    """
    search = Search(draft, measure, budget)
    search.try_guess()
    for step in EFFORTS[1 : EFFORTS.index(effort) + 1]:  # what more effort finds is never worse
        search.try_others(step)
        search.refine()
    return search.result()
