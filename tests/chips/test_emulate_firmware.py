"""`tinymaix emulate`: programs with start-up code and memory maps of their own, against counts made by hand."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chips.programs import make, power_on
from tinymaix.chips import ToolError, find_chip
from tinymaix.chips.emulate import EmulationError
from tinymaix.chips.emulate.attributes import architecture
from tinymaix.chips.emulate.elf import ElfError, read_elf
from tinymaix.chips.tools import compile_c, program, zig_cc
from tinymaix.cli import main
from tinymaix.emulated import Emulated, emulate

MAP = """
SECTIONS {
  . = %s;
  .vectors : { KEEP(*(.vectors)) }
  .text : { *(.text*) *(.rodata*) }
  . = 0x20000000;
  .data : { *(.data*) }
  .bss (NOLOAD) : { *(.bss*) *(COMMON) }
}
"""
# 3 instructions to the call; work: 2 + 2 * 100 + 2 (push, movs, 100 times subs and bne, nothing else, pop); then bkpt.
ARM = """
    .syntax unified\n .thumb
    .section .vectors, "a", %progbits
    .word 0x20000400, reset
    .text
    .thumb_func\n .global reset\n .type reset, %function
reset:
    BEGIN
    bl work
    nop
    END
    .size reset, . - reset
    .thumb_func\n .global work\n .type work, %function
work:
    push {r4, r5, lr}
    movs r0, #100
1:  subs r0, r0, #1
    bne 1b
    pop {r4, r5, pc}
    .size work, . - work
    .p2align 2
text: .asciz "hello"
    .p2align 2
MORE
"""
EXIT = "movs r0, #0x18\n ldr r1, =0x20026\n bkpt 0xab"
RISCV = """
    .text\n .global reset\n .type reset, @function
reset:
    li sp, 0x20000400
    BEGIN
    call work
    nop
    END
    .size reset, . - reset
    .global work\n .type work, @function
work:
    addi sp, sp, -32
    li a0, 100
1:  addi a0, a0, -1
    bnez a0, 1b
    addi sp, sp, 32
    ret
    .size work, . - work
text: .asciz "hello"
"""
SEMIHOST = ".option push\n .option norvc\n slli x0, x0, 31\n ebreak\n srai x0, x0, 7\n .option pop\n"
TARGETS = {
    "arm": ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0"),
    "riscv": ("-target", "riscv32-freestanding", "-mcpu=generic_rv32+m+a+c+zicsr"),
    "rv64": ("-target", "riscv64-freestanding", "-mcpu=generic_rv64+m+a+c+zicsr"),
}
CHIPS = {"arm": "stm32f030r8", "riscv": "ch32v203c8", "rv64": "k210"}


def link(text: str, folder: Path, kind: str = "arm", flash: str = "0x08000000", suffix: str = ".S") -> Path:
    """An ELF file of one source, in assembly or C, with a linker script of its own; skips without a compiler."""
    source, script, elf = folder / f"firmware{suffix}", folder / "firmware.ld", folder / "firmware.elf"
    source.write_text(text)
    script.write_text(MAP % flash)
    try:
        command: list[str | Path] = [
            *zig_cc(),
            *TARGETS[kind],
            *(("-O1", "-fno-sanitize=all") if suffix == ".c" else ()),
            "-nostdlib",
            "-Wl,--entry=reset",
            "-T",
            script,
            source,
            "-o",
            elf,
        ]
    except ToolError as error:
        pytest.skip(str(error))
    compile_c(command, "a test")
    return elf


def arm(begin: str, end: str, more: str = "") -> str:
    return ARM.replace("BEGIN", begin).replace("END", end).replace("MORE", more)


def riscv(begin: str, end: str) -> str:
    return RISCV.replace("BEGIN", begin).replace("END", end)


def test_a_cortex_m_program_from_reset_to_exit(tmp_path: Path) -> None:
    elf = link(arm("nop", EXIT), tmp_path)
    result = emulate(elf, find_chip("stm32f030r8"))
    work = 2 + 2 * 100 + 1
    assert result.instructions == 1 + 1 + work + 1 + 3
    assert result.status == 0
    assert result.finished
    assert result.start == "the vector table at 0x8000000"
    assert result.stack == 12  # three registers that work pushes
    assert result.cycles is not None
    assert result.milliseconds == pytest.approx(result.cycles / 48e3)
    assert sum(f.cycles or 0 for f in result.functions) == result.cycles
    assert {f.name: (f.calls, f.instructions) for f in result.functions} == {"work": (1, work), "reset": (1, 6)}
    assert result.unknown == {}


@pytest.mark.parametrize("kind", ["arm", "riscv", "rv64"])
def test_one_call_of_a_function(kind: str, tmp_path: Path) -> None:
    text = arm("nop", EXIT) if kind == "arm" else riscv("nop", "1: j 1b")
    result = emulate(link(text, tmp_path, kind), find_chip(CHIPS[kind]), function="work")
    assert result.instructions == (2 + 2 * 100 + 1 if kind == "arm" else 2 + 2 * 100 + 2)
    assert result.stack == (12 if kind == "arm" else 32)
    assert [f.name for f in result.functions] == ["work"]
    assert "returned to" in result.end


def test_a_function_that_calls_itself_is_counted_to_its_outermost_return(tmp_path: Path) -> None:
    more = """
    .thumb_func\n .global down\n .type down, %function
