"""Small PyTorch networks with seeded random weights: what people deploy, for the tests of the ONNX and PyTorch readers.

Each builder returns (module in eval mode, example inputs). Importing this module needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

Net = tuple[nn.Module, tuple[Tensor, ...]]


def _conv(in_c: int, out_c: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and batch norm, padded so that stride 1 keeps the size."""
    return [
        nn.Conv2d(in_c, out_c, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_c),
    ]


class _Inverted(nn.Module):
    """An inverted residual block (MobileNetV2, MCUNet): expand, depthwise, project."""

    def __init__(self, in_c: int, out_c: int, expansion: int, stride: int = 1, kernel: int = 3) -> None:
        super().__init__()
        wide = in_c * expansion
        expand = [*_conv(in_c, wide, 1), nn.ReLU6()] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand, *_conv(wide, wide, kernel, stride, groups=wide), nn.ReLU6(), *_conv(wide, out_c, 1)
        )
        self.residual = stride == 1 and in_c == out_c

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x) if self.residual else self.body(x)
        return y


def mobilenet_v2() -> Net:
    """MobileNetV2, width 0.35, for 32x32 images and 10 classes."""
    table = [(1, 8, 1, 1), (6, 8, 2, 2), (6, 16, 3, 2), (6, 24, 4, 2), (6, 32, 3, 1), (6, 56, 3, 2), (6, 112, 1, 1)]
    layers: list[nn.Module] = [*_conv(3, 16, stride=2), nn.ReLU6()]
    channels = 16
    for expansion, out_c, count, stride in table:
        for i in range(count):
            layers.append(_Inverted(channels, out_c, expansion, stride if i == 0 else 1))
            channels = out_c
    layers += [*_conv(channels, 256, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(256, 10)), (torch.rand(1, 3, 32, 32),)


class _Residual(nn.Module):
    def __init__(self, in_c: int, out_c: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(in_c, out_c, stride=stride), nn.ReLU(), *_conv(out_c, out_c))
        self.shortcut = nn.Conv2d(in_c, out_c, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.relu(self.body(x) + self.shortcut(x))
        return y


def resnet_8() -> Net:
    """The image classifier of MLPerf Tiny, for 32x32 images, with an odd shortcut at the end of stage two."""
    blocks = [_Residual(16, 16, 1), _Residual(16, 32, 2), _Residual(32, 64, 2)]
    head = [nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10), nn.Softmax(dim=1)]
    return nn.Sequential(*_conv(3, 16), nn.ReLU(), *blocks, *head), (torch.rand(1, 3, 32, 32),)


def ds_cnn() -> Net:
    """The keyword spotter of MLPerf Tiny: 49 frames of 10 features, an odd kernel, depthwise separable blocks."""
    layers: list[nn.Module] = [nn.Conv2d(1, 32, (10, 4), 2, (5, 1), bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    for _ in range(3):
        layers += [*_conv(32, 32, groups=32), nn.ReLU(), *_conv(32, 32, 1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 12)), (torch.rand(1, 1, 49, 10),)


class _UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(*_conv(1, 8), nn.ReLU())
        self.middle = nn.Sequential(nn.MaxPool2d(2), *_conv(8, 16), nn.LeakyReLU(0.1))
        self.low = nn.Sequential(nn.MaxPool2d(2), *_conv(16, 16), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 16, 2, 2)
        self.join = nn.Sequential(*_conv(32, 8), nn.ReLU())
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.last = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        middle = self.middle(high)
        joined = self.join(torch.cat([self.up(self.low(middle)), middle], 1))
        y: Tensor = torch.sigmoid(self.last(torch.cat([self.upsample(joined), high], 1)))
        return y


def unet() -> Net:
    """A U-Net of two levels for 16x16 images: concatenations, transposed convolution, nearest upsampling."""
    return _UNet(), (torch.rand(1, 1, 16, 16),)


class _Recurrent(nn.Module):
    def __init__(self, cell: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.cell = cell(6, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.cell(x)[0][:, -1])
        return y


def lstm() -> Net:
    """An LSTM over 12 steps of 6 features; the last state is classified."""
    return _Recurrent(nn.LSTM), (torch.randn(1, 12, 6),)


def gru() -> Net:
    """A GRU over 12 steps of 6 features; the last state is classified."""
    return _Recurrent(nn.GRU), (torch.randn(1, 12, 6),)


def cnn_1d() -> Net:
    """A 1-D CNN over 64 samples of 3 channels whose flattened features meet a dense layer."""
    layers = [
        nn.Conv1d(3, 8, 5, 2, 2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 16, 3, padding=1), nn.ELU(), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(128, 16), nn.Tanh(),
        nn.Linear(16, 4), nn.LogSoftmax(dim=1),
    ]  # fmt: skip
    return nn.Sequential(*layers), (torch.randn(1, 3, 64),)


class _SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.gate(x)
        return y


def mcunet() -> Net:
    """Blocks of MCUNet and MobileNetV3: kernels of 5 and 7, squeeze and excite, hard-swish."""
    layers = [
        *_conv(3, 8, stride=2), nn.Hardswish(), _Inverted(8, 8, 3, kernel=7), _Inverted(8, 16, 4, 2, kernel=5),
        _SqueezeExcite(16), nn.PReLU(16), nn.ZeroPad2d((0, 1, 0, 1)), *_conv(16, 16, 2, groups=16), nn.SiLU(),
        nn.Flatten(), nn.Linear(16 * 10 * 10, 5),
    ]  # fmt: skip
    return nn.Sequential(*layers), (torch.rand(1, 3, 32, 32),)


class _Transformer(nn.Module):
    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Parameter(torch.randn(1, tokens, width) * 0.1)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm_1(x)).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = torch.softmax(q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5, dim=-1)
        x = x + self.projection((scores @ v).transpose(1, 2).reshape(batch, tokens, width))
        x = x + self.mlp(self.norm_2(x))
        y: Tensor = self.head(x.mean(dim=1))
        return y


def transformer() -> Net:
    """One pre-norm transformer block of two heads over 8 tokens of 16 features."""
    return _Transformer(8, 16, 2), (torch.randn(1, 8, 16),)


class Streaming(nn.Module):
    """Two 1-D convolutions, each with the samples that its window still needs, of which one is dilated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(3, 4, 5), nn.Conv1d(4, 2, 3, dilation=2)
        self.samples = nn.Buffer(torch.randn(1, 3, 4))
        self.features = nn.Buffer(torch.zeros(1, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.samples, x], 2)
        self.samples.copy_(x[..., -4:])
        y = torch.cat([self.features, torch.relu(self.first(x))], 2)
        self.features.copy_(y[..., -4:])
        z: Tensor = self.second(y)
        return z


class Remembering(nn.Module):
    """A GRU whose hidden state is a buffer, and a sum over all runs."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(3, 4, batch_first=True)
        self.hidden = nn.Buffer(torch.zeros(1, 1, 4))
        self.total = nn.Buffer(torch.zeros(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        y, hidden = self.cell(x, self.hidden)
        self.hidden.copy_(hidden)
        self.total.add_(y[:, -1])
        return self.total * 1


NETS: dict[str, Callable[[], Net]] = {
    "mobilenet_v2": mobilenet_v2, "resnet_8": resnet_8, "ds_cnn": ds_cnn, "unet": unet, "lstm": lstm, "gru": gru,
    "cnn_1d": cnn_1d, "mcunet": mcunet, "transformer": transformer,
}  # fmt: skip


@cache
def net(name: str, seed: int = 0) -> Net:
    """A network of `NETS` whose batch norms have seen data, in eval mode."""
    torch.manual_seed(seed)
    module, inputs = NETS[name]()
    with torch.no_grad():
        module.train()
        module(*(torch.randn(8, *x.shape[1:]) for x in inputs))
    return module.eval(), inputs
