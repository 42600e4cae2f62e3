"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN over height and width of int8: four channels a word.

Sums are pairs of halfwords, whose mean and requantization is one product (see cores/exact_linear.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinymaix.cores.armv7em.pool_kernels import MAXIMUM, UNROLLED, Reduction, mean_of, pool_kernel
from tinymaix.cores.core import Core
from tinymaix.cores.exact_linear import LinearRequant, prove_linear
from tinymaix.cores.finish import clamped
from tinymaix.graph import Node
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.emit import Argument, Implementation, LayerCode
from tinymaix.ops.fixed_point import quantized_range, requantize
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.mean import Mean
from tinymaix.ops.pooling import Pool2D
from tinymaix.ops.window import Pair

MOST = 256
"""Taps of a mean: so many bytes always sum to a halfword."""
BELOW = 16
"""Bits of the product that SMLAWB drops."""
SHIFTS = (20, 16, 12)


def choose_max_pool_2d(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for MAX_POOL_2D, none where the portable one serves."""
    op = node.op
    assert isinstance(op, MaxPool2D)
    if node.output.dtype != np.int8 or optimize == "flash" or node.output.shape[0] > 1:
        return ()
    limits = quantized_range(op.activation, node.output)
    emit = partial(_emit, MAXIMUM, op.pool, any(op.padding), _pool_sizes(node, op))
    return [clamped(Implementation(emit, reason="four channels a word"), node, limits != (-128, 127), limits)]


def choose_average_pool_2d(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for AVERAGE_POOL_2D, none where the portable one serves, as for windows that the border cuts."""
    op = node.op
    assert isinstance(op, AveragePool2D)
    count = op.pool[0] * op.pool[1]
    if node.output.dtype != np.int8 or optimize == "flash" or node.output.shape[0] > 1:
        return ()
    if any(op.padding) or count > MOST:
        return ()
    limits = quantized_range(op.activation, node.output)
    sums = np.arange(-128 * count, 127 * count + 1)
    wanted = np.clip(np.sign(sums) * ((np.abs(sums) + count // 2) // count), *limits)
    fast = prove_linear(wanted, limits, [sums], [1 / count], BELOW, SHIFTS)
    return _means(node, op.pool, _pool_sizes(node, op), fast, limits)


def choose_mean(node: Node, core: Core, optimize: str) -> Sequence[Implementation]:
    """The kernels for MEAN over height and width, none where the portable one serves."""
    op, shape = node.op, node.input(0).shape
    assert isinstance(op, Mean)
    if node.output.dtype != np.int8 or optimize == "flash" or len(shape) != 4 or op.reduced(4) != (1, 2):
        return ()
    batches, height, width, channels = shape
    count = height * width
    if count > MOST:
        return ()
    zero_sum, multiplier, shift = op.scales(node)
    sums = np.arange(-128 * count, 127 * count + 1)
    wanted = np.clip(requantize(sums - zero_sum, multiplier, shift) + node.output.q.z, -128, 127)
    gain = node.input(0).q.s / node.output.q.s / count
    fast = prove_linear(wanted, (-128, 127), [sums], [gain], BELOW, SHIFTS, [zero_sum])
    # A batch lies below the one before it: one more window of one image.
    window = height, width
    sizes = _sizes((batches * height, width, channels), (batches, 1), window, window, (0, 0))
    return _means(node, window, sizes, fast, (-128, 127))


def _means(
    node: Node, pool: Pair, sizes: dict[str, Argument], fast: LinearRequant | None, limits: tuple[int, int]
) -> Sequence[Implementation]:
    if fast is None:
        return ()
    constants: dict[str, Argument] = {
        "multiplier": fast.multipliers[0],
        "offset": fast.offset,
        "sign": fast.sign,
        "center": fast.center,
    }
    emit = partial(_emit, mean_of(fast.shift, fast.signed), pool, False, {**constants, **sizes})
    reason = "sums of four channels a word, their means by one product"
    return [clamped(Implementation(emit, reason=reason), node, fast.clamp, limits)]


def _pool_sizes(node: Node, op: Pool2D) -> dict[str, Argument]:
    (_, in_h, in_w, channels), (_, out_h, out_w, _) = node.input(0).shape, node.output.shape
    return _sizes((in_h, in_w, channels), (out_h, out_w), op.pool, op.stride, (op.padding[0], op.padding[2]))


def _sizes(x: tuple[int, int, int], out: Pair, pool: Pair, stride: Pair, pad: Pair) -> dict[str, Argument]:
    return {
        "in_h": x[0], "in_w": x[1], "channels": x[2], "out_h": out[0], "out_w": out[1],
        "pool_h": pool[0], "pool_w": pool[1], "stride_h": stride[0], "stride_w": stride[1],
        "pad_top": pad[0], "pad_left": pad[1],
    }  # fmt: skip


def _emit(reduction: Reduction, pool: Pair, cut: bool, arguments: dict[str, Argument], code: LayerCode) -> None:
    many = arguments["out_h"] != 1 or arguments["out_w"] != 1  # for one window loops are quick enough
    kernel = pool_kernel(reduction, pool if max(pool) <= UNROLLED and many else None, cut)
    taken = {name for name, _ in kernel.parameters}
    given = {name: value for name, value in arguments.items() if name in taken}
    code.call(kernel, x=code.input(0), y=code.output(), **given)
