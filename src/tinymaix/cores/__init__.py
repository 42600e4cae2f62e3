"""The processor cores that chips are made of: one folder a family, each with a tuple CORES."""

from __future__ import annotations

import difflib
from functools import cache

from tinymaix.cores import armv6m, armv7em, armv7m, armv8m, avr, host, other, rv32, rv64, vector
from tinymaix.cores.core import Core

__all__ = ["Core", "CoreError", "cores", "find"]

FAMILIES = (armv6m, armv7m, armv7em, armv8m, avr, rv32, rv64, vector, host, other)


class CoreError(ValueError):
    """A core's name is not known; the message lists the nearest ones."""


@cache
def cores() -> dict[str, Core]:
    """Every core by name."""
    return {core.name: core for family in FAMILIES for core in family.CORES}


def find(name: str) -> Core:
    """The core called `name` (any case). Raises CoreError, which lists the nearest names."""
    known = cores()
    core = known.get(name.lower())
    if core is None:
        near = difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.4) or sorted(known)
        raise CoreError(f'No core is called "{name}". The nearest names are: {", ".join(near)}.')
    return core
