"""AVR: 8-bit cores, Harvard: constants stay out of RAM only when they are read from flash with LPM.

A core stands for every device of its gcc architecture; the device that is named is the one linked and emulated.
"""

from tinymaix.cores.core import Core


def _core(name: str, title: str, device: str | None, *, progmem: bool = True) -> Core:
    return Core(
        name=name,
        family="avr",
        title=title,
        gcc_prefix="avr-" if device else None,
        gcc=(f"-mmcu={device}",) if device else (),
        emulator="simavr" if device else None,
        model=device,
        startup=("avr.c",),
        bits=8,
        int_bytes=2,
        pointer_bytes=2,
        arena_align=1,
        features=frozenset({"mul", "unaligned"} | ({"progmem"} if progmem else set())),
    )


CORES = (
    _core("avr5", "AVR (up to 64 KB of flash)", "atmega328p"),
    _core("avr51", "AVR (128 KB of flash)", "atmega1284p"),
    _core("avr6", "AVR (256 KB of flash)", "atmega2560"),
    # Flash is mapped into the data space here, so constants need nothing special. Neither Debian's avr-libc nor simavr
    # knows a device of it.
    _core("avrxmega3", "AVR (megaAVR 0-series, tinyAVR 1-series)", None, progmem=False),
)
