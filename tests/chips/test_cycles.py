"""Modelled cycles against sequences counted by hand from the manuals, and what estimates say of themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chips.programs import LOOPS, make, power_on, words
from tinymaix.chips.build import Firmware
from tinymaix.chips.cycles import TABLES, Cycles, estimate
from tinymaix.chips.emulate import Machine

# Each sequence is called with r0 and r2 the address of 64 bytes of RAM, r1 = 0 and r3 = 3; figures include its return.
# Name: (sequence, cycles on the M0, on the M0+).
ARMV6M: dict[str, tuple[str, int, int]] = {
    "return": ("bx lr", 3, 2),
    "move to pc": ("mov pc, lr", 3, 2),
    "data processing": ("movs r1, #5; adds r1, r1, r3; muls r1, r3, r1; lsls r1, r1, #2; nop; bx lr", 8, 7),
    "extend and reverse": ("uxtb r1, r3; sxth r1, r3; rev r1, r3; bx lr", 6, 5),
    "load": ("ldr r1, [r0]; bx lr", 5, 4),
    "loads do not overlap": ("ldr r1, [r0]; ldrb r3, [r0, #4]; ldrsh r3, [r0, r1]; bx lr", 9, 8),
    "literal": ("ldr r1, =0x12345678; bx lr", 5, 4),
    "stores": ("str r1, [r0]; strb r1, [r0, #4]; strh r1, [r0, r1]; bx lr", 9, 8),
    "stack frame": ("sub sp, #8; str r1, [sp, #4]; ldr r1, [sp]; add sp, #8; bx lr", 9, 8),
    "load multiple": ("ldm r0!, {r1, r2, r3}; bx lr", 7, 6),
    "store multiple": ("stm r0!, {r1, r3}; bx lr", 6, 5),
    "push and pop": ("push {r4-r7}; pop {r4-r7}; bx lr", 13, 12),
    "pop and return": ("push {r4, lr}; pop {r4, pc}", 9, 8),
    "pop the return alone": ("push {lr}; pop {pc}", 7, 6),
    "pop four and return": ("push {r4-r6, lr}; pop {r4-r6, pc}", 13, 12),
    "branch": ("b 1f; nop; 1: bx lr", 6, 4),
    "branch to what follows": ("b 1f; 1: bx lr", 6, 4),
    "conditional branch, taken": ("cmp r0, r0; beq 1f; nop; 1: bx lr", 7, 5),
    "conditional branch, not taken": ("cmp r0, r0; bne 1f; nop; 1: bx lr", 6, 5),
    "loop": ("movs r1, #10; 1: subs r1, r1, #1; bne 1b; bx lr", 1 + 10 + 9 * 3 + 1 + 3, 1 + 10 + 9 * 2 + 1 + 2),
    "loop with a load": (
        "movs r1, #4; 1: ldrb r3, [r0]; adds r0, #1; subs r1, #1; bne 1b; bx lr",
        1 + 4 * 4 + 3 * 3 + 1 + 3,
        1 + 4 * 4 + 3 * 2 + 1 + 2,
    ),
    "call": ("mov r3, lr; bl 1f; bx r3; 1: bx lr", 1 + 4 + 3 + 3, 1 + 3 + 2 + 2),
    "call by register": ("mov r3, lr; ldr r1, =nothing; blx r1; bx r3", 1 + 2 + 3 + 3 + 3, 1 + 2 + 2 + 2 + 2),
    "shifts by a register": ("lsls r1, r3; asrs r1, r3; rors r1, r3; bx lr", 6, 5),
    "high registers": ("mov r12, r3; add r12, r3; mov r1, r12; bx lr", 6, 5),
    "address": ("adr r1, 1f; nop; 1: bx lr", 5, 4),
    "comparisons": ("cmp r1, #0; cmn r1, r3; tst r1, r3; bx lr", 6, 5),
    "multiplications": ("muls r1, r3, r1; muls r1, r3, r1; bx lr", 5, 4),
    "reverse and extend": ("rev16 r1, r3; revsh r1, r3; uxth r1, r3; sxtb r1, r3; bx lr", 7, 6),
    "branches forward and backward": ("b 2f; 1: bx lr; 2: b 1b", 9, 6),
    "nested loops": (
        "movs r1, #3; 1: movs r3, #2; 2: subs r3, r3, #1; bne 2b; subs r1, r1, #1; bne 1b; bx lr",
        1 + 3 * (1 + 2 + 3 + 1 + 1) + 2 * 3 + 1 + 3,
        1 + 3 * (1 + 2 + 2 + 1 + 1) + 2 * 2 + 1 + 2,
    ),
    "barriers": ("dmb; dsb; isb; bx lr", 15, 11),
    "special registers": ("mrs r1, apsr; msr apsr_nzcvq, r1; bx lr", 11, 8),
}
# Name: (sequence, cycles on the M4, on the M3); the M3 has no FPU and no SIMD.
ARMV7M: dict[str, tuple[str, int, int | None]] = {
    "return": ("bx lr", 3, 3),
    "data processing": ("add.w r1, r1, r3, lsl #2; mul r1, r3, r1; clz r1, r1; ssat r1, #8, r1; bx lr", 7, 7),
    "multiply and accumulate": ("mla r1, r3, r3, r1; mls r1, r3, r3, r1; bx lr", 5, 7),
    "SIMD": ("smlad r1, r3, r3, r1; sxtb16 r1, r1; pkhbt r1, r1, r3; smlal r1, r3, r1, r3; bx lr", 7, None),
    "load": ("ldr r1, [r0]; bx lr", 5, 5),
    "two loads": ("ldr r1, [r0]; ldr r3, [r2]; bx lr", 3 + 3, 3 + 3),
    "three loads": ("ldr r3, [r0, r1]; ldr r1, [r2]; ldr r2, [r0, #4]; bx lr", 4 + 3, 4 + 3),
    "load of a loaded address": ("ldr r3, =bytes; ldr r3, [r3]; bx lr", 4 + 3, 4 + 3),
    "load and store by register": ("ldr r3, [r0, r1]; str r3, [r2, r1]; bx lr", 3 + 3, 3 + 3),
    "stores": ("str r1, [r0]; strb r1, [r0, #5]; strh r1, [r0, #2]; bx lr", 3 + 3, 3 + 3),
    "store by register": ("str r3, [r0, r1]; bx lr", 2 + 3, 2 + 3),
    "load after a store": ("str r3, [r0]; ldr r3, [r2]; bx lr", 1 + 1 + 2 + 3, 1 + 1 + 2 + 3),
    "load after its address": ("adds r3, r0, #4; ldr r1, [r3]; bx lr", 1 + 1 + 2 + 3, 1 + 1 + 2 + 3),
    "load after its address and another": ("adds r3, r0, #4; nop; ldr r1, [r3]; bx lr", 4 + 3, 4 + 3),
    "indexed loads of one base": ("ldr r1, [r0], #4; ldr r3, [r0], #4; bx lr", 4 + 3, 4 + 3),
    "indexed loads of two bases": ("ldr r1, [r0], #4; ldr r3, [r2], #4; bx lr", 3 + 3, 4 + 3),
    "double word": ("ldrd r1, r3, [r0]; strd r1, r3, [r0]; bx lr", 3 + 3 + 3, 3 + 3 + 3),
    "three words": ("ldm r0, {r1, r2, r3}; bx lr", 4 + 3, 4 + 3),
    "eight words": ("stm r0, {r0-r7}; bx lr", 9 + 3, 9 + 3),
    "pop and return": ("push {r4, lr}; pop {r4, pc}", 3 + 3 + 3, 3 + 3 + 3),
    "load to pc": ("push {lr}; ldr pc, [sp], #4", 2 + 5, 2 + 5),
    "branch by table": ("tbb [pc, r1]; .byte 1, 1; bx lr", 6 + 3, 6 + 3),
    "loop": ("movs r1, #10; 1: subs r1, r1, #1; bne 1b; bx lr", 1 + 10 * 3 - 1 + 3, 1 + 10 * 3 - 1 + 3),
    "loop to a split instruction": ("movs r1, #10; 1: subs.w r1, r1, #1; bne 1b; bx lr", 33 + 9, 33 + 9),
    "compare and branch": ("cbz r1, 1f; nop; 1: bx lr", 2 + 3, 2 + 3),
    "call": ("mov r3, lr; bl 1f; bx r3; 1: bx lr", 1 + 2 + 3 + 3, 1 + 2 + 3 + 3),
    "folded IT": ("cmp r0, r0; it eq; moveq r1, #1; bx lr", 2 + 3, 2 + 3),
    "IT": ("cmp.w r0, r0; it eq; moveq r1, #1; bx lr", 3 + 3, 3 + 3),
    "conditional return, taken": ("cmp.w r0, r0; it eq; bxeq lr; nop; bx lr", 2 + 3, 2 + 3),
    "conditional return, not taken": ("cmp.w r0, r0; it ne; bxne lr; nop; bx lr", 4 + 3, 4 + 3),
    "float": ("vadd.f32 s0, s1, s2; vmul.f32 s3, s1, s2; bx lr", 2 + 3, None),
    "float result used": ("vmul.f32 s0, s1, s2; vadd.f32 s3, s0, s1; bx lr", 3 + 3, None),
    "float multiply and accumulate": ("vmla.f32 s0, s1, s2; vfma.f32 s3, s1, s2; bx lr", 6 + 3, None),
    "float loads": ("vldr s0, [r0]; vldr s1, [r0, #4]; vldr d1, [r0]; bx lr", 2 + 1 + 3 + 3, None),
    "float stack": ("vpush {d8, d9}; vpop {d8, d9}; bx lr", 5 + 5 + 3, None),
    "float division": ("vdiv.f32 s0, s1, s2; vmov r1, s3; vmov r1, r3, s4, s5; bx lr", 14 + 1 + 2 + 3, None),
}
# Name: (sequence, cycles). A return right after a 16-bit instruction takes 1 cycle, else 2.
M33: dict[str, tuple[str, int]] = {
    "return": ("bx lr", 2),
    "load": ("ldr r1, [r0]; nop; bx lr", 1 + 1 + 1),
    "load and use": ("ldr r1, [r0]; adds r1, r1, #1; bx lr", 1 + 2 + 1),
    "load and store": ("ldr r1, [r0]; str r1, [r2]; bx lr", 1 + 1 + 1),
    "load and accumulate": ("ldr r1, [r0]; mla r1, r3, r3, r1; bx lr", 1 + 1 + 2),
    "load and multiply": ("ldr r1, [r0]; mla r1, r1, r3, r1; bx lr", 1 + 2 + 2),
    "accumulate twice": ("smlad r1, r3, r3, r1; smlad r1, r3, r3, r1; smlal r1, r2, r3, r3; bx lr", 3 + 2),
    "multiply and use": ("mul r1, r3, r3; add.w r1, r1, r3; bx lr", 1 + 2 + 2),
    "multiply, 16 bits": ("muls r1, r3, r1; bx lr", 2 + 1),
    "shift and use": ("add.w r1, r3, r3, lsl #2; add.w r1, r1, r3; bx lr", 1 + 2 + 2),
    "extend and use": ("uxtb.w r1, r3, ror #8; add.w r1, r1, r3; bx lr", 1 + 1 + 2),
    "double word": ("ldrd r1, r3, [r0]; strd r1, r3, [r0]; bx lr", 2 + 2 + 2),
    "three words": ("ldm r0, {r1, r2, r3}; bx lr", 3 + 2),
    "loop": ("movs r1, #10; 1: subs r1, r1, #1; bne 1b; bx lr", 1 + 10 + 9 * 2 + 2),
    "loop with flags set early": ("movs r1, #10; 1: subs r1, r1, #1; mov r3, r2; bne 1b; bx lr", 1 + 20 + 9 + 2),
    "pop and return": ("push {r4, lr}; nop; pop {r4, pc}", 2 + 1 + 2 + 2),
}
# Two instructions a cycle by the rules that jnk0le measured; the return starts with another one where it can.
M7: dict[str, tuple[str, int]] = {
    "return": ("bx lr", 1),
    "two additions": ("add.w r1, r3, #1; add.w r4, r3, #2; bx lr", 2),
    "two with shifted operands": ("add.w r1, r3, r3, lsl #2; add.w r2, r3, r3, lsl #2; bx lr", 2),
    "an addition and its use": ("add.w r1, r3, #1; eor.w r2, r1, r3; bx lr", 2),
    "logic and its use": ("eor.w r1, r3, r3; eor.w r2, r1, r3; bx lr", 2),
    "a chain of logic": ("eor.w r1, r3, r3; eor.w r2, r1, r3; eor.w r1, r2, r3; bx lr", 3),
    "a use that is shifted": ("eor.w r1, r3, r3; add.w r2, r3, r1, lsl #2; bx lr", 3),
    "word and its use": ("ldr r1, [r0]; add.w r1, r1, #1; bx lr", 2),
    "byte and its use": ("ldrb r1, [r0]; add.w r1, r1, #1; bx lr", 3),
    "load and store of it": ("ldr r1, [r0]; str r1, [r2]; bx lr", 2),
    "two stores": ("str r1, [r0]; str r3, [r2]; bx lr", 2),
    "multiply and use": ("mul r1, r3, r3; add.w r1, r1, #1; bx lr", 3),
    "accumulate twice": ("mla r1, r3, r3, r1; mla r1, r3, r3, r1; bx lr", 2),
    "multiply and store": ("mul r1, r3, r3; str r3, [r0]; bx lr", 2),
    "extend and load there": ("uxtb.w r1, r3; ldr r1, [r0, r1]; bx lr", 3),
    "add and load there": ("add.w r1, r0, #4; ldr r1, [r1]; bx lr", 2),
    "three words": ("ldm r0, {r1, r2, r3}; bx lr", 3),
    "push and pop": ("push {r4-r7}; pop {r4-r7}; bx lr", 5),
}
SEQUENCES: dict[str, dict[str, tuple[str, int]]] = {
    "cortex-m0": {name: (text, m0) for name, (text, m0, _) in ARMV6M.items()},
    "cortex-m0plus": {name: (text, plus) for name, (text, _, plus) in ARMV6M.items()},
    "cortex-m3": {name: (text, m3) for name, (text, _, m3) in ARMV7M.items() if m3 is not None},
    "cortex-m4": {name: (text, m4) for name, (text, m4, _) in ARMV7M.items()},
    "cortex-m33": M33,
    "cortex-m7": M7,
}
CALL = """
    .syntax unified\n .thumb\n .text\n .global tm_main\n .type tm_main, %function\n .balign 4
