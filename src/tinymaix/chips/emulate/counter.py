"""The block counter of block_counter.c, seen from Python."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tinymaix.chips.chip import FlashPath
from tinymaix.chips.emulate.machine import Missed, Part, Parts
from tinymaix.chips.tools import cached_native, package

SOURCE = Path(__file__).parent / "block_counter.c"
NO_LIMIT = 2**64 - 1
UNALIGNED = "accessed a word that is not aligned, which the chip does not allow,"
PROBLEMS = (
    "",
    "was stopped past its instruction limit",
    "was stopped because its code could not be read or counted",
    UNALIGNED,
    "runs in an endless loop",
)
PAST_LIMIT, ENDLESS = 1, 4
"""By counter.error of block_counter.c."""


@cache
def _library() -> ctypes.CDLL:
    arguments = ["-shared"] if sys.platform == "win32" else ["-shared", "-fPIC"]
    library = ctypes.CDLL(str(cached_native(SOURCE, arguments)))
    library.counter_new.restype = ctypes.c_void_p
    library.counter_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    library.counter_free.argtypes = [ctypes.c_void_p]
    library.counter_start.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    library.counter_parts.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p]
    pair = (ctypes.c_size_t, ctypes.c_void_p)
    library.counter_flash.argtypes = [ctypes.c_void_p, *pair, *pair]
    library.counter_watch_it.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    library.counter_missed.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.counter_error.argtypes = [ctypes.c_void_p]
    library.counter_executed.restype = ctypes.c_uint64
    library.counter_executed.argtypes = [ctypes.c_void_p]
    library.counter_limit.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int]
    library.counter_watch.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    library.counter_top.restype = ctypes.c_uint64
    library.counter_top.argtypes = [ctypes.c_void_p]
    library.counter_stacks.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.counter_edges.restype = ctypes.c_size_t
    library.counter_edges.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    return library


def _pointer(function: Any) -> ctypes.c_void_p:
    return ctypes.cast(function, ctypes.c_void_p)


class BlockCounter:
    """Counts the blocks that a unicorn engine executes; stops it at a limit and, if `strict`, at unaligned
    accesses of RISC-V."""

    def __init__(self, engine: Any, *, thumb: bool, strict: bool) -> None:
        # The wheel's Python class only takes Python callbacks; its C library, which it has loaded, takes C ones.
        self._unicorn = package("unicorn.unicorn_py3.unicorn").uclib
        self._engine, self._thumb = engine, thumb
        self._library = _library()
        pointers = (_pointer(self._unicorn.uc_mem_read), _pointer(self._unicorn.uc_emu_stop))
        self._counter = self._library.counter_new(int(thumb), *pointers)
        if not self._counter:
            raise MemoryError("no memory for a block counter")
        weakref.finalize(self, self._library.counter_free, self._counter)
        kinds = package("unicorn")
        self._callbacks = [(kinds.UC_HOOK_BLOCK, self._library.counter_hook)]
        if strict and not thumb:  # unicorn's Armv6-M faults by itself
            self._callbacks.append((kinds.UC_HOOK_MEM_READ | kinds.UC_HOOK_MEM_WRITE, self._library.counter_align))
        self._reading = (kinds.UC_HOOK_MEM_READ, self._library.counter_read)
        self._paths: tuple[FlashPath, ...] = ()
        self._hooks: list[ctypes.c_size_t] = []

    def watch_flash(self, stretches: Sequence[tuple[int, int]], paths: Sequence[FlashPath]) -> None:
        """From the next `start` on, follow reads of the flash, by its (begin, end), on these paths, caches empty."""
        wanted = tuple(dict.fromkeys(paths))
        if wanted == self._paths:
            return
        self.detach()
        self._paths = wanted
        self._stretches = (ctypes.c_uint64 * (2 * len(stretches)))(*(at for stretch in stretches for at in stretch))
        numbers = [
            int(n) for path in wanted for n in (path.line, path.ways, path.code, path.data or 0, path.data is None)
        ]
        given = (ctypes.c_uint32 * len(numbers))(*numbers)
        if not self._library.counter_flash(self._counter, len(stretches), self._stretches, len(wanted), given):
            raise MemoryError("no memory for the caches of a flash")
        if self._thumb:
            cpsr = package("unicorn.arm_const").UC_ARM_REG_CPSR
            access = [_pointer(f) if wanted else None for f in (self._unicorn.uc_reg_read, self._unicorn.uc_reg_write)]
            self._library.counter_watch_it(self._counter, cpsr, *access)

    def start(self, limit: int | None, parts: Parts | None = None) -> None:
        """Count from 0 on; stop the engine after `limit` instructions. The hooks stay until `detach`."""
        of = parts.of if parts else ()
        self._parts = (ctypes.c_uint16 * len(of))(*of)  # kept: the counter reads it while it counts
        self._library.counter_parts(self._counter, parts.begin if parts else 0, 2 * len(of), self._parts)
        self._library.counter_start(self._counter, NO_LIMIT if limit is None else limit)
        if self._hooks:
            return
        first, last = ctypes.c_uint64(1), ctypes.c_uint64(0)  # a first address above the last means every address
        user = ctypes.c_void_p(self._counter)
        for kind, callback in [*self._callbacks, *[self._reading] * bool(self._paths)]:
            hook = ctypes.c_size_t(0)
            handle, function = self._engine._uch, _pointer(callback)
            status = self._unicorn.uc_hook_add(handle, ctypes.byref(hook), kind, function, user, first, last)
            if status:
                raise RuntimeError(f"unicorn refuses a hook (error {status})")
            self._hooks.append(hook)
        self._engine.ctl_flush_tb()  # code translated before does not call the hooks

    def go_on(self, limit: int | None, *, progress: bool = False) -> None:
        """Count on where it was stopped, to another limit since `start`; with `progress` for at least one block."""
        self._library.counter_limit(self._counter, NO_LIMIT if limit is None else limit, int(progress))

    @property
    def top(self) -> int:
        """The first stack pointer that was not 0, where it is watched."""
        return int(self._library.counter_top(self._counter))

    def watch_stack(self, register: int) -> None:
        """From now on, note the stack pointer, which unicorn calls so, at the start of each block."""
        self._library.counter_watch(self._counter, register, _pointer(self._unicorn.uc_reg_read))

    def stacks(self) -> tuple[int, dict[tuple[int, int], int]]:
        """The first stack pointer that was not 0, and the lowest one by (address, size) of a block."""
        number = self._library.counter_edges(self._counter, None)
        buffer = (ctypes.c_uint64 * (3 * number))()
        self._library.counter_stacks(self._counter, buffer)
        lowest: dict[tuple[int, int], int] = {}
        for at in range(0, 3 * number, 3):
            block = (buffer[at], buffer[at + 1])
            lowest[block] = min(lowest.get(block, NO_LIMIT), buffer[at + 2])
        return self.top, lowest

    def lengths(self) -> dict[tuple[int, int], int]:
        """The instructions of each block by its (address, size)."""
        number = self._library.counter_edges(self._counter, None)
        buffer = (ctypes.c_uint64 * (7 * number))()
        self._library.counter_edges(self._counter, buffer)
        return {(buffer[at + 1], buffer[at + 2]): buffer[at + 4] for at in range(0, 7 * number, 7)}

    def detach(self) -> None:
        """Count no more, and run at full speed."""
        self._library.counter_start(self._counter, NO_LIMIT)
        if self._hooks:
            for hook in self._hooks:
                self._unicorn.uc_hook_del(self._engine._uch, hook)
            self._engine.ctl_flush_tb()
            self._hooks = []

    @property
    def problem(self) -> str:
        """Why the counter stopped the engine; empty where it did not."""
        return PROBLEMS[self.error]

    @property
    def error(self) -> int:
        """Which of PROBLEMS it was; 0 for none."""
        return int(self._library.counter_error(self._counter))

    @property
    def executed(self) -> int:
        """Instructions since `start`, to the end of the current block."""
        return int(self._library.counter_executed(self._counter))

    def figures(self) -> tuple[Part, dict[int, Part]]:
        """What was counted in all, and for each part of the work: executions by (address, size) of a block, and by
        (address before, address); an edge is the part's that it leaves."""
        number = self._library.counter_edges(self._counter, None)
        buffer = (ctypes.c_uint64 * (7 * number))()
        self._library.counter_edges(self._counter, buffer)
        width = 2 * len(self._paths)
        missed = (ctypes.c_uint64 * (width * number))()
        if width and number:
            self._library.counter_missed(self._counter, missed)
        whole = _Tally(self._paths)
        shares: defaultdict[int, _Tally] = defaultdict(lambda: _Tally(self._paths))
        for i in range(number):
            before, address, size, count, instructions, part_before, part = buffer[7 * i : 7 * i + 7]
            reads = missed[width * i : width * (i + 1)]
            for tally in (whole, shares[part]):
                tally.blocks[address, size] += count
                tally.instructions += count * instructions
                tally.add_missed((address, size), reads)
            for tally in (whole, shares[part_before]):
                tally.edges[before, address] += count
        return whole.part(), {part: tally.part() for part, tally in sorted(shares.items())}


class _Tally:
    """What was counted so far."""

    def __init__(self, paths: Sequence[FlashPath]) -> None:
        self.instructions = 0
        self.blocks: Counter[tuple[int, int]] = Counter()
        self.edges: Counter[tuple[int, int]] = Counter()
        self.missed: dict[FlashPath, dict[tuple[int, int], Missed]] = {path: {} for path in paths}

    def add_missed(self, block: tuple[int, int], reads: Sequence[int]) -> None:
        """reads: of code and of data, on each path."""
        for path, code, data in zip(self.missed, reads[::2], reads[1::2], strict=True):
            if code or data:
                before = self.missed[path].get(block, Missed(0, 0))
                self.missed[path][block] = Missed(before.code + code, before.data + data)

    def part(self) -> Part:
        blocks, edges = (dict(sorted(counts.items())) for counts in (self.blocks, self.edges))
        return Part(self.instructions, None, blocks, edges, self.missed)
