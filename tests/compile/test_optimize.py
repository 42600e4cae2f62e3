"""What --optimize promises, on the model that ships with the package and on an emulated Cortex-M4."""

from __future__ import annotations

import pytest

import tinymaix
from tinymaix.chips import find_chip
from tinymaix.chips.build import OPTIMIZE
from tinymaix.compile.project import Draft, compile_graph
from tinymaix.demo import DATA
from tinymaix.deploy import Deployment


@pytest.mark.parametrize("optimize", OPTIMIZE)
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m33", "cortex-m0plus", "rv32imc"])
def test_every_mode_is_exact(optimize: str, core: str) -> None:
    assert Deployment(tinymaix.read(DATA / "mnist_demo.tflite"), find_chip(core), optimize=optimize).bench().bit_exact


def test_ram_needs_no_more_than_the_portable_kernels() -> None:
    graph = tinymaix.read(DATA / "mnist_demo.tflite")
    core = find_chip("cortex-m4").core
    draft = Draft(graph, core, optimize="ram")
    chosen = draft.guess()
    assert draft.plan(chosen).arena <= draft.portable_arena
    assert not all(implementation.portable for implementation in chosen)
    assert compile_graph(graph, core, optimize="speed").plan.arena >= draft.plan(chosen).arena
