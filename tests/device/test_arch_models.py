"""Shipped int8 models give their golden bytes on every core and by every architecture header that can be run here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.device.arch import FULL, SMALL, Device, Target, open_or_skip, shipped

BIG = 100 << 10
"""Larger ones run one sample on the fast emulators only; bench/device_arch.py runs all of them everywhere."""
FAST = ("host", "cortex-m4", "cortex-a53")


@pytest.mark.parametrize("target", FULL, ids=lambda target: target.name)
def test_golden(target: Target, tmp_path: Path) -> None:
    device = open_or_skip(target, tmp_path)
    for path in shipped():
        big = path.stat().st_size > BIG
        if not big or (target.core in FAST and target.level == 1):
            device.check(path, 1 if big or target.core not in FAST else 2)


@pytest.mark.parametrize("target", SMALL, ids=lambda target: target.name)
def test_golden_avr(target: Target, tmp_path: Path) -> None:
    device = Device(target, tmp_path)
    for path in shipped(most=3000):
        device.check(path, 1)
