"""What --optimize promises, on the model that ships with the package and on an emulated Cortex-M4."""

from __future__ import annotations

import pytest

import tinymaix
from tinymaix.chips import find_chip
from tinymaix.chips.build import OPTIMIZE
from tinymaix.compile.choose import portable
from tinymaix.compile.project import compile_graph, place
from tinymaix.demo import DATA
from tinymaix.deploy import Deployment
from tinymaix.plan import plan


@pytest.mark.parametrize("optimize", OPTIMIZE)
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m33", "cortex-m0plus", "rv32imc"])
def test_every_mode_is_exact(optimize: str, core: str) -> None:
    assert Deployment(tinymaix.read(DATA / "mnist_demo.tflite"), find_chip(core), optimize=optimize).bench().bit_exact


def test_ram_needs_no_more_than_the_portable_kernels() -> None:
    graph = tinymaix.read(DATA / "mnist_demo.tflite")
    core = find_chip("cortex-m4").core
    kernels = {id(node): portable(node) for node in graph.nodes}
    least = plan(graph, lead=lambda n: kernels[id(n)].lead, scratch=lambda n: kernels[id(n)].scratch).arena
    placed, chosen = place(graph, core, "ram", 4)
    assert placed.arena <= least
    assert not all(implementation.portable for implementation in chosen.values())
    assert compile_graph(graph, core, optimize="speed").plan.arena >= placed.arena
