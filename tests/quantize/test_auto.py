"""The search for a scheme: the hard case that it exists for, limits, splits of the data, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.quantize.float_nets import DATA, random_samples, residual_net, unequal_mobilenet
from tinymaix.cli import main
from tinymaix.commands.quantize_auto import words
from tinymaix.costs import measure
from tinymaix.graph import Graph, ModelError
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.auto import MOST_TRIALS, AutoResult, Cost, Limits, auto
from tinymaix.quantize.samples import Samples
from tinymaix.read import read_model


@pytest.fixture(scope="module")
def hard() -> tuple[Graph, AutoResult]:
    graph, calibration, test = unequal_mobilenet()
    assert test.labels is not None
    return graph, auto(graph, calibration, Limits(), measure, test=Samples(test.inputs[:200], test.labels[:200]))


def test_min_max_loses_more_than_five_points_and_auto_less_than_one(hard: tuple[Graph, AutoResult]) -> None:
    _, result = hard
    plain = result.trials[0]
    assert plain.scheme == Scheme(correct_bias=False)
    assert plain.loss > 5
    assert result.best.loss < 1
    assert result.best.agreement.accuracy_float is not None
    assert result.best.agreement.accuracy_float > 0.98


def test_the_front_is_what_nothing_beats(hard: tuple[Graph, AutoResult]) -> None:
    _, result = hard
    assert len(result.trials) <= MOST_TRIALS
    assert result.best in result.front
    assert result.trials[0] not in result.front
    for trial in result.trials:
        beaten = any(other.beats(trial) for other in result.trials)
        assert beaten != (trial in result.front)
    figures = result.as_dict()
    assert [t["best"] for t in figures["trials"]].count(True) == 1
    json.dumps(figures)


def small() -> tuple[Graph, Samples]:
    """A network whose outputs are no classes: what is lost is the error's power."""
    graph = residual_net(uneven=False)
    graph.outputs.append(graph.nodes[-2].output)
    return graph, random_samples(graph, 24)


def test_a_limit_of_flash_mixes_four_and_eight_bits() -> None:
    graph, samples = small()
    eight, four = (measure(quantize(graph, samples, Scheme(weights=bits))).flash for bits in ("int8", "int4"))
    limits = Limits(flash=(eight + four) // 2, goal=1e-6)
    result = auto(graph, samples, limits, measure)
    assert result.best.cost.flash <= (eight + four) // 2
    assert any("or less" in note for note in result.notes)
    kinds = {t.is_int4 for t in result.best.graph.constants if len(t.shape) > 1}
    assert kinds == {True, False}


def test_int16_where_int8_is_not_enough() -> None:
    graph, samples = small()
    result = auto(graph, samples, Limits(goal=0.001), measure)
    assert result.best.loss <= 0.001
    assert any(t.scheme.layers for t in result.trials)
    assert "int16" in {t.dtype.name for node in result.best.graph.nodes for t in node.outputs}


def test_many_layers_are_counted() -> None:
    layers = {"a": "int4", "b": "int4", "c": "int16"}
    assert words(Scheme(layers=layers)) == "int8, 2 layers int4, 1 layers int16"
    assert words(Scheme(layers={"a": "int4"})) == "int8, a=int4"


def test_what_does_not_fit_is_a_sentence() -> None:
    graph, samples = small()
    with pytest.raises(ModelError, match=r"none of \d+ schemes keeps to the limits; the leanest"):
        auto(graph, samples, Limits(ram=1), measure)


def test_costs_are_asked_once_for_the_same_types() -> None:
    graph, samples = small()
    asked: list[Graph] = []

    def counted(integers: Graph) -> Cost:
        asked.append(integers)
        return Cost(1000 * len(asked), 1, 1)

    result = auto(graph, samples, Limits(goal=100), counted)
    assert len(asked) == 3  # int8, int16, int4
    assert result.best.cost.flash == 1000


def test_half_of_many_samples_measures() -> None:
    graph, _ = small()
    samples = random_samples(graph, 44)
    result = auto(graph, samples, Limits(goal=100), lambda integers: Cost(1, 1))
    assert result.notes == ["calibrated with 22 of the samples, measured on 22 others"]
    assert result.best.agreement.samples == 22
    again = auto(graph, samples, Limits(goal=100), lambda integers: Cost(1, 1))
    assert again.as_dict() == result.as_dict()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(DATA / "unequal_digits.npz") as file:
        x = file["x"][:30, :, :, None].astype(np.float32) / 16
        np.savez(tmp_path / "data.npz", x=x, y=file["y"][:30].astype(np.int64))
    model, data, out = DATA / "unequal_mobilenet.pt2", tmp_path / "data.npz", tmp_path / "out.tflite"
    page = tmp_path / "page.html"
    asked = ["quantize", str(model), "--data", str(data), "--auto", "-o", str(out), "--html", str(page), "--max-flash"]
    assert main([*asked, "20000"]) == 0
    text = capsys.readouterr().out
    assert "schemes" in text
    assert "on 30 samples" in text
    assert read_model(out).outputs[0].dtype == np.int8
    assert "points lost against flash, bytes" in page.read_text(encoding="utf-8")
    assert main([*asked, "20000", "--max-cycles", "5"]) == 2
    assert "--chip" in capsys.readouterr().err
