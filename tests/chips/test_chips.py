"""chips.toml holds sane facts, and names are found or answered with their neighbours."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tinymaix import cores, report
from tinymaix.chips import ChipError, chips, find_chip
from tinymaix.chips.chip import DATA
from tinymaix.cli import main


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
        assert sum(bank.size for bank in chip.banks) <= chip.ram
        assert (chip.active_ma is None) == (chip.volts is None)
        assert chip.volts is None or 1.6 <= chip.volts <= 5.5
        assert chip.wait_states is not None or chip.accelerator == "none"
        assert chip.cache == 0 or chip.accelerator in ("cache", "xip-cache", "prefetch")
        assert "verified" not in chip.source
        fields = [field for field, _ in chip.checked]
        assert len(fields) == len(set(fields))
        for field, source in chip.checked:
            assert field in DATA
            assert len(source) > 8
            assert getattr(chip, field) not in (None, ())


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


COMPUTERS = {
    "BLAI",
    "AMD64",
    "ARM A72",
    "RV64V(C910)",
    "ARM A53",
    "RV64V",
    "ARM A7",
    "ARM A9",
    "ARM926EJ-S",
    "MIPS1004Kc",
}


def test_chips_of_the_benchmark_are_known(shared: Path) -> None:
    with (shared / "reference" / "benchmark_chips.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["core"] not in COMPUTERS]
    assert len(rows) > 30
    for row in rows:
        assert find_chip(row["chip"]).source


def test_what_was_compared_with_the_benchmark_is_what_stands_there(shared: Path) -> None:
    units = {"KB": 1024, "MB": 1024 * 1024}
    compared = 0
    with (shared / "reference" / "benchmark_chips.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["core"] in COMPUTERS:
                continue
            chip = find_chip(row["chip"])
            for field in (field for field, source in chip.checked if source == "TinyMaix's benchmark"):
                text = row["freq_mhz" if field == "mhz" else field]
                there = float(text) if field == "mhz" else float(_size(text, units))
                assert getattr(chip, field) == there, f"{chip.name}: {field}"
                compared += 1
    assert compared > 30


def _size(text: str, units: dict[str, int]) -> int:
    """Bytes of "160+128KB"."""
    return sum(int(part) for part in text[:-2].split("+")) * units[text[-2:]]


def test_docs_count_what_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/chips.md repeats the table of `tinymaix chips --checked`."""
    text = (Path(__file__).parents[2] / "docs" / "chips.md").read_text(encoding="utf-8")
    for field, counts in report.checked_dict(chips().values()).items():
        assert f"| {field} | {counts['known']} | {counts['checked']} |" in text
    assert main(["chips", "--checked"]) == 0
    assert "wait_states" in capsys.readouterr().out


@pytest.mark.parametrize("board", ["NUCLEO-L4R5ZI", "NUCLEO-L4R5ZI-P", "NUCLEO-U575ZI-Q", "NUCLEO-H7A3ZI-Q",
    "DISCO-F746NG", "NUCLEO-G0B1RE", "NUCLEO-F401RE", "CY8CPROTO-062-4343W", "EK-RA8D1", "NUCLEO-U385RG-Q",
    "NuMaker-M467HJ", "Arduino Uno", "Arduino Mega", "Arduino Nano 33 BLE", "Arduino Portenta H7",
    "Arduino Uno R4", "NUCLEO-U3C5ZIT6-Q", "B-U585I-IOT02A", "nRF5340 DK", "Arduino Nicla Vision",
    "Arduino Nano RP2040 Connect", "Arduino Portenta C33", "Raspberry Pi Pico W", "Teensy 4.1"])  # fmt: skip
def test_boards_of_mlperf_and_arduino_are_known(board: str) -> None:
    assert board in find_chip(board).boards


def test_a_core_is_a_generic_chip() -> None:
    chip = find_chip("cortex-m4")
    assert chip.core.name == "cortex-m4"
    assert (chip.flash, chip.ram, chip.mhz) == (None, None, None)


def test_an_unknown_chip_is_answered_with_its_neighbours() -> None:
    with pytest.raises(ChipError, match=r'called "stm32f413".*stm32f411ce'):
        find_chip("stm32f413")
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
        ('[x]\ncore = "avr5"\nbanks = ["CCM"]', '"CCM" describes no bank'),
        ('[x]\ncore = "avr5"\nbanks = [""]', "describes no bank"),
        ('[x]\ncore = "avr5"\nram = 8\nchecked = ["ram"]', '"ram" in checked must be fields and their source'),
        ('[x]\ncore = "avr5"\nram = 8\nchecked = ["rom: data sheet"]', "must be fields and their source"),
        ('[x]\ncore = "avr5"\nchecked = ["ram: data sheet"]', "ram is called checked, but has no value"),
        ('[x]\ncore = "avr5"\naccelerator = "fast"', "accelerator must be one of"),
        ("[x", "cannot be read"),
    ],
)
def test_a_bad_table_is_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(ChipError, match=says):
        chips(extra=own)


def test_an_array_lies_in_one_bank(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[x]\ncore = "avr5"\nram = 300\nbanks = ["SRAM 200 0x20000000", "SRAM 2 100"]\n')
    chip = find_chip("x", extra=own)
    assert [(bank.name, bank.size, bank.address) for bank in chip.banks] == [
        ("SRAM", 200, 0x20000000),
        ("SRAM 2", 100, None),
    ]
    assert chip.ram_missing(150, 50) == 0
    assert chip.ram_missing(200, 100) == 0
    assert chip.ram_missing(210, 20) == 10
    assert chip.ram_missing(120, 130) == 20
    assert chip.ram_missing(200, 150) == 50
    assert chip.ram_missing(100, 50, most=120) == 30
    assert find_chip("cortex-m4").ram_missing(100, 100) is None
    assert find_chip("cortex-m4").ram_missing(100, 100, most=150) == 50


def test_energy() -> None:
    chip = find_chip("nrf52840")
    assert chip.active_ma
    assert chip.volts
    assert chip.millijoules(1000) == pytest.approx(chip.active_ma * chip.volts)
    assert chip.millijoules(None) is None
    assert find_chip("cortex-m4").millijoules(1000) is None


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
