"""chips.toml holds sane facts, and names are found or answered with their neighbours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tinymaix import cores
from tinymaix.chips import ChipError, chips, find_chip


def test_every_table_is_sane() -> None:
    table = chips()
    assert len(table) > 90
    for name, chip in table.items():
        assert name == name.lower() == chip.name
        assert chip.core is cores.find(chip.core.name)
        assert chip.title
        assert chip.source
        assert chip.mhz is not None
        assert 1 <= chip.mhz <= 1100
        assert chip.ram is not None
        assert 256 <= chip.ram <= 64 << 20
        assert chip.flash is None or 8 << 10 <= chip.flash <= 128 << 20


def test_no_name_means_two_chips() -> None:
    seen: dict[str, str] = {}
    for chip in chips().values():
        for name in {label.lower() for label in (chip.name, *chip.aliases, *chip.boards)}:
            assert seen.setdefault(name, chip.name) == chip.name
            assert name not in cores.cores()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ATmega328P", "atmega328p"),
        ("Arduino Uno", "atmega328p"),
        ("arduino-uno", "atmega328p"),
        ("raspberry pi pico", "rp2040"),
        ("esp32-c3", "esp32c3"),
        ("STM32F411", "stm32f411ce"),
    ],
)
def test_names_aliases_and_boards_are_found(name: str, key: str) -> None:
    assert find_chip(name).name == key


def test_a_core_is_a_generic_chip() -> None:
    chip = find_chip("cortex-m4")
    assert chip.core.name == "cortex-m4"
    assert (chip.flash, chip.ram, chip.mhz) == (None, None, None)


def test_an_unknown_chip_is_answered_with_its_neighbours() -> None:
    with pytest.raises(ChipError, match=r'called "stm32f412".*stm32f411ce'):
        find_chip("stm32f412")
    with pytest.raises(ChipError, match=r'called "\?\?\?"'):
        find_chip("???")


def test_users_add_chips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own chips.toml"
    own.write_text('[MyChip]\ncore = "cortex-m0plus"\nflash = 16384\nram = 2048\n[rp2040]\ncore = "cortex-m0plus"\n')
    assert find_chip("mychip", extra=own).ram == 2048
    assert find_chip("rp2040", extra=own).ram is None
    with pytest.raises(ChipError):
        find_chip("mychip")
    monkeypatch.setenv("TINYMAIX_CHIPS", str(own))
    assert find_chip("mychip").flash == 16384


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "not a table"),
        ('[x]\ntitle = "X"', "names no core"),
        ('[x]\ncore = "cortex-m5"', "No core is called"),
        ('[x]\ncore = "avr5"\nrom = 5', "unknown field rom"),
        ('[x]\ncore = "avr5"\nram = "2 KB"', "ram must be a int"),
        ('[x]\ncore = "avr5"\nram = true', "ram must be"),
        ('[x]\ncore = "avr5"\nram = -2', "ram must be positive"),
        ('[x]\ncore = "avr5"\nboards = [1]', "list of names"),
        ("[x", "cannot be read"),
    ],
)
def test_a_bad_table_is_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(ChipError, match=says):
        chips(extra=own)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ChipError, match="cannot be read"):
        chips(extra=tmp_path / "none.toml")


def test_unknown_core() -> None:
    with pytest.raises(cores.CoreError, match="cortex-m4"):
        cores.find("cortex-m44")


def test_importing_is_cheap() -> None:
    code = (
        "import sys, tinymaix.chips, tinymaix.chips.build, tinymaix.chips.emulate\n"
        "assert not {'unicorn', 'capstone', 'elftools', 'ziglang'} & sys.modules.keys(), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
