"""Text in the memory of a program that prints by SEGGER's Real Time Transfer: what is in its first buffer at the end.

The control block: "J-Link / J-Trace User Guide" (SEGGER UM08001), chapter RTT.
"""

from __future__ import annotations

from collections.abc import Callable

SYMBOL = "_SEGGER_RTT"
MAGIC = b"SEGGER RTT"
BUFFER = 24
"""Bytes of a block before its first buffer: its name, and the numbers of buffers."""
MOST = 1 << 16


def printed(block: int, load: Callable[[int, int], bytes]) -> bytes:
    """What is in the first buffer to the host of the control block at an address."""
    if load(block, len(MAGIC)) != MAGIC:
        return b""
    words = load(block + BUFFER, 20)
    _, data, size, written, read = (int.from_bytes(words[at : at + 4], "little") for at in range(0, 20, 4))
    if not 0 < size <= MOST or written >= size or read >= size:
        return b""
    ring = load(data, size)
    return ring[read:written] if read <= written else ring[read:] + ring[:written]
