"""TRANSPOSE_CONV as CONV_2D, whose kernels are the fast ones.

With stride s, output pixels at a distance of s see the same taps of the kernel: every s-th one of them. So a
convolution of the input with s x s times the channels, each with its taps in turned order, gives all pixels, and
DEPTH_TO_SPACE, in one dimension a RESHAPE, puts them where they belong. Sums, and so the bits of integer outputs, stay
the same: taps that are missing are zeros, and so are pads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinymaix.graph import Array, Graph, Node, Quantization, Tensor
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.rearrange import DepthToSpace
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.slice import Slice
from tinymaix.ops.transpose_conv import TransposeConv

COPIES = ("speed", "balanced")
"""What to optimize for where a second tensor of the output's size is worth it."""


@dataclass(frozen=True)
class _Axis:
    """Height or width: outputs at ``stride * i + phase`` are sums of ``taps`` neighbouring inputs."""

    taps: int
    stride: int
    before: int
    """Pads in front of the input."""
    behind: int
    count: int
    """How many i there are."""
    start: int
    """The first output that is wanted, among all that come out."""
    size: int

    @property
    def is_whole(self) -> bool:
        return self.start == 0 and self.size == self.count * self.stride


def _axis(kernel: int, stride: int, pad: int, inputs: int, outputs: int) -> _Axis:
    taps = -(-kernel // stride)
    first, last = pad // stride, (outputs - 1 + pad) // stride
    before, behind = taps - 1 - first, max(0, last - (inputs - 1))
    return _Axis(taps, stride, before, behind, inputs + before + behind - taps + 1, pad - first * stride, outputs)


def as_convolutions(graph: Graph, optimize: str, zeros: bool = False) -> Graph:
    """The graph without the TRANSPOSE_CONVs for which that pays. No bit of an integer output changes.

    Args:
        optimize: "ram" and "flash" want no more of either.
        zeros: with "speed", also where the convolution has more taps, which are zeros.
    """
    if not any(isinstance(node.op, TransposeConv) for node in graph.nodes):
        return graph
    return replace(graph, nodes=[part for node in graph.nodes for part in _convolutions(node, optimize, zeros)])


def _convolutions(node: Node, optimize: str, zeros: bool) -> list[Node]:
    op = node.op
    if not isinstance(op, TransposeConv) or any(t is not None and t.data is None for t in node.inputs[1:]):
        return [node]
    (_, in_h, in_w, _), weights = node.input(0).shape, node.input(1)
    height = _axis(weights.shape[1], op.stride[0], op.padding[0], in_h, op.size[0])
    width = _axis(weights.shape[2], op.stride[1], op.padding[2], in_w, op.size[1])
    is_flat = op.stride[0] == 1
    if min(height.before, width.before) < 0 or not (is_flat or op.stride[0] == op.stride[1]):
        return [node]
    copies = not is_flat or not (height.is_whole and width.is_whole)
    phases = op.stride[0] * op.stride[1]
    grows = height.taps * width.taps * phases > weights.shape[1] * weights.shape[2]
    if (copies and optimize not in COPIES) or (grows and not (zeros and optimize == "speed")):
        return [node]
    return _parts(node, height, width)


def _parts(node: Node, height: _Axis, width: _Axis) -> list[Node]:
    op, y = node.op, node.output
    assert isinstance(op, TransposeConv)
    phases = height.stride * width.stride
    pads = height.before, height.behind, width.before, width.behind
    inputs = [node.input(0), _weights(node.input(1), height, width), *(_repeated(t, phases) for t in node.inputs[2:3])]
    steps: list[tuple[Conv2D | DepthToSpace | Reshape | Slice, list[Tensor | None], tuple[int, ...]]] = []
    n, channels = y.shape[0], y.shape[3]
    deep = n, height.count, width.count, phases * channels
    steps.append((Conv2D(padding=pads, activation=op.activation), inputs, deep))
    wide = n, height.count * height.stride, width.count * width.stride, channels
    if phases > 1:
        steps.append((DepthToSpace(height.stride) if height.stride > 1 else Reshape(wide), [], wide))
    if wide != y.shape:
        steps.append((Slice((0, height.start, width.start, 0), y.shape), [], y.shape))
    result: list[Node] = []
    for i, (step, given, shape) in enumerate(steps):
        output = y if i == len(steps) - 1 else Tensor(f"{y.name}_{step.kind.lower()}", shape, y.dtype, y.quantization)
        result.append(Node(step, given or [result[-1].output], [output], node.name))
    return result


def _weights(weights: Tensor, height: _Axis, width: _Axis) -> Tensor:
    """(phases x out_c, taps, taps, in_c): of each phase every stride-th tap, the last one first."""
    assert weights.data is not None
    out_c, kernel_h, kernel_w, in_c = weights.shape
    full = np.zeros((out_c, height.taps * height.stride, width.taps * width.stride, in_c), weights.data.dtype)
    full[:, :kernel_h, :kernel_w] = weights.data
    split = full.reshape(out_c, height.taps, height.stride, width.taps, width.stride, in_c)[:, ::-1, :, ::-1]
    data = np.ascontiguousarray(split.transpose(2, 4, 0, 1, 3, 5))
    shape = height.stride * width.stride * out_c, height.taps, width.taps, in_c
    return _tensor(weights, data.reshape(shape), height.stride * width.stride)


def _repeated(bias: Tensor | None, phases: int) -> Tensor | None:
    return None if bias is None else _tensor(bias, np.tile(np.asarray(bias.data), phases), phases)


def _tensor(tensor: Tensor, data: Array, phases: int) -> Tensor:
    """Other data, with the scales of the channels for each phase."""
    quantization = tensor.quantization
    if quantization is not None and quantization.scale.size > 1:
        scale, zero_point = (np.tile(values, phases) for values in (quantization.scale, quantization.zero_point))
        quantization = Quantization(scale, zero_point, quantization.axis)
    return replace(tensor, name=f"{tensor.name}_phases", shape=data.shape, quantization=quantization, data=data)
