"""Shared models, their reference vectors, and the settings of hypothesis.

The models are found through TINYMAIX_SHARED, or in ``shared`` beside the repository; without them tests are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tinymaix.graph import Array

SHARED = Path(os.environ.get("TINYMAIX_SHARED") or Path(__file__).resolve().parents[2] / "shared")
MODELS = SHARED / "models"

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=25,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared models and data."""
    if not MODELS.is_dir():
        pytest.skip(f"{MODELS} is absent; set TINYMAIX_SHARED to the folder that holds models/")
    return SHARED


def model_files(pattern: str = "**/*.tflite") -> list[Path]:
    """The shared models that match, sorted; none where the folder is absent. For `pytest.mark.parametrize`."""
    return sorted(MODELS.glob(pattern))


def model_id(path: Path) -> str:
    """A model's path below the shared models, as the name of a test case."""
    return path.relative_to(MODELS).as_posix()


class Samples(list[tuple[list[Array], list[Array]]]):
    """(inputs, expected outputs) for each sample. ``stateful``: fed in order to one interpreter, no reset."""

    stateful: bool = False


def load_reference(model: Path) -> Samples:
    """The reference vectors of a shared model: TFLM's bits where it differs from LiteRT's reference kernels.

    Skips the test where the model has none.
    """
    path = MODELS / "refs" / model.relative_to(MODELS).with_suffix(".npz")
    if not path.is_file():
        pytest.skip(f"{model_id(model)} has no reference vectors")
    samples = Samples()
    with np.load(path) as file:
        meta = json.loads(str(file["meta"]))
        samples.stateful = bool(meta.get("stateful_sequence", False))
        for k in range(len(meta["samples"])):
            inputs = [_input(file, meta, k, i) for i in range(len(meta["inputs"]))]
            outputs = [file[f"t{k}_{j}" if f"t{k}_{j}" in file else f"y{k}_{j}"] for j in range(len(meta["outputs"]))]
            samples.append((inputs, outputs))
    return samples


def _input(file: Any, meta: dict[str, Any], k: int, i: int) -> Array:
    """Input i of sample k: stored, or made again from its seed.

    Raises:
        ValueError: the input made again is not the one that the reference was made with.
    """
    if f"x{k}_{i}" in file:
        return np.asarray(file[f"x{k}_{i}"])
    shape, dtype = meta["inputs"][i]["shape"], np.dtype(meta["inputs"][i]["dtype"])
    sample = meta["samples"][k][i]
    rng = np.random.default_rng(sample["seed"])
    if dtype.kind == "f":
        array: Array = rng.uniform(-1, 1, shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        array = rng.integers(limits.min, int(limits.max) + 1, shape, dtype=dtype)
    if hashlib.sha256(array.tobytes()).hexdigest() != sample["sha256"]:
        raise ValueError(
            f"input {i} of sample {k} of {meta['model']} made from its seed has another sha256 than stated"
        )
    return array
