"""Cores of well-known chips that cannot be built for or emulated here: described so that errors can say so."""

from tinymaix.cores.core import Core

CORES = (
    Core(name="xtensa-lx6", family="other", title="Xtensa LX6", features=frozenset({"mul", "mull", "div", "fpu"})),
    Core(name="xtensa-lx7", family="other", title="Xtensa LX7", features=frozenset({"mul", "mull", "div"})),
    Core(name="hifi3", family="other", title="Cadence HiFi 3 DSP"),
    Core(name="csky-ck804", family="other", title="C-SKY CK804EF"),
    Core(
        name="mcs251",
        family="other",
        title="Intel MCS-251 (80251)",
        bits=8,
        int_bytes=2,
        pointer_bytes=2,
        arena_align=1,
    ),
)
