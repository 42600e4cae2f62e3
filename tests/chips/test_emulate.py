"""Emulated figures against counts made by hand, memory in and out, faults, and independence of machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chips.programs import ARM, AVR, EMULATED, LOOPS, RISCV, make, power_on, words
from tinymaix.chips import ToolError
from tinymaix.chips.emulate import EmulationError, open_machine

ADD = """
#include <stdint.h>
int32_t x = 40, total;
int8_t bytes[8] = {1, 2, 3};
int32_t calls;
int tm_main(void) { total += x; calls++; bytes[7] = bytes[0]; return (int)total; }
"""
FORTY_TWO = {"x": 42}


@pytest.mark.parametrize("core", [*ARM, *RISCV])
def test_instructions_of_a_loop(core: str, tmp_path: Path) -> None:
    family = "arm" if core in ARM else "riscv"
    machine = power_on(make(LOOPS[family], core, tmp_path, suffix=".S"))
    for count in (True, False, True):
        emulation = machine.run({}, {}, count=count)
        assert emulation.result == 7
        assert emulation.stack == 0
        assert emulation.instructions == (2 + 2 * 1000 + 2 if count else None)
    assert emulation.blocks is not None
    assert emulation.edges is not None
    # The loop is entered by falling into it, taken 999 times, left once.
    assert sorted(emulation.blocks.values()) == [1, 1, 999]
    assert sorted(emulation.edges.values()) == [1, 1, 1, 998]


@pytest.mark.parametrize("core", ["cortex-m4", "rv32imac", "rv64gc"])
def test_instructions_of_long_code_across_pages(core: str, tmp_path: Path) -> None:
    narrow, wide = ("nop", "nop.w") if core in ARM else ("c.nop", ".option push; .option norvc; nop; .option pop")
    end = "bx lr" if core in ARM else "ret"
    program = f"""
    {".syntax unified; .thumb; .thumb_func" if core in ARM else ""}
    .text\n .global tm_main\n .type tm_main, {"%" if core in ARM else "@"}function
tm_main:
    {narrow}
    .rept 5000
    {wide}
    .endr
    {end}
    .size tm_main, . - tm_main
"""
    assert power_on(make(program, core, tmp_path, suffix=".S")).run({}, {}).instructions == 5002


@pytest.mark.parametrize("core", AVR)
def test_cycles_of_an_avr_loop(core: str, tmp_path: Path) -> None:
    machine = power_on(make(LOOPS["avr"], core, tmp_path, suffix=".S"))
    three_bytes = core == "avr6"
    for _ in range(2):
        emulation = machine.run({}, {})
        assert emulation.result == 7
        assert emulation.instructions == 2 + 2 * 1000 + 3
        assert emulation.cycles == 2 + 4 * 1000 - 1 + 2 + (5 if three_bytes else 4)
        assert emulation.stack == (3 if three_bytes else 2)


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"])
def test_skipped_it_instructions_count(core: str, tmp_path: Path) -> None:
    program = """
    .syntax unified\n .thumb\n .text\n .global tm_main\n .type tm_main, %function\n .thumb_func
tm_main:
    ldr r1, =flag
    ldr r1, [r1]
    cmp r1, #0
    itte eq
    moveq r0, #1
    addeq r0, r0, #1
    movne r0, #3
    bx lr
    .size tm_main, . - tm_main\n .ltorg
    .data\n .global flag\n .type flag, %object\n .size flag, 4
