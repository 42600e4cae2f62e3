"""The few packets of GDB's remote protocol that drive a stopped program: registers, memory, breakpoints, go on.

The protocol: "GDB Remote Serial Protocol", appendix E of the GDB manual.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

CHUNK = 1024
"""Bytes of memory a packet: QEMU takes 4096 characters, two a byte."""


class GdbError(RuntimeError):
    """The other side is gone, or refuses a packet."""


class Gdb:
    """A connection to a stub that listens on a socket in the file system."""

    def __init__(self, path: Path, alive: Callable[[], bool], patience: float = 20.0) -> None:
        """Connect, as soon as the stub listens. alive: whether it may still come to that. Raises GdbError."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._received = b""
        end = time.monotonic() + patience
        while True:
            try:
                self._socket.connect(str(path))
                self._socket.settimeout(patience)
                return
            except OSError:
                if not alive() or time.monotonic() > end:
                    self._socket.close()
                    raise GdbError("did not start to listen") from None
                time.sleep(0.01)

    def close(self) -> None:
        self._socket.close()

    def ask(self, packet: str) -> str:
        """The answer to a packet. Raises GdbError where that is an error."""
        self._send(packet)
        answer = self._answer()
        if answer.startswith("E"):
            raise GdbError(f'answered {answer} to "{packet[:40]}"')
        return answer

    def write_register(self, number: int, value: int, size: int) -> None:
        self.ask(f"P{number:x}={value.to_bytes(size, 'little').hex()}")

    def read_register(self, number: int) -> int:
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), "little")

    def write(self, address: int, data: bytes) -> None:
        for at in range(0, len(data), CHUNK):
            part = data[at : at + CHUNK]
            self.ask(f"M{address + at:x},{len(part):x}:{part.hex()}")

    def read(self, address: int, size: int) -> bytes:
        parts = (self.ask(f"m{address + at:x},{min(CHUNK, size - at):x}") for at in range(0, size, CHUNK))
        return b"".join(bytes.fromhex(part) for part in parts)

    def go(self, watch: Callable[[], bool], interrupt: Callable[[], None]) -> str:
        """Go on until the program stops; why it did. Interrupted as soon as `watch`, which is asked often, says so."""
        self._send("c")
        self._received = self._received.lstrip(b"+")
        while not self._received:
            if select.select([self._socket], [], [], 0.05)[0]:
                self._received = self._receive().lstrip(b"+")
            elif watch():
                interrupt()
                break
        return self._answer()

    def interrupt(self) -> None:
        """What stops a chip; QEMU does not listen for it while a program of Linux runs."""
        self._socket.sendall(b"\x03")

    def _send(self, packet: str) -> None:
        data = packet.encode()
        try:
            self._socket.sendall(b"$%s#%02x" % (data, sum(data) % 256))
        except OSError as error:
            raise GdbError(f"is gone ({error})") from None

    def _answer(self) -> str:
        """The next packet, acknowledged."""
        while b"#" not in self._received or len(self._received) < self._received.index(b"#") + 3:
            self._received += self._receive()
        start, end = self._received.find(b"$"), self._received.index(b"#")
        packet, self._received = self._received[start + 1 : end], self._received[end + 3 :]
        self._socket.sendall(b"+")
        return packet.decode("latin1")

    def _receive(self) -> bytes:
        try:
            more = self._socket.recv(65536)
        except OSError as error:
            raise GdbError(f"is gone ({error})") from None
        if not more:
            raise GdbError("closed the connection")
        return more
