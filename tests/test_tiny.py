"""The five-minute tour: what the package is for, in one file."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

import tinymaix
from tinymaix.demo import DATA


def test_read_run_compile_bench() -> None:
    """A model is read, runs, and its compiled C gives the same bytes on an emulated Cortex-M4."""
    graph = tinymaix.read(DATA / "mnist_demo.tflite")
    with np.load(DATA / "digits.npz") as digits:
        x = (digits["x"][7].astype(np.int16) - 128).astype(np.int8).reshape(graph.inputs[0].shape)
        label = digits["y"][7]
    scores = tinymaix.run(graph, x)[0]
    assert scores.argmax() == label
    assert np.array_equal(tinymaix.run(graph, x, on="cortex-m4")[0], scores)
    figures = tinymaix.bench(graph, "stm32f411ce")
    assert figures.bit_exact
    assert figures.fits


def test_functions_keep_their_names() -> None:
    """`tinymaix.compile` and `tinymaix.read` are functions, also after the subpackages of these names were used."""
    code = (
        "import tinymaix, tinymaix.demo, tinymaix.deploy; assert callable(tinymaix.read) and callable(tinymaix.compile)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
