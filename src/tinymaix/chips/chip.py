"""Chips by name: the tables of chips.toml, and of a user's own file of the same form, as data classes."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tinymaix import cores
from tinymaix.cores import Core, CoreError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BUILT_IN = Path(__file__).parent / "chips.toml"


class ChipError(ValueError):
    """A chip is not known, or a table that describes one is not valid."""


@dataclass(frozen=True)
class Bank:
    """A stretch of RAM that an array cannot reach beyond."""

    name: str
    size: int
    address: int | None = None


class FlashPath(NamedTuple):
    """How reads of a flash are served: what decides which of them have to wait."""

    line: int
    """Bytes of a read, and of a line of the caches."""
    ways: int
    """Places of a cache that a line can be in; 0: all."""
    code: int
    """Bytes of the cache that code runs through; 0: there is none."""
    data: int | None
    """Bytes of the cache that constants are read through; None where it is that of code, 0 where there is none."""


@dataclass(frozen=True)
class Chip:
    """One chip, or, where flash, ram and mhz are None, any chip with that core."""

    name: str
    title: str
    core: Core
    mhz: float | None = None
    """The highest clock of the data sheet, or the clock of its boards, in MHz."""
    flash: int | None = None
    """Bytes for code and constants (outside the chip where it has none inside)."""
    ram: int | None = None
    """Bytes of RAM in the chip that a program can use."""
    banks: tuple[Bank, ...] = ()
    """Where that RAM is not one stretch."""
    boards: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    wait_states: int | None = None
    """Cycles at `mhz`, beyond the first, that the read of one flash line takes; of a serial flash outside the chip, all
    cycles of a line's transfer. None: not known, estimates leave the flash out."""
    flash_line: int = 4
    """Bytes of one flash read, or of one cache line where a cache fills itself by longer ones."""
    accelerator: str = "none"
    """What stands between core and flash, one of ACCELERATORS."""
    cache: int = 0
    """Bytes of the cache that code runs through."""
    data_cache: int | None = None
    """Bytes of the cache that constants are read through; None where it is `cache`, 0 where there is none."""
    cache_ways: int = 0
    """In how many places of a cache a line can be; 0: in any, or not known."""
    active_ma: float | None = None
    """Current in mA of the whole chip, running from flash at `mhz`."""
    volts: float | None = None
    """Supply voltage at which active_ma was measured."""
    note: str = ""
    source: str = ""
    """The documents that the data are from."""
    checked: tuple[tuple[str, str], ...] = ()
    """Which data were compared with a source, and which source: (field, source)."""

    @property
    def flash_path(self) -> FlashPath | None:
        """None where the flash answers at once, or is not known."""
        if not self.wait_states or self.accelerator == "tcm":
            return None
        line, ways, code = (min(n, LARGEST_CACHE) for n in (self.flash_line, self.cache_ways, self.cache))
        if self.accelerator in CACHED:
            data = None if self.data_cache is None else min(self.data_cache, LARGEST_CACHE)
            return FlashPath(line, ways, max(code, line), data)
        return FlashPath(line, 0, 0, 0)

    def ram_missing(self, arena: int, rest: int, most: int | None = None) -> int | None:
        """Bytes of RAM that lack for one array and what can lie elsewhere; 0 where both fit, None where none is known.

        most: bytes of RAM at most that may be taken.
        """
        sizes = [size for size in (self.ram, most) if size is not None]
        if not sizes:
            return None
        missing = max(0, arena + rest - min(sizes))
        if missing or not self.banks:
            return missing
        lack = []
        for i, bank in enumerate(self.banks):
            elsewhere = max((other.size for j, other in enumerate(self.banks) if j != i), default=0)
            if arena + rest <= bank.size:
                return 0
            lack.append(max(0, arena - bank.size) + max(0, rest - elsewhere))
        return min(lack)

    def millijoules(self, milliseconds: float | None) -> float | None:
        """What the chip draws in so many ms of computing; None where its current is not known."""
        if milliseconds is None or self.active_ma is None or self.volts is None:
            return None
        return milliseconds * self.active_ma * self.volts / 1000


ACCELERATORS: Mapping[str, str] = {
    "none": "a read buffer of one line",
    "prefetch": "a read buffer of one line, and the next line is read ahead while the core runs through this one",
    "cache": "a cache, whose misses read a line of the flash",
    "tcm": "code and constants are copied to memory that answers at once",
    "xip-cache": "a cache in front of a serial flash outside the chip",
}
"""What a chip can have between its core and its flash."""

LARGEST_CACHE = 1 << 20
"""Bytes of a cache that make no difference any more."""

CACHED = ("cache", "xip-cache")
"""The accelerators that keep more than the line that is read and the next one."""

DATA = ("mhz", "flash", "ram", "banks", "wait_states", "active_ma")
"""The data of a chip that `checked` can name."""

