"""Make tests/data/keras_*.zip: the networks of tests/keras_nets.py as Keras saves them, with an input and its output.

Run with `python -m tests.data.make_keras [NET ...]` where Keras 3 and a backend are installed.
"""

from __future__ import annotations

import io
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from tests.keras_nets import NETS, as_array, build, inputs


def main() -> None:
    folder = Path(__file__).parent
    for name in sys.argv[1:] or NETS:
        model = build(name)
        given = inputs(model)
        outputs = model(given if len(given) > 1 else given[0], training=False)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        arrays: dict[str, Any] = {f"x{i}": x for i, x in enumerate(given)} | {
            f"y{i}": as_array(y) for i, y in enumerate(outputs)
        }
        vectors = io.BytesIO()
        np.savez(vectors, **arrays)
        with (
            tempfile.TemporaryDirectory() as scratch,
            zipfile.ZipFile(folder / f"keras_{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        ):
            for suffix in ("h5", "keras"):
                path = Path(scratch) / f"model.{suffix}"
                model.save(path)
                archive.writestr(
                    zipfile.ZipInfo(path.name, (2026, 1, 1, 0, 0, 0)), path.read_bytes(), zipfile.ZIP_DEFLATED
                )
            archive.writestr(
                zipfile.ZipInfo("vectors.npz", (2026, 1, 1, 0, 0, 0)), vectors.getvalue(), zipfile.ZIP_DEFLATED
            )


if __name__ == "__main__":
    main()
