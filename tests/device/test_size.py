"""The core files stay as small as they are said to be: int8, all seven layer types, -Os."""

from __future__ import annotations

import pytest
from bench.device_size import COUNTED, TARGETS, ZIG, Target, lines, sizes


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_text(target: Target) -> None:
    found = sizes(ZIG, target.clang)
    assert found[".text"] < 3072
    assert found[".data"] + found[".bss"] == 0


def test_the_level_follows_what_the_compiler_was_told() -> None:
    """Small code for -Os, fast code for anything else."""
    m4 = TARGETS[0]
    small, fast = (
        sizes(ZIG, m4.clang, (option, f"-DTM_OPT_LEVEL={level}"))
        for option, level in (("-Os", "TM_OPT0"), ("-O2", "TM_OPT1"))
    )
    assert sizes(ZIG, m4.clang, ("-Os",)) == small
    assert sizes(ZIG, m4.clang, ("-O2",)) == fast


def test_lines() -> None:
    assert sum(lines(name) for name in COUNTED) < 400
