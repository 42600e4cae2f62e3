"""Modelled cycles beside published figures of real chips, each with its source.

    python bench/validate_cycles.py                     our own loops, and sequences of instructions
    python bench/validate_cycles.py --coremark FOLDER   CoreMark itself, from a checkout of github.com/eembc/coremark

CoreMark's figures are compared as they are: compiled by gcc with the published flag where that is known, else by gcc
and clang with -O2 and -O3, a range whose middle is compared. Our own loops do work of the same kind but not the same
work, so only their ratios from chip to chip count: they are scaled to agree in the median.

    python bench/validate_cycles.py --kernels FOLDER    kernels in assembly (bench/kernels.py names the checkouts)

    python bench/validate_cycles.py --context           the boards of TinyMaix and of MLPerf Tiny (bench/boards.py)

The last table says how fast the emulator runs: with counting, and with the model of cycles; on chips whose flash is
followed, too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.kernels import kernels
from bench.sequences import sequences

from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.cycles import estimate
from tinymaix.chips.emulate import open_machine

HERE = Path(__file__).parent
Errors = list[tuple[str, float]]
"""(core, relative error) of each comparison."""
OPTIMIZE = {"-O2": "balanced", "-O3": "speed"}


@dataclass(frozen=True)
class Published:
    """CoreMark iterations a second and megahertz."""

    chip: str
    """A chip, or a core where the program ran from memory that answers at once."""
    score: float
    flags: str
    """"-O2" or "-O3" of gcc, or what else is known."""
    source: str


XIVN = "github.com/XIVN1987/MCUCode, coremark"
BOESING = "github.com/FrankBoesing/CoreMark"
SCORES = (
    Published("cortex-m0plus", 236.653 / 125, "-O3", "RP2040 from RAM: github.com/KafCoppelia/pico-coremark"),
    Published("rp2040", 457.21 / 250, "-O3", "github.com/PaulStoffregen/CoreMark, pull request 15"),
    Published("stm32f103c8", 129.870 / 72, "MDK", XIVN),
    Published("stm32f407vg", 436.681 / 168, "MDK", f"STM32F405: {XIVN}"),
    Published("rp2350", 1437 / 2 / 276, "-O3", BOESING),
    Published("cortex-m33", 3.39595, "-O3", "MPS2 AN505: github.com/GorgonMeducer/coremark_cortex-m33"),
    Published("cortex-m7", 2400.19 / 600, "-O2", f"i.MX RT1062 from ITCM: {BOESING}"),
    Published("ch32v307vc", 356.294 / 144, "-O2", XIVN),
    Published("ch32v307vc", 382.166 / 144, "-O3", XIVN),
    Published("gd32vf103cb", 236.267 / 96, "-O2", XIVN),
    Published("gd32vf103cb", 253.004 / 96, "-O3", XIVN),
    Published("esp32c3", 409.72 / 160, "-O3", BOESING),
    Published("esp32c6", 496.16 / 160, "-O3", "ESP32-C6 data sheet"),
    Published("ibex", 2.47, "maker's", 'Ibex README, configuration "small"'),
    Published("e31", 3.01, "maker's", "SiFive E31 product page"),
)
PORT = """
#include <stddef.h>
#include <stdint.h>
typedef int16_t ee_s16; typedef uint16_t ee_u16; typedef int32_t ee_s32; typedef uint8_t ee_u8; typedef uint32_t ee_u32;
typedef uintptr_t ee_ptr_int; typedef size_t ee_size_t; typedef ee_u32 CORE_TICKS;
typedef struct CORE_PORTABLE_S { ee_u8 portable_id; } core_portable;
#define HAS_FLOAT 0
#define HAS_TIME_H 0
#define USE_CLOCK 0
#define HAS_STDIO 0
#define HAS_PRINTF 0
#define SEED_METHOD SEED_VOLATILE
#define MEM_METHOD MEM_STATIC
#define MULTITHREAD 1
#define MAIN_HAS_NOARGC 1
#define MAIN_HAS_NORETURN 0
#define align_mem(x) (void *)(4 + (((ee_ptr_int)(x)-1) & ~3))
extern ee_u32 default_num_contexts;
int ee_printf(const char *format, ...);
"""
GLUE = """
#include "coremark.h"
volatile ee_s32 seed1_volatile, seed2_volatile, seed3_volatile = 0x66, seed4_volatile = 1, seed5_volatile;
int rounds = 1;
static uint32_t memory[500];
static core_results r;
int ee_printf(const char *format, ...) { (void)format; return 0; }
int tm_main(void) {
    r.seed1 = 0; r.seed2 = 0; r.seed3 = seed3_volatile; r.size = 666;
    for (int i = 0; i < 3; i++) r.memblock[i + 1] = (char *)memory + 666 * i;
    r.list = core_list_init(r.size, r.memblock[1], r.seed1);
    core_init_matrix(r.size, r.memblock[2], 0, &r.mat);
    core_init_state(r.size, r.seed1, r.memblock[3]);
    for (int i = 0; i < rounds; i++) {
        r.crc = crcu16(core_bench_list(&r, 1), r.crc);
        r.crc = crcu16(core_bench_list(&r, -1), r.crc);
        if (i == 0) r.crclist = r.crc;
    }
    return r.crclist;
}
"""
CORRECT = 0xE714
"""CoreMark's CRC of its list for the usual seeds."""


