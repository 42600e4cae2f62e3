"""The demo: a handwritten digit, classified by the model that ships with the package, on emulated chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinymaix import api
from tinymaix.chips import ToolError, find_chip
from tinymaix.deploy import Bench, Deployment, Progress
from tinymaix.graph import Array

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Demo:
    """A digit, its ten scores in percent, and what classifying it costs on each chip."""

    pixels: Array  # 28x28 uint8
    label: int
    scores: list[int]
    benches: list[Bench]
    missing: list[str]  # what keeps a chip from being emulated here

    @property
    def prediction(self) -> int:
        return int(np.argmax(self.scores))

    @property
    def exact(self) -> bool:
        return all(bench.bit_exact for bench in self.benches)

    def as_dict(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "scores": self.scores,
            "prediction": self.prediction,
            "chips": [bench.as_dict() for bench in self.benches],
            "missing": self.missing,
        }

    def show(self) -> None:
        from tinymaix import report

        report.show(
            "mnist demo",
            report.picture(self.pixels),
            *(f"{digit}: {score}" for digit, score in enumerate(self.scores)),
            f"### Predict output is: Number {self.prediction}, prob={self.scores[self.prediction]}",
            "",
        )
        if self.benches:
            report.show(report.bench_table(self.benches))
        report.show(*self.missing)


def run_demo(digit: int, chips: Sequence[str], progress: Progress) -> Demo:
    """Classify the shipped example of ``digit`` on each chip and compare it with the reference, byte for byte.

    A chip whose tools are missing is left out, with a sentence that says what to install.
    """
    graph = api.read(DATA / "mnist_demo.tflite")
    with np.load(DATA / "digits.npz") as digits:
        pixels, label = digits["x"][digit], int(digits["y"][digit])
    x = (pixels.astype(np.int16) - 128).astype(np.int8).reshape(graph.inputs[0].shape)
    expected = graph.run([x])[0]
    benches, missing = [], []
    for name in chips:
        chip = find_chip(name)
        try:
            deployment = Deployment(graph, chip, progress=progress)
            progress(f"running on {chip.title}")
            benches.append(deployment.bench(inputs=[[x]]))
        except ToolError as error:
            missing.append(f"{chip.title} is left out: {error}")
    output = graph.outputs[0].q
    scores = [round(100 * output.s * (int(q) - output.z)) for q in expected.reshape(-1)]
    return Demo(pixels, label, scores, benches, missing)
