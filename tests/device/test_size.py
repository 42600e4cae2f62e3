"""The core files stay as small as they are said to be: int8, all seven layer types, -Os."""

from __future__ import annotations

import pytest
from bench.device_size import COUNTED, TARGETS, ZIG, Target, lines, sizes


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_text(target: Target) -> None:
    found = sizes(ZIG, target.clang)
    assert found[".text"] < 3072
    assert found[".data"] + found[".bss"] == 0


def test_lines() -> None:
    assert sum(lines(name) for name in COUNTED) < 400
