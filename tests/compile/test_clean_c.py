"""The emitted C of every Armv7E-M and Armv6-M kernel compiles without a warning: clang and gcc, as C99 and as C++."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cores.test_armv7em_conv import convolution
from tests.cores.test_armv7em_depthwise import depthwise
from tests.cores.test_armv7em_fully_connected import fully_connected
from tests.cores.test_armv7em_pointwise import pointwise
from tests.cores.test_tiles import winograd
from tests.ops.make import sample
from tinymaix.chips import find_chip
from tinymaix.chips.build import STARTUP
from tinymaix.chips.tools import zig_cc
from tinymaix.compile.project import compile_graph
from tinymaix.graph import Graph
from tinymaix.read import read_model

DEMO = Path(__file__).parents[2] / "src" / "tinymaix" / "data" / "mnist_demo.tflite"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-deprecated", "-O2", "-c", "-o")
GCC = {
    "cortex-m4": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-ffreestanding"),
    "cortex-m0plus": ("-mcpu=cortex-m0plus", "-mthumb", "-ffreestanding"),
}
BARE = ("-isystem", str(STARTUP / "include"))


def compiler(name: str, core: str) -> list[str]:
    """A compiler's command for a core."""
    clang = [*(find_chip(core).core.clang or ()), "-fno-sanitize=all", "-fhosted", *BARE]
    zig = zig_cc()
    return {
        # An __asm__ is one string, and C99 asks compilers for no more than 4,095 characters of one.
        "clang": [*zig, *clang, "-std=c99", "-pedantic-errors", "-Wno-overlength-strings"],
        "clang++": [*zig[:-1], "c++", "-xc++", *clang, "-nostdinc++"],
        "arm-none-eabi-gcc": ["arm-none-eabi-gcc", *GCC[core], *BARE, "-std=c99"],
        "arm-none-eabi-g++": ["arm-none-eabi-g++", "-xc++", *GCC[core], *BARE],
    }[name]


@pytest.fixture(scope="module", params=[("cortex-m4", "speed"), ("cortex-m4", "balanced"), ("cortex-m0plus", "speed")])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A core and its model.c with a few layers of each kind, among them Winograd's."""
    core, optimize = request.param
    strategies = (convolution(), depthwise(), fully_connected(), pointwise())
    layers = [node for strategy in strategies for node in sample(strategy, 12)] + sample(winograd(), 2)
    for i, node in enumerate(layers):
        for k, tensor in enumerate((*node.activations, node.output)):
            tensor.name = f"x{i}_{k}"
    inputs = [tensor for node in layers for tensor in node.activations]
    graph = Graph(layers, inputs, [node.output for node in layers], "layers")
    folder = tmp_path_factory.mktemp("clean")
    compile_graph(graph, find_chip(core).core, optimize=optimize).write(folder)
    return core, folder / "model.c"


@pytest.mark.parametrize("name", ["clang", "clang++", "arm-none-eabi-gcc", "arm-none-eabi-g++"])
def test_no_warnings(name: str, source: tuple[str, Path], tmp_path: Path) -> None:
    core, path = source
    command = compiler(name, core)
    if command[0].startswith("arm-") and not shutil.which(command[0]):
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([*command, *WARNINGS, str(tmp_path / "model.o"), str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]


def test_comments_say_what_and_why() -> None:
    """Each layer's call stands under its name, its shapes and the kernel that was chosen."""
    project = compile_graph(read_model(DEMO), find_chip("cortex-m4").core)
    assert "CONV_2D  28x28x1 -> " in project.files["model.c"]
    assert "four channels a turn" in project.files["model.c"]
