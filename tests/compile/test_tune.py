"""The tuner: the solver beside brute force, and tuned projects on emulated chips beside those that are not."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinymaix
from tests.graphs import INT8, conv_graph
from tinymaix import trials
from tinymaix.chips import find_chip
from tinymaix.chips.emulate import EmulationError
from tinymaix.chips.tools import ToolError
from tinymaix.cli import main
from tinymaix.compile.project import Draft, Project
from tinymaix.compile.tune import tune
from tinymaix.compile.tune_search import GROWTH
from tinymaix.compile.tune_solve import Code, descend, fastest
from tinymaix.compile.tune_trial import Budget, Trial
from tinymaix.demo import DATA
from tinymaix.deploy import Bench, Deployment
from tinymaix.graph import Graph, ModelError

MODEL = DATA / "mnist_demo.tflite"
LAYERS = st.lists(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=4), max_size=5)
"""(cost, weights) of each way of each layer."""


@pytest.fixture(autouse=True, scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for the tests of this file."""
    folder = tmp_path_factory.mktemp("tune")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "folder", lambda: folder)
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path / "tune"
    monkeypatch.setattr(trials, "folder", lambda: folder)
    return folder


@given(LAYERS, st.integers(0, 60))
def test_the_fastest_is_exact(layers: list[list[tuple[int, int]]], limit: int) -> None:
    costs = [{way: cost for way, (cost, _) in enumerate(layer)} for layer in layers]
    weights = [[weight for _, weight in layer] for layer in layers]

    def value(choice: Sequence[int]) -> tuple[int, int]:
        heavy = sum(weights[i][way] for i, way in enumerate(choice))
        return max(0, heavy - limit), sum(costs[i][way] for i, way in enumerate(choice))

    every = list(itertools.product(*(range(len(layer)) for layer in layers)))
    found = value(fastest(costs, weights, limit))
    if min(map(value, every))[0] == 0:
        assert found == min(map(value, every))
    else:  # nothing fits: the lightest
        assert found[0] == min(map(value, every))[0]
    assert value(fastest(costs, weights, None))[1] == sum(min(cost for cost, _ in layer) for layer in layers)


def test_small_steps_share_a_function() -> None:
    costs = [{0: 10, 1: 11}, {0: 10, 1: 11}, {0: 30, 1: 11}]
    a, b, c = frozenset({"a"}), frozenset({"b"}), frozenset({"c"})
    kernels = [[a, b], [c, b], [a, b]]
    code = Code(kernels, {"a": 100, "b": 100, "c": 100}, [{}, {}, {}])

    def value(choice: Sequence[int]) -> tuple[float, ...]:
        return (sum(costs[i][way] for i, way in enumerate(choice)) + 0.1 * code.bytes(choice),)

    assert descend([[0, 0, 1]], costs, code, value) == [1, 1, 1]
    assert code.bytes([0, 0, 0]) == 200


def tuned(
    chip: str, optimize: str, effort: str = "full", budget: Budget | None = None, graph: Graph | None = None
) -> tuple[Project, Bench]:
    graph, target = graph or tinymaix.read(MODEL), find_chip(chip)
    project = trials.tuned_project(graph, target, optimize=optimize, effort=effort, budget=budget)
    return project, Deployment(graph, target, optimize=optimize, project=project).bench()


def guessed(chip: str, optimize: str) -> tuple[Project, Bench]:
    deployment = Deployment(tinymaix.read(MODEL), find_chip(chip), optimize=optimize)
    return deployment.project, deployment.bench()


@pytest.mark.parametrize(("optimize", "effort"), [("speed", "full"), ("balanced", "quick"), ("ram", "quick")])
def test_tuned_is_exact_within_budgets_and_never_slower(optimize: str, effort: str) -> None:
    project, bench = tuned("cortex-m4", optimize, effort)
    before, guess = guessed("cortex-m4", optimize)
    draft = Draft(tinymaix.read(MODEL), find_chip("cortex-m4").core, optimize=optimize)
    assert bench.bit_exact
    assert bench.cycles is not None
    assert guess.cycles is not None
    assert bench.cycles <= guess.cycles
    if optimize != "speed":
        portable = draft.project([ways[-1] for ways in draft.variants]).weights
        assert project.weights <= max((1 + GROWTH) * portable, before.weights)
    limit = {"speed": (1 + GROWTH) * before.plan.arena, "ram": draft.portable_arena}.get(optimize, before.plan.arena)
    assert project.plan.arena <= limit
    assert [layer.index for layer in project.tuning] == sorted(layer.index for layer in project.tuning)
    assert any(layer.others for layer in project.tuning)
    for layer in project.tuning:
        assert layer.winner.cost is not None
        assert f"{layer.winner.cost:,} modelled cycles" in project.files["model.c"]


def test_tuned_for_flash_is_not_larger() -> None:
    _, bench = tuned("cortex-m4", "flash", "quick")
    assert bench.bit_exact
    assert bench.flash.total <= guessed("cortex-m4", "flash")[1].flash.total


