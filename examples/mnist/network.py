"""The digit classifier: its layers, the float network, the network trained under int8 rounding, and its Graph.

Input 28x28x1. Every layer is a convolution without padding; the last one spans all that is left of the picture, which
makes it a fully connected layer. All layers but the last end in a ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor as Values
from torch import nn
from torch.nn import functional

from tinymaix.graph import Array, Graph, Node, Quantization, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.softmax import Softmax


@dataclass(frozen=True)
class Layer:
    name: str
    out_c: int
    kernel: int
    stride: int = 1
    depthwise: bool = False
    dense: bool = False


LAYERS = (
    # One channel of 13x13 is the cheapest first layer: it needs 169 bytes beside the picture's 784.
    Layer("shrink", 1, kernel=3, stride=2),
    Layer("strokes", 8, kernel=3, stride=2),
    Layer("mix", 8, kernel=1),
    Layer("spread", 8, kernel=3, depthwise=True),
    Layer("shapes", 16, kernel=1),
    Layer("digit", 10, kernel=4, dense=True),
)
PIXEL = Quantization.of(1 / 255, -128)  # int8 = pixel - 128
PROBABILITY = Quantization.of(1 / 256, -128)  # what SOFTMAX gives


class FloatNetwork(nn.Module):
    """Convolutions with batch normalization, which makes the training fast; `folded` takes it out again."""

    def __init__(self) -> None:
        super().__init__()
        channels = [1, *(layer.out_c for layer in LAYERS)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                in_c, layer.out_c, layer.kernel, layer.stride, groups=in_c if layer.depthwise else 1, bias=layer.dense
            )
            for layer, in_c in zip(LAYERS, channels[:-1], strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(layer.out_c) for layer in LAYERS[:-1])

    def forward(self, x: Values) -> Values:
        for convolution, norm in zip(self.convolutions[:-1], self.norms, strict=True):
            x = functional.relu(norm(convolution(x)))
        return self.convolutions[-1](x).flatten(1)

    def folded(self) -> list[tuple[Values, Values]]:
        """(weights, bias) of each layer, with the batch normalization multiplied in."""
        pairs = []
        for convolution, norm in zip(self.convolutions[:-1], self.norms, strict=True):
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            pairs.append((convolution.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain))
        pairs.append((self.convolutions[-1].weight, self.convolutions[-1].bias))
        return [(weights.detach().clone(), bias.detach().clone()) for weights, bias in pairs]


class QuantizedNetwork(nn.Module):
    """The folded network, rounded in each step as int8 arithmetic rounds it; gradients pass the rounding unchanged."""

    def __init__(self, folded: Sequence[tuple[Values, Values]]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weights for weights, _ in folded)
        self.biases = nn.ParameterList(bias for _, bias in folded)
        self.activations: list[Quantization] = []

    def calibrate(self, x: Values) -> None:
        """Set the scale and zero point of each layer's output from what it is for the pictures ``x``."""
        self.activations = []
        with torch.no_grad():
            for i in range(len(LAYERS)):
                x = self._layer(i, x, self.weights[i])
                low, high = min(0.0, float(x.min())), float(x.max())
                scale = (high - low) / 255
                self.activations.append(Quantization.of(scale, round(-128 - low / scale)))

    def forward(self, x: Values) -> Values:
        for i, quantization in enumerate(self.activations):
            x = self._layer(i, x, self._rounded_weights(i))
            x = fake_quantize(x, torch.tensor(quantization.s), quantization.z, -128)
        return x.flatten(1)

    def _layer(self, i: int, x: Values, weights: Values) -> Values:
        groups = x.shape[1] if LAYERS[i].depthwise else 1
        x = functional.conv2d(x, weights, self.biases[i], LAYERS[i].stride, groups=groups)
        return x if LAYERS[i].dense else functional.relu(x)

    def _weight_scale(self, i: int) -> Values:
        """One scale for each output channel; one for all where the layer is fully connected."""
        peaks = self.weights[i].detach().abs().amax(dim=(1, 2, 3), keepdim=True)
        return (peaks.max() if LAYERS[i].dense else peaks) / 127

    def _rounded_weights(self, i: int) -> Values:
        return fake_quantize(self.weights[i], self._weight_scale(i), 0, -127)

    def graph(self) -> Graph:
        """The network as an int8 Graph, with a SOFTMAX behind it."""
        int8 = np.dtype(np.int8)
        picture = x = Tensor("picture", (1, 28, 28, 1), int8, PIXEL)
        nodes = []
        for i, layer in enumerate(LAYERS):
            op, weights, bias = self._constants(i, x.q)
            y = Tensor(layer.name, op.infer([x, weights, bias])[0], int8, self.activations[i])
            nodes.append(Node(op, [x, weights, bias], [y], layer.name))
            x = y
        output = Tensor("probabilities", x.shape, int8, PROBABILITY)
        nodes.append(Node(Softmax(), [x], [output], "softmax"))
        return Graph(nodes, [picture], [output], "mnist_demo")

    def _constants(self, i: int, x: Quantization) -> tuple[Operator, Tensor, Tensor]:
        """Operator, int8 weights and int32 bias of layer ``i``, whose input has the quantization ``x``."""
        layer, scale = LAYERS[i], self._weight_scale(i)
        values: Array = torch.round(self.weights[i].detach() / scale).numpy().astype(np.int8)
        stride = layer.stride, layer.stride
        op: Operator
        axis = 0
        if layer.dense:
            op, values = FullyConnected(), values.transpose(0, 2, 3, 1).reshape(layer.out_c, -1)
        elif layer.depthwise:
            op, values, axis = DepthwiseConv2D(stride, activation="relu"), values.transpose(1, 2, 3, 0), 3
        else:
            op, values = Conv2D(stride, activation="relu"), values.transpose(0, 2, 3, 1)
        scales = scale.numpy().reshape(-1)
        bias_scales = scales.astype(np.float64) * x.s
        biases = np.round(self.biases[i].detach().numpy() / bias_scales).astype(np.int32)
        return (
            op,
            Tensor(f"{layer.name}/weights", values.shape, values.dtype, Quantization.of(scales, axis=axis), values),
            Tensor(f"{layer.name}/bias", biases.shape, biases.dtype, Quantization.of(bias_scales), biases),
        )


def fake_quantize(x: Values, scale: Values, zero_point: int, low: int) -> Values:
    """``x`` rounded to a step of ``scale`` and clamped to [low, 127]; the gradient is 1 inside and 0 outside (the
    straight-through estimator, Bengio et al. 2013, https://arxiv.org/abs/1308.3432)."""
    steps = x / scale
    steps = steps + (torch.round(steps) - steps).detach()
    return ((steps + zero_point).clamp(low, 127) - zero_point) * scale