down: push {r4, lr}
    subs r0, r0, #1
    beq 1f
    bl down
1:  pop {r4, pc}
    .size down, . - down
"""
    elf = link(arm("movs r0, #5\n bl down", EXIT, more), tmp_path)
    result = emulate(elf, find_chip("cortex-m0"), function="down")
    assert result.instructions == 4 * 5 + 4
    assert result.stack == 5 * 8


def test_between_two_symbols(tmp_path: Path) -> None:
    elf = link(arm("nop", EXIT), tmp_path)
    result = emulate(elf, find_chip("cortex-m0"), until="work")
    assert result.instructions == 2
    result = emulate(elf, find_chip("cortex-m0"), begin="work")
    assert result.instructions == 2 + 200 + 1 + 1 + 3
    assert result.status == 0
    at = f"{read_elf(elf).find('work').address:#x}"
    assert emulate(elf, find_chip("cortex-m0"), until=at).instructions == 2
    with pytest.raises(ElfError, match="no address"):
        emulate(elf, find_chip("cortex-m0"), until="0xyz")


def test_a_riscv_program_prints_and_exits(tmp_path: Path) -> None:
    end = f"li a0, 4\n la a1, text\n {SEMIHOST} li a0, 0x18\n li a1, 0x20026\n {SEMIHOST}"
    result = emulate(link(riscv("csrr a1, 0xbc0\n wfi", end), tmp_path, "riscv"), find_chip("ch32v203c8"))
    assert result.text == "hello"
    assert result.status == 0
    # sp 2, csrr, wfi, call 2, work, nop; a0, a1 2, 3; a0, a1 2 and 2 of the last 3.
    assert result.instructions == 2 + 1 + 1 + 2 + (2 + 200 + 2) + 1 + (1 + 2 + 3) + (1 + 2 + 2)
    assert result.stack == 32


def test_system_calls_of_riscv(tmp_path: Path) -> None:
    end = "li a7, 64\n li a0, 1\n la a1, text\n li a2, 5\n ecall\n li a7, 93\n li a0, 7\n ecall"
    result = emulate(link(riscv("nop", end), tmp_path, "riscv"), find_chip("ch32v203c8"))
    assert (result.text, result.status) == ("hello", 7)


@pytest.mark.parametrize(
    ("chip", "register", "ready"),
    [
        ("stm32f407vg", 0x40011004, 0x40011000),
        ("stm32g071rb", 0x40013828, 0x4001381C),
        ("nrf52832", 0x4000251C, 0x4000211C),
        ("samd21g18", 0x42000828, 0x42000818),
        ("mimxrt1062", 0x4018401C, 0x40184014),
    ],
)
def test_uarts(chip: str, register: int, ready: int, tmp_path: Path) -> None:
    wait = f"ldr r3, ={ready}\n2: ldr r0, [r3]\n cmp r0, #0\n beq 2b"
    send = f"{wait}\n ldr r2, ={register}\n movs r1, #'A'\n str r1, [r2]"
    result = emulate(link(arm(send, EXIT), tmp_path), find_chip(chip))
    assert result.text == "A"
    assert result.unknown == {}


@pytest.mark.parametrize(("core", "kind"), [("cortex-m3", "arm"), ("rv32imac", "riscv")])
def test_uarts_of_the_boards_of_emulators(core: str, kind: str, tmp_path: Path) -> None:
    if kind == "arm":
        text = arm("ldr r0, =0x40004000\n movs r1, #'A'\n str r1, [r0, #16]\n str r1, [r0]", EXIT)
    else:
        text = riscv("li a0, 0x10000000\n1: lbu a1, 5(a0)\n andi a1, a1, 0x20\n beqz a1, 1b\n li a1, 65\n sb a1, 0(a0)",
                     "1: j 1b")  # fmt: skip
    result = emulate(link(text, tmp_path, kind), find_chip(core))
    assert result.text == "A"
    assert result.unknown == {}


def test_real_time_transfer(tmp_path: Path) -> None:
    block = """
    .data\n .p2align 2\n .global _SEGGER_RTT
