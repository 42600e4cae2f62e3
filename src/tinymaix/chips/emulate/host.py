"""The computer itself: the firmware is a shared library whose tm_main is called. No figures, only results."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinymaix.chips.chip import FlashPath
from tinymaix.chips.emulate.machine import Emulation, Parts, check_entry, locate
from tinymaix.chips.firmware import Firmware


class HostMachine:
    """See Machine. Each has a private copy of the library, so its variables are its own."""

    def __init__(self, firmware: Firmware) -> None:
        check_entry(firmware)
        self._firmware = firmware
        self.reset()

    def reset(self) -> None:
        """See Machine."""
        folder = tempfile.mkdtemp(prefix="tinymaix-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        # The loader hands out one copy a file, so the copy needs a path of its own.
        copy = shutil.copy(self._firmware.elf, Path(folder) / self._firmware.elf.name)
        library = ctypes.CDLL(str(copy))
        self._main = library.tm_main
        entry = ctypes.cast(self._main, ctypes.c_void_p).value or 0
        self._base = entry - self._firmware.symbols["tm_main"][0]

    def run(
        self,
        writes: Mapping[str, bytes],
        reads: Mapping[str, int],
        *,
        count: bool = True,
        limit: int | None = None,
        parts: Parts | None = None,
        paths: Sequence[FlashPath] | None = None,
    ) -> Emulation:
        """See Machine; count, limit and parts have no effect."""
        for place, data in writes.items():
            ctypes.memmove(self._base + locate(self._firmware, place, len(data)), bytes(data), len(data))
        result = self._main()
        memory = {
            place: ctypes.string_at(self._base + locate(self._firmware, place, size), size)
            for place, size in reads.items()
        }
        return Emulation(instructions=None, cycles=None, stack=None, result=result, memory=memory)
