"""The files of a compiled model, and the figures that are known without a C compiler."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinymaix.compile.choose import core_kernels, variants
from tinymaix.compile.layers import dims, kernels_in_order, lower
from tinymaix.compile.model_c import header, source
from tinymaix.compile.selftest import harness, selftest
from tinymaix.compile.text import identifier
from tinymaix.cores import Core
from tinymaix.graph import Array, Graph, ModelError
from tinymaix.ops.emit import Implementation, LayerCode
from tinymaix.plan import Plan, plan
from tinymaix.rewrite.channels import drop_constant_channels
from tinymaix.rewrite.grouped_conv import without_groups
from tinymaix.rewrite.transpose_conv import as_convolutions
from tinymaix.version import VERSION

if TYPE_CHECKING:
    from tinymaix.compile.tune_trial import LayerTuning

LITTLE = 0.02
"""Part of the MACs below which a layer's speed is worth no code of its own in "balanced"."""
WEIGHTS = ("flash", "ram")
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
    tuning: Sequence[LayerTuning] = ()  # what was tried for each layer; empty where nothing was

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
    weights: str = "flash",
    progress: Callable[[str], None] | None = None,
) -> Project:
    """Make model.c, model.h, selftest.c and harness.c for one model on one core, its kernels chosen without a trial.

    Args:
        graph: a simplified graph.
        core: what it will run on; decides alignment and kernels.
        optimize: what the kernels are chosen for: "speed", "balanced", "ram" or "flash".
        name: prefix of the C names, the graph's own where it is left out.
        weights: where constants are read from: "flash", or "ram", which start-up code copies them to.
        progress: called with a sentence before each step.

    Raises:
        ModelError: an operator has no kernel, or the core cannot hold the model's constants.
    """
    say = progress or (lambda sentence: None)
    say("choosing kernels")
    draft = Draft(graph, core, name=name, optimize=optimize, weights=weights)
    chosen = draft.guess()
    say("writing layers")
    return draft.project(chosen)


