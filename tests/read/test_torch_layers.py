"""Each ATen operator against PyTorch: a function, exported, read, simplified and run on the numpy reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.read.fixtures import channels_last
from tinymaix.graph import ModelError
from tinymaix.read.torch import read_module
from tinymaix.rewrite import simplify

torch = pytest.importorskip("torch", reason="the reference that operators are compared with")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

Function = Callable[..., Any]
IMAGE = (1, 4, 6, 5)


class _Encoder(nn.Module):
    """A decoder that begins with the last states of an encoder; a GRU that begins with a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.LSTM(3, 4, 2, batch_first=True), nn.LSTM(3, 4, 2, batch_first=True)
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.first = nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, x: Any) -> Any:
        _, states = self.encoder(x)
        return self.decoder(x[:, :2], states), self.gru(x, self.first)


class _States(nn.Module):
    """An LSTM without its last cell state."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Any) -> Any:
        y, (h, _) = self.cell(x)
        return y, h


FUNCTIONS: list[tuple[Function, tuple[int, ...]]] = [
    (lambda x: F.conv2d(x, torch.ones(6, 2, 3, 3), torch.arange(6.0), padding=1, stride=2, groups=2), IMAGE),
    (lambda x: F.conv2d(x, torch.arange(96.0).reshape(2, 4, 4, 3) / 50 - 1, padding="same", dilation=(1, 2)), IMAGE),
    (lambda x: F.conv2d(F.pad(x, (1, 2, 1, 0), mode="reflect"), torch.ones(2, 4, 3, 3), padding="valid"), IMAGE),
    (lambda x: F.conv_transpose2d(x, torch.ones(4, 3, 3, 2), stride=2, padding=1, output_padding=1), IMAGE),
    (lambda x: F.conv_transpose1d(x, torch.ones(3, 2, 4), stride=2), (1, 3, 7)),
    (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), IMAGE),
    (lambda x: F.avg_pool2d(x, (3, 2), 2, 1), IMAGE),
    (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), IMAGE),
    (lambda x: F.adaptive_avg_pool2d(x, (3, 1)), IMAGE),
    (lambda x: F.adaptive_max_pool2d(x, 1), IMAGE),
    (lambda x: F.layer_norm(x, (6, 5), torch.arange(30.0).reshape(6, 5)), IMAGE),
    (lambda x: F.group_norm(x, 2, torch.arange(4.0), torch.ones(4)), IMAGE),
    (lambda x: F.rms_norm(x, (5,), torch.arange(5.0)), IMAGE),
    (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), (1, 2, 5, 4)),
    (lambda x: (F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x), F.mish(x), F.softplus(x)), IMAGE),
    (lambda x: (F.hardswish(x), F.hardsigmoid(x), F.relu6(x), F.hardtanh(x), F.leaky_relu(x, 0.3), F.elu(x)), IMAGE),
    (lambda x: (x.clamp(-0.5, 0.25), x.clamp(min=0.1), torch.sigmoid(x), torch.tanh(x), x.relu()), IMAGE),
    (lambda x: (F.softmax(x, 1), F.log_softmax(x, -1), F.softmax(x, 2)), IMAGE),
    (lambda x: (x + 1, 2 - x, x * x, x / 3, x - 0.5 * x, x / (x * x + 1), torch.add(x, x, alpha=3)), IMAGE),
    (lambda x: (x.abs(), -x, x.exp(), x.square(), x**2, (x * x) ** 0.5, torch.rsqrt(x * x + 1)), IMAGE),
    (lambda x: (F.elu(x, 0.4), F.selu(x), F.celu(x, alpha=0.7), F.glu(x, 1), F.logsigmoid(x), F.softsign(x)), IMAGE),
    (lambda x: (F.softshrink(x, 0.4), F.hardshrink(x, 0.4), F.threshold(x, 0.1, -2.0), F.tanhshrink(x)), IMAGE),
    (lambda x: (F.softplus(x * 40), F.softplus(x, beta=2), x.sign(), x.abs().log1p(), x.expm1()), IMAGE),
    (lambda x: (torch.einsum("bcij,kj->bcki", x, torch.ones(3, 5)), torch.einsum("bcij,bcik->bcjk", x, x)), IMAGE),
    (lambda x: (x.var((2, 3)), x.std(1, keepdim=True), x.var(3, correction=0), x.logsumexp((1, 2))), IMAGE),
    (lambda x: (*x.max(1), *x.min(-1, keepdim=True), x.max(), torch.max(x, -x), x.prod(2)), IMAGE),
    (lambda x: (x.norm(dim=1), x.norm(p=1, dim=(2, 3)), F.normalize(x), x.cumsum(2), x.flip(1, 3)), IMAGE),
    (lambda x: (F.cosine_similarity(x, x.flip(2)), F.cosine_similarity(x, x * 2 + 1, dim=-1)), IMAGE),
    (lambda x: (x.repeat(1, 2, 1, 3), x.movedim(1, -1), x.masked_fill(x > 0.3, 2.0)), IMAGE),
    (lambda x: F.pad(x, (1, 2, 1, 0), mode="replicate"), IMAGE),
    (lambda x: (torch.erf(x), x.sin(), x.cos(), x.floor(), (x * x + 1).log(), (x * x + 1).reciprocal()), IMAGE),
    (lambda x: (x.mean((2, 3)), x.mean(), x.sum(1, keepdim=True), x.amax(-1), x.amin((0, 1))), IMAGE),
    (lambda x: (torch.maximum(x, x * 2), torch.minimum(x, -x)), IMAGE),
    (lambda x: (x.flatten(1), x.reshape(4, -1), x.squeeze(0), x.unsqueeze(-1), x.unflatten(1, (2, 2))), IMAGE),
    (lambda x: (x.transpose(1, 3), x.permute(2, 0, 3, 1), x[0, :, 1:].t() if x.dim() == 2 else x.mT), IMAGE),
    (lambda x: (x[:, 1:3], x[..., ::2], x[:, -1], x.narrow(2, 1, 3), x.index_select(1, torch.tensor([2, 0]))), IMAGE),
    (lambda x: (*x.chunk(3, 2), *x.split([1, 3], 1), *x.unbind(1)), IMAGE),
    (lambda x: (torch.cat([x, x * 2], 1), torch.stack([x, -x], 2)), IMAGE),
    (lambda x: (F.pad(x, (1, 2, 0, 1)), F.pad(x, (1, 1), value=2.0), F.pad(x, (1, 2, 1, 0), mode="reflect")), IMAGE),
    (lambda x: (x[:, :1].expand(1, 4, 6, 5) + x, x.expand_as(x)), IMAGE),
    (lambda x: F.interpolate(x, scale_factor=2), IMAGE),
    (lambda x: F.interpolate(x, size=(11, 8), mode="nearest-exact"), IMAGE),
    (lambda x: F.interpolate(x, size=(11, 9), mode="bilinear"), IMAGE),
    (lambda x: F.interpolate(x, size=(11, 9), mode="bilinear", align_corners=True), IMAGE),
    (lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2)), (1, 4, 6, 4)),
    (lambda x: (x @ torch.ones(5, 3), x @ x.mT, torch.zeros(5) + x, x + torch.arange(5)), IMAGE),
    (lambda x: (x.argmax(1), x.argmin(-1)), (2, 7)),
    (lambda x: x.relu_().add_(1).flatten(1).clone(), IMAGE),
]  # fmt: skip

MODULES: list[tuple[Function, tuple[int, ...]]] = [
    (lambda: _States(nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)), (1, 5, 3)),
    (lambda: nn.GRU(3, 4), (5, 1, 3)),
    (lambda: nn.LSTM(3, 4, bidirectional=True), (5, 1, 3)),
    (_Encoder, (1, 5, 3)),
    (lambda: nn.RNN(3, 4, nonlinearity="relu", batch_first=True, bias=False), (1, 5, 3)),
    (lambda: nn.MultiheadAttention(4, 2, batch_first=True), (1, 5, 4)),
    (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (1, 5, 4)),
    (lambda: nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.PReLU(3)), IMAGE),
    (lambda: nn.Sequential(nn.ChannelShuffle(2), nn.InstanceNorm2d(4, affine=True)), IMAGE),
]


class _Function(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def _check(module: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    x = torch.randn(*shape)
    arguments = (x, x, x) if isinstance(module, nn.MultiheadAttention) else (x,)
    with torch.no_grad():
        expected = module.eval()(*(a.clone() for a in arguments))
    graph = simplify(read_module(module, arguments))
    assert [problem for node in graph.nodes for problem in node.op.problems(node)] == []
    results = graph.run([channels_last(x.numpy(), t) for t in graph.inputs])
    wanted = [t.detach().numpy() for t in _flat(expected)]
    for result, want in zip(results, wanted, strict=False):
        want = want if want.shape == result.shape else np.moveaxis(want, 1, -1)
        np.testing.assert_allclose(result, want, rtol=1e-4, atol=2e-5)


def _flat(value: Any) -> list[Any]:
    return [t for item in value for t in _flat(item)] if isinstance(value, tuple | list) else [value]


@pytest.mark.parametrize("at", range(len(FUNCTIONS)))
def test_functions(at: int) -> None:
    function, shape = FUNCTIONS[at]
    _check(_Function(function), shape)


@pytest.mark.parametrize("at", range(len(MODULES)))
def test_modules(at: int) -> None:
    torch.manual_seed(0)
    make, shape = MODULES[at]
    _check(make(), shape)


def test_what_works_in_place_on_a_view_that_is_read_later_is_refused() -> None:
    def function(x: Any) -> Any:
        y = x * 2
        y.flatten(1).relu_()
        return y

    with pytest.raises(ModelError, match="which shares its memory"):
        read_module(_Function(function), (torch.randn(1, 4, 3),))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: torch.fft.rfft(x).abs(), "aten.fft_rfft .* is not supported"),
        (lambda x: x if x.sum() > 0 else -x, "torch.export cannot export _Function"),
        (lambda x: F.max_pool1d(x, 2, dilation=2), "dilated pooling"),
        (lambda x: x.max(2)[1].unique(), "sizes that are known at run time only"),
        (lambda x: torch.zeros(3), "is the same for every input"),
    ],
)
def test_refuses(function: Function, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_module(_Function(function), (torch.randn(4, 6, 5),))
