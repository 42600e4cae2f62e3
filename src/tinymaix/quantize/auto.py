"""Find a scheme: try what may help, step by step, and take the cheapest that keeps to the limits and loses little.

The order is that of cost: biases, how ranges are found, equalization and rounding cost the chip nothing; int4 weights
save flash; int16 activations cost RAM and time. A step goes on from the best so far, and int4 and int16 are given to
single layers by sensitivity where all layers would be too many or too few. At most `MOST_TRIALS`, always the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import Any

from tinymaix.graph import Graph, ModelError
from tinymaix.quantize.agreement import Agreement, agreement
from tinymaix.quantize.matrices import drawn
from tinymaix.quantize.pipeline import run
from tinymaix.quantize.samples import Samples
from tinymaix.quantize.scheme import RANGES, Scheme
from tinymaix.quantize.sensitivity import Sensitivity, activation_noise, layers_of, weight_noise

MOST_TRIALS = 18
MOST_CALIBRATION, MOST_TEST = 200, 1000
"""Samples that schemes are calibrated with, and that they are measured on."""
ENOUGH_TO_SPLIT = 40
"""Samples from which on one half calibrates and the other measures."""
ALIKE = 1.02
"""Costs within this ratio are the same."""


@dataclass(frozen=True)
class Cost:
    """What an inference takes: bytes of flash and RAM, and cycles where a chip is known."""

    flash: int
    ram: int
    cycles: int | None = None


@dataclass(frozen=True)
class Limits:
    """What the result must keep to. ``goal``: points of accuracy that it may lose; without labels points of agreement
    of the first class; where outputs are no classes, per cent of the outputs' power that may be error."""

    flash: int | None = None
    ram: int | None = None
    cycles: int | None = None
    goal: float = 1.0

    def missed(self, cost: Cost) -> bool:
        pairs = ((self.flash, cost.flash), (self.ram, cost.ram), (self.cycles, cost.cycles))
        return any(limit is not None and (value is None or value > limit) for limit, value in pairs)


@dataclass(frozen=True, eq=False)
class Trial:
    """One scheme, measured."""

    scheme: Scheme
    graph: Graph
    agreement: Agreement
    cost: Cost
    fits: bool

    @property
    def loss(self) -> float:
        """What is lost, in the unit of `Limits.goal`; below 0 where more is right than in float."""
        a = self.agreement
        if a.accuracy is not None and a.accuracy_float is not None:
            return 100 * (a.accuracy_float - a.accuracy)
        return 100 * (1 - a.top1) if a.top1 is not None else 100 * 10 ** (-a.sqnr / 10)

    @property
    def rank(self) -> tuple[float, float]:
        """Lower is better: the loss, and between equals the error of the outputs."""
        return round(max(self.loss, 0.0), 6), -self.agreement.sqnr

    def beats(self, other: Trial) -> bool:
        """Whether it is as good in everything, and better in something."""
        ours, theirs = self.cost, other.cost
        pairs = ((ours.cycles or 0, theirs.cycles or 0), (ours.flash, theirs.flash), (ours.ram, theirs.ram))
        no_worse = self.rank <= other.rank and all(a <= b for a, b in pairs)
        return no_worse and (self.rank < other.rank or any(a < b for a, b in pairs))


@dataclass(frozen=True, eq=False)
class AutoResult:
    """All trials in their order, and the one to take."""

    trials: list[Trial]
    best: Trial
    limits: Limits
    notes: list[str] = field(default_factory=list)

    @property
    def front(self) -> list[Trial]:
        """Those that no other beats in accuracy, cycles, flash and RAM at once, the best first."""
        kept = [t for t in self.trials if not any(other.beats(t) for other in self.trials)]
        return sorted(kept, key=lambda t: t.rank)

    def as_dict(self) -> dict[str, Any]:
        front = {id(t) for t in self.front}
        return {
            "trials": [
                {
                    "scheme": t.scheme.describe(),
                    "loss": t.loss,
                    **t.agreement.as_dict(),
                    "flash": t.cost.flash,
                    "ram": t.cost.ram,
                    "cycles": t.cost.cycles,
                    "fits": t.fits,
                    "front": id(t) in front,
                    "best": t is self.best,
                }
                for t in self.trials
            ],
            "goal": self.limits.goal,
            "notes": self.notes,
        }