def test_twice_the_same_and_the_second_time_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = conv_graph(INT8)
    first, _ = tuned("cortex-m4", "speed", "quick", graph=graph)
    entries = sorted(cache.iterdir())
    assert entries
    assert all(path.suffix == ".json" for path in entries)

    def refuse(self: object, project: Project) -> Trial:
        raise AssertionError("an emulator was asked")

    with monkeypatch.context() as patch:
        patch.setattr(trials.Trials, "_measure", refuse)
        second, _ = tuned("cortex-m4", "speed", "quick", graph=graph)
    assert (second.files, second.tuning) == (first.files, first.tuning)
    damaged = ["", "{}", "[1]", '{"cost": -1}', json.dumps({**json.loads(entries[0].read_text()), "layers": [1.5]})]
    for path, text in zip(entries, itertools.cycle(damaged), strict=False):
        path.write_text(text)
    assert all(trials.load(path.stem) is None for path in entries)
    again, _ = tuned("cortex-m4", "speed", "quick", graph=graph)
    assert again.files == first.files


def test_budgets_are_kept_or_refused() -> None:
    project, bench = tuned("cortex-m4", "speed", "quick")
    assert bench.ram.stack is not None
    smaller, small = tuned("cortex-m4", "speed", "quick", Budget(flash=bench.flash.total - 200))
    assert small.flash.total <= bench.flash.total - 200
    assert smaller.files != project.files
    assert small.bit_exact
    roomy = bench.ram.total - bench.ram.arena + project.plan.arena - 20
    lean, less = tuned("cortex-m4", "speed", "quick", Budget(ram=roomy))
    assert less.ram.total <= roomy
    assert any(layer.winner.kernel != "conv_2d_s8" for layer in lean.tuning if layer.operator == "CONV_2D")
    with pytest.raises(ModelError, match="keeps to 1,000 bytes of flash"):
        tuned("cortex-m4", "speed", "quick", Budget(flash=1000), conv_graph(INT8))
    with pytest.raises(ModelError, match="keeps to 100 bytes of RAM"):
        tuned("cortex-m4", "speed", "quick", Budget(ram=100), conv_graph(INT8))
    with pytest.raises(ValueError, match="by trials"):
        tuned("cortex-m4", "speed", "off", Budget(flash=1000))


def test_what_cannot_be_tried_is_said(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmulationError, match="nothing here counts"):
        tuned("host", "speed", "quick")
    with pytest.raises(ValueError, match='tune is "most"'):
        tuned("cortex-m4", "speed", "most")
    for missing in ("unicorn", "ziglang"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, missing, None)
            with pytest.raises(ToolError, match=rf"{missing} is needed here.*tinymaix\[chips\]"):
                tuned("cortex-m4", "speed", "quick", graph=conv_graph(INT8))


def test_wrong_outputs_are_found(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "difference", lambda output, wanted: 1.0)
    with pytest.raises(RuntimeError, match="not the reference's"):
        tuned("cortex-m4", "speed", "quick", graph=conv_graph(INT8))


def test_a_stop_leaves_neither_threads_nor_half_files(cache: Path) -> None:
    def stop(sentence: str) -> None:
        if "1 of" in sentence:
            raise KeyboardInterrupt

    graph, before = tinymaix.read(MODEL), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        trials.tuned_project(graph, find_chip("cortex-m4"), optimize="speed", effort="full", progress=stop)
    assert threading.active_count() == before
    assert [path.suffix for path in cache.iterdir()] == [".json"]


def test_dearer_choices_do_not_win() -> None:
    """On figures that are made up: all kernels of the core are the best, and then each layer's portable one."""
    draft = Draft(tinymaix.read(MODEL), find_chip("cortex-m4").core, optimize="speed")

    def measure(cheapest: int) -> Project:
        def ask(projects: Sequence[Project]) -> list[Trial]:
            figures = []
            for project in projects:
                portable = [not layer.reason for layer in project.layers]
                costs = [100 + 10 * (is_portable != bool(cheapest)) for is_portable in portable]
                figures.append(Trial(sum(costs), "cycles", costs, 9000, 2000, [0] * len(costs), {}))
            return figures

        return tune(draft, ask, "full", Budget())[0]

    for cheapest in (0, 1):
        for layer in measure(cheapest).tuning:
            assert layer.winner.cost == min(way.cost for way in layer.ways if way.cost is not None)
            if len(layer.ways) > 1:
                assert (layer.chosen == len(layer.ways) - 1) == bool(cheapest)


@pytest.mark.parametrize("chip", ["atmega328p", "rv32imc"])
def test_the_command_line_tunes(chip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["--chip", chip, "--tune", "quick", "--max-flash", "20000"]
    assert main(["compile", str(MODEL), "-o", str(out), "--json", *options]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {way["kernel"] for way in figures["tuning"][0]["ways"]} >= {"conv_2d_s8"}
    assert main(["bench", str(MODEL), *options]) == 0
    assert "tuned" in capsys.readouterr().out
    assert main(["cache", "--clear", "--json"]) == 0
    cleared = json.loads(capsys.readouterr().out)
    assert cleared["removed"] > 0
    assert cleared["entries"] == 0
