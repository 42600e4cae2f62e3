"""Waits for the flash of small programs, and what their caches miss, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chips.programs import LOOPS, make, power_on
from tinymaix.chips.chip import Chip, FlashPath, find_chip
from tinymaix.chips.cycles import Cycles, estimate
from tinymaix.chips.emulate.machine import FlashReads, Missed
from tinymaix.chips.flash import Waits, waits
from tinymaix.chips.trace import Trace

FLASH = 0x08000000


class Everywhere:
    """Code that all lies in flash."""

    def in_flash(self, address: int) -> bool:
        return True


def trace(blocks: dict[tuple[int, int], int], edges: dict[tuple[int, int], int]) -> Trace:
    return Trace(Everywhere(), blocks, edges)  # type: ignore[arg-type]


def chip(**values: object) -> Chip:
    return replace(find_chip("cortex-m0"), **values)  # type: ignore[arg-type]


def nothing(of: Chip) -> FlashReads:
    return {of.flash_path: {}} if of.flash_path else {}


PREFETCH = {"wait_states": 1, "flash_line": 4, "accelerator": "prefetch"}


def test_a_line_of_two_instructions_hides_one_wait_state() -> None:
    straight, slow = trace({(FLASH, 40): 10}, {(FLASH, FLASH + 40): 10}), chip(**PREFETCH)
    assert waits(slow, straight, 200, nothing(slow)).cycles == 0  # 20 short instructions
    assert waits(slow, straight, 100, nothing(slow)).cycles == 100  # 10 long ones: 2 cycles each instead of 1


def test_slow_instructions_do_not_make_up_for_fast_lines() -> None:
    straight = trace({(FLASH, 16): 10}, {(FLASH, FLASH + 16): 10})
    steps = [(4, 1.0), (4, 1.0), (4, 3.0), (2, 1.0), (2, 1.0)]  # lines of 2 and 5 cycles, each read in 3
    slow = chip(wait_states=2, flash_line=8, accelerator="prefetch")
    assert waits(slow, straight, 70, nothing(slow), lambda address, size: steps).cycles == 10 * (3 - 2)
    assert waits(slow, straight, 70, nothing(slow)).cycles == 0


def test_a_branch_that_is_taken_waits_for_its_target() -> None:
    loop = trace({(FLASH, 4): 100}, {(FLASH, FLASH): 99, (FLASH, FLASH + 4): 1})
    slow = chip(**PREFETCH)
    assert waits(slow, loop, 300, nothing(slow)).cycles == 99 * 1.5
    assert waits(slow, loop, 300, nothing(slow)).spread == pytest.approx(99 * 0.5)


def test_a_constant_waits_past_the_code_that_is_read_ahead() -> None:
    loop, slow = trace({(FLASH, 4): 100}, {(FLASH, FLASH): 99, (FLASH, FLASH + 4): 1}), chip(**PREFETCH)
    assert slow.flash_path is not None
    found = waits(slow, loop, 300, {slow.flash_path: {(FLASH, 4): Missed(0, 100)}})
    assert found == Waits(99 * 1.5 + 100, 99 * 0.5 + 50, 100)


def test_what_a_cache_misses_waits() -> None:
    cached = chip(wait_states=5, flash_line=16, accelerator="cache", cache=64)
    assert cached.flash_path == FlashPath(line=16, ways=0, code=64, data=None)
    missed = {cached.flash_path: {(FLASH, 16): Missed(7, 0), (FLASH + 16, 16): Missed(1, 3)}}
    assert waits(cached, trace({(FLASH, 16): 9}, {}), 5000, missed) == Waits(11 * 5, (8 * 5 + 3 * 5) / 2, 3 * 5)


def test_nothing_waits_without_wait_states_or_in_ram() -> None:
    loop = trace({(FLASH, 4): 100}, {(FLASH, FLASH): 99})
    for quiet in (chip(), chip(wait_states=0), chip(wait_states=9, accelerator="tcm")):
        assert quiet.flash_path is None
        assert waits(quiet, loop, 300, {}) == Waits(0, 0)


WALK = """
    .syntax unified\n .thumb\n .text\n .global tm_main\n .type tm_main, %function\n .thumb_func\n .balign 128\n
tm_main:
    movs r0, #10
    adr r1, table
    b 1f
    .balign 128
1:  movs r2, r1
    ldm r2!, {r3}
    ldm r2!, {r3}
    ldm r2!, {r3}
    ldm r2!, {r3}
    .rept 24\n nop\n .endr
    subs r0, r0, #1
    beq 2f
    b 1b
    .balign 128
2:  bx lr
    .balign 128
table: .word 1, 2, 3, 4
    .size tm_main, . - tm_main
