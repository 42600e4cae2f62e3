"""The computer that this package runs on: the fastest way to check results, with no figures of a chip."""

import struct

from tinymaix.cores.core import Core

CORES = (
    Core(
        name="host",
        family="host",
        title="this computer",
        clang=(),
        gcc_prefix="",
        emulator="host",
        bits=8 * struct.calcsize("P"),
        pointer_bytes=struct.calcsize("P"),
        arena_align=16,
        features=frozenset({"mul", "mull", "div", "unaligned", "fpu"}),
    ),
)
