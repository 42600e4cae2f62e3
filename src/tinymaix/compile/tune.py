"""Which kernel of each layer wins: projects with different kernels are measured, then the best choice is solved for.

The layers are measured in place, not alone: a kernel that several layers share is compiled for all of them, and one
that is called once is compiled for that call, so a layer alone may cost several percent more or less than in its model.
A measured project tells the cost of each of its layers, so as many projects as the layer with the most kernels has
kernels tell them all. The choice that they lead to is measured, too, until it no longer changes. What was measured to
be the best is the result, which is never worse than the choice without trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tinymaix.compile.layers import kernels_in_order
from tinymaix.compile.project import Draft, Project
from tinymaix.compile.tune_solve import Code, descend, fastest
from tinymaix.graph import ModelError
from tinymaix.ops.emit import Implementation

EFFORTS = ("off", "quick", "full")
QUICK_SHARE = 0.95
"""The dearest layers that hold this share of the cost are those that "quick" looks at; of each it tries two ways."""
GROWTH = 0.1
"""By how much "balanced" and "ram" let the weights grow over those of the portable kernels, and "speed" the arena over
that of the choice without trials; "balanced" does not let it grow."""
EARN = {"speed": 0.0025, "balanced": 0.01, "ram": 0.01}
"""The share of all cycles that a kernel must save for each KiB of its code: several that do the same for layers of
slightly different shapes do not pay."""
REFINEMENTS = 4
"""Choices that are solved for and measured at most."""

Choice = tuple[int, ...]
"""The index of the way of each node of a draft."""


@dataclass(frozen=True)
class Trial:
    """What an emulated chip tells about a project."""

    cost: int
    """Of one inference."""
    unit: str
    """Of costs: "cycles", "modelled cycles" or "instructions"."""
    layers: list[int]
    """The cost of each layer, in the order of the project's."""
    flash: int
    """Bytes of flash, of code and weights."""
    ram: int
    """Bytes of RAM with the stack."""
    inlined: list[int]
    """Bytes of code of each layer within the run function."""
    functions: dict[str, int]
    """Bytes of code of each kernel that is a function of its own."""


Measure = Callable[[Sequence[Project]], Sequence[Trial]]


@dataclass(frozen=True)
class Budget:
    """Bytes that must not be exceeded: flash in all, RAM in all with the stack. None: no limit."""

    flash: int | None = None
    ram: int | None = None


@dataclass(frozen=True)
class Way:
    """One way to compute a layer."""

    kernel: str
    """The functions that it calls."""
    weights: int
    scratch: int
    cost: int | None
    """As it was measured last; None where it was not tried."""


@dataclass(frozen=True)
class LayerTuning:
    """What was tried for a layer, and what won."""

    index: int
    operator: str
    ways: list[Way]
    chosen: int
    unit: str

    @property
    def winner(self) -> Way:
        return self.ways[self.chosen]

    @property
    def others(self) -> list[Way]:
        """Those that were tried and did not win, the cheapest first."""
        tried = [way for i, way in enumerate(self.ways) if i != self.chosen and way.cost is not None]
        return sorted(tried, key=lambda way: way.cost or 0)

    def reason(self) -> str:
        """For the comment above the layer's calls."""
        others = ", ".join(f"{way.kernel} {way.cost:,}" for way in self.others)
        return f"{self.winner.cost:,} {self.unit}" + (f"; tried, too: {others}" if others else "")


def tune(draft: Draft, measure: Measure, effort: str, budget: Budget) -> tuple[Project, Trial]:
    """The project with the best kernels that were tried, and its figures. Where nothing fits into the budget, what
    exceeds it least.

    Args:
        measure: gives the figures of projects, which must not depend on anything else.
        effort: "quick" or "full".
    """
    search = _Search(draft, measure, budget)
    search.try_rounds(effort)
    for _ in range(REFINEMENTS):
        choice = search.solve()
        if choice in search.tried:
            break
        search.measure([choice])
    return search.result()


