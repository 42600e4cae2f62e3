"""Waits for the flash of small programs, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chips.programs import LOOPS, make, power_on
from tinymaix.chips.chip import Chip, find_chip
from tinymaix.chips.cycles import Cycles, estimate
from tinymaix.chips.flash import waits
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


PREFETCH = {"wait_states": 1, "flash_line": 4, "accelerator": "prefetch", "data_cache": 0}


def test_a_line_of_two_instructions_hides_one_wait_state() -> None:
    straight = trace({(FLASH, 40): 10}, {(FLASH, FLASH + 40): 10})
    assert waits(chip(**PREFETCH), straight, 200).cycles == 0  # 20 short instructions
    assert waits(chip(**PREFETCH), straight, 100).cycles == 100  # 10 long ones: 2 cycles each instead of 1


def test_slow_instructions_do_not_make_up_for_fast_lines() -> None:
    straight = trace({(FLASH, 16): 10}, {(FLASH, FLASH + 16): 10})
    steps = [(4, 1.0), (4, 1.0), (4, 3.0), (2, 1.0), (2, 1.0)]  # lines of 2 and 5 cycles, each read in 3
    slow = chip(wait_states=2, flash_line=8, accelerator="prefetch", data_cache=0)
    assert waits(slow, straight, 70, lambda address, size: steps).cycles == 10 * (3 - 2)
    assert waits(slow, straight, 70).cycles == 0


def test_a_branch_that_is_taken_waits_for_its_target() -> None:
    loop = trace({(FLASH, 4): 100}, {(FLASH, FLASH): 99, (FLASH, FLASH + 4): 1})
    assert waits(chip(**PREFETCH), loop, 300).cycles == 99 * 1.5
    assert waits(chip(**PREFETCH), loop, 300).spread == pytest.approx(99 * 0.5 + 0.01 * 300)


def test_nothing_waits_without_wait_states_or_in_ram() -> None:
    loop = trace({(FLASH, 4): 100}, {(FLASH, FLASH): 99})
    for quiet in (chip(), chip(wait_states=0), chip(wait_states=9, accelerator="tcm")):
        assert waits(quiet, loop, 300) == (0, 0)


@pytest.mark.parametrize(("cache", "misses"), [(64, 0), (32, 2 * 100)])
def test_a_loop_that_fits_its_cache_does_not_wait(cache: int, misses: int) -> None:
    far = FLASH + 0x1000
    loop = trace({(FLASH, 32): 101, (far, 32): 100}, {(FLASH, far): 100, (far, FLASH): 100})
    cached = chip(wait_states=5, flash_line=32, accelerator="cache", cache=cache, data_cache=4096)
    assert waits(cached, loop, 3000).cycles == misses * 5


def test_an_inner_loop_stays_in_a_cache_that_the_outer_one_does_not_fit() -> None:
    inner, outer = FLASH, FLASH + 0x1000
    blocks = {(inner, 16): 1000, (outer, 64): 10}
    edges = {(inner, inner): 990, (inner, outer): 10, (outer, inner): 10}
    cached = chip(wait_states=5, flash_line=16, accelerator="cache", cache=64, data_cache=4096)
    assert waits(cached, trace(blocks, edges), 5000).cycles == (10 * 1 + 10 * 4) * 5


def test_waits_are_part_of_an_estimate(tmp_path: Path) -> None:
    firmware = make(LOOPS["arm"], "cortex-m0", tmp_path, suffix=".S")
    emulation = power_on(firmware).run({}, {})
    plain = estimate(firmware, emulation)
    slow = estimate(replace(firmware, chip=chip(**PREFETCH)), emulation)
    assert isinstance(plain, Cycles)
    assert isinstance(slow, Cycles)
    assert plain.flash == 0
    assert 999 * 1.5 - 1 <= slow.flash < 999 * 1.5 + 12
    assert slow.cycles == plain.cycles + slow.flash
    assert slow.error > plain.error