class Program:
    """Sources whose tm_main does `rounds` rounds of one kind of work."""

    def __init__(self, sources: Sequence[Path], include: Sequence[Path], scratch: Path) -> None:
        self._sources, self._include, self._scratch = sources, include, scratch
        self._known: dict[tuple[str, str, str], float] = {}

    def cycles(self, chip: str, flag: str, toolchain: str, expected: int | None) -> float:
        """Modelled cycles of one round: of the third one, so that what is done once does not count."""
        key = (chip, flag, toolchain)
        if key not in self._known:
            firmware = build(
                list(self._sources),
                find_chip(chip),
                include=list(self._include),
                optimize=OPTIMIZE[flag],
                toolchain=toolchain,
                out_dir=self._scratch / "-".join(key),
            )
            totals = []
            for rounds in (2, 3):
                run = open_machine(firmware).run({"rounds": rounds.to_bytes(4, "little")}, {})
                if expected is not None and run.result & 0xFFFF != expected:
                    raise SystemExit(f"CoreMark gives {run.result & 0xFFFF:#x} on {chip}, not {expected:#x}.")
                modelled = estimate(firmware, run)
                assert modelled is not None
                totals.append(modelled.cycles)
            self._known[key] = totals[1] - totals[0]
        return self._known[key]


def compared(program: Program, expected: int | None) -> Iterator[tuple[Published, float, float]]:
    """Each published score with the lowest and the highest that the model gives."""
    for published in SCORES:
        known = published.flags in OPTIMIZE
        flags = [published.flags] if known else list(OPTIMIZE)
        compilers = ["gcc"] if known else ["gcc", "clang"]
        scores = [1e6 / program.cycles(published.chip, flag, cc, expected) for flag in flags for cc in compilers]
        yield published, min(scores), max(scores)


def scores(console: Console, program: Program, expected: int | None) -> Errors:
    """Print and sum up one program's table."""
    found = list(compared(program, expected))
    if expected is None:
        scale = statistics.median(published.score / ((low + high) / 2) for published, low, high in found)
        found = [(published, low * scale, high * scale) for published, low, high in found]
    title = "CoreMark/MHz" if expected else "Our loops, scaled to CoreMark/MHz by one factor"
    table = Table("chip", "core", "flags", "predicted", "published", "error", "source", title=title)
    errors: Errors = []
    known: list[float] = []
    for published, low, high in found:
        core, error = find_chip(published.chip).core.name, (low + high) / 2 / published.score - 1
        errors.append((core, abs(error)))
        known += [abs(error)] * (published.flags in OPTIMIZE)
        predicted = f"{low:.2f}" if low == high else f"{low:.2f}-{high:.2f}"
        row = (published.chip, core, published.flags, predicted, f"{published.score:.2f}", f"{error:+.1%}")
        table.add_row(*row, published.source)
    console.print(table)
    console.print(summary("all", [error for _, error in errors]))
    console.print(summary("all whose compiler and flags are known", known))
    return errors


