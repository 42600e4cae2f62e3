"""The model and the digits that ship with the package: exact, accurate, and small enough for 2 KB of RAM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinymaix
from tests.oracles import expect_same, tflm
from tinymaix.graph import Array, Graph
from tinymaix.plan.arena import plan
from tinymaix.read.tflite import read_tflite

DATA = Path(tinymaix.__file__).parent / "data"
MODEL = (DATA / "mnist_demo.tflite").read_bytes()


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_tflite(MODEL, "mnist_demo")


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    with np.load(DATA / "digits.npz") as file:
        return file["x"], file["y"]


def pictures(x: Array) -> list[Array]:
    """uint8 (n, 28, 28) as the model's inputs."""
    return list((x.astype(np.int16) - 128).astype(np.int8)[:, None, :, :, None])


def test_ten_digits_are_one_of_each(digits: tuple[Array, Array]) -> None:
    x, y = digits
    assert (x.shape, x.dtype.name) == ((10, 28, 28), "uint8")
    assert y.tolist() == list(range(10))


def test_finds_the_ten_digits(graph: Graph, digits: tuple[Array, Array]) -> None:
    x, y = digits
    assert [int(graph.run([picture])[0].argmax()) for picture in pictures(x)] == y.tolist()


def test_ten_digits_are_bit_equal_with_tflm(graph: Graph, digits: tuple[Array, Array]) -> None:
    for picture, digit in zip(pictures(digits[0]), digits[1], strict=True):
        expect_same(graph.run([picture]), tflm(MODEL, [picture]), f"digit {digit}")


def test_input_is_the_pixel_less_128_and_output_is_256ths(graph: Graph) -> None:
    (x,), (y,) = graph.inputs, graph.outputs
    assert (x.shape, x.dtype.name, x.q.z) == ((1, 28, 28, 1), "int8", -128)
    assert x.q.s == pytest.approx(1 / 255)
    assert (y.shape, y.dtype.name, y.q.s, y.q.z) == ((1, 10), "int8", 1 / 256, -128)


def test_fits_an_atmega328p(graph: Graph) -> None:
    assert [problem for node in graph.nodes for problem in node.op.problems(node)] == []
    assert graph.macs <= 15_000
    assert sum(tensor.nbytes for tensor in graph.constants) <= 6 * 1024
    assert plan(graph, in_place=False).arena <= 1_000


def test_accuracy_on_digits_it_never_saw(graph: Graph, shared: Path) -> None:
    with np.load(shared / "models/data/mnist/mnist_t10k_first5000.npz") as file:
        x, y = file["x"][:500], file["y"][:500]
    found = [int(graph.run([picture])[0].argmax()) for picture in pictures(x)]
    assert np.mean(np.array(found) == y) >= 0.96
