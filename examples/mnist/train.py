"""Train the demo model: 28x28 digits -> int8 network for chips with 2 KB of RAM -> mnist_demo.tflite and digits.npz.

    python examples/mnist/train.py

It needs PyTorch (pip install torch) and MNIST as two files, see --help. The same PyTorch on the same kind of machine
gives the same bytes again.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

try:
    import torch
except ImportError:
    sys.exit("train.py needs PyTorch, which is not installed; install it with: pip install torch")
from network import FloatNetwork, QuantizedNetwork
from torch import Tensor as Values
from torch import nn
from torch.nn import functional

from tinymaix.graph import Array, Graph
from tinymaix.plan.arena import plan
from tinymaix.write.atomic import write_atomic
from tinymaix.write.tflite import write_tflite

REPOSITORY = Path(__file__).resolve().parents[2]
TRAIN, TEST = "mnist_train_cazala.npz", "mnist_t10k_first5000.npz"
SEED = 1
BATCH = 100
FLOAT_EPOCHS, FLOAT_RATE = 120, 1e-2
INT8_EPOCHS, INT8_RATE = 20, 1e-3


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)  # more gain nothing with so small a network, and would change the order of sums
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    x, y = load(options.data / TRAIN)
    test_x, test_y = load(options.data / TEST)

    network = FloatNetwork()
    fit(network, x, y, options.epochs, FLOAT_RATE)
    network.eval()
    with torch.no_grad():
        float_accuracy = accuracy(network(pixels(test_x)).argmax(1).numpy(), test_y)

    quantized = QuantizedNetwork(network.folded())
    quantized.calibrate(pixels(x))
    fit(quantized, x, y, min(INT8_EPOCHS, options.epochs), INT8_RATE)
    graph = quantized.graph()

    write_tflite(graph, options.out / "mnist_demo.tflite")
    write_digits(test_x, test_y, options.out / "digits.npz")
    weights = sum(tensor.nbytes for tensor in graph.constants)
    print(f"float accuracy {float_accuracy:.2%}, int8 accuracy {accuracy(classify(graph, test_x), test_y):.2%}")
    print(f"{graph.macs} MACs, {weights} bytes of weights and biases, {plan(graph).arena} bytes of activations")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the demo model of the package.")
    parser.add_argument(
        "--data",
        type=Path,
        default=REPOSITORY.parent / "shared/models/data/mnist",
        help=f"folder with {TRAIN} (for training) and {TEST} (for testing only), each with x: uint8 (n, 28, 28) "
        "and y: the digits (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "src/tinymaix/data", help="folder to write to (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=FLOAT_EPOCHS, help="of float training (default: %(default)s)")
    options = parser.parse_args()
    if options.epochs < 1:
        parser.error(f"--epochs must be 1 or more, not {options.epochs}")
    for path in (options.data / TRAIN, options.data / TEST):
        if not path.is_file():
            parser.error(f"{path} is absent; give the folder that holds it with --data")
    if not options.out.is_dir():
        parser.error(f"--out {options.out} is not a folder")
    return options


def load(path: Path) -> tuple[Array, Array]:
    """Pictures, uint8 (n, 28, 28), and digits, int64 (n)."""
    with np.load(path) as file:
        return file["x"], file["y"].astype(np.int64)


def pixels(x: Array) -> Values:
    """Pictures as the networks take them: (n, 1, 28, 28) from 0 to 1."""
    return torch.from_numpy(x).float()[:, None] / 255


def fit(network: nn.Module, x: Array, y: Array, epochs: int, rate: float) -> None:
    """Train on distorted digits; the learning rate rises to ``rate`` and falls to almost 0."""
    steps = epochs * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    inputs, labels = pixels(x), torch.from_numpy(y)
    network.train()
    for epoch in range(epochs):
        total = 0.0
        for batch in batches(len(x)):
            loss = functional.cross_entropy(network(distorted(inputs[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss)
        print(f"{type(network).__name__} epoch {epoch + 1}/{epochs}: loss {total / (len(x) // BATCH):.4f}", flush=True)


def batches(count: int) -> Iterator[Values]:
    """Random indices, whole batches only."""
    order = torch.randperm(count)
    for start in range(0, count - BATCH + 1, BATCH):
        yield order[start : start + BATCH]


def distorted(x: Values) -> Values:
    """Each picture turned (9 degrees), sheared, stretched (10 %) and shifted (1 pixel) by up to that much."""
    angle, shear, wide, high, right, down = (
        (torch.rand(len(x)) * 2 - 1) * reach for reach in (0.15, 0.15, 0.1, 0.1, 0.07, 0.07)
    )
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = (
        torch.stack([cos * (1 + wide), (shear * cos - sin) * (1 + high), right], 1),
        torch.stack([sin * (1 + wide), (shear * sin + cos) * (1 + high), down], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def classify(graph: Graph, x: Array) -> Array:
    """The digit that the int8 graph finds in each picture."""
    inputs = (x.astype(np.int16) - 128).astype(np.int8)[:, None, :, :, None]
    return np.array([graph.run([picture])[0].argmax() for picture in inputs])


def accuracy(found: Array, y: Array) -> float:
    return float((found == y).mean())


def write_digits(x: Array, y: Array, path: Path) -> None:
    """The first picture of each digit in the test set, 0 to 9."""
    first = [int(np.flatnonzero(y == digit)[0]) for digit in range(10)]
    file = io.BytesIO()
    np.savez_compressed(file, x=x[first], y=y[first].astype(np.uint8))
    write_atomic(path, file.getvalue())


if __name__ == "__main__":
    main()
