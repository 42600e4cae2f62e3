"""The architecture that a program for Arm was built for, from its build attributes.

"Addenda to, and Errata in, the ABI for the Arm Architecture" (IHI 0045), section 2: build attributes.
"""

from __future__ import annotations

ARCHITECTURES = {10: "Armv7", 11: "Armv6-M", 12: "Armv6S-M", 13: "Armv7E-M", 16: "Armv8-M Baseline",
                 17: "Armv8-M Mainline", 21: "Armv8.1-M"}  # fmt: skip
"""Values of Tag_CPU_arch that microcontrollers have."""
RUNS = {
    "armv6m": {11, 12},
    "armv7m": {10, 11, 12},
    "armv7em": {10, 11, 12, 13},
}
"""What the cores of a family run."""
MORE = {"cortex-m33": {16, 17}}
"""And what a core of it runs besides."""
MOST = 4096
"""Bytes of a section that are looked at."""
CPU_ARCH = 6
STRINGS = {4, 5, 67}
"""Tags below 32 whose value is text, and Tag_conformance."""
COMPATIBILITY = 32
"""The tag whose value is a number and text."""


def architecture(section: bytes) -> int | None:
    """Tag_CPU_arch of an .ARM.attributes section; None where it is not told or the section is damaged."""
    section = section[:MOST]
    at, vendor = 1, b"aeabi\0"
    if section[:1] != b"A" or section[at + 4 : at + 4 + len(vendor)] != vendor:
        return None
    at += 4 + len(vendor) + 5  # the subsection of the file: its tag and its length
    while at < len(section):
        tag, at = _number(section, at)
        if tag in STRINGS or (tag > COMPATIBILITY and tag % 2):
            at = _behind_text(section, at)
            continue
        value, at = _number(section, at)
        if tag == CPU_ARCH:
            return value
        if tag == COMPATIBILITY:
            at = _behind_text(section, at)
    return None


def _number(section: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = shift = 0
    while at < len(section):
        byte = section[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at


def _behind_text(section: bytes, at: int) -> int:
    end = section.find(b"\0", at)
    return len(section) if end < 0 else end + 1


def refused(family: str, core: str, built_for: int | None) -> str:
    """The architecture that a core does not run; empty where it does, or where that is not known."""
    if built_for not in ARCHITECTURES or family not in RUNS or built_for in RUNS[family] | MORE.get(core, set()):
        return ""
    return ARCHITECTURES[built_for]
