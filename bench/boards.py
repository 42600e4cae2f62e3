"""Published milliseconds of whole boards, as context: their kernels and compilers are not ours, or not known.

TinyMaix's boards stand beside our device library with the same model, from the fastest to the slowest of TM_OPT0 and
TM_OPT1 with -O2 and -O3 of clang and of gcc where that is installed; its weights are in RAM here. The boards of
MLPerf Tiny stand beside our compiled models.
"""

from __future__ import annotations

import csv
import itertools
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.table import Table
from tests.conftest import SHARED
from tests.device.arch import FULL, Device, Target, expected, shipped

from tinymaix import api
from tinymaix.chips import Chip, ToolError, find_chip
from tinymaix.chips.cycles import estimate
from tinymaix.chips.emulate.machine import Emulation

TINYMAIX = {
    "STM32H750": "stm32h743zi",
    "STM32G474RE": "stm32g474re",
    "STM32F411CE": "stm32f411ce",
    "STM32L496": "stm32l496zg",
    "NRF52832": "nrf52832",
    "AT32F403A": "at32f403a",
    "MM32F3270": "mm32f3270",
    "STM32F103RC": "stm32f103rc",
    "RP2040": "rp2040",
    "SAMD21G18": "samd21g18",
    "CH32V307": "ch32v307vc",
    "ESP32-C3": "esp32c3",
    "BL808's E907": "bl808-e907",
    "PicoRV32(GW2A)": "picorv32-gw2a",
}
"""Rows of benchmark_chips.csv whose cores have a model."""
MLPERF = {
    "L4R5ZI": "stm32l4r5zi",
    "U575ZI": "stm32u575zi",
    "H7A3ZI": "stm32h7a3zi",
    "F746NG": "stm32f746ng",
    "G0B1RE": "stm32g0b1re",
    "cy8cproto": "psoc62",
}
"""What the names of systems in mlperf_tiny_results.csv hold."""
MODELS = {
    "kws": "kws/kws_ref_model",
    "vww": "vww/vww_96_int8",
    "ic": "ic/pretrainedResnet_quant",
    "ad": "ad/ad01_int8",
}
ARCHS = {"cortex-m4": "ARM_SIMD", "cortex-m7": "ARM_SIMD", "cortex-m0plus": "ARM_M0"}
"""The header of TM_OPT1, where there is one for the core."""
FLAGS = ("balanced", "speed")
"""-O2 and -O3."""


def tinymaix_table(scratch: Path) -> Table:
    """cifar10 on the boards that TinyMaix was measured on."""
    with (SHARED / "reference/benchmark_chips.csv").open(encoding="utf-8") as stream:
        published = {row["chip"]: row for row in csv.DictReader(stream)}
    chips = {board: find_chip(name) for board, name in TINYMAIX.items()}
    sharing: defaultdict[str, list[Chip]] = defaultdict(list)
    for chip in chips.values():
        sharing[chip.core.name].append(chip)
    runs = {core: list(_runs(core, same, scratch)) for core, same in sharing.items()}
    table = Table("board", "core", "ours, ms", "published, ms", "lies", title="TinyMaix's boards: cifar10, int8")
    for board, chip in chips.items():
        row = published[board]
        found = [_cycles(device, chip, run) / float(row["freq_mhz"]) / 1e3 for device, run in runs[chip.core.name]]
        lowest, highest, wanted = min(found), max(found), float(row["cifar_ms"].lstrip("<"))
        lies = "below" if wanted < lowest else "above" if wanted > highest else "within"
        table.add_row(board, chip.core.name, f"{lowest:.0f}-{highest:.0f}", row["cifar_ms"], lies)
    return table


def _runs(core: str, chips: list[Chip], scratch: Path) -> Iterator[tuple[Device, Emulation]]:
    """One inference by each level, flag and compiler, its reads of flash followed for all chips."""
    model = next(path for path in shipped() if path.stem == "cifar10_q")
    (x, y), *_ = expected(model)
    paths = [chip.flash_path for chip in chips if chip.flash_path]
    for level, flags, compiler in itertools.product((0, 1), FLAGS, ("clang", "gcc")):
        arch = ARCHS.get(core, "CPU") if level else "CPU"
        target = Target(core, arch, level, room=FULL[0].room, optimize=flags, toolchain=compiler)
        try:
            device = Device(target, scratch / f"{core}-{level}-{flags}-{compiler}")
        except ToolError:  # this core has no such compiler here
            continue
        device.load(model.read_bytes())
        writes = {"tm_input": x.tobytes(), "tm_command": struct.pack("<2I", 1, 0)}
        yield device, device.machine.run(writes, {"tm_output": len(y)}, paths=paths)


def _cycles(device: Device, chip: Chip, run: Emulation) -> int:
    modelled = estimate(replace(device.firmware, chip=chip), run)
    assert modelled is not None
    return modelled.cycles


def mlperf_table() -> Table:
    """Our compiled models on MLPerf Tiny's boards, with weights in flash and in RAM."""
    with (SHARED / "reference/mlperf_tiny_results.csv").open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["division"] == "closed" and row["latency_ms"]]
    table = Table("board", "model", "ours, ms", "weights in RAM", "published, ms", title="MLPerf Tiny's boards")
    for word, name in MLPERF.items():
        for benchmark, file in MODELS.items():
            known = [
                float(row["latency_ms"])
                for row in rows
                if row["benchmark"] == benchmark and word.lower() in row["system"].lower()
            ]
            if not known:
                continue
            graph = api.read(SHARED / f"models/mlperf_tiny/models/{file}.tflite")
            found = [api.bench(graph, name, optimize="speed", weights=where) for where in ("flash", "ram")]
            ours = [f"{each.milliseconds:.2f}" if each.fits else "too large" for each in found]
            table.add_row(name, benchmark, *ours, f"{min(known):.2f}-{max(known):.2f}")
    return table