flag: .word 0
"""
    machine = power_on(make(program, core, tmp_path, suffix=".S"))
    for flag, result in ((0, 2), (1, 3)):
        emulation = machine.run(words({"flag": flag}), {})
        assert (emulation.result, emulation.instructions) == (result, 8)


@pytest.mark.parametrize("core", EMULATED)
def test_memory_persists_until_reset(core: str, tmp_path: Path) -> None:
    firmware = make(ADD, core, tmp_path)
    machine, other = power_on(firmware), power_on(firmware)
    assert machine.run({}, {}).result == 40
    emulation = machine.run({**words(FORTY_TWO), "bytes+0": b"\x09"}, {"total": 4, "bytes": 8, "bytes+7": 1})
    assert emulation.result == 82
    assert emulation.memory == {"total": (82).to_bytes(4, "little"), "bytes": b"\t\2\3\0\0\0\0\t", "bytes+7": b"\t"}
    assert other.run({}, {"calls": 4}).memory["calls"] == b"\1\0\0\0"
    machine.reset()
    assert machine.run({}, {"calls": 4}).memory["calls"] == b"\1\0\0\0"


@pytest.mark.parametrize("core", EMULATED)
def test_two_runs_are_equal(core: str, tmp_path: Path) -> None:
    firmware = make(ADD, core, tmp_path)
    assert power_on(firmware).run({}, {"bytes": 8}) == power_on(firmware).run({}, {"bytes": 8})


@pytest.mark.parametrize("core", EMULATED)
def test_negative_results(core: str, tmp_path: Path) -> None:
    assert power_on(make("int tm_main(void) { return -5; }", core, tmp_path)).run({}, {}).result == -5


@pytest.mark.parametrize(
    ("core", "overhead"), [*((c, 16) for c in ARM), *((c, 32) for c in RISCV), *((c, 12) for c in AVR)]
)
def test_stack(core: str, overhead: int, tmp_path: Path) -> None:
    program = """
    static __attribute__((noinline)) int deep(volatile char *from) {
        volatile char room[SIZE];
        for (int i = 0; i < SIZE; i++) room[i] = from[0];
        return room[0];
    }
    volatile char x;
    int tm_main(void) { return deep(&x) + 1; }
    """
    small, large = (
        power_on(make(f"#define SIZE {size}\n{program}", core, tmp_path)).run({}, {}).stack for size in (64, 192)
    )
    assert small is not None
    assert large is not None
    assert 128 <= large - small <= 136  # alignment
    assert 64 <= small <= 64 + overhead


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7", "cortex-m33", "rv32imafc", "rv64gc"])
def test_the_fpu_is_used_and_right(core: str, tmp_path: Path) -> None:
    program = """
    #include <stdint.h>
    float a[4] = {1.5f, -2.25f, 3, 0.5f}, b[4] = {2, 4, -1, 8}, sum;
    int tm_main(void) { sum = 0; for (int i = 0; i < 4; i++) sum += a[i] * b[i]; return (int)(sum * 2); }
    """
    machine = power_on(make(program, core, tmp_path))
    emulation = machine.run({}, {"sum": 4})
    assert emulation.result == -10
    assert emulation.memory["sum"] == b"\0\0\xa0\xc0"
    assert emulation.instructions is not None
    assert emulation.instructions < 60  # a software multiplication alone takes as many


@pytest.mark.parametrize("core", EMULATED)
def test_arithmetic_that_some_cores_lack(core: str, tmp_path: Path) -> None:
    program = """
    #include <stdint.h>
    int32_t a = -1000003, b = 77;
    int64_t product;
    float half = 0.5f;
    int32_t quotient, rest, scaled;
    int tm_main(void) {
        product = (int64_t)a * a * b;
        quotient = (int32_t)(product / a), rest = a % b;
        scaled = (int32_t)((float)a * half / 3.0f);
        return 0;
    }
    """
    memory = (
        power_on(make(program, core, tmp_path)).run({}, {"product": 8, "quotient": 4, "rest": 4, "scaled": 4}).memory
    )
    values = {name: int.from_bytes(data, "little", signed=True) for name, data in memory.items()}
    assert values == {"product": 1000003**2 * 77, "quotient": -77000231, "rest": -(1000003 % 77), "scaled": -166667}


@pytest.mark.parametrize("core", [*ARM, *RISCV])
def test_memory_functions(core: str, tmp_path: Path) -> None:
    program = """
    #include <string.h>
    unsigned char a[128], b[128];
    volatile unsigned x, n;
    int result;
    int tm_main(void) {
        for (int i = 0; i < 128; i++) a[i] = b[i] = i;
        memcpy(b + x, a + 3, n);
        memmove(a + x, a + 8, n);
        memmove(a + 64, a + 60, n);
        memset(b + 100, 0x55, n / 2);
        result = memcmp(a, b, x + n);
        return 0;
    }
    """
    machine = power_on(make(program, core, tmp_path))
    for x, n in ((0, 0), (3, 37), (4, 40), (12, 41), (1, 20), (20, 40)):
        a, b = bytearray(range(128)), bytearray(range(128))
        b[x : x + n] = a[3 : 3 + n]
        a[x : x + n] = a[8 : 8 + n]
        a[64 : 64 + n] = a[60 : 60 + n]
        b[100 : 100 + n // 2] = b"U" * (n // 2)
        emulation = machine.run(words({"x": x, "n": n}), {"a": 128, "b": 128, "result": 4})
        assert emulation.memory["a"] == a
        assert emulation.memory["b"] == b
        result = int.from_bytes(emulation.memory["result"], "little", signed=True)
        assert (result > 0, result < 0) == (a[: x + n] > b[: x + n], a[: x + n] < b[: x + n])


def test_small_copies_are_loads(tmp_path: Path) -> None:
    program = """
    #include <stdint.h>
    #include <string.h>
    uint8_t bytes[8];
    int tm_main(void) { uint32_t word; memcpy(&word, bytes + 1, 4); return (int)word; }
    """
    for toolchain in ("clang", "gcc"):
        emulation = power_on(make(program, "cortex-m4", tmp_path, toolchain=toolchain)).run({}, {})
        assert emulation.instructions is not None
        assert emulation.instructions <= 4


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7", "cortex-m33"])
def test_dsp_instructions(core: str, tmp_path: Path) -> None:
    program = """
    #include <stdint.h>
    uint32_t a = 0x00030002, b = 0xffff0005;
    int tm_main(void) {
        int32_t r;
        __asm volatile("smlad %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(100));
        return r;
    }
    """
    assert power_on(make(program, core, tmp_path)).run({}, {}).result == 100 + 2 * 5 - 3


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "rv32imac", "rv64gc"])
def test_an_access_outside_of_memory_is_a_sentence(core: str, tmp_path: Path) -> None:
    program = "volatile int *p; int tm_main(void) { return p[4]; }"
    machine = power_on(make(program, core, tmp_path))
    for _ in range(2):
        with pytest.raises(EmulationError, match=r"accessed 4 bytes at 0x10 .*tm_main\+0x"):
            machine.run({}, {})


@pytest.mark.parametrize("core", ["cortex-m0", "rv32imac", "cortex-m4"])
def test_unaligned_words_fault_where_they_do_on_the_chip(core: str, tmp_path: Path) -> None:
    load = "ldr %0, [%1]" if core in ARM else "lw %0, 0(%1)"
    program = f"""
    #include <stdint.h>
    uint8_t bytes[8] = {{1, 2, 3, 4, 5, 6, 7, 8}};
    volatile int at;
    int tm_main(void) {{ int r; __asm volatile("{load}" : "=&r"(r) : "r"(bytes + at)); return r; }}
    """
    machine = power_on(make(program, core, tmp_path))
    assert machine.run(words({"at": 4}), {}).result == 0x08070605
    if core == "cortex-m4":
        assert machine.run(words({"at": 1}), {}).result == 0x05040302
    else:
        with pytest.raises(EmulationError, match=r"not aligned.*tm_main"):
            machine.run(words({"at": 2}), {})
        assert machine.run(words({"at": 0}), {}).result == 0x04030201


@pytest.mark.parametrize("core", ["cortex-m0", "rv32imac"])
def test_constants_cannot_be_written(core: str, tmp_path: Path) -> None:
    program = "const int c[4] = {1, 2}; int *volatile p = (int *)c; int tm_main(void) { p[1] = 3; return 0; }"
    with pytest.raises(EmulationError, match=r"tm_main\+0x"):
        power_on(make(program, core, tmp_path)).run({}, {})


@pytest.mark.parametrize("core", ["cortex-m4", "rv32imac"])
def test_invalid_instructions_and_endless_stacks(core: str, tmp_path: Path) -> None:
    nothing = ".short 0xde00" if core in ARM else ".word 0"
    program = f'int tm_main(void) {{ __asm volatile("{nothing}"); return 0; }}'
    with pytest.raises(EmulationError, match="tm_main"):
        power_on(make(program, core, tmp_path)).run({}, {}, limit=1000)
    program = "volatile int x; int deep(int n) { volatile int y[9]; y[x] = n; return n + deep(n + y[x]) + y[0]; }"
    with pytest.raises(EmulationError, match=r"deep\+0x"):
        power_on(make(program + " int tm_main(void) { return deep(x); }", core, tmp_path)).run({}, {})


@pytest.mark.parametrize("core", ["cortex-m4", "rv32imac", "avr5"])
def test_the_limit_ends_an_endless_loop(core: str, tmp_path: Path) -> None:
    machine = power_on(make("volatile int x; int tm_main(void) { while (!x) { } return 3; }", core, tmp_path))
    for count in (True, False):
        with pytest.raises(EmulationError, match=r"past its instruction limit at .*tm_main\+"):
            machine.run({}, {}, limit=10000, count=count)
    assert machine.run({"x": b"\1"}, {}, limit=10000).result == 3


@pytest.mark.parametrize("core", ["cortex-m4", "avr5", "host"])
def test_places_are_checked(core: str, tmp_path: Path) -> None:
    machine = power_on(make(ADD, core, tmp_path))
    with pytest.raises(EmulationError, match='no symbol "y"'):
        machine.run({"y": b"1"}, {})
    with pytest.raises(EmulationError, match="outside of bytes, which has 8 bytes"):
        machine.run({"bytes+4": b"12345"}, {})
    with pytest.raises(EmulationError, match="outside of bytes"):
        machine.run({}, {"bytes+-1": 1})
    with pytest.raises(EmulationError, match="symbol\\+offset"):
        machine.run({}, {"bytes+one": 1})


def test_cores_without_an_emulator_say_so(tmp_path: Path) -> None:
    firmware = make("int tm_main(void) { return 0; }", "cortex-m85", tmp_path)
    chip = replace(firmware.chip, core=replace(firmware.chip.core, emulator=None))
    with pytest.raises(EmulationError, match=r"Cortex-M85, has no emulator"):
        open_machine(replace(firmware, chip=chip))


def test_a_missing_simavr_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    firmware = make("int tm_main(void) { return 0; }", "avr5", tmp_path)
    (tmp_path / "cc").write_text("#!/bin/sh\necho no simavr/sim_avr.h >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ToolError, match="apt-get install simavr libsimavr-dev libelf-dev"):
        open_machine(firmware)
