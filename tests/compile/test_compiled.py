"""The emitted C of whole small graphs gives the reference's bytes, and the check itself finds what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.graphs import FLOAT, INT8, classifier_graph, conv_graph
from tests.oracles import UNDEFINED, c_flags, check_compiled, random_inputs
from tinymaix.graph import Graph
from tinymaix.ops.conv_2d import CONV_2D_S8, Conv2D
from tinymaix.ops.emit import LayerCode


def test_graphs_compiled_for_the_host_give_the_bytes_of_the_reference() -> None:
    graphs = [conv_graph(INT8), conv_graph(FLOAT), classifier_graph()]
    check_compiled([(graph, [random_inputs(graph, seed) for seed in range(3)]) for graph in graphs])


def _emit_with(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> Graph:
    """A graph whose convolution kernel has ``old`` replaced by ``new``."""
    assert old in CONV_2D_S8.source
    broken = replace(CONV_2D_S8, source=CONV_2D_S8.source.replace(old, new))
    emit = Conv2D.emit

    def emit_broken(op: Conv2D, node: object, code: LayerCode) -> None:
        code.replace = {CONV_2D_S8.name: broken}
        emit(op, node, code)  # type: ignore[arg-type]

    monkeypatch.setattr(Conv2D, "emit", emit_broken)
    return conv_graph(INT8)


def test_wrong_bytes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = _emit_with(monkeypatch, "+ zero_y", "+ zero_y + 1")
    with pytest.raises(AssertionError, match="C and numpy: output 0 differs"):
        check_compiled([(graph, [random_inputs(graph)])])


def test_undefined_behaviour_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if UNDEFINED not in c_flags():
        pytest.skip("the C compiler has no undefined behaviour sanitizer")
    graph = _emit_with(monkeypatch, "sum = FLASH_I32(bias + oc);", "sum = 2147483647 + (FLASH_I32(bias + oc) != 0);")
    with pytest.raises(AssertionError, match="undefined behaviour"):
        check_compiled([(graph, [random_inputs(graph)])])
