"""A comparison for people: tables for a terminal, and one page with plots."""

from __future__ import annotations

from collections.abc import Sequence

from tinymaix.compare.accuracy import Score
from tinymaix.compare.blame import Blame
from tinymaix.compare.comparison import Comparison
from tinymaix.compare.layers import LayerFigures
from tinymaix.page import Page

LONGEST = 40
"""Letters of a layer's name in a table."""

Rows = tuple[list[str], list[list[object]]]


def summary(found: Comparison) -> list[str]:
    """The figures of the whole models, a sentence each."""
    return [sentence(score) for score in found.scores] + [f"outputs: SQNR {found.sqnr:.1f} dB"]


def sentence(score: Score) -> str:
    """A figure in words."""
    ours, real = (None if v is None else f"{v:.2%}" if score.is_share else f"{v:.5g}" for v in (score.ours, score.real))
    return f"{score.name}: {ours}" if real is None else f"{score.name}: float {real}, integers {ours}"


def advice(found: Comparison) -> list[str]:
    """Whom to blame and what to try."""
    if not found.blame:
        return ["no layer is to blame: none has a large error of its own"]
    return [_accused(each) for each in found.blame]


def _accused(each: Blame) -> str:
    options = " or ".join(each.options)
    return (
        f"layer {each.index}, {each.kind} '{each.name}' ({each.own:.1f} dB of its own): {each.because}; try {options}"
    )


def layer_rows(layers: Sequence[LayerFigures]) -> Rows:
    """A row for each layer."""
    header = [
        "#",
        "layer",
        "operator",
        "type",
        "SQNR dB",
        "own dB",
        "weights dB",
        "saturated",
        "range",
        "worst channels",
    ]
    rows: list[list[object]] = [
        [
            layer.index, short(layer.name), layer.kind, "int4 weights" if layer.is_int4 else layer.dtype,
            _db(layer.sqnr), _db(layer.own), _db(layer.weights), f"{layer.saturated:.2%}", f"{layer.width:.1f}x",
            ", ".join(f"{channel}: {db:.0f}" for channel, db in layer.worst[:3]),
        ]
        for layer in layers
    ]  # fmt: skip
    return header, rows


def worst_rows(found: Comparison) -> Rows:
    """A row for each of the worst inputs."""
    rows: list[list[object]] = [[each.name, _db(each.sqnr), each.real, each.ours, each.label] for each in found.worst]
    return ["input", "SQNR dB", "float says", "integers say", "label"], rows


def _db(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def page(found: Comparison) -> Page:
    """Everything on one page."""
    made = Page(f"{found.name} against {found.float_name}").text(f"On {found.samples} samples.").points(summary(found))
    made.heading("To blame").points(advice(found)).points(found.notes)
    own = [(float(layer.index), layer.own) for layer in found.layers if layer.own is not None and layer.own < 199]
    weights = [(float(layer.index), layer.weights) for layer in found.layers if layer.weights is not None]
    inherited = [(float(layer.index), layer.sqnr) for layer in found.layers]
    made.heading("Layers").lines(
        "signal over noise of each layer",
        {"against float": inherited, "its own": own, "its weights": weights},
        "layer", "dB",
    )  # fmt: skip
    made.bars("values beyond the range, in percent", [
        (f"{layer.index} {short(layer.name)}", round(100 * layer.saturated, 3)) for layer in found.layers
        if layer.saturated >= 5e-5
    ])  # fmt: skip
    made.scatter(
        "range over that of 99.9 % of the values, and widest over middle channel",
        {
            "range": [(float(layer.index), layer.width) for layer in found.layers],
            "channels": [(float(layer.index), layer.channels) for layer in found.layers],
        },
        "layer", "times",
    )  # fmt: skip
    made.table(*layer_rows(found.layers), "all layers; the worst channels with their dB")
    return made.heading("Worst inputs").table(*worst_rows(found))