_SEGGER_RTT: .ascii "SEGGER RTT"\n .space 6\n .word 1, 0, 0, ring, 8, 3, 5, 0
ring: .ascii "lo!fghel"
    .text
"""
    elf = link(arm("nop", EXIT, block), tmp_path)
    assert emulate(elf, find_chip("nrf52840")).text == "hello!"


def test_direct_memory_access_of_a_uart(tmp_path: Path) -> None:
    send = "ldr r0, =0x40002000\n ldr r1, =0x544\n ldr r2, =text\n str r2, [r0, r1]\n adds r1, #4\n movs r2, #5\n"
    send += " str r2, [r0, r1]\n movs r2, #1\n str r2, [r0, #8]"
    assert emulate(link(arm(send, EXIT), tmp_path), find_chip("nrf52840")).text == "hello"


def test_unknown_registers(tmp_path: Path) -> None:
    wait = "ldr r3, =0x40023800\n2: ldr r0, [r3]\n cmp r0, #0\n beq 2b\n3: ldr r0, [r3]\n cmp r0, #0\n bne 3b"
    elf, chip = link(arm(wait, EXIT), tmp_path), find_chip("stm32f411ce")
    polled = emulate(elf, chip)
    assert polled.status == 0
    assert polled.unknown == {"0x40023800": 2001}
    stuck = emulate(elf, chip, limit=100_000, answers="zeros")
    assert not stuck.finished
    assert "stopped past 100,000 instructions" in stuck.end
    set_up = """
    ldr r3, =0x40023C00\n movs r0, #3\n str r0, [r3]\n ldr r1, [r3]\n cmp r0, r1\n bne 9f
    movs r2, #12\n ldr r3, =0x40023808\n movs r0, #2\n str r0, [r3]\n2: ldr r0, [r3]\n ands r0, r2\n cmp r0, #8\n bne 2b
    ldr r4, =0x40023800\n ldr r0, [r4]
    ldr r0, [r3]\n ands r0, r2\n cmp r0, #8\n beq 3f\n9: udf #0\n3:
