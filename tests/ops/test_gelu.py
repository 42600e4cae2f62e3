"""ERF and GELU against Python's own erf and LiteRT, and their C."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.ops.make import float32
from tests.oracles import check_compiled, expect_same, litert, one_op, random_inputs
from tinymaix.ops.gelu import Erf, Gelu, erf


def test_erf() -> None:
    x = np.concatenate([np.linspace(-5, 5, 20001), [0, -0.0, 1e-30, 40, -40]]).astype(np.float32)
    expected = np.array([math.erf(v) for v in x.tolist()])
    assert np.abs(erf(x) - expected).max() < 4e-7


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_litert_s(approximate: bool) -> None:
    graph = one_op(Gelu(approximate), [float32("x", (1, 201))], [float32("y", (1, 201))])
    x = np.linspace(-6, 6, 201, dtype=np.float32)[None]
    expect_same(graph.run([x]), litert(graph, [x]), "numpy and LiteRT", 1e-6)


def test_compiled() -> None:
    graphs = [one_op(op, [float32("x", (7, 31))], [float32("y", (7, 31))]) for op in (Erf(), Gelu(), Gelu(True))]
    check_compiled([(graph, [[3 * random_inputs(graph)[0]]]) for graph in graphs])
