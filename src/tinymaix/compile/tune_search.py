"""The tuner's state: what is known of the ways of each layer, and the choice that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from tinymaix.compile.choose import title
from tinymaix.compile.layers import kernels_in_order
from tinymaix.compile.project import Draft, Project
from tinymaix.compile.tune_solve import Code, descend, fastest
from tinymaix.compile.tune_trial import Budget, Choice, LayerTuning, Measure, Trial, Way
from tinymaix.graph import ModelError
from tinymaix.ops.emit import Implementation

QUICK_SHARE = 0.95
"""The dearest layers that hold this share of the cost are those that "quick" looks at; of each it tries two ways."""
GROWTH = 0.1
"""By how much "balanced" and "ram" let the weights grow over those of the portable kernels, and "speed" the arena over
that of the choice without trials; "balanced" does not let it grow."""
REFINEMENTS = 4
"""Choices that are solved for and measured at most, after each round of trials."""
EARN = {"speed": 0.0025, "balanced": 0.01, "ram": 0.01}
"""The share of all cycles that a kernel must save for each KiB of its code: several that do the same for layers of
slightly different shapes do not pay."""


class Search:
    """What is known so far."""

    def __init__(self, draft: Draft, measure: Measure, budget: Budget) -> None:
        self._draft, self._ask, self._budget = draft, measure, budget
        codes = [[draft.alone(i, way) for way in ways] for i, ways in enumerate(draft.variants)]
        self._weights = [[sum(c.data.nbytes for c in code.constants) for code in row] for row in codes]
        self._titles = [[title(code.calls) for code in row] for row in codes]
        self._called = [[{call.kernel.name for call in code.calls} for code in row] for row in codes]
        self._kernels = [
            [frozenset(kernel.name for kernel in kernels_in_order(code.calls, draft.own)) for code in row]
            for row in codes
        ]
        self._costs: list[dict[int, int]] = [{} for _ in draft.nodes]
        self._inlined: list[dict[int, int]] = [{} for _ in draft.nodes]
        self._sizes: dict[str, int] = {}
        self._arenas: dict[tuple[int, int, int | None], int] = {}
        self._guess = self._base = self._last = self._indices(draft.guess())
        self._weight_limit, self._arena = self._own_limits()
        self.tried: dict[Choice, tuple[Project, Trial]] = {}

    def _own_limits(self) -> tuple[int | None, int | None]:
        """Bytes of weights and of arena that the mode allows; the guess keeps to both."""
        guessed = sum(row[way] for row, way in zip(self._weights, self._guess, strict=True))
        weights = max(int((1 + GROWTH) * sum(row[-1] for row in self._weights)), guessed)
        arena = self._draft.plan(self._ways(self._guess)).arena
        return {
            "speed": (None, int((1 + GROWTH) * arena)),
            "balanced": (weights, arena),
            "ram": (weights, self._draft.portable_arena),
        }.get(self._draft.optimize, (None, None))

    def try_guess(self) -> None:
        """Measure the guess and, where its arena is too large, the base that keeps as much of it as fits."""
        self.measure([self._guess])
        arena = self._arena_limit(*self.tried[self._guess])
        if arena is not None:
            worth = [ways[guess] for ways, guess in zip(self._costs, self._guess, strict=True)]
            self._base = self._indices(self._draft.fit(self._ways(self._guess), worth, arena))
            self.measure([self._base])

    def try_others(self, effort: str) -> None:
        """Measure each layer's other ways, those of all layers at once; "quick": one of each of the dearest layers."""
        others = [[way for way in range(len(row)) if way != self._guess[i]] for i, row in enumerate(self._weights)]
        if effort == "quick":
            dearest = self._dearest()
            others = [ways[:1] if i in dearest else [] for i, ways in enumerate(others)]
        self.measure(
            [
                tuple(ways[k] if k < len(ways) else guess for ways, guess in zip(others, self._guess, strict=True))
                for k in range(max(map(len, others), default=0))
            ]
        )

    def refine(self) -> None:
        """Measure the choice that is solved for until it does not change."""
        for _ in range(REFINEMENTS):
            choice = self.solve()
            if choice in self.tried:
                break
            self.measure([choice])

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
        own = [  # of a kernel that is a function of its own elsewhere its bytes are known from there
            {way: size for way, size in ways.items() if self._sizes.keys().isdisjoint(self._called[i][way])}
            for i, ways in enumerate(self._inlined)
        ]
        code = Code(self._kernels, self._sizes, own)
        limits = [self._weight_limit]
        limits += [None if self._budget.flash is None else self._budget.flash - (trial.flash - last.weights)]
        limit = min((limit for limit in limits if limit is not None), default=None)

        def value(choice: Sequence[int], price: float) -> tuple[float, ...]:
            cost = sum(costs[i][way] for i, way in enumerate(choice))
            weights = sum(self._weights[i][way] for i, way in enumerate(choice))
            if self._draft.optimize == "flash":
                return code.bytes(choice) + weights, cost
            excess = 0 if limit is None else max(0, weights - limit)
            return excess, cost > self._guess_cost(costs), cost + price * code.bytes(choice)

        known = [choice for choice in self.tried if all(way in costs[i] for i, way in enumerate(choice))]
        best = fastest(costs, self._weights, limit)
        for price in (self._price / 4, self._price / 2, self._price):  # small steps lead further where code is cheap
            best = descend([best, *known], costs, code, partial(value, price=price))
        return tuple(best)

    def _guess_cost(self, costs: Sequence[Mapping[int, int]]) -> int:
        """What the guess costs, of layers whose guess does not fit what they cost at most."""
        return sum(ways.get(guess, max(ways.values())) for ways, guess in zip(costs, self._guess, strict=True))

    def _fitting(self, arena: int | None) -> list[dict[int, int]]:
        """The costs of the ways that keep to the arena with the other layers as in the base, and those of the base."""
        if arena is None:
            return self._costs
        return [
            {way: cost for way, cost in ways.items() if way == base or self._arena_with(i, way) <= arena}
            for i, (ways, base) in enumerate(zip(self._costs, self._base, strict=True))
        ]

    def _arena_with(self, layer: int, way: int) -> int:
        """Bytes of arena when one layer is not as in the base."""
        implementation = self._draft.variants[layer][way]
        key = (layer, implementation.scratch, implementation.lead)
        if key not in self._arenas:
            choice = [*self._base[:layer], way, *self._base[layer + 1 :]]
            self._arenas[key] = self._draft.plan(self._ways(choice)).arena
        return self._arenas[key]

    def result(self) -> tuple[Project, Trial]:
        """The best that was measured, with what was tried in its comments."""
        best = min(self.tried, key=self._badness)
        project, trial = self.tried[best]
        tuning = self._tuning(best, project, trial)
        reasons = {id(project.layers[layer.index].node): layer.reason() for layer in tuning}
        ways = [
            replace(way, reason="; ".join(filter(None, (way.reason, reasons.get(id(node))))))
            for node, way in zip(self._draft.nodes, self._ways(best), strict=True)
        ]
        return replace(self._draft.project(ways), tuning=tuning), trial

    def _tuning(self, best: Choice, project: Project, trial: Trial) -> list[LayerTuning]:
        """What was tried for each layer that has code, in the order of the project's layers."""
        where = {id(node): i for i, node in enumerate(self._draft.nodes)}
        tuning = []
        for layer, cost in zip(project.layers, trial.layers, strict=True):
            i = where[id(layer.node)]
            costs = {**self._costs[i], best[i]: cost}
            ways = [
                Way(self._titles[i][way], self._weights[i][way], implementation.scratch, costs.get(way))
                for way, implementation in enumerate(self._draft.variants[i])
            ]
            if not layer.node.op.is_view:
                tuning.append(LayerTuning(layer.index, layer.node.op.kind, ways, best[i], trial.unit))
        return tuning

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
        return EARN.get(self._draft.optimize, 0) * self.tried[self._guess][1].cost / 1024

    def _arena_limit(self, project: Project, trial: Trial) -> int | None:
        """Bytes of arena that the mode and the budget allow."""
        ram = self._budget.ram
        limits = [self._arena, None if ram is None else ram - (trial.ram - project.plan.arena)]
        return min((limit for limit in limits if limit is not None), default=None)

    def _dearest(self) -> set[int]:
        """The dearest layers, as many as hold the share of the cost that "quick" looks at, and those that are computed
        by the same functions: else both these and better ones would stay."""
        costs = [ways[guess] for ways, guess in zip(self._costs, self._guess, strict=True)]
        dearest: set[int] = set()
        for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
            if sum(costs[j] for j in dearest) >= QUICK_SHARE * sum(costs):
                break
            dearest.add(i)
        titles = {self._titles[i][self._guess[i]] for i in dearest}
        return {i for i, guess in enumerate(self._guess) if self._titles[i][guess] in titles}

    def _ways(self, choice: Sequence[int]) -> list[Implementation]:
        return [ways[way] for ways, way in zip(self._draft.variants, choice, strict=True)]

    def _indices(self, chosen: Sequence[Implementation]) -> Choice:
        pairs = zip(self._draft.variants, chosen, strict=True)
        return tuple(next(i for i, way in enumerate(ways) if way is wanted) for ways, wanted in pairs)