"""  # a latency that is read back; a clock that is switched, and asked for again
    assert emulate(link(arm(set_up, EXIT), tmp_path), chip).status == 0
    read = "ldr r3, =0x40023800\n ldrh r0, [r3]"
    for answers, value in (("zeros", 0), ("ones", 0xFFFF)):
        told = f"{read}\n ldr r1, ={value}\n cmp r0, r1\n beq 2f\n udf #0\n2:"
        assert emulate(link(arm(told, EXIT), tmp_path), chip, answers=answers).status == 0


def test_bits_of_ram_as_words(tmp_path: Path) -> None:
    text = (
        "ldr r3, =0x20000000\n movs r0, #0x81\n str r0, [r3, #4]\n ldr r2, =0x2200008C\n movs r1, #1\n str r1, [r2]\n"
    )
    text += "movs r1, #0\n ldr r2, =0x22000080\n str r1, [r2]\n ldr r0, [r3, #4]\n cmp r0, #0x88\n bne 9f\n"
    text += "ldr r2, =0x2200009C\n ldr r0, [r2]\n cmp r0, #1\n beq 2f\n9: udf #0\n2:"
    elf = link(arm(text, EXIT), tmp_path)
    assert emulate(elf, find_chip("stm32f103c8")).status == 0
    with pytest.raises(EmulationError, match="0x2200008c"):
        emulate(elf, find_chip("stm32f746ng"))


def test_the_cycle_counter_counts(tmp_path: Path) -> None:
    text = "ldr r4, =0xE0001004\n ldr r5, [r4]\n bl work\n ldr r0, [r4]\n subs r0, r0, r5\n cmp r0, #203\n bge 2f\n"
    text += " udf #0\n2:"
    assert emulate(link(arm(text, EXIT), tmp_path), find_chip("cortex-m4")).status == 0


def test_systick_and_calls_of_the_supervisor(tmp_path: Path) -> None:
    vectors = ".word 0x20000400, reset\n .rept 9\n .word 0\n .endr\n .word call, 0, 0, pended, tick\n"
    handlers = """
    .thumb_func\n .type call, %function
call: ldr r1, =0x20000000\n movs r2, #1\n str r2, [r1, #4]\n mov r12, r2\n bx lr
    .thumb_func\n .type pended, %function
pended: push {lr}\n ldr r1, =0x20000000\n movs r2, #2\n str r2, [r1, #8]\n pop {pc}
    .thumb_func\n .type tick, %function
tick: ldr r0, =0x20000000\n ldr r1, [r0]\n adds r1, #1\n str r1, [r0]\n bx lr
    .ltorg
