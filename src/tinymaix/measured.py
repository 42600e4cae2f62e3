"""What a model costs on a core, measured once and kept on disk: every chip with that core follows without building.

An entry holds the linked program and the counts of one inference. Its key is a hash over the model, this package's
code, the operators' code, the compiler and its flags; cycles are kept beside it by what decides them of a chip.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from tinymaix.chips import Chip
from tinymaix.chips.build import fingerprint
from tinymaix.chips.chip import FlashPath, generic
from tinymaix.chips.cycles import Cycles, estimate
from tinymaix.chips.emulate.machine import Missed, Part
from tinymaix.chips.firmware import read_firmware
from tinymaix.chips.tools import cache_dir
from tinymaix.cores import Core
from tinymaix.deploy import Bench, Deployment, Flash, Ram
from tinymaix.graph import Graph, Tensor
from tinymaix.trials import digest
from tinymaix.write.atomic import write_atomic


@dataclass
class Measured:
    """A model on a core."""

    key: str
    bench: Bench
    """Of the core's generic chip, which has no clock and no sizes."""
    counts: Part
    elf: Path
    """The linked program."""
    modelled: dict[str, Cycles | None]
    """Cycles by a hash of what decides them of a chip."""
    fresh: bool = False
    """Whether there is something that is not on disk yet."""
    owner: Deployment | None = None
    """Keeps the program, where that could not be kept on disk."""

    def on(self, chip: Chip) -> Bench:
        """The figures of a chip with this core: those that `Deployment.bench` would find."""
        bench = self.bench
        known: Cycles | None = None
        if not bench.cycles_exact:
            key = digest(_facts(replace(chip, name="", title="", boards=(), aliases=(), note="", source="")))
            if key not in self.modelled:
                self.modelled[key] = estimate(read_firmware(self.elf, chip), self.counts)
                self.fresh = True
            known = self.modelled[key]
        cycles = bench.cycles if bench.cycles_exact else known.cycles if known else None
        milliseconds = cycles / chip.mhz / 1000 if cycles is not None and chip.mhz else None
        fits = None
        if chip.flash is not None and chip.ram is not None:
            room = chip.ram_missing(bench.ram.arena, bench.ram.total - bench.ram.arena) == 0
            fits = bench.flash.total <= chip.flash and room
        return replace(
            bench,
            chip=chip.name,
            cycles=cycles,
            cycles_error=known.error if known else 0.0 if bench.cycles_exact else None,
            milliseconds=milliseconds,
            millijoules=chip.millijoules(milliseconds),
            fits=fits,
            constant_waits=known.constants if known else None,
        )


def measure(
    graph: Graph,
    core: Core,
    optimize: str,
    toolchain: str,
    model: str | None = None,
    paths: Collection[FlashPath] = (),
) -> Measured:
    """From disk, or built and emulated.

    model: `model_key(graph)`, where it is known. paths: those of the chips that will be asked for.
    Raises as `Deployment`.
    """
    about = fingerprint(generic(core), optimize, toolchain)
    key = digest(model or model_key(graph), package_code(), build_key(core), optimize, about)
    found = _load(key)
    if found is None or not set(found.counts.missed).issuperset(paths):
        followed = {*paths, *(found.counts.missed if found else ())}
        deployment = Deployment(graph, generic(core), optimize=optimize, toolchain=toolchain)
        bench = deployment.bench(paths=sorted(followed, key=str))
        run = bench.emulation
        assert run is not None
        counts = Part(bench.instructions or 0, None, run.blocks, run.edges, run.missed)
        found = Measured(key, replace(bench, emulation=None), counts, deployment.firmware.elf, {}, True, deployment)
        with suppress(OSError):  # a full disk does not stop the work
            kept = folder() / f"{key}.elf"
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, found.elf.read_bytes())
            found.elf, found.owner = kept, None
    return found


