"""Modelled cycles of RV32 cores against sequences counted by hand from their documents and from measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chips.programs import LOOPS, make, power_on, words
from tinymaix.chips.branches import conditional, indirect
from tinymaix.chips.build import Firmware
from tinymaix.chips.cycles import TABLES, estimate
from tinymaix.chips.emulate import Machine
from tinymaix.chips.riscv import Instruction, decode
from tinymaix.cores.costs import Branches, Pipeline

# Each sequence is called with a0 and a1 the address of 64 bytes of RAM, a2 = 3; figures leave out its return.
# Those of the QingKe V2 are jnk0le's measurements at no wait state: plain instructions 1, loads and stores 2, whatever
# changes the flow 3, one more to a 32-bit instruction across two words.
NOP32 = ".option push; .option norvc; nop; .option pop"
QINGKE_V2: dict[str, tuple[str, int]] = {
    "return": ("", 0),
    "ten short ones": ("; ".join(["c.nop"] * 10), 10),
    "ten long ones": ("; ".join([NOP32] * 10), 10),
    "long and short": ("; ".join([NOP32, "c.nop", "c.nop"] * 3), 9),
    "ten loads": ("; ".join(["lw a3, 0(a0)"] * 10), 20),
    "ten stores": ("; ".join(["sw a2, 0(a0)"] * 10), 20),
    "bytes": ("lbu a3, 1(a0); sb a3, 2(a0)", 4),
    "load and use": ("lw a3, 0(a0); addi a3, a3, 1", 3),
    "shifts": ("slli a2, a2, 1; srli a3, a2, 2; or a3, a3, a2", 3),
    "jump": ("j 1f; nop; 1: nop", 3 + 1),
    "jump to a long one across words": ("j 1f; c.nop; c.nop; 1: " + NOP32, 3 + 1 + 1),
    "loop": ("li a3, 10; 1: addi a3, a3, -1; bnez a3, 1b", 1 + 9 * 4 + 2),
    "loop of a load": ("li a3, 4; 1: lw a4, 0(a0); addi a3, a3, -1; bnez a3, 1b", 1 + 3 * 6 + 4),
    "branch, not taken": ("beqz a2, 1f; nop; 1: nop", 3),
    "branch, taken": ("bnez a2, 1f; nop; 1: nop", 3 + 1),
    "call": ("mv a4, ra; jal 1f; mv ra, a4; j 2f; 1: ret; 2: nop", 1 + 3 + 3 + 1 + 3 + 1),
}
HAZARD3: dict[str, tuple[str, int]] = {
    "return": ("", 0),
    "load and use": ("lw a3, 0(a0); addi a3, a3, 1", 3),
    "load, other, use": ("lw a3, 0(a0); addi a4, a2, 1; addi a3, a3, 1", 3),
    "load and store": ("lw a3, 0(a0); sw a3, 0(a1)", 2),
    "load of a loaded address": ("sw a0, 0(a0); lw a3, 0(a0); lw a3, 0(a3)", 1 + 2 + 1),
    "multiply": ("mul a3, a2, a2; mulhu a3, a3, a2", 2),
    "two divisions, 18 or 19 each": ("div a3, a2, a2; div a4, a2, a2", 37),
    "jump": ("j 1f; nop; 1: nop", 2 + 1),
    "loop": ("li a3, 10; 1: addi a3, a3, -1; bnez a3, 1b", 1 + 20 + 2),  # its first and its last branch
    "branch forward, taken": ("bnez a2, 1f; nop; 1: nop", 2 + 1),
}
IBEX: dict[str, tuple[str, int]] = {
    "return": ("", 0),
    "load and store": ("lw a3, 0(a0); sw a3, 0(a1)", 4),
    "multiply": ("mul a3, a2, a2; mulhu a3, a3, a2", 3 + 4),
    "divide": ("div a3, a2, a2", 38),
    "jump": ("j 1f; nop; 1: nop", 2 + 1),
    "branch, taken": ("bnez a2, 1f; nop; 1: nop", 3 + 1),
}
PICORV32: dict[str, tuple[str, int]] = {
    "return": ("", 0),
    "plain": ("addi a3, a2, 1; add a3, a3, a2; lui a4, 1", 9),
    "load and store": ("lw a3, 0(a0); sb a3, 0(a1)", 10),
    "multiply": ("mul a3, a2, a2; mulhu a3, a3, a2; divu a3, a3, a2", 40 + 72 + 40),
    "jump": ("j 1f; nop; 1: nop", 3 + 3),
    "branch, taken": ("bnez a2, 1f; nop; 1: nop", 5 + 3),
    "branch, not taken": ("beqz a2, 1f; nop; 1: nop", 3 + 3 + 3),
}
E31: dict[str, tuple[str, int]] = {
    "return": ("", 0),
    "load and use": ("lw a3, 0(a0); addi a3, a3, 1", 3),
    "byte and use": ("lbu a3, 0(a0); addi a3, a3, 1", 4),
    "multiply": ("mul a3, a2, a2; nop", 6),
    "jump": ("j 1f; nop; 1: nop", 2),
    "loop": ("li a3, 10; 1: addi a3, a3, -1; bnez a3, 1b", 1 + 20 + 3),
    "branch, always taken": ("bnez a2, 1f; nop; 1: nop", 1 + 1),
}
SEQUENCES = {"qingke-v2": QINGKE_V2, "hazard3": HAZARD3, "ibex": IBEX, "picorv32": PICORV32, "e31": E31}
CALL = """
    .text\n .global tm_main\n .type tm_main, @function\n .balign 4
