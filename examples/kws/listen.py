"""Hear the keywords of a recording, as the chip hears them: hop by hop.

python listen.py kws.toml recording.wav --labels "hi xiaowen,nihao wenwen,-" --on cortex-m4
"""

from __future__ import annotations

import argparse
import sys
import wave
from collections.abc import Iterator, Sequence

import numpy as np

import tinymaix
from tinymaix.graph import Array

SILENCE = "-"
"""The label of classes that are no keyword."""


def recording(path: str, rate: int = 16000) -> Array:
    """int16 samples of a .wav with one channel."""
    with wave.open(path) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, rate):
            raise ValueError(f"{path}: must have one channel of 16-bit samples, {rate} a second")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def heard(scores: Array, threshold: float, hold: int) -> Iterator[tuple[int, int]]:
    """(hop, class) where a class is above the threshold for ``hold`` hops in a row, once until another one is."""
    last, count, said = -1, 0, -1
    for hop, row in enumerate(scores):
        best = int(row.argmax())
        count = count + 1 if best == last and row[best] >= threshold else 1
        last = best
        if count == hold and best != said:
            said = best
            yield hop, best


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="a streaming model: a .toml with stream = true")
    parser.add_argument("recording", help="a .wav")
    parser.add_argument("--labels", default="", help='names of the classes, with commas; "-" is no keyword')
    parser.add_argument("--on", default="reference", metavar="reference|host|CHIP", help="default: reference")
    parser.add_argument("--threshold", type=float, default=0.7, help="score of a keyword, default: 0.7")
    parser.add_argument("--hold", type=int, default=3, help="hops in a row that it takes, default: 3")
    options = parser.parse_args(arguments)

    graph = tinymaix.read(options.model)
    hop = graph.inputs[0].shape[-1]
    x = recording(options.recording)
    steps = x[: x.size // hop * hop].reshape(-1, 1, hop)
    y = tinymaix.run(graph, steps, on=options.on, steps=True)[0]
    scores = graph.outputs[0].q.s * (y.reshape(len(steps), -1).astype(np.float64) - graph.outputs[0].q.z)
    labels = options.labels.split(",") if options.labels else [str(i) for i in range(scores.shape[1])]
    for at, kind in heard(scores, options.threshold, options.hold):
        if labels[kind] != SILENCE:
            print(f"{(at + 1) * hop / 16000:6.2f} s  {labels[kind]}  {scores[at, kind]:.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