def summary(name: str, errors: Sequence[float]) -> str:
    """Median and 90th percentile."""
    ordered = sorted(errors)
    last = ordered[min(int(0.9 * len(ordered)), len(ordered) - 1)]
    return f"{name}: median {statistics.median(ordered):.1%}, 90th percentile {last:.1%}, of {len(ordered)}"


def measured(console: Console, title: str, rows: Iterable[tuple[str, str, str, float, int, str]]) -> Errors:
    """Print a table of (chip, core, name, predicted and published cycles, source)."""
    table = Table("chip", "code", "predicted", "published", "error", "source", title=title)
    errors = []
    for chip, core, name, predicted, published, source in rows:
        error = predicted / published - 1
        errors.append((core, abs(error)))
        table.add_row(chip, name, f"{predicted:.4g}", str(published), f"{error:+.1%}", source)
    console.print(table)
    console.print(summary("all", [error for _, error in errors]))
    return errors


def sequence_rows(scratch: Path) -> Iterator[tuple[str, str, str, float, int, str]]:
    for each, cycles in sequences(scratch):
        yield each.chip, find_chip(each.chip).core.name, each.name, cycles, each.cycles, each.source


def kernel_rows(folder: Path, scratch: Path) -> Iterator[tuple[str, str, str, float, int, str]]:
    for each, cycles in kernels(folder, scratch):
        code = f"{each.family}_{each.name}, {each.rounds} rounds"
        yield each.chip, find_chip(each.chip).core.name, code, cycles, each.cycles, each.source


def by_core(console: Console, errors: Errors) -> None:
    """Sum up what is compared as it is: all but our own loops."""
    cores: defaultdict[str, list[float]] = defaultdict(list)
    for core, error in errors:
        cores[core].append(error)
    console.print(summary("Sequences, kernels and CoreMark together", [error for _, error in errors]))
    for core, each in sorted(cores.items()):
        console.print(summary(core, each))


def speed(console: Console, program: Path, scratch: Path) -> None:
    """Print how fast the emulator runs our loops."""
    table = Table(
        "core or chip", "counted", "with cycles", title="Emulation: million instructions a second of CPU time"
    )
    for core in ("cortex-m0", "cortex-m4", "cortex-m7", "hazard3", "stm32l4r5zi", "stm32g0b1re", "rp2350", "esp32c3"):
        firmware = build([program], find_chip(core), optimize="balanced", out_dir=scratch / core)
        machine = open_machine(firmware)
        begin = time.process_time()
        run = machine.run({"rounds": (1000).to_bytes(4, "little")}, {})
        counted = time.process_time()
        estimate(firmware, run)
        done = time.process_time()
        millions = (run.instructions or 0) / 1e6
        table.add_row(core, f"{millions / (counted - begin):.0f}", f"{millions / (done - begin):.0f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coremark", type=Path, metavar="FOLDER", help="a checkout of EEMBC's CoreMark")
    parser.add_argument("--kernels", type=Path, metavar="FOLDER", help="checkouts of what bench/kernels.py names")
    parser.add_argument("--context", action="store_true", help="whole boards as well")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        errors = measured(console, "Sequences, cycles", sequence_rows(scratch))
        scores(console, Program([HERE / "loops.c"], [], scratch / "loops"), None)
        if options.kernels:
            errors += measured(console, "Kernels in assembly, cycles", kernel_rows(options.kernels, scratch))
        if options.coremark:
            (scratch / "core_portme.h").write_text(PORT)
            (scratch / "glue.c").write_text(GLUE)
            parts = [options.coremark / f"core_{part}.c" for part in ("list_join", "matrix", "state", "util")]
            program = Program([*parts, scratch / "glue.c"], [scratch, options.coremark], scratch / "coremark")
            errors += scores(console, program, CORRECT)
        by_core(console, errors)
        if options.context:
            from bench.boards import mlperf_table, tinymaix_table  # needs the shared models

            console.print(tinymaix_table(scratch), mlperf_table())
        speed(console, HERE / "loops.c", scratch)


if __name__ == "__main__":
    main()
