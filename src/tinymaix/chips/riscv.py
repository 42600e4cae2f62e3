"""RV32 code as the cycle models ask for it: kind, registers and length of each instruction.

Encodings: "The RISC-V Instruction Set Manual, volume I: Unprivileged ISA", chapters 2, 7, 8, 11, 16 and 24.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOAT = 32
"""Number of f0; registers of integers are 0 to 31."""


@dataclass(frozen=True)
class Instruction:
    """One instruction."""

    kind: str
    """"alu", "shift", "load" (a word), "byte" (or two), "store", "mul", "mulh", "div", "amo", "csr", "branch", "jump",
    "indirect", "back", "fload", "fstore", "fadd", "fmul", "fma", "fdiv", "fsqrt", "fmove"."""
    size: int
    writes: int = 0
    """The register that it changes; 0 for none."""
    reads: tuple[int, ...] = ()
    """Registers that it needs at its start."""
    stores: int = 0
    """The register that it stores; 0 for none, or for zero."""
    backward: bool = False
    """Of a branch: whether its target lies before it."""


def decode(code: bytes) -> list[Instruction]:
    """The instructions of a block."""
    result, at = [], 0
    while at < len(code):
        wide = code[at] & 3 == 3
        word = int.from_bytes(code[at : at + (4 if wide else 2)], "little")
        result.append(_wide(word) if wide else _compressed(word))
        at += 4 if wide else 2
    return result


def _wide(word: int) -> Instruction:
    opcode, rd, rs1, rs2 = word & 0x7F, word >> 7 & 31, word >> 15 & 31, word >> 20 & 31
    funct3, funct7 = word >> 12 & 7, word >> 25
    if opcode in (0x43, 0x47, 0x4B, 0x4F):
        return Instruction("fma", 4, FLOAT + rd, (FLOAT + rs1, FLOAT + rs2, FLOAT + (word >> 27)))
    if opcode == 0x53:
        return _float(rd, rs1, rs2, funct7 >> 2)
    simple = {
        0x03: Instruction("load" if funct3 == 2 else "byte", 4, rd, (rs1,)),
        0x07: Instruction("fload", 4, FLOAT + rd, (rs1,)),
        0x13: Instruction("shift" if funct3 in (1, 5) else "alu", 4, rd, (rs1,)),
        0x17: Instruction("alu", 4, rd),
        0x37: Instruction("alu", 4, rd),
        0x23: Instruction("store", 4, 0, (rs1,), rs2),
        0x27: Instruction("fstore", 4, 0, (rs1,), FLOAT + rs2),
        0x2F: Instruction("amo", 4, rd, (rs1, rs2)),
        0x63: Instruction("branch", 4, 0, (rs1, rs2), backward=bool(word >> 31)),
        0x6F: Instruction("jump", 4, rd),
        0x67: Instruction("back" if rd == 0 and rs1 == 1 else "indirect", 4, rd, (rs1,)),
        0x73: Instruction("csr", 4, rd, (rs1,) if funct3 < 4 else ()),
    }
    if opcode == 0x33:
        multiply = "div" if funct3 >= 4 else "mulh" if funct3 else "mul"
        plain = "shift" if funct3 in (1, 5) else "alu"
        return Instruction(multiply if funct7 == 1 else plain, 4, rd, (rs1, rs2))
    return simple.get(opcode, Instruction("alu", 4))


def _float(rd: int, rs1: int, rs2: int, operation: int) -> Instruction:
    """Single precision; `operation` is funct5."""
    kind = {0: "fadd", 1: "fadd", 2: "fmul", 3: "fdiv", 0x0B: "fsqrt", 0x18: "fadd", 0x1A: "fadd"}.get(
        operation, "fmove"
    )
    to_integer, from_integer = operation in (0x14, 0x18, 0x1C), operation in (0x1A, 0x1E)
    reads = (rs1,) if from_integer else (FLOAT + rs1, FLOAT + rs2)
    return Instruction(kind, 4, rd if to_integer else FLOAT + rd, reads)


def _compressed(word: int) -> Instruction:
    """Of RV32C; what is reserved counts as an ALU instruction without registers."""
    quadrant, funct3 = word & 3, word >> 13
    rd, rs2 = word >> 7 & 31, word >> 2 & 31
    short1, short2 = 8 + (word >> 7 & 7), 8 + (word >> 2 & 7)
    if quadrant == 2 and funct3 == 4:
        if rs2:
            return Instruction("alu", 2, rd, (rd, rs2) if word >> 12 & 1 else (rs2,))
        linked = word >> 12 & 1
        return Instruction("back" if rd == 1 and not linked else "indirect", 2, linked, (rd,))
    if quadrant == 1 and funct3 == 4:
        which = word >> 10 & 3
        return Instruction("shift" if which < 2 else "alu", 2, short1, (short1, short2) if which == 3 else (short1,))
    return {
        (0, 0): Instruction("alu", 2, short2, (2,)),
        (0, 2): Instruction("load", 2, short2, (short1,)),
        (0, 3): Instruction("fload", 2, FLOAT + short2, (short1,)),
        (0, 6): Instruction("store", 2, 0, (short1,), short2),
        (0, 7): Instruction("fstore", 2, 0, (short1,), FLOAT + short2),
        (1, 0): Instruction("alu", 2, rd, (rd,)),
        (1, 1): Instruction("jump", 2, 1),
        (1, 2): Instruction("alu", 2, rd),
        (1, 3): Instruction("alu", 2, rd, (2,) if rd == 2 else ()),
        (1, 5): Instruction("jump", 2),
        (1, 6): Instruction("branch", 2, 0, (short1,), backward=bool(word >> 12 & 1)),
        (1, 7): Instruction("branch", 2, 0, (short1,), backward=bool(word >> 12 & 1)),
        (2, 0): Instruction("shift", 2, rd, (rd,)),
        (2, 2): Instruction("load", 2, rd, (2,)),
        (2, 3): Instruction("fload", 2, FLOAT + rd, (2,)),
        (2, 6): Instruction("store", 2, 0, (2,), rs2),
        (2, 7): Instruction("fstore", 2, 0, (2,), FLOAT + rs2),
    }.get((quadrant, funct3), Instruction("alu", 2))