TYPES: Mapping[str, tuple[type, ...]] = {
    "title": (str,),
    "core": (str,),
    "mhz": (int, float),
    "flash": (int,),
    "ram": (int,),
    "banks": (list,),
    "boards": (list,),
    "aliases": (list,),
    "wait_states": (int,),
    "flash_line": (int,),
    "accelerator": (str,),
    "cache": (int,),
    "data_cache": (int,),
    "cache_ways": (int,),
    "active_ma": (int, float),
    "volts": (int, float),
    "note": (str,),
    "source": (str,),
    "checked": (list,),
}
ZERO = {"wait_states", "cache", "data_cache"}
"""Fields that may be 0."""


def _chip(name: str, table: Any, path: Path) -> Chip:
    where = f"[{name}] in {path}"
    if not isinstance(table, dict):
        raise ChipError(f'"{name}" in {path} is not a table. Describe a chip as [{name}] with title, core, flash, ram.')
    if unknown := sorted(table.keys() - TYPES.keys()):
        raise ChipError(f"{where} has the unknown field {unknown[0]}. Fields are: {', '.join(TYPES)}.")
    for field, value in table.items():
        if not isinstance(value, TYPES[field]) or isinstance(value, bool):
            raise ChipError(f"{where}: {field} must be a {TYPES[field][-1].__name__}, not {value!r}.")
        if isinstance(value, (int, float)) and not (0 < value < 2**40 or (value == 0 and field in ZERO)):
            raise ChipError(f"{where}: {field} must be positive, not {value}.")
        if field == "accelerator" and value not in ACCELERATORS:
            raise ChipError(f'{where}: accelerator must be one of {", ".join(ACCELERATORS)}, not "{value}".')
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ChipError(f"{where}: {field} must be a list of names.")
    if "core" not in table:
        raise ChipError(f'{where} names no core. Add, for example, core = "cortex-m4".')
    try:
        core = cores.find(table["core"])
    except CoreError as error:
        raise ChipError(f"{where}: {error}") from None
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    if "banks" in values:
        values["banks"] = tuple(_bank(text, where) for text in values["banks"])
    values["checked"] = tuple(pair for text in values.get("checked", ()) for pair in _checked(text, table, where))
    return Chip(**{**values, "name": name, "title": table.get("title", name), "core": core})


def _bank(text: str, where: str) -> Bank:
    """From "NAME BYTES" or "NAME BYTES ADDRESS"."""
    words = text.split()
    try:
        address = int(words.pop(), 16) if words[-1].startswith("0x") else None
        return Bank(" ".join(words[:-1]), int(words[-1]), address)
    except (ValueError, IndexError):
        raise ChipError(
            f'{where}: "{text}" describes no bank; write its name and bytes, as in "CCM 65536 0x10000000".'
        ) from None


def _checked(text: str, table: Mapping[str, Any], where: str) -> list[tuple[str, str]]:
    """From "FIELD FIELD: SOURCE"."""
    fields, _, source = text.partition(": ")
    if not source or not fields or not set(fields.split()) <= set(DATA):
        raise ChipError(f'{where}: "{text}" in checked must be fields and their source, as in "flash ram: data sheet".')
    if missing := [field for field in fields.split() if field not in table]:
        raise ChipError(f"{where}: {missing[0]} is called checked, but has no value.")
    return [(field, source) for field in fields.split()]


def _load(path: Path) -> dict[str, Chip]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ChipError(f"The chip descriptions in {path} cannot be read: {error}.") from None
    return {name.lower(): _chip(name.lower(), table, path) for name, table in tables.items()}


@cache
def _built_in() -> dict[str, Chip]:
    return _load(BUILT_IN)


def chips(extra: Path | None = None) -> dict[str, Chip]:
    """Every chip by name: the built-in ones, then those of the file that the environment variable TINYMAIX_CHIPS
    names, then those of `extra`; a later table of the same name replaces an earlier one. Raises ChipError."""
    result = dict(_built_in())
    if variable := os.environ.get("TINYMAIX_CHIPS"):
        result.update(_load(Path(variable)))
    if extra is not None:
        result.update(_load(extra))
    return result


def generic(core: Core) -> Chip:
    """Any chip with this core: no flash, RAM or clock to compare with."""
    return Chip(name=core.name, title=core.title, core=core)


def find_chip(name: str, extra: Path | None = None) -> Chip:
    """The chip of this name, alias or board (case, spaces, "-" and "_" do not count), or a core's name for any chip
    with that core. Raises ChipError, which lists the nearest names."""
    known = chips(extra)
    names = {_plain(alias): chip for chip in known.values() for alias in (*chip.boards, *chip.aliases)}
    names |= {_plain(core.name): generic(core) for core in cores.cores().values()}
    names |= {_plain(key): chip for key, chip in known.items()}
    if chip := names.get(_plain(name)):
        return chip
    near = difflib.get_close_matches(_plain(name), names, n=5, cutoff=0.5)
    found = list(dict.fromkeys(names[key].name for key in near))
    advice = f"The nearest names are: {', '.join(found)}." if found else "The command `tinymaix chips` lists them."
    raise ChipError(f'No chip, board or core is called "{name}". {advice}')


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", " -_"))
