"""The files of a compiled model, and the figures that are known without a C compiler."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinymaix.compile.choose import choose, core_kernels, portable
from tinymaix.compile.layers import dims, lower
from tinymaix.compile.model_c import header, source
from tinymaix.compile.selftest import harness, selftest
from tinymaix.compile.text import identifier
from tinymaix.cores import Core
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.ops.emit import Implementation, LayerCode
from tinymaix.plan import Plan, plan
from tinymaix.rewrite.channels import drop_constant_channels
from tinymaix.version import VERSION

AVR_NEAR_FLASH = 60_000
AVR_LARGEST_ARRAY = 32_767
"""Bytes of constants, and of one array, that an AVR reaches with 16-bit pointers and indices."""


@dataclass(frozen=True)
class Project:
    """A compiled model: ``files`` by name, the plan, and the layers as they were lowered."""

    name: str
    core: Core
    plan: Plan
    layers: list[LayerCode]
    files: dict[str, str]

    @property
    def weights(self) -> int:
        """Bytes of constants in flash."""
        return sum(constant.data.nbytes for layer in self.layers for constant in layer.constants)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the files into ``folder``, all or none: a failure leaves what was there.

        Raises:
            OSError: the folder cannot be written.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".tinymaix-", dir=target))
        try:
            for name, text in self.files.items():
                (scratch / name).write_text(text, encoding="ascii")
            for name in self.files:
                os.replace(scratch / name, target / name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def compile_graph(
    graph: Graph,
    core: Core,
    *,
    name: str | None = None,
    optimize: str = "balanced",
    progress: Callable[[str], None] | None = None,
) -> Project:
    """Make model.c, model.h, selftest.c and harness.c for one model on one core.

    Args:
        graph: a simplified graph.
        core: what it will run on; decides alignment and kernels.
        optimize: what the kernels are chosen for: "speed", "balanced", "ram" or "flash".
        name: prefix of the C names, the graph's own where it is left out.
        progress: called with a sentence before each step.

    Raises:
        ModelError: an operator has no kernel, or the core cannot hold the model's constants.
    """
    say = progress or (lambda sentence: None)
    prefix = identifier(name or graph.name)
    say("placing activations")
    live = drop_constant_channels(graph)  # the golden vectors below still come from the whole graph
    wide = any(tensor.dtype.itemsize == 8 for tensor in live.tensors)
    placed, chosen = place(live, core, optimize, alignment=8 if wide else min(core.arena_align, 4))
    say("writing layers")
    own = core_kernels(core)
    layers = lower(placed, chosen, own)
    sizes = [constant.data.nbytes for layer in layers for constant in layer.constants]
    weights = sum(sizes)
    if core.progmem and (weights > AVR_NEAR_FLASH or max(sizes, default=0) > AVR_LARGEST_ARRAY):
        raise ModelError(
            f"the model has {weights:,} bytes of constants, {max(sizes):,} in one array; an AVR reaches "
            f"{AVR_NEAR_FLASH:,} and {AVR_LARGEST_ARRAY:,}. Use a smaller model or another chip"
        )
    intro = introduction(placed, core, prefix, weights)
    say("running the golden vectors")
    inputs = golden_inputs(graph)
    files = {
        "model.h": header(placed, prefix, intro),
        "model.c": source(placed, prefix, layers, own, intro),
        "selftest.c": selftest(placed, prefix, inputs, graph.run(inputs)),
        "harness.c": harness(placed, prefix),
    }
    return Project(prefix, core, placed, layers, files)


def place(graph: Graph, core: Core, optimize: str, alignment: int) -> tuple[Plan, dict[int, Implementation]]:
    """Choose kernels and place activations.

    "ram" takes the core's kernels, the layers with the most MACs first, only where the arena does not grow beyond what
    the portable kernels need.
    """
    chosen = choose(graph, core, optimize)

    def placed(implementations: Mapping[int, Implementation]) -> Plan:
        return plan(
            graph,
            alignment=alignment,
            lead=lambda node: implementations[id(node)].lead,
            scratch=lambda node: implementations[id(node)].scratch,
        )

    if optimize != "ram":
        return placed(chosen), chosen
    lean = {id(node): portable(node) for node in graph.nodes}
    least = placed(lean)
    for node in sorted(graph.nodes, key=lambda node: -node.op.macs(node)):
        if not chosen[id(node)].portable:
            trial = placed({**lean, id(node): chosen[id(node)]})
            if trial.arena <= least.arena:
                lean[id(node)], least = chosen[id(node)], trial
    return least, lean


def introduction(placed: Plan, core: Core, name: str, weights: int) -> str:
    """The comment at the top of the emitted files."""
    graph = placed.graph
    inputs = ", ".join(f"{dims(t.shape)} {t.dtype}" for t in graph.inputs)
    outputs = ", ".join(f"{dims(t.shape)} {t.dtype}" for t in graph.outputs)
    return "\n".join(
        [
            f"{name}: {inputs} -> {outputs}, {len(graph.nodes)} layers, {graph.macs:,} MACs.",
            *graph.notes,
            f"Flash for weights and tables: {weights:,} bytes. RAM for the arena: {placed.arena:,} bytes.",
            f"Made by tinymaix {VERSION} for the {core.title}. Integer results are those of TFLM's reference kernels.",
        ]
    )


def golden_inputs(graph: Graph, seed: int = 0) -> list[Array]:
    """Random inputs over the whole range of an integer type, in [-1, 1) for floats."""
    generator = np.random.default_rng(seed)
    inputs: list[Array] = []
    for tensor in graph.inputs:
        if tensor.dtype.kind == "f":
            inputs.append(generator.uniform(-1, 1, tensor.shape).astype(tensor.dtype))
        elif tensor.dtype.kind == "b":
            inputs.append(generator.integers(0, 2, tensor.shape).astype(np.bool_))
        else:
            limits = np.iinfo(tensor.dtype)
            inputs.append(generator.integers(limits.min, int(limits.max) + 1, tensor.shape, dtype=tensor.dtype))
    return inputs
