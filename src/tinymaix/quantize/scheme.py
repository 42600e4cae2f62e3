"""What a quantization is to be like: types, how ranges are found, and what is done to win accuracy back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from tinymaix.graph import ModelError

ACTIVATIONS = ("int8", "int16")
WEIGHTS = ("int8", "int4")
RANGES = ("minmax", "percentile", "mse", "kl")
ROUNDS = ("nearest", "learned")
IO = ("same", "int8", "int16", "float32")
LAYERS = ("int8", "int16", "int4", "float32")
"""What a single layer may be: its activations' type, or int4 for int8 activations with int4 weights."""


@dataclass(frozen=True)
class Scheme:
    """Raises ModelError where a choice is not known."""

    activations: str = "int8"
    """int16: weights stay as they are (16x8)."""

    weights: str = "int8"
    """int4: where the activations are int8; depthwise layers keep int8, since they have few weights and lose most."""

    ranges: str = "minmax"
    """How a range of activations is found: all values, all but 1 in 10,000 at each end, least squared error, least
    Kullback-Leibler divergence."""

    per_channel: bool = True
    """One scale for each output channel of weights, else one for all."""

    equalize: bool = False
    """Even out channel ranges of consecutive layers (cross-layer equalization)."""

    correct_bias: bool = True
    """Take the mean error of each channel on the calibration data out of its bias, as far as they are certain of it."""

    round: str = "nearest"
    """learned: round weights up or down as the calibration data ask for it (AdaRound)."""

    io: str = "same"
    """Type of the graph's inputs and outputs; same: that of the layers that they meet."""

    layers: Mapping[str, str] = field(default_factory=dict)
    """By name of a node: what that layer is to be instead."""

    def __post_init__(self) -> None:
        choices: dict[str, Sequence[str]] = {
            "activations": ACTIVATIONS, "weights": WEIGHTS, "ranges": RANGES, "round": ROUNDS, "io": IO,
        }  # fmt: skip
        problems = [
            f"{name} '{getattr(self, name)}' is not known; known are {', '.join(known)}"
            for name, known in choices.items()
            if getattr(self, name) not in known
        ]
        problems += [
            f"layer '{name}' is to be '{kind}', which is not known; known are {', '.join(LAYERS)}"
            for name, kind in self.layers.items()
            if kind not in LAYERS
        ]
        if problems:
            raise ModelError(problems)

    def describe(self) -> str:
        """The choices that differ from the defaults, in words: "int8" or "int16, ranges mse, equalize"."""
        words = [self.activations]
        for f in fields(self):
            value, name = getattr(self, f.name), f.name.replace("_", " ")
            if f.name in ("activations", "layers", "per_channel", "correct_bias") or value == f.default:
                continue
            words.append(name if value is True else f"{name} {value}")
        words += [] if self.per_channel else ["per tensor"]
        words += [] if self.correct_bias else ["biases not corrected"]
        words += [f"{name}={kind}" for name, kind in self.layers.items()]
        return ", ".join(words)