tm_main:
    la a0, which
    lw a1, 0(a0)
    slli a1, a1, 2
    la a0, table
    add a0, a0, a1
    lw a5, 0(a0)
    la a0, bytes
    mv a1, a0
    li a2, 3
    jr a5
    .size tm_main, . - tm_main
    .data\n .balign 4\n .global which\n .type which, @object\n .size which, 4
which: .word 0
bytes: .space 64
    .section .rodata\n .balign 4
table: .word {table}
    .text
"""


def program(texts: list[str]) -> str:
    """Assembly with a tm_main that jumps to the sequence number `which`; each ends with a jump to one return."""
    functions = [f".balign 4\ns{i}:\n" + "\n".join(text.split("; ")) + "\nj end" for i, text in enumerate(texts)]
    end = "\n.balign 4\nend: ret\n"
    return CALL.format(table=", ".join(f"s{i}" for i in range(len(texts)))) + "\n".join(functions) + end


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Firmware, Machine]]:
    """For each core its sequences as one program."""
    result = {}
    for core, sequences in SEQUENCES.items():
        source = program([text for text, _ in sequences.values()])
        firmware = make(source, core, tmp_path_factory.mktemp(core), suffix=".S")
        result[core] = firmware, power_on(firmware)
    return result


def measure(firmware: Firmware, machine: Machine, index: int) -> int:
    cycles = estimate(firmware, machine.run(words({"which": index}), {}))
    assert cycles is not None
    return cycles.cycles


@pytest.mark.parametrize(("core", "name"), [(core, name) for core, names in SEQUENCES.items() for name in names])
def test_cycles_of_sequences(core: str, name: str, built: dict[str, tuple[Firmware, Machine]]) -> None:
    index = list(SEQUENCES[core]).index(name)
    assert measure(*built[core], index) - measure(*built[core], 0) == SEQUENCES[core][name][1]


@pytest.mark.parametrize("core", [core for core, costs in TABLES.items() if isinstance(costs, Pipeline)])
def test_every_core_has_an_estimate(core: str, tmp_path: Path) -> None:
    firmware = make(LOOPS["riscv"], core, tmp_path, suffix=".S")
    emulation = power_on(firmware).run({}, {})
    cycles = estimate(firmware, emulation)
    assert cycles is not None
    assert emulation.instructions is not None
    assert emulation.instructions <= cycles.cycles < 6 * emulation.instructions
    assert cycles.source == TABLES[core].source
    assert 0 < cycles.error < 0.5


def test_branches_by_counters() -> None:
    counters = Branches("counters", wrong=3, taken=0, jump=0, indirect=3, back=0)
    assert conditional(counters, 90, 10, backward=True, inner=True) == (30, 7.5)
    assert conditional(counters, 0, 10, backward=False, inner=True) == (0, 0)
    assert indirect(counters, 3, [10, 2, 1]) == 9


def test_branches_foreseen_by_their_direction() -> None:
    static = Branches("backward", wrong=3, taken=1, jump=1, indirect=2, back=2)
    assert conditional(static, 90, 10, backward=True, inner=True)[0] == 90 + 30
    assert conditional(static, 90, 10, backward=False, inner=True)[0] == 270
    assert indirect(static, 2, [10, 2]) == 24


def test_the_last_branch_backward_is_foreseen_only_in_innermost_loops() -> None:
    last = Branches("last", wrong=1, taken=0, jump=1, indirect=1, back=1)
    assert conditional(last, 90, 10, backward=True, inner=True)[0] == 20
    assert conditional(last, 90, 10, backward=True, inner=False)[0] == 90


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("13050500", Instruction("alu", 4, 10, (10,))),  # addi a0, a0, 0
        ("03a54500", Instruction("load", 4, 10, (11,))),  # lw a0, 4(a1)
        ("83c50500", Instruction("byte", 4, 11, (11,))),  # lbu a1, 0(a1)
        ("23a0a500", Instruction("store", 4, 0, (11,), 10)),  # sw a0, 0(a1)
        ("3305b502", Instruction("mul", 4, 10, (10, 11))),  # mul a0, a0, a1
        ("8280", Instruction("back", 2, 0, (1,))),  # ret
        ("0295", Instruction("indirect", 2, 1, (10,))),  # c.jalr a0
        ("0841", Instruction("load", 2, 10, (10,))),  # c.lw a0, 0(a0)
        ("7dfd", Instruction("branch", 2, 0, (10,), backward=True)),  # c.bnez a0, -2
        ("53f5b500", Instruction("fadd", 4, 42, (43, 43))),  # fadd.s fa0, fa1, fa1
        ("4376b568", Instruction("fma", 4, 44, (42, 43, 45))),  # fmadd.s fa2, fa0, fa1, fa3
    ],
)
def test_decoding(code: str, expected: Instruction) -> None:
    assert decode(bytes.fromhex(code)) == [expected]
