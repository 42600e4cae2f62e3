"""The emitted C of every Armv7E-M kernel compiles without a warning: clang and gcc, as C99 and as C++."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cores.test_armv7em_conv import convolution
from tests.cores.test_armv7em_depthwise import depthwise
from tests.cores.test_armv7em_fully_connected import fully_connected
from tests.cores.test_armv7em_pointwise import pointwise
from tests.ops.make import sample
from tinymaix.chips import find_chip
from tinymaix.chips.build import STARTUP
from tinymaix.chips.tools import zig_cc
from tinymaix.compile.project import compile_graph
from tinymaix.graph import Graph, Node
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.read import read_model

DEMO = Path(__file__).parents[2] / "src" / "tinymaix" / "data" / "mnist_demo.tflite"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-deprecated", "-O2", "-c", "-o")
GCC = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-ffreestanding")
BARE = ("-isystem", str(STARTUP / "include"))


def compilers() -> list[tuple[str, list[str]]]:
    clang = [*(find_chip("cortex-m4").core.clang or ()), "-fno-sanitize=all", "-fhosted", *BARE]
    zig = zig_cc()
    return [
        ("clang", [*zig, *clang, "-std=c99", "-pedantic-errors"]),
        ("clang++", [*zig[:-1], "c++", "-xc++", *clang, "-nostdinc++"]),
        ("arm-none-eabi-gcc", ["arm-none-eabi-gcc", *GCC, *BARE, "-std=c99"]),
        ("arm-none-eabi-g++", ["arm-none-eabi-g++", "-xc++", *GCC, *BARE]),
    ]


@pytest.fixture(scope="module", params=["speed", "balanced"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.c with a few layers of each kind, among them a 3x3 convolution of stride 1."""
    strategies = (convolution(), depthwise(), fully_connected(), pointwise())
    layers = [node for strategy in strategies for node in sample(strategy, 12)]
    layers += [node for node in sample(convolution(), 150) if winograd(node)][:2]
    for i, node in enumerate(layers):
        for k, tensor in enumerate((*node.activations, node.output)):
            tensor.name = f"x{i}_{k}"
    inputs = [tensor for node in layers for tensor in node.activations]
    graph = Graph(layers, inputs, [node.output for node in layers], "layers")
    folder = tmp_path_factory.mktemp("clean")
    compile_graph(graph, find_chip("cortex-m4").core, optimize=request.param).write(folder)
    return folder / "model.c"


def winograd(node: Node) -> bool:
    op = node.op
    return isinstance(op, Conv2D) and node.input(1).shape[1:3] == (3, 3) and op.stride == op.dilation == (1, 1)


@pytest.mark.parametrize(("name", "command"), compilers(), ids=[name for name, _ in compilers()])
def test_no_warnings(name: str, command: list[str], source: Path, tmp_path: Path) -> None:
    if command[0].startswith("arm-") and not shutil.which(command[0]):
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([*command, *WARNINGS, str(tmp_path / "model.o"), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]


def test_comments_say_what_and_why() -> None:
    """Each layer's call stands under its name, its shapes and the kernel that was chosen."""
    project = compile_graph(read_model(DEMO), find_chip("cortex-m4").core)
    assert "CONV_2D  28x28x1 -> " in project.files["model.c"]
    assert "four channels a turn" in project.files["model.c"]