Measure = Callable[[Graph], Cost]


def auto(
    graph: Graph,
    samples: Samples,
    limits: Limits,
    measure: Measure,
    progress: Callable[[str], None] | None = None,
    test: Samples | None = None,
    base: Scheme | None = None,
) -> AutoResult:
    """Try schemes and choose one.

    Args:
        samples: to calibrate with; without ``test`` one half of them measures, where they are enough.
        measure: what an integer graph costs. It is asked once for all schemes of the same types.
        progress: called with a sentence before each step.
        base: what is common to all schemes, such as the type of inputs and outputs.

    Raises:
        ModelError: the graph or the samples cannot be used, or nothing that was tried keeps to the limits.
    """
    calibration, measured, notes = _divided(samples, test)
    search = _Search(graph, calibration, measured, limits, measure, progress or (lambda sentence: None))
    plain = base or Scheme()
    search.try_scheme(replace(plain, correct_bias=False))
    search.try_scheme(replace(plain, correct_bias=True))  # early, as shifted channels hide what else matters
    start = search.ordered()[0].scheme
    for method in RANGES:
        search.try_scheme(replace(start, ranges=method))
    for scheme in (start, search.ordered()[0].scheme):
        search.try_scheme(replace(scheme, equalize=True))
    best = search.ordered()[0].scheme
    search.try_scheme(replace(best, correct_bias=True))
    search.try_scheme(replace(best, round="learned"))
    best = search.ordered()[0].scheme
    _wider(search, best)
    _smaller(search, best)
    notes += search.trials[0].agreement.doubts
    return AutoResult(search.trials, _chosen(search.trials, limits, notes), limits, notes)


class _Search:
    """The trials so far."""

    def __init__(
        self,
        graph: Graph,
        calibration: Samples,
        test: Samples,
        limits: Limits,
        measure: Measure,
        say: Callable[[str], None],
    ) -> None:
        self.graph, self.calibration, self.limits = graph, calibration, limits
        self.trials: list[Trial] = []
        self._test, self._measure, self._say = test, measure, say
        self._costs: dict[str, Cost] = {}

    def ordered(self) -> list[Trial]:
        """The trials, those that lose least first."""
        return sorted(self.trials, key=lambda t: t.rank)

    def try_scheme(self, scheme: Scheme) -> Trial | None:
        """Quantize and measure; None where that is too many trials. A scheme that was tried is not tried again."""
        for trial in self.trials:
            if trial.scheme == scheme:
                return trial
        if len(self.trials) >= MOST_TRIALS:
            return None
        self.say(scheme.describe())
        integers = run(self.graph, self.calibration, scheme, self.say)
        found = agreement(self.graph, integers, self._test)
        key = f"{scheme.activations} {scheme.weights} {scheme.io} {sorted(scheme.layers.items())}"
        if key not in self._costs:
            self.say("measuring what it costs")
            self._costs[key] = self._measure(integers)
        trial = Trial(scheme, integers, found, self._costs[key], not self.limits.missed(self._costs[key]))
        self.trials.append(trial)
        return trial

    def say(self, sentence: str) -> None:
        self._say(f"trial {len(self.trials) + 1} of at most {MOST_TRIALS}: {sentence}")


def _wider(search: _Search, best: Scheme) -> None:
    """int16 activations: everywhere, and where int8 loses too much, for as few tensors as keep to the goal."""
    if best.activations == "int16":
        return
    narrow = search.ordered()[0]
    wide = search.try_scheme(replace(best, activations="int16", ranges="minmax"))
    if wide is None or narrow.loss <= search.limits.goal or wide.rank >= narrow.rank:
        return
    ranked = activation_noise(search.graph, search.calibration, search.say)
    count = 1
    while count < len(ranked):
        trial = search.try_scheme(replace(best, layers={**layers_of(ranked[:count], "int16"), **best.layers}))
        if trial is None or trial.loss <= search.limits.goal:
            return
        count *= 2


