"""The block counter of block_counter.c, seen from Python."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from tinymaix.chips.tools import cached_native, package

SOURCE = Path(__file__).parent / "block_counter.c"
NO_LIMIT = 2**64 - 1


@cache
def _library() -> ctypes.CDLL:
    arguments = ["-shared"] if sys.platform == "win32" else ["-shared", "-fPIC"]
    library = ctypes.CDLL(str(cached_native(SOURCE, arguments)))
    library.counter_new.restype = ctypes.c_void_p
    library.counter_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    library.counter_free.argtypes = [ctypes.c_void_p]
    library.counter_start.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    library.counter_executed.restype = ctypes.c_uint64
    library.counter_executed.argtypes = [ctypes.c_void_p]
    library.counter_error.argtypes = [ctypes.c_void_p]
    library.counter_edges.restype = ctypes.c_size_t
    library.counter_edges.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    return library


class BlockCounter:
    """Counts the blocks that a unicorn engine executes while it is attached."""

    def __init__(self, engine: Any, thumb: bool) -> None:
        # The wheel's Python class only takes Python callbacks; its C library, which it has loaded, takes C ones.
        self._unicorn = package("unicorn.unicorn_py3.unicorn").uclib
        self._engine = engine
        address = [
            ctypes.cast(function, ctypes.c_void_p)
            for function in (self._unicorn.uc_mem_read, self._unicorn.uc_emu_stop)
        ]
        self._library = _library()
        self._counter = self._library.counter_new(int(thumb), *address)
        if not self._counter:
            raise MemoryError("no memory for a block counter")
        weakref.finalize(self, self._library.counter_free, self._counter)
        self._hook: ctypes.c_size_t | None = None

    def start(self, limit: int | None) -> None:
        """Count from 0 on; stop the engine after `limit` instructions. The hook stays until `detach`."""
        self._library.counter_start(self._counter, NO_LIMIT if limit is None else limit)
        if self._hook is not None:
            return
        self._hook = ctypes.c_size_t(0)
        status = self._unicorn.uc_hook_add(
            self._engine._uch,
            ctypes.byref(self._hook),
            package("unicorn").UC_HOOK_BLOCK,
            ctypes.cast(self._library.counter_hook, ctypes.c_void_p),
            ctypes.c_void_p(self._counter),
            ctypes.c_uint64(1),  # a first address above the last one means every address
            ctypes.c_uint64(0),
        )
        if status:
            raise RuntimeError(f"unicorn refuses a block hook (error {status})")
        self._engine.ctl_flush_tb()  # code translated before does not call the hook

    def detach(self) -> None:
        """Count no more, and run at full speed."""
        self._library.counter_start(self._counter, NO_LIMIT)
        if self._hook is not None:
            self._unicorn.uc_hook_del(self._engine._uch, self._hook)
            self._engine.ctl_flush_tb()
            self._hook = None

    @property
    def instructions(self) -> int:
        """Instructions executed since attach."""
        return int(self._library.counter_executed(self._counter))

    @property
    def passed_limit(self) -> bool:
        """Whether the limit stopped the engine. Raises MemoryError where the counter itself failed."""
        error = self._library.counter_error(self._counter)
        if error == 2:
            raise MemoryError("the block counter ran out of memory")
        return bool(error)

    def figures(self) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]:
        """Executions by (address, size) of a block, and by (address before, address)."""
        number = self._library.counter_edges(self._counter, None)
        buffer = (ctypes.c_uint64 * (4 * number))()
        self._library.counter_edges(self._counter, buffer)
        blocks: Counter[tuple[int, int]] = Counter()
        edges: Counter[tuple[int, int]] = Counter()
        for at in range(0, 4 * number, 4):
            before, address, size, count = buffer[at : at + 4]
            blocks[address, size] += count
            edges[before, address] += count
        return dict(sorted(blocks.items())), dict(sorted(edges.items()))
