"""Make tests/data/sklearn.zip: models of scikit-learn as skl2onnx exports them, with inputs and what they predict.

Run with `python -m tests.data.make_sklearn` where scikit-learn and skl2onnx are installed.
"""

from __future__ import annotations

import io
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 12


def models() -> dict[str, tuple[Any, bool | None]]:
    """By name: a model, and whether it is a classifier of two classes rather than of three (None: a regressor)."""
    linear, network, tree, forest, steps, prepared = (
        import_module(f"sklearn.{name}")
        for name in ("linear_model", "neural_network", "tree", "ensemble", "pipeline", "preprocessing")
    )
    small = {"max_depth": 4, "random_state": 1}
    many = {**small, "n_estimators": 4}
    return {
        "pipeline": (
            steps.make_pipeline(prepared.StandardScaler(), network.MLPClassifier((6, 5), random_state=1)),
            False,
        ),
        "perceptron": (network.MLPClassifier((8,), activation="tanh", random_state=1), True),
        "regressor": (network.MLPRegressor(hidden_layer_sizes=(8,), activation="logistic", random_state=1), None),
        "logistic": (linear.LogisticRegression(), True),
        "linear": (linear.Ridge(), None),
        "bayes": (import_module("sklearn.naive_bayes").GaussianNB(), False),
        "tree": (tree.DecisionTreeClassifier(**small), True),
        "tree_regressor": (tree.DecisionTreeRegressor(**small), None),
        "forest": (forest.RandomForestClassifier(**many), False),
        "boosted": (forest.GradientBoostingClassifier(**many), True),
        "boosted_classes": (forest.GradientBoostingClassifier(**many), False),
        "boosted_regressor": (forest.GradientBoostingRegressor(**many), None),
    }


def main() -> None:
    to_onnx = import_module("skl2onnx").to_onnx
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    total = x @ rng.normal(size=5) + np.sin(3 * x[:, 0])
    with zipfile.ZipFile(Path(__file__).with_name("sklearn.zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (model, two) in models().items():
            if two is None:
                model.fit(x, total)
                outputs = [model.predict(x[:SAMPLES])[:, None]]
                exported = to_onnx(model, x[:1])
            else:
                model.fit(x, (total > 0).astype(int) if two else np.digitize(total, [-1, 1]))
                outputs = [model.predict(x[:SAMPLES]), model.predict_proba(x[:SAMPLES])]
                last = model.steps[-1][1] if hasattr(model, "steps") else model
                exported = to_onnx(model, x[:1], options={id(last): {"zipmap": False}})
            vectors = io.BytesIO()
            np.savez(vectors, x=x[:SAMPLES], **{f"y{i}": y.astype(np.float32) for i, y in enumerate(outputs)})
            for suffix, data in (("onnx", exported.SerializeToString()), ("npz", vectors.getvalue())):
                archive.writestr(zipfile.ZipInfo(f"{name}.{suffix}", (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
