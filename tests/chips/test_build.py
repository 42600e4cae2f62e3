"""Compilers are found or named, options reach them, and sizes are those of the ELF file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chips.programs import AVR, EMULATED, make, power_on
from tinymaix.chips import ToolError, find_chip
from tinymaix.chips.build import OPTIMIZE, BuildError, build

PROGRAM = """
#include <stdint.h>
#ifdef __AVR__
#include <avr/pgmspace.h>
#else
#define PROGMEM
#endif
#ifndef TIMES
#define TIMES 1
#endif
const uint8_t table[300] PROGMEM = {1, 2, 3};
int8_t zeros[100];
uint8_t ones[40] = {1, 1, 1};
volatile uint8_t at;
int unused(void) { return 12345; }
int tm_main(void) { return TIMES * (ones[at] + zeros[at] + (int)(intptr_t)&table[at]); }
"""


@pytest.mark.parametrize("core", EMULATED)
def test_sizes_and_symbols(core: str, tmp_path: Path) -> None:
    firmware = make(PROGRAM, core, tmp_path)
    assert firmware.symbol_size("table") == 300
    assert firmware.symbol_size("zeros") == 100
    assert firmware.symbol_size("ones") == 40
    assert firmware.elf.exists()
    assert [path.name for path in firmware.elf.parent.iterdir()] == [firmware.elf.name]
    if core != "host":
        assert 141 <= firmware.static_ram <= 160
        assert 340 < firmware.flash_total < 800
        assert "unused" not in firmware.symbols


def test_a_path_with_spaces_commas_and_accents(tmp_path: Path) -> None:
    folder = tmp_path / "a b, é"
    folder.mkdir()
    assert make(PROGRAM, "cortex-m4", folder).flash_total > 0
    assert make(PROGRAM, "host", folder).flash_total > 0
    assert make(PROGRAM, "avr5", folder).flash_total > 0


@pytest.mark.parametrize("core", ["cortex-m0", "rv32imac", "avr5", "host"])
@pytest.mark.parametrize("optimize", OPTIMIZE)
def test_optimize(optimize: str, core: str, tmp_path: Path) -> None:
    firmware = make(PROGRAM, core, tmp_path, optimize=optimize)
    assert firmware.symbol_size("table") == 300
    power_on(firmware).run({}, {})


def test_a_large_program_still_has_sizes(tmp_path: Path) -> None:
    large = "#include <stdint.h>\nint8_t big[20000];\nvolatile int at;\nint tm_main(void) { return big[at]; }"
    firmware = make(large, "atmega328p", tmp_path)
    assert firmware.static_ram > 20000 > (firmware.chip.ram or 0)


def test_include_and_defines(tmp_path: Path) -> None:
    (tmp_path / "my include").mkdir()
    (tmp_path / "my include" / "value.h").write_text("#define FROM_HEADER 3\n")
    source = tmp_path / "a.c"
    source.write_text('#include "value.h"\nint tm_main(void) { return FROM_HEADER + GIVEN + sizeof(char[FLAG]); }')
    defines = {"GIVEN": "4", "FLAG": ""}
    build([source], find_chip("host"), include=[tmp_path / "my include"], out_dir=tmp_path, defines=defines)


def test_a_compiler_error_is_passed_on(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text("int tm_main(void) { return nothing; }")
    with pytest.raises(BuildError, match="nothing"):
        build([source], find_chip("host"), out_dir=tmp_path)


def test_unknown_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='optimize is "fast"; it must be one of speed'):
        build([], find_chip("host"), out_dir=tmp_path, optimize="fast")
    with pytest.raises(ValueError, match='toolchain is "iar"; it must be one of auto'):
        build([], find_chip("host"), out_dir=tmp_path, toolchain="iar")


@pytest.mark.parametrize(("core", "debian"), [("avr5", "gcc-avr avr-libc"), ("cortex-m4", "gcc-arm-none-eabi")])
def test_a_missing_compiler_is_named(core: str, debian: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match=debian):
        build([], find_chip(core), out_dir=tmp_path, toolchain="gcc")


def test_the_wheel_compiles_for_a_host_without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    firmware = make("int tm_main(void) { return 5; }", "host", tmp_path)
    assert power_on(firmware).run({}, {}).result == 5


def test_a_missing_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ziglang", None)
    with pytest.raises(ToolError, match=r"ziglang.*tinymaix\[chips\]"):
        build([], find_chip("cortex-m4"), out_dir=tmp_path)


def test_cores_without_a_compiler_say_so(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="No compiler for the Xtensa LX7"):
        build([], find_chip("esp32-s3"), out_dir=tmp_path)
    with pytest.raises(ToolError, match="ziglang wheel cannot link for AVR"):
        build([], find_chip(AVR[0]), out_dir=tmp_path, toolchain="clang")


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0", "rv32imac", "rv64gc"])
def test_an_installed_gcc_builds_too(core: str, tmp_path: Path) -> None:
    assert make(PROGRAM, core, tmp_path, toolchain="gcc").symbol_size("table") == 300
