"""New kinds of kernels on emulated chips: states, 64-bit sums, tables in flash, floats without a C library."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ops import test_svdf, test_unidirectional_sequence_lstm
from tests.ops.test_functions import floats
from tests.ops.test_rearrange import graph_of as rearrangement
from tests.ops.test_resize_bilinear import graph_of as resize
from tests.ops.test_variables import SHAPE, delay_line
from tests.ops.test_wide import layers
from tests.oracles import expect_same, random_inputs
from tests.read.test_tflite_legacy import classifier
from tinymaix.chips import ToolError, find_chip
from tinymaix.deploy import Deployment
from tinymaix.graph import Array, Graph
from tinymaix.ops.batch_to_space import SpaceToBatch
from tinymaix.ops.functions import Log
from tinymaix.ops.unidirectional_sequence_lstm import UnidirectionalSequenceLstm
from tinymaix.read.tflite import read_tflite
from tinymaix.write.tflite import tflite_bytes

Case = tuple[Graph, list[list[Array]]]


def cases() -> dict[str, Case]:
    rng = np.random.default_rng(3)
    svdf = test_svdf.graph_of(rng, "int16", (1, 5, 4, 3), 2, True)
    lstm = test_unidirectional_sequence_lstm.graph_of(rng, "int8", (1, 3, 4, 5), UnidirectionalSequenceLstm(10.0))
    values = np.linspace(0.1, 5, 40, dtype=np.float32)
    graphs = {
        "delay line": delay_line(rng.integers(-128, 128, SHAPE).astype(np.int8)),
        "int16 convolution": layers(rng)[0],
        "int16 transposed convolution": layers(rng)[4],
        "uint8 classifier": read_tflite(tflite_bytes(classifier(2))),
        "space to batch": rearrangement(SpaceToBatch((2, 3), ((1, 2), (1, 0))), (1, 3, 5, 2), "int8"),
        "bilinear": resize((4, 4), (7, 7), (False, True), "int8"),
    }
    return {
        "SVDF": (svdf, test_svdf.sequence(rng, svdf)),
        "LSTM": (lstm, test_unidirectional_sequence_lstm.sequence(rng, lstm)),
        "logarithm": (floats(Log(), values), [[values]]),
        **{name: (graph, [random_inputs(graph, seed) for seed in range(3)]) for name, graph in graphs.items()},
    }


CASES = cases()


@pytest.mark.parametrize("chip", ["atmega2560", "cortex-m4"])
@pytest.mark.parametrize("name", CASES)
def test_exact(name: str, chip: str) -> None:
    graph, sequence = CASES[name]
    try:
        deployment = Deployment(graph, find_chip(chip))
    except ToolError as error:
        pytest.skip(str(error))
    for k, (inputs, outputs) in enumerate(zip(sequence, graph.run_sequence(sequence), strict=True)):
        found, _ = deployment.run(inputs, forget=k == 0)
        expect_same(found, outputs, f"{name}, run {k}, {chip}", 2e-6)