"""
    text = """
    ldr r0, =0xE000E010\n ldr r1, =999\n str r1, [r0, #4]\n movs r1, #7\n str r1, [r0]
    ldr r5, =0x20000000\n movs r0, #42\n mov r12, r0\n movs r2, #43
    svc 1
    cmp r2, #43\n bne 9f\n cmp r12, r0\n bne 9f\n ldr r1, [r5, #4]\n cmp r1, #1\n bne 9f
2:  ldr r6, [r5]\n cmp r6, #5\n bne 2b
    wfi
    ldr r6, [r5]\n cmp r6, #6\n bne 9f
    ldr r0, =0xE000ED04\n ldr r1, =0x10000000\n str r1, [r0]\n b 3f
3:  ldr r1, [r5, #8]\n cmp r1, #2\n beq 4f
9:  udf #0
4:
"""
    elf = link(arm(text, EXIT, handlers).replace(".word 0x20000400, reset\n", vectors), tmp_path)
    result = emulate(elf, find_chip("stm32f411ce"), limit=100_000)
    assert result.status == 0
    assert 5000 < result.instructions < 5100 + 203
    assert next(f.calls for f in result.functions if f.name == "tick") == 6


@pytest.mark.parametrize(
    ("chip", "cpu"),
    [("stm32f103c8", "cortex_m3"), ("stm32f411ce", "cortex_m4+vfp4d16sp"), ("rp2350", "cortex_m33+fp_armv8d16sp")],
)
def test_tasks_of_a_real_time_system(chip: str, cpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abi = ("eabihf", "-mfloat-abi=hard") if "+" in cpu else ("eabi", "-mfloat-abi=soft")
    monkeypatch.setitem(TARGETS, "arm", ("-target", f"thumb-freestanding-{abi[0]}", abi[1], f"-mcpu={cpu}"))
    elf = link((Path(__file__).parent / "tasks.c").read_text(), tmp_path, suffix=".c")
    result = emulate(elf, find_chip(chip), limit=3_000_000)
    assert result.status == 0
    assert result.other_stacks.keys() == {"stacks"}
    calls = {f.name: f.calls for f in result.functions}
    assert calls["tick"] == calls["urgent"] >= 3
    assert calls["switch_tasks"] > 600


def test_a_wait_for_systick_takes_its_time(tmp_path: Path) -> None:
    text = "ldr r4, =0xE000E010\n ldr r0, =9999\n str r0, [r4, #4]\n movs r0, #5\n str r0, [r4]\n"
    text += "2: ldr r0, [r4]\n lsrs r0, r0, #17\n bcc 2b\n ldr r5, [r4, #8]"
    result = emulate(link(arm(text, EXIT), tmp_path), find_chip("stm32f030r8"))
    assert result.status == 0
    assert 10_000 <= result.instructions < 10_000 + 203 + 30


def test_interrupts_that_are_held_back_for_long(tmp_path: Path) -> None:
    nops = "nop\n" * 200  # a block that is longer than any distance between two looks at what is pending
    text = "cpsid i\n ldr r0, =0xE000E010\n movs r1, #50\n str r1, [r0, #4]\n movs r1, #7\n str r1, [r0]\n"
    text += f"movs r3, #100\n2:\n{nops} subs r3, #1\n beq 3f\n b 2b\n3:"
    result = emulate(link(arm(text, EXIT), tmp_path), find_chip("stm32f030r8"), limit=100_000)
    assert result.status == 0
    assert result.instructions > 100 * 200


def test_counters_of_riscv_count_instructions(tmp_path: Path) -> None:
    begin = "csrr s0, mcycle\n csrr s1, cycleh\n call work\n csrr s2, instret\n sub s2, s2, s0"
    elf = link(riscv(begin, "mv a0, s2\n add a0, a0, s1\n li a7, 93\n ecall"), tmp_path, "riscv")
    for _ in range(2):
        assert emulate(elf, find_chip("ch32v203c8")).status == 1 + 2 + (2 + 200 + 2) + 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ldr r0, =0x70000000\n str r0, [r0]", "accessed 4 bytes at 0x70000000"),
        ("ldr r0, =0x08000000\n str r0, [r0]", "wrote 4 bytes to 0x8000000, which is flash"),
        ("ldr r0, =0x01000001\n bx r0", "went to 0x1000000, where no code is"),
        ("udf #0", "an instruction that it does not have at 0x8000008 .in reset"),
        (".inst.w 0xfbb1f1f0", "an instruction that it does not have at 0x8000008 .in reset"),  # udiv, of Armv7-M
        ("ldr r0, =0x20000001\n ldr r0, [r0]", "not aligned, which the chip does not allow, at 0x800000a"),
        ("ldr r0, =0x20000002\n ldm r0!, {r1}", "not aligned, which the chip does not allow, at 0x800000a"),
        ("yield\n wfe\n udf #0", "an instruction that it does not have at 0x800000c .in reset"),
        ("svc #0", "went to 0x0, where no code is"),
        ("movs r0, #4\n ldr r1, =0x66666660\n bkpt 0xab", "where no memory is"),
    ],
)
def test_faults_are_sentences(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(EmulationError, match=says):
        emulate(link(arm(text, EXIT), tmp_path), find_chip("stm32f030r8"))


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ("2: b 2b", "endless loop"),
        ("2: wfi\n b 2b", "waits for an interrupt"),
        ("2: yield\n wfe\n sev\n b 2b", "waits"),
        ("bkpt 0", "breakpoint"),
    ],
)
def test_ends(end: str, says: str, tmp_path: Path) -> None:
    result = emulate(link(arm("nop", end), tmp_path), find_chip("cortex-m0"))
    assert result.finished
    assert says in result.end


def test_ram_of_a_program_without_variables(tmp_path: Path) -> None:
    for vectors in ("0x20000400", "0x10000400"):
        text = arm("ldr r0, =0x20000800\n str r0, [r0]", EXIT).replace("0x20000400", vectors)
        assert emulate(link(text, tmp_path), find_chip("rp2040")).status == 0
    text = arm("ldr r0, =0x20100000\n str r0, [r0]", EXIT)
    with pytest.raises(EmulationError, match="0x20100000"):
        emulate(link(text, tmp_path), find_chip("rp2040"))


def test_ram_beside_what_is_known(tmp_path: Path) -> None:
    elf = link(arm("ldr r0, =0x60000000\n str r0, [r0]\n ldr r1, [r0]", EXIT), tmp_path)
    with pytest.raises(EmulationError, match="0x60000000"):
        emulate(elf, find_chip("cortex-m0"))
    assert emulate(elf, find_chip("cortex-m0"), ram=[(0x60000000, 4096)]).status == 0


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "rv32imac"])
def test_counts_are_those_of_the_other_way_to_call_a_function(core: str, tmp_path: Path) -> None:
    text = """
    #include <stdint.h>
    int32_t table[32] = {3, 1, 4, 1, 5, 9, 2, 6}, sum = 7;
    float scale = 1.5f;
    int tm_main(void) {
        for (int i = 0; i < 32; i++) sum += (int32_t)((float)table[i] * scale) / (i + 1);
        return (int)sum;
    }
    """
    firmware = make(text, core, tmp_path)
    called = power_on(firmware).run({}, {})
    found = emulate(firmware.elf, find_chip(core), function="tm_main")
    assert found.instructions == called.instructions
    assert called.stack is not None
    assert found.stack is not None
    assert 0 <= found.stack - called.stack < 16  # what is reserved, and of that what is written
    assert found.unknown == {}


def avr(folder: Path) -> Emulated:
    source, elf = folder / "firmware.c", folder / "firmware.elf"
    source.write_text("""
#include <avr/io.h>
#include <avr/sleep.h>
static void put(char c) { while (!(UCSR0A & (1 << UDRE0))); UDR0 = c; }
__attribute__((noinline)) void work(void) { __asm__ volatile("ldi r24, 100\\n 1: dec r24\\n brne 1b" ::: "r24"); }
int main(void) { UCSR0B = 1 << TXEN0; put('o'); put('k'); work(); sleep_enable(); sleep_cpu(); return 0; }
""")
    try:
        compiler = program("avr-gcc", "")
        subprocess.run([compiler, "-mmcu=atmega328p", "-Os", source, "-o", elf], check=True)
        return emulate(elf, find_chip("arduino uno"), function="work")
    except ToolError as error:
        pytest.skip(str(error))


def test_avr_cycles_are_exact(tmp_path: Path) -> None:
    result = avr(tmp_path)
    assert result.instructions == 1 + 2 * 100 + 1
    assert result.cycles == 1 + 3 * 100 - 1 + 4  # brne falls through once, for 1 cycle less; ret takes 4
    assert result.cycles_exact
    whole = emulate(tmp_path / "firmware.elf", find_chip("arduino uno"))
    assert whole.text == "ok"
    assert whole.finished
    assert "sleeps" in whole.end
    assert whole.stack is not None
    assert whole.stack >= 2


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = arm("nop", "movs r0, #4\n ldr r1, =text\n bkpt 0xab\n ldr r0, =0x40000000\n str r0, [r0]\n" + EXIT)
    elf = str(link(text, tmp_path))
    assert main(["emulate", elf, "--chip", "stm32f030r8"]) == 0
    out = capsys.readouterr().out
    assert "exited with status 0" in out
    assert "hello" in out
    assert "0x40000000 (1)" in out
    assert main(["emulate", elf, "--chip", "stm32f030r8", "--json", "--function", "work"]) == 0
    assert json.loads(capsys.readouterr().out)["instructions"] == 203
    assert main(["emulate", elf, "--chip", "cortex-m0", "--json", "--mhz", "10"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["milliseconds"] == found["cycles"] / 1e4
    for limit in (["--max-instructions", "50"], ["--max-seconds", "1e-6"]):
        assert main(["emulate", elf, "--chip", "stm32f030r8", *limit]) == 1
        assert f"past {50 if 'e' not in limit[1] else 48} instructions" in capsys.readouterr().out
    for extra, says in (
        (["--function", "walk"], 'no symbol "walk"'),
        (["--function", "work", "--until", "reset"], "not both"),
        (["--max-instructions", "0"], "more than 0"),
    ):
        assert main(["emulate", elf, "--chip", "stm32f030r8", *extra]) == 2
        assert says in capsys.readouterr().err
    assert main(["emulate", elf, "--chip", "ch32v203c8"]) == 2
    assert "program for ARM" in capsys.readouterr().err
    assert main(["emulate", elf, "--chip", "ra8d1"]) == 2
    assert "no emulator for that" in capsys.readouterr().err
    assert main(["emulate", str(tmp_path / "none.elf"), "--chip", "ra8d1"]) == 2


def header(**changes: int) -> bytes:
    """An ELF header for 32-bit Arm with one segment of 8 bytes, and changes to it."""
    fields = {"kind": 2, "machine": 40, "entry": 0x8000001, "programs": 52, "number": 1}
    segment = {"type": 1, "offset": 84, "address": 0x8000000, "load": 0x8000000, "in_file": 8, "size": 8, "flags": 5}
    fields |= {key: value for key, value in changes.items() if key in fields}
    segment |= {key: value for key, value in changes.items() if key in segment}
    start = b"\x7fELF" + bytes([changes.get("word", 1), 1, 1]) + bytes(9)
    start += struct.pack("<HHIIII", fields["kind"], fields["machine"], 1, fields["entry"], fields["programs"], 0)
    start += struct.pack("<IHHHHHH", 0, 52, 32, fields["number"], 40, 0, 0)
    return start + struct.pack("<8I", *segment.values(), 4) + bytes.fromhex("00bf00bf00bffee7")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not an ELF file"),
        (b"\x7fELF", "not a little-endian ELF file"),
        (header()[:60], "outside of the file"),
        (header(kind=1), "not linked"),
        (header(machine=62), "is for x86-64"),
        (header(number=0), "loads nothing"),
        (header(in_file=9000, size=9000), "outside of the file"),
        (header(size=1 << 30), "more than 64 MB"),
        (header(address=0xFFFFFFFC), "beyond the 4 GB"),
        (header(entry=0x9000001), "has no start"),
        (header(programs=1 << 31), "outside of the file"),
    ],
)
def test_hostile_files_are_sentences(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.elf"
    path.write_bytes(data)
    with pytest.raises(ElfError, match=says):
        emulate(path, find_chip("cortex-m0"))


@pytest.mark.parametrize(
    ("built_for", "core", "says"),
    [
        ("cortex_m0", "cortex-m33", ""),
        ("cortex_m3", "cortex-m0", "built for Armv7, which the Arm Cortex-M0"),
        ("cortex_m4", "cortex-m3", "built for Armv7E-M"),
        ("cortex_m4", "cortex-m7", ""),
        ("cortex_m33", "cortex-m4", "built for Armv8-M Mainline"),
        ("cortex_m33", "cortex-m33", ""),
    ],
)
def test_a_program_for_a_larger_core_is_refused(
    built_for: str, core: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TARGETS, "arm", ("-target", "thumb-freestanding-eabi", f"-mcpu={built_for}"))
    elf = link(f".cpu {built_for.replace('_', '-')}\n" + arm("nop", EXIT), tmp_path)
    if says:
        with pytest.raises(ElfError, match=says):
            emulate(elf, find_chip(core))
    else:
        assert emulate(elf, find_chip(core)).status == 0


@given(st.binary(max_size=40))
def test_damaged_attributes_tell_nothing_or_a_number(data: bytes) -> None:
    for section in (data, b"A\x20\0\0\0aeabi\0\x01\x16\0\0\0" + data):
        assert (architecture(section) or 0) >= 0


def test_the_smallest_file_runs(tmp_path: Path) -> None:
    path = tmp_path / "small.elf"
    path.write_bytes(header())
    assert (
        emulate(path, find_chip("cortex-m0")).instructions == 5
    )  # the branch to itself is seen when it branches again


@given(at=st.integers(0, 91), value=st.integers(0, 255))
def test_damaged_files_never_surprise(at: int, value: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = bytearray(header())
    data[at] = value
    path = tmp_path_factory.getbasetemp() / "damaged.elf"
    path.write_bytes(data)
    try:
        read_elf(path)
        emulate(path, find_chip("cortex-m0"), limit=1000)
    except (ElfError, EmulationError):
        pass