"""
"""Ten times through 64 bytes of code, which are 8 lines of 8 bytes, reading two lines of constants."""

MISSES = {
    "no cache": (FlashPath(8, 0, 0, 0), 0, 40),
    "one that has room": (FlashPath(8, 0, 128, None), 0, 0),
    # 10 lines in turn for 8 places; the last one of the loop, which its branch reads once more, is still there
    "a smaller one": (FlashPath(8, 0, 64, None), 1 + 9 * 7 + 1, 10 * 2),
    "code and no constants": (FlashPath(8, 0, 128, 0), 0, 40),
    "too few lines of code": (FlashPath(8, 0, 32, 16), 1 + 10 * 8 + 1 - 4, 0),
    "one line of constants": (FlashPath(8, 0, 128, 8), 0, 10 * 2 - 1),
    # 16 places, and the lines of the first instructions, the loop and the constants are 128 bytes apart
    "one place a line": (FlashPath(8, 1, 128, None), 2 * 9 + 2, 10 * 2),
}


@pytest.mark.parametrize("name", MISSES)
def test_lines_are_followed_through_caches(name: str, tmp_path: Path) -> None:
    path, code, data = MISSES[name]
    firmware = make(WALK, "cortex-m0", tmp_path, suffix=".S")
    machine = power_on(firmware)
    found = machine.run({}, {}, paths=[path]).missed
    assert set(found) == {path}
    assert (sum(n.code for n in found[path].values()), sum(n.data for n in found[path].values())) == (code, data)


def test_absurd_caches_do_no_harm(tmp_path: Path) -> None:
    machine = power_on(make(WALK, "cortex-m0", tmp_path, suffix=".S"))
    most = 2**40 - 1
    absurd = chip(wait_states=1, flash_line=most, accelerator="cache", cache=most, data_cache=most, cache_ways=most)
    assert absurd.flash_path is not None
    odd = FlashPath(7, 5, 100, 3)
    assert not machine.run({}, {}, paths=[absurd.flash_path]).missed[absurd.flash_path]
    assert machine.run({}, {}, paths=[odd]).missed[odd]


def test_many_caches_are_followed_at_once_and_stay_warm(tmp_path: Path) -> None:
    machine = power_on(make(WALK, "cortex-m0", tmp_path, suffix=".S"))
    paths = [path for path, _, _ in MISSES.values()]
    together = machine.run({}, {}, paths=[*paths, paths[0]]).missed
    for path, code, data in MISSES.values():
        assert sum(n.code + n.data for n in together[path].values()) == code + data
    again = machine.run({}, {}, paths=paths).missed
    large, small = MISSES["one that has room"][0], MISSES["a smaller one"][0]
    assert not again[large]
    assert sum(n.code for n in again[small].values()) > sum(n.code for n in together[small].values())


CONDITIONAL = {
    # what follows a load in an IT block must set the flags again
    "load": "ldr r2, =tm_main; cmp r2, #0; it ne; ldrne r1, [r2]; b 1f; "
    "1: movs r0, #0; beq 2f; bx lr; 2: movs r0, #7; bx lr",
    "return": "push {r4, lr}; bl 1f; movs r0, #0; beq 2f; pop {r4, pc}; 2: movs r0, #7; pop {r4, pc}; "
    "1: push {r4, lr}; cmp sp, #0; it ne; popne {r4, pc}; pop {r4, pc}",
    "two loads": "ldr r2, =tm_main; cmp r2, #0; itte ne; ldrne r1, [r2]; ldrne r1, [r2, #4]; ldreq r1, [r2, #8]; b 1f; "
    "1: movs r0, #0; bne 2f; movs r0, #7; 2: bx lr",
}


@pytest.mark.parametrize("name", CONDITIONAL)
@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"])
def test_following_reads_changes_nothing_else(core: str, name: str, tmp_path: Path) -> None:
    lines = CONDITIONAL[name].replace("; ", "\n")
    head = ".syntax unified\n.thumb\n.text\n.global tm_main\n.type tm_main, %function\n.thumb_func\n"
    machine = power_on(make(f"{head}tm_main:\n{lines}\n", core, tmp_path, suffix=".S"))
    plain, followed = (machine.run({}, {}, paths=paths) for paths in ([], [FlashPath(8, 0, 64, None)]))
    assert (plain.result, plain.blocks) == (followed.result, followed.blocks)
    assert plain.result == 7


def test_waits_are_part_of_an_estimate(tmp_path: Path) -> None:
    firmware = make(LOOPS["arm"], "cortex-m0", tmp_path, suffix=".S")
    prefetching = chip(**PREFETCH)
    assert prefetching.flash_path is not None
    emulation = power_on(firmware).run({}, {}, paths=[prefetching.flash_path])
    plain = estimate(firmware, emulation)
    slow = estimate(replace(firmware, chip=prefetching), emulation)
    assert isinstance(plain, Cycles)
    assert isinstance(slow, Cycles)
    assert plain.flash == 0
    assert 999 * 1.5 - 1 <= slow.flash < 999 * 1.5 + 12
    assert slow.cycles == plain.cycles + slow.flash
    assert slow.error > plain.error