def model_key(graph: Graph) -> str:
    """A hash of everything of a model that its figures can depend on."""
    numbers = {id(tensor): i for i, tensor in enumerate(graph.tensors)}

    def places(tensors: Sequence[Tensor | None]) -> str:
        return repr([None if t is None else numbers[id(t)] for t in tensors])

    parts: list[str | bytes] = [graph.name, places(graph.inputs), places(graph.outputs)]
    for tensor in graph.tensors:
        own = {**vars(tensor), "quantization": tensor.quantization is not None}
        for value in (*own.values(), *(vars(tensor.quantization).values() if tensor.quantization else ())):
            parts.append(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value))
    for node in graph.nodes:
        parts += [repr(node.op), node.name, places(node.inputs), places(node.outputs)]
    for module in sorted({type(node.op).__module__ for node in graph.nodes}):
        parts += [Path(path).read_bytes() for path in [getattr(sys.modules.get(module), "__file__", None)] if path]
    return digest(*parts)


@cache
def package_code() -> str:
    """A hash of this package."""
    here = Path(__file__).parent
    files = [path for suffix in ("py", "c", "h", "S", "ld") for path in sorted(here.rglob(f"*.{suffix}"))]
    return digest(*(path.read_bytes() for path in files))


def build_key(core: Core) -> str:
    """Cores with the same key run the same program and differ only in their cycles."""
    return _facts(replace(core, name="", title="") if core.buildable and core.emulator else core)


def _facts(what: Chip | Core) -> str:
    """All fields, in an order that is the same in every process."""
    return json.dumps(asdict(what), sort_keys=True, default=sorted)


def folder() -> Path:
    """Where entries are. Raises ToolError where no cache folder can be written."""
    return cache_dir() / "fit"


def entries() -> list[Path]:
    """The files that hold figures."""
    return sorted(folder().glob("*.json"))


def clear() -> int:
    """Remove every entry; returns how many there were."""
    gone = entries()
    for path in [*gone, *folder().glob("*.elf")]:
        path.unlink(missing_ok=True)
    return len(gone)


def keep(measured: Measured) -> None:
    """Put on disk what is new; a full one does not stop the work."""
    if not measured.fresh or measured.owner is not None:
        return
    figures = asdict(measured.bench)
    for left_out in ("emulation", "layers", "tuning"):
        del figures[left_out]
    blocks, edges = measured.counts.blocks, measured.counts.edges
    data = {
        "bench": figures,
        "blocks": [[*place, times] for place, times in (blocks or {}).items()],
        "edges": [[*place, times] for place, times in (edges or {}).items()],
        "missed": [
            [list(path), [[*block, *missed] for block, missed in reads.items()]]
            for path, reads in measured.counts.missed.items()
        ],
        "modelled": {key: asdict(cycles) if cycles else None for key, cycles in measured.modelled.items()},
    }
    measured.fresh = False
    with suppress(OSError):
        write_atomic(folder() / f"{measured.key}.json", json.dumps(data))


def _load(key: str) -> Measured | None:
    """An entry, or None where there is none that can be used: anyone may have changed it."""
    elf = folder() / f"{key}.elf"
    try:
        data = json.loads((folder() / f"{key}.json").read_text(encoding="utf-8"))
        figures = data["bench"]
        bench = Bench(**{**figures, "flash": Flash(**figures["flash"]), "ram": Ram(**figures["ram"])})
        blocks, edges = ({(int(a), int(b)): int(n) for a, b, n in data[kind]} for kind in ("blocks", "edges"))
        missed = {FlashPath(*path): {(a, b): Missed(*n) for a, b, *n in reads} for path, reads in data["missed"]}
        modelled = {str(chip): Cycles(**known) if known else None for chip, known in data["modelled"].items()}
        numbers = [bench.flash.total, bench.ram.arena, bench.ram.total, bench.macs]
        sound = all(type(number) is int and number >= 0 for number in numbers) and elf.is_file()
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
    counts = Part(bench.instructions or 0, None, blocks or None, edges or None, missed)
    return Measured(key, bench, counts, elf, modelled) if sound else None