class Draft:
    """A model before its kernels are chosen.

    ``nodes`` are those that are left without what is constant; ``variants`` are the ways to compute each of them, the
    best guess first and the portable one last. A choice is one way for each node, in the same order.
    """

    def __init__(
        self,
        graph: Graph,
        core: Core,
        *,
        name: str | None = None,
        optimize: str = "balanced",
        weights: str = "flash",
    ) -> None:
        """See `compile_graph`."""
        if weights not in WEIGHTS:
            raise ModelError(f'weights are in "{weights}"; they can be in {" or ".join(WEIGHTS)}')
        if weights == "ram" and core.progmem:
            raise ModelError(
                f"the {core.title} reads constants from flash by instructions of its own; leave them there"
            )
        self.graph, self.core, self.optimize, self.in_ram = graph, core, optimize, weights == "ram"
        self.name = identifier(name or graph.name)
        # The golden vectors still come from the whole graph.
        simple = without_groups(as_convolutions(graph, optimize, zeros="dsp" in core.features), optimize)
        self.live = drop_constant_channels(simple)
        self.nodes = self.live.nodes
        self.variants = [variants(node, core, optimize) for node in self.nodes]
        self.own = core_kernels(core)
        wide = any(tensor.dtype.itemsize == 8 for tensor in self.live.tensors)
        self._alignment = 8 if wide else min(core.arena_align, 4)

    def plan(self, chosen: Sequence[Implementation]) -> Plan:
        """The order of the nodes and the places of the activations."""
        ways = {id(node): way for node, way in zip(self.nodes, chosen, strict=True)}
        return plan(
            self.live,
            alignment=self._alignment,
            lead=lambda node: ways[id(node)].lead,
            scratch=lambda node: ways[id(node)].scratch,
        )

    def guess(self) -> list[Implementation]:
        """The choice without a trial: "ram" needs no larger arena than the portable kernels do."""
        first = [ways[0] for ways in self.variants]
        if self.optimize == "balanced":
            return self._sharing(first)
        if self.optimize != "ram":
            return first
        return self.fit(first, [node.op.macs(node) for node in self.nodes], self.portable_arena)

    def _sharing(self, wanted: Sequence[Implementation]) -> list[Implementation]:
        """What is wanted, but layers of little work take a way whose functions others need anyway, if there is one."""
        work = [node.op.macs(node) for node in self.nodes]
        little = [macs < LITTLE * sum(work) for macs in work]
        kept = [self._functions(i, way) for i, way in enumerate(wanted) if not little[i]]
        needed, chosen = frozenset[str]().union(*kept), list(wanted)
        for i in (i for i, is_little in enumerate(little) if is_little):
            chosen[i] = next((way for way in self.variants[i] if self._functions(i, way) <= needed), wanted[i])
            needed |= self._functions(i, chosen[i])
        return chosen

    def _functions(self, index: int, way: Implementation) -> frozenset[str]:
        return frozenset(kernel.name for kernel in kernels_in_order(self.alone(index, way).calls, self.own))

    def fit(self, wanted: Sequence[Implementation], worth: Sequence[float], arena: int) -> list[Implementation]:
        """What is wanted, those of the highest worth first, as long as the arena holds it; else a way that it holds."""
        chosen = [ways[-1] for ways in self.variants]
        if self.plan(wanted).arena <= arena:
            return list(wanted)
        for i in sorted(range(len(wanted)), key=lambda i: -worth[i]):
            for way in _of_different_memory((wanted[i], *self.variants[i][:-1])):
                trial = [*chosen[:i], way, *chosen[i + 1 :]]
                if way is not chosen[i] and self.plan(trial).arena <= arena:
                    chosen = trial
                    break
        return chosen

    def words(self, chosen: Sequence[Implementation]) -> dict[int, str]:
        """By id of node, in words what computes it."""
        return {
            id(node): "the same bytes, no code" if node.op.is_view else way.reason or "portable C"
            for node, way in zip(self.nodes, chosen, strict=True)
        }

    @cached_property
    def portable_arena(self) -> int:
        """Bytes of the arena with the portable kernels."""
        return self.plan([ways[-1] for ways in self.variants]).arena

    def alone(self, index: int, way: Implementation) -> LayerCode:
        """The code of one node by itself, for what is known of it before it is placed: its kernels and constants."""
        code = LayerCode(self.nodes[index], 0, lambda tensor: "NULL", replace=self.own)
        if not code.node.op.is_view:
            way.emit(code)
        return code

    @cached_property
    def _golden(self) -> tuple[list[Array], list[Array]]:
        inputs = golden_inputs(self.graph)
        return inputs, self.graph.run(inputs)

    def project(self, chosen: Sequence[Implementation]) -> Project:
        """The files of the model with these kernels.

        Raises:
            ModelError: the core cannot hold the constants.
        """
        placed, core, name = self.plan(chosen), self.core, self.name
        layers = lower(placed, {id(node): way for node, way in zip(self.nodes, chosen, strict=True)}, self.own)
        sizes = [constant.data.nbytes for layer in layers for constant in layer.constants]
        weights = sum(sizes)
        if core.progmem and (weights > AVR_NEAR_FLASH or max(sizes, default=0) > AVR_LARGEST_ARRAY):
            raise ModelError(
                f"the model has {weights:,} bytes of constants, {max(sizes):,} in one array; an AVR reaches "
                f"{AVR_NEAR_FLASH:,} and {AVR_LARGEST_ARRAY:,}. Use a smaller model or another chip"
            )
        intro = introduction(placed, core, name, weights, self.in_ram)
        compact = self.optimize in ("balanced", "flash") and not core.progmem
        files = {
            "model.h": header(placed, name, intro),
            "model.c": source(placed, name, layers, self.own, intro, compact=compact, in_ram=self.in_ram),
            "selftest.c": selftest(placed, name, *self._golden),
            "harness.c": harness(placed, name),
        }
        return Project(name, core, placed, layers, files)


def _of_different_memory(ways: Sequence[Implementation]) -> list[Implementation]:
    """The first of those that need the same memory: the others would fit as little."""
    first: dict[tuple[int, int | None], Implementation] = {}
    for way in ways:
        first.setdefault((way.scratch, way.lead), way)
    return list(first.values())


def introduction(placed: Plan, core: Core, name: str, weights: int, in_ram: bool) -> str:
    """The comment at the top of the emitted files."""
    graph = placed.graph
    inputs = ", ".join(f"{dims(t.shape)} {t.dtype}" for t in graph.inputs)
    outputs = ", ".join(f"{dims(t.shape)} {t.dtype}" for t in graph.outputs)
    return "\n".join(
        [
            f"{name}: {inputs} -> {outputs}, {len(graph.nodes)} layers, {graph.macs:,} MACs.",
            *graph.notes,
            f"Flash for weights and tables: {weights:,} bytes{', and as much RAM' * in_ram}. "
            f"RAM for the arena: {placed.arena:,} bytes.",
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
