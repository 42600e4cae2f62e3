"""Makes unequal_mobilenet.pt2 and unequal_digits.npz beside this file: a network that is hard to quantize, and data.

A small MobileNetV2 is trained on the 8x8 digits of the UCI repository (E. Alpaydin, C. Kaynak 1998, CC BY 4.0), of
which a part is kept for calibration and test. Then every channel between two layers is scaled, by up to 1000, and the
weights that read it are divided by as much: the function stays the same, and ranges of one tensor fit few channels.

Run from the repository: python -m tests.data.make_unequal DIGITS.npz. Needs torch; takes about a minute.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.data.make_onnx import pt2
from torch import Tensor, nn

HERE = Path(__file__).parent
TABLE = ((1, 8, 1, 1), (4, 12, 2, 2), (4, 16, 2, 2))
"""Expansion, channels, blocks and stride, as in the table of the MobileNetV2 paper (arXiv 1801.04381)."""
TEST, CALIBRATION, EPOCHS, LARGEST = 400, 100, 60, 1000.0


class Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, in_c: int, out_c: int, expansion: int, stride: int) -> None:
        super().__init__()
        wide = in_c * expansion
        self.expand = layer(in_c, wide, 1) if expansion > 1 else None
        self.depthwise = layer(wide, wide, 3, stride, wide)
        self.project = layer(wide, out_c, 1)
        self.residual = stride == 1 and in_c == out_c

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else nn.functional.relu6(self.expand(x))
        y: Tensor = self.project(nn.functional.relu6(self.depthwise(wide)))
        return x + y if self.residual else y


def layer(in_c: int, out_c: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_c, out_c, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_c))


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = layer(1, 8, 3)
        blocks, channels = [], 8
        for expansion, out_c, count, stride in TABLE:
            for i in range(count):
                blocks.append(Block(channels, out_c, expansion, stride if i == 0 else 1))
                channels = out_c
        self.blocks = nn.ModuleList(blocks)
        self.last = layer(channels, 64, 1)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.classifier(nn.functional.relu6(self.last(x)).mean((2, 3)))
        return y


def train(net: MobileNet, x: Tensor, y: Tensor) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=EPOCHS * (len(x) // 64 + 1))
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(64):  # type: ignore[no-untyped-call]
            moved = torch.roll(x[rows], tuple(torch.randint(-1, 2, (2,)).tolist()), (2, 3))
            loss = nn.functional.cross_entropy(net(moved), y[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


def streams(net: MobileNet) -> list[tuple[list[Any], list[Any]]]:
    """The layers that write each stream of channels, and those that read it: residual sums are one stream."""
    found: list[tuple[list[Any], list[Any]]] = [([net.stem], [])]
    for block in net.blocks:
        assert isinstance(block, Block)
        before = found[-1]
        if block.expand is not None:
            before[1].append(block.expand[0])
            found.append(([block.expand], []))
        found[-1][1].append(block.depthwise[0])
        found.append(([block.depthwise], [block.project[0]]))
        if block.residual:
            before[0].append(block.project)
            found.append(before)
        else:
            found.append(([block.project], []))
    found[-1][1].append(net.last[0])
    found.append(([net.last], [net.classifier]))
    return list({id(stream[0]): stream for stream in found}.values())


def unequal(net: MobileNet, x: Tensor, rng: np.random.Generator) -> None:
    """Scale the channels of every stream down by up to `LARGEST`, but those that reach the 6 of a RELU6."""
    largest: dict[int, Tensor] = {}

    def observe(module: nn.Module, _: object, y: Tensor) -> None:
        largest[id(module)] = y.amax((0, 2, 3))

    normalizations = [writer for writers, _ in streams(net) for writer in writers]
    hooks = [norm.register_forward_hook(observe) for norm in normalizations]
    net(x)
    for hook in hooks:
        hook.remove()
    for writers, readers in streams(net):
        channels = writers[0][1].num_features
        factors = torch.tensor(LARGEST ** -rng.uniform(0, 1, channels), dtype=torch.float32)
        factors[torch.stack([largest[id(w)] for w in writers]).amax(0) >= 6] = 1
        for writer in writers:
            writer[1].weight.data *= factors
            writer[1].bias.data *= factors
        for reader in readers:
            shape = (-1, 1, 1, 1) if getattr(reader, "groups", 1) > 1 else (1, -1, *[1] * (reader.weight.ndim - 2))
            reader.weight.data /= factors.reshape(shape)


def main(digits: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    with np.load(digits) as file:
        order = rng.permutation(len(file["x"]))
        pictures, labels = file["x"][order], file["y"][order]
    x, y = torch.tensor(pictures[:, None].astype(np.float32) / 16), torch.tensor(labels.astype(np.int64))
    net = MobileNet()
    train(net, x[TEST:], y[TEST:])
    net.eval()
    with torch.no_grad():
        before = net(x)
        unequal(net, x, rng)
        after = net(x)
        right = (after[:TEST].argmax(1) == y[:TEST]).float().mean()
        print(f"outputs changed by {(after - before).abs().max():.2g}; {100 * right:.2f} % of the test set is right")
        program = torch.export.export(net, (x[:1],))
    (HERE / "unequal_mobilenet.pt2").write_bytes(pt2(program))
    kept = slice(0, TEST + CALIBRATION)
    np.savez_compressed(HERE / "unequal_digits.npz", x=pictures[kept], y=labels[kept].astype(np.uint8))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
