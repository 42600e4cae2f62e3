"""What the tuner asks for, is told, and tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinymaix.compile.project import Project

EFFORTS = ("off", "quick", "full")
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