class _Search:
    """What is known so far."""

    def __init__(self, draft: Draft, measure: Measure, budget: Budget) -> None:
        self._draft, self._ask, self._budget = draft, measure, budget
        codes = [[draft.alone(i, way) for way in ways] for i, ways in enumerate(draft.variants)]
        self._codes = codes
        self._arenas: dict[tuple[int, int, int | None], int] = {}
        self._weights = [[sum(c.data.nbytes for c in code.constants) for code in row] for row in codes]
        self._names = [[", ".join(dict.fromkeys(c.kernel.name for c in code.calls)) for code in row] for row in codes]
        self._kernels = [
            [frozenset(kernel.name for kernel in kernels_in_order(code.calls, draft.own)) for code in row]
            for row in codes
        ]
        self._costs: list[dict[int, int]] = [{} for _ in draft.nodes]
        self._inlined: list[dict[int, int]] = [{} for _ in draft.nodes]
        self._sizes: dict[str, int] = {}
        self._guess = self._indices(draft.guess())
        guessed = sum(row[way] for row, way in zip(self._weights, self._guess, strict=True))
        portable = sum(row[-1] for row in self._weights)
        limited = draft.optimize in ("balanced", "ram")
        self._weight_limit = max(int((1 + GROWTH) * portable), guessed) if limited else None
        self._arena = self._own_arena_limit()
        self._last = self._guess
        self.tried: dict[Choice, tuple[Project, Trial]] = {}

    def try_rounds(self, effort: str) -> None:
        """Measure the guess, then each layer's other ways, those of all layers at once."""
        self.measure([self._guess])
        others = [[way for way in range(len(row)) if way != self._guess[i]] for i, row in enumerate(self._weights)]
        if effort == "quick":
            others = [ways[:1] if i in self._dearest() else [] for i, ways in enumerate(others)]
        self.measure(
            [
                tuple(ways[k] if k < len(ways) else guess for ways, guess in zip(others, self._guess, strict=True))
                for k in range(max(map(len, others), default=0))
            ]
        )

    def measure(self, choices: Sequence[Choice]) -> None:
        """Measure those that were not yet; one that the core cannot hold is left out, unless it is the first."""
        projects: dict[Choice, Project] = {}
        for choice in choices:
            if choice in self.tried:
                continue
            try:
                projects[choice] = self._draft.project(self._ways(choice))
            except ModelError:
                if not self.tried:
                    raise
        trials = self._ask(list(projects.values()))
        where = {id(node): i for i, node in enumerate(self._draft.nodes)}
        for (choice, project), trial in zip(projects.items(), trials, strict=True):
            self.tried[choice] = project, trial
            for layer, cost, inlined in zip(project.layers, trial.layers, trial.inlined, strict=True):
                i = where[id(layer.node)]
                self._costs[i][choice[i]], self._inlined[i][choice[i]] = cost, inlined
            for name, size in trial.functions.items():
                self._sizes[name] = max(size, self._sizes.get(name, 0))
            self._last = choice

    def solve(self) -> Choice:
        """The best choice by what is known."""
        last, trial = self.tried[self._last]
        costs = self._fitting(self._arena_limit(last, trial))
        called = [[{call.kernel.name for call in code.calls} for code in row] for row in self._codes]
        own = [  # of a kernel that is a function of its own elsewhere its bytes are known from there
            {way: bytes_ for way, bytes_ in ways.items() if not called[i][way] & self._sizes.keys()}
            for i, ways in enumerate(self._inlined)
        ]
        code = Code(self._kernels, self._sizes, own)
        limits = [self._weight_limit]
        limits += [None if self._budget.flash is None else self._budget.flash - (trial.flash - last.weights)]
        limit = min((limit for limit in limits if limit is not None), default=None)

        def value(choice: Sequence[int]) -> tuple[float, ...]:
            cost = sum(costs[i][way] for i, way in enumerate(choice))
            weights = sum(self._weights[i][way] for i, way in enumerate(choice))
            if self._draft.optimize == "flash":
                return code.bytes(choice) + weights, cost
            excess = 0 if limit is None else max(0, weights - limit)
            return excess, cost > self._guess_cost(costs), cost + self._price * code.bytes(choice)

        known = [choice for choice in self.tried if all(way in costs[i] for i, way in enumerate(choice))]
        return tuple(descend([fastest(costs, self._weights, limit), *known], costs, code, value))

    def _guess_cost(self, costs: Sequence[Mapping[int, int]]) -> int:
        """What the guess costs, of layers whose guess does not fit what they cost at most."""
        return sum(ways.get(guess, max(ways.values())) for ways, guess in zip(costs, self._guess, strict=True))

    def _fitting(self, arena: int | None) -> list[dict[int, int]]:
        """The costs of the ways that keep to the arena when the other layers stay as guessed; the ways with the least
        scratch where none does."""
        if arena is None:
            return self._costs
        fitting = []
        for i, ways in enumerate(self._costs):
            fits = {way: cost for way, cost in ways.items() if self._arena_with(i, way) <= arena}
            lean = min(ways, key=lambda way: (self._draft.variants[i][way].scratch, ways[way]))
            fitting.append(fits or {lean: ways[lean]})
        return fitting

    def _arena_with(self, layer: int, way: int) -> int:
        """Bytes of arena when one layer is not as guessed."""
        implementation = self._draft.variants[layer][way]
        key = (layer, implementation.scratch, implementation.lead)
        if key not in self._arenas:
            choice = [*self._guess[:layer], way, *self._guess[layer + 1 :]]
            self._arenas[key] = self._draft.plan(self._ways(choice)).arena
        return self._arenas[key]

    def result(self) -> tuple[Project, Trial]:
        """The best that was measured, with what was tried in its comments."""
        best = min(self.tried, key=self._badness)
        project, trial = self.tried[best]
        costs = {id(layer.node): cost for layer, cost in zip(project.layers, trial.layers, strict=True)}
        index = {id(layer.node): layer.index for layer in project.layers}
        tuning = [
            LayerTuning(
                index[id(node)],
                node.op.kind,
                [
                    Way(
                        self._names[i][way],
                        self._weights[i][way],
                        implementation.scratch,
                        costs[id(node)] if way == best[i] else self._costs[i].get(way),
                    )
                    for way, implementation in enumerate(self._draft.variants[i])
                ],
                best[i],
                trial.unit,
            )
            for i, node in enumerate(self._draft.nodes)
            if not node.op.is_view
        ]
        reasons = {layer.index: layer.reason() for layer in tuning}
        ways = [
            replace(way, reason="; ".join(filter(None, (way.reason, reasons.get(index[id(node)])))))
            for node, way in zip(self._draft.nodes, self._ways(best), strict=True)
        ]
        tuning.sort(key=lambda layer: layer.index)
        return replace(self._draft.project(ways), tuning=tuning), trial

    def _badness(self, choice: Choice) -> tuple[float, ...]:
        """Bytes beyond the budgets; whether it costs more than the guess; what is to be least."""
        project, trial = self.tried[choice]
        excess = sum(
            max(0, value - limit)
            for value, limit in (
                (project.weights, self._weight_limit),
                (trial.flash, self._budget.flash),
                (project.plan.arena, self._arena_limit(project, trial)),
            )
            if limit is not None
        )
        if self._draft.optimize == "flash":
            return excess, trial.flash, trial.cost
        guess = self.tried[self._guess][1].cost
        return excess, trial.cost > guess, trial.cost + self._price * (trial.flash - project.weights), trial.flash

    @property
    def _price(self) -> float:
        """What a byte of code must save."""
        return EARN[self._draft.optimize] * self.tried[self._guess][1].cost / 1024

    def _own_arena_limit(self) -> int | None:
        """Bytes of arena that the mode allows."""
        if self._draft.optimize == "ram":
            return self._draft.portable_arena
        guessed = self._draft.plan(self._draft.guess()).arena
        return {"speed": int((1 + GROWTH) * guessed), "balanced": guessed}.get(self._draft.optimize)

    def _arena_limit(self, project: Project, trial: Trial) -> int | None:
        """Bytes of arena that the mode and the budget allow."""
        ram = self._budget.ram
        limits = [self._arena, None if ram is None else ram - (trial.ram - project.plan.arena)]
        return min((limit for limit in limits if limit is not None), default=None)

    def _dearest(self) -> set[int]:
        """The dearest layers, as many as hold the share of the cost that "quick" looks at."""
        costs = [ways[guess] for ways, guess in zip(self._costs, self._guess, strict=True)]
        dearest: set[int] = set()
        for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
            if sum(costs[j] for j in dearest) >= QUICK_SHARE * sum(costs):
                break
            dearest.add(i)
        return dearest

    def _ways(self, choice: Sequence[int]) -> list[Implementation]:
        return [ways[way] for ways, way in zip(self._draft.variants, choice, strict=True)]

    def _indices(self, chosen: Sequence[Implementation]) -> Choice:
        pairs = zip(self._draft.variants, chosen, strict=True)
        return tuple(next(i for i, way in enumerate(ways) if way is wanted) for ways, wanted in pairs)