def _smaller(search: _Search, best: Scheme) -> None:
    """int4 weights: everywhere, and where that loses too much, for as many layers as keep to the goal, found by
    halving, and for as many as bring the flash below its limit."""
    small = replace(best, weights="int4", round="learned")
    whole = search.try_scheme(small)
    if whole is None or (whole.loss <= search.limits.goal and whole.fits):
        return
    ranked = weight_noise(search.graph, search.calibration, search.say)
    if search.limits.flash is not None and (needed := _least_layers(search, ranked)):
        search.try_scheme(_with_int4(best, ranked[:needed]))
    low, high = 0, len(ranked)  # so many layers keep to the goal; so many do not
    while high - low > max(1, len(ranked) // 8):
        middle = (low + high) // 2
        trial = search.try_scheme(_with_int4(best, ranked[:middle]))
        if trial is None:
            return
        low, high = (middle, high) if trial.loss <= search.limits.goal else (low, middle)


def _with_int4(best: Scheme, chosen: Sequence[Sensitivity]) -> Scheme:
    return replace(best, round="learned", layers={**layers_of(chosen, "int4"), **best.layers})


def _least_layers(search: _Search, ranked: Sequence[Sensitivity]) -> int:
    """The fewest layers whose int4 weights bring the first trial's flash below the limit; 0 where none need to."""
    over = search.trials[0].cost.flash - (search.limits.flash or 0)
    for count, one in enumerate(ranked):
        if over <= 0:
            return count
        over -= one.bytes
    return len(ranked)


def _chosen(trials: Sequence[Trial], limits: Limits, notes: list[str]) -> Trial:
    """The cheapest of those that fit and keep to the goal; else the best that fits, and a note."""
    fitting = [t for t in trials if t.fits]
    if not fitting:
        least = min(trials, key=lambda t: (t.cost.cycles or 0, t.cost.flash, t.cost.ram))
        cycles = "" if least.cost.cycles is None else f", {least.cost.cycles:,} cycles"
        raise ModelError(
            f"none of {len(trials)} schemes keeps to the limits; the leanest, {least.scheme.describe()}, takes "
            f"{least.cost.flash:,} bytes of flash, {least.cost.ram:,} of RAM{cycles}"
        )
    good = [t for t in fitting if t.loss <= limits.goal]
    if not good:
        best = min(fitting, key=lambda t: t.rank)
        notes.append(f"nothing that was tried loses {limits.goal:g} points or less; the best loses {best.loss:.2g}")
        return best
    return min(good, key=lambda t: (_step(t.cost.cycles), _step(t.cost.flash), _step(t.cost.ram), t.rank))


def _step(cost: int | None) -> int:
    """Costs that are about the same as one number."""
    return round(log(cost) / log(ALIKE)) if cost else 0


def _divided(samples: Samples, test: Samples | None) -> tuple[Samples, Samples, list[str]]:
    """Samples to calibrate with, samples to measure on, and what to say of them."""
    if test is not None:
        return _part(samples, MOST_CALIBRATION), test, []
    if len(samples) < ENOUGH_TO_SPLIT:
        return samples, samples, [f"measured on the {len(samples)} samples that calibrate; more would be a better test"]
    half = set(drawn(len(samples), min(len(samples) // 2, MOST_CALIBRATION)).tolist())
    first = [i for i in range(len(samples)) if i in half]
    rest = _taken(samples, [i for i in range(len(samples)) if i not in half])
    measured = _part(rest, MOST_TEST)
    note = f"calibrated with {len(first)} of the samples, measured on {len(measured)} others"
    return _taken(samples, first), measured, [note]


def _part(samples: Samples, most: int) -> Samples:
    return _taken(samples, drawn(len(samples), most).tolist())


def _taken(samples: Samples, indices: Sequence[int]) -> Samples:
    labels = None if samples.labels is None else samples.labels[list(indices)]
    names = [samples.names[i] for i in indices] if samples.names else []
    return Samples([samples.inputs[i] for i in indices], labels, names)