tm_main:
    ldr r0, =which
    ldr r1, [r0]
    lsls r1, r1, #2
    ldr r0, =table
    ldr r0, [r0, r1]
    mov r12, r0
    ldr r0, =bytes
    mov r2, r0
    movs r1, #0
    movs r3, #3
    bx r12
    .size tm_main, . - tm_main\n .ltorg\n .balign 4\n .type nothing, %function
nothing: bx lr
    .data\n .balign 4\n .global which\n .type which, %object\n .size which, 4
which: .word 0
bytes: .space 64
    .section .rodata\n .balign 4
table: .word {table}
    .text
"""


def program(texts: list[str]) -> str:
    """Assembly with a tm_main that jumps to the sequence number `which`."""
    functions = [
        f".balign 4\n.type s{i}, %function\ns{i}:\n" + "\n".join(text.split("; ")) + "\n.ltorg"
        for i, text in enumerate(texts)
    ]
    return CALL.format(table=", ".join(f"s{i}" for i in range(len(texts)))) + "\n".join(functions) + "\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Firmware, Machine]]:
    """For each core its sequences as one program."""
    result = {}
    for core, sequences in SEQUENCES.items():
        texts = [text for text, _ in sequences.values()]
        firmware = make(program(texts), core, tmp_path_factory.mktemp(core), suffix=".S")
        result[core] = firmware, power_on(firmware)
    return result


def measure(firmware: Firmware, machine: Machine, index: int) -> Cycles:
    cycles = estimate(firmware, machine.run(words({"which": index}), {}))
    assert cycles is not None
    return cycles


@pytest.mark.parametrize(("core", "name"), [(core, name) for core, names in SEQUENCES.items() for name in names])
def test_cycles_of_sequences(core: str, name: str, built: dict[str, tuple[Firmware, Machine]]) -> None:
    names = list(SEQUENCES[core])
    jump = measure(*built[core], names.index("return")).cycles - SEQUENCES[core]["return"][1]
    assert measure(*built[core], names.index(name)).cycles - jump == SEQUENCES[core][name][1]


@pytest.mark.parametrize("core", [core for core in TABLES if core.startswith("cortex")])
def test_cycles_of_a_whole_program(core: str, tmp_path: Path) -> None:
    firmware = make(LOOPS["arm"], core, tmp_path, suffix=".S")
    emulation = power_on(firmware).run({}, {})
    expected = {
        "cortex-m0": 2 + 1000 + 999 * 3 + 1 + 1 + 3,
        "cortex-m0plus": 2 + 1000 + 999 * 2 + 1 + 1 + 2,
        "cortex-m33": 2 + 1000 + 999 * 2 + 0 + 1 + 1,
        "cortex-m7": 1 + 1000 + 7 + 1,  # two start together; the end of the loop is not foreseen
    }.get(core, 2 + 1000 + 999 * 2 + 1 + 1 + 3)
    cycles = estimate(firmware, emulation)
    assert cycles is not None
    assert (cycles.cycles, cycles.source) == (expected, TABLES[core].source)
    assert cycles.error == pytest.approx(TABLES[core].error, abs=0.002)
    assert estimate(firmware, replace(emulation, blocks=None)) is None
    assert TABLES[core].source


@pytest.mark.parametrize(
    ("core", "more"), [("cortex-m3", 1), ("cortex-m4", 1), ("cortex-m0plus", 0), ("cortex-m33", 0)]
)
def test_code_in_ram_is_fetched_over_the_system_bus(core: str, more: int, tmp_path: Path) -> None:
    """Each branch that is taken waits one cycle more for its target."""
    in_flash = make(LOOPS["arm"], core, tmp_path, suffix=".S")
    flash = estimate(in_flash, power_on(in_flash).run({}, {}))
    in_ram = make(LOOPS["arm"].replace(".text", '.section .data.code,"awx"'), core, tmp_path, suffix=".S")
    ram = estimate(in_ram, power_on(in_ram).run({}, {}))
    assert flash is not None
    assert ram is not None
    assert ram.cycles - flash.cycles == 999 * more


def test_cycles_that_depend_on_data_widen_the_error(tmp_path: Path) -> None:
    source = program(["udiv r1, r3, r3; bx lr", "nop; bx lr"])
    firmware = make(source, "cortex-m4", tmp_path, suffix=".S")
    machine = power_on(firmware)
    divided, plain = (measure(firmware, machine, i) for i in range(2))
    assert divided.cycles - plain.cycles == 7 - 1
    assert plain.error == TABLES["cortex-m4"].error
    assert divided.error == pytest.approx(plain.error + 5 / divided.cycles)


def test_a_core_without_a_table_has_no_estimate(tmp_path: Path) -> None:
    firmware = make(LOOPS["riscv"], "rv32imc", tmp_path, suffix=".S")
    assert estimate(firmware, power_on(firmware).run({}, {})) is None
