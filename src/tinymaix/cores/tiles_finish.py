"""How a sum that is complete becomes int8: by one product where that is proven, else as TFLM does it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinymaix.cores.core import Core
from tinymaix.cores.exact_high import CENTERED, PLAIN, SIGNED, HighRequant, prove_high_node
from tinymaix.cores.finish import FINISHED_S8
from tinymaix.graph import Array, Node
from tinymaix.ops.accumulate import multipliers
from tinymaix.ops.emit import Kernel
from tinymaix.ops.fixed_point import REQUANTIZE, quantized_range


@dataclass(frozen=True, eq=False)
class Finish:
    """The end of a layer's sums. A sum is of weights times raw inputs, without bias."""

    name: str  # part of a kernel's name
    reason: str
    constants: Array  # (channels, words) int32: what a kernel reads of each channel
    fixed: Array  # bool: channels whose weights count as 0
    center: int  # the kernel's argument
    clamp: bool  # whether a clamp narrower than int8 can act behind it
    loads: tuple[str, ...]  # C declarations from FLASH_I32(constant + ...), for all sums of a channel
    value: str  # C expression that makes int8 of ``sum``
    needs: tuple[Kernel, ...]

    @property
    def width(self) -> int:
        """Words of a channel."""
        return int(self.constants.shape[1])


def finish_of(node: Node, activation: str, channel_axis: int, core: Core) -> Finish:
    """For an int8 convolution or fully connected layer; channel_axis: of the weights, that numbers output channels."""
    requant = prove_high_node(node, activation, channel_axis, varied=True, forms=(PLAIN, CENTERED, SIGNED))
    return _general(node, activation, channel_axis) if requant is None else _proven(requant)


def _proven(requant: HighRequant) -> Finish:
    words = ["multiplier"] + ["sign"] * requant.signed + ["right"] * requant.varied
    absent = [f"const int32_t {word} = 0;" for word in ("sign", "right") if word not in words]
    return Finish(
        f"{'signed_' * requant.signed}{'varied_' * requant.varied}{requant.shift}",
        "requantized by one product",
        np.concatenate([requant.start[:, None], requant.constants], axis=1).astype(np.int32),
        requant.fixed,
        requant.center,
        requant.clamp,
        (*_loads(["start", *words]), *absent),
        f"finished_s8((uint32_t)sum * 256 + (uint32_t)start, multiplier, sign, (int)right, center, {requant.shift})",
        (FINISHED_S8,),
    )


def _general(node: Node, activation: str, channel_axis: int) -> Finish:
    weights, bias = node.input(1), node.optional(2)
    assert weights.data is not None
    flat = np.moveaxis(weights.data, channel_axis, 0).reshape(weights.shape[channel_axis], -1).astype(np.int64)
    given = np.zeros(len(flat), np.int64) if bias is None or bias.data is None else bias.data.reshape(-1)
    start = given.astype(np.int64) - node.input(0).q.z * flat.sum(axis=1)
    multiplier, shift = (np.broadcast_to(values, start.shape) for values in multipliers(node))
    return Finish(
        "any",
        "requantized as TFLM does",
        np.stack([start, multiplier, shift], axis=1).astype(np.int32),
        np.zeros(len(flat), bool),
        node.output.q.z,
        quantized_range(activation, node.output) != (-128, 127),
        tuple(_loads(["start", "multiplier", "shift"])),
        "requantized_s8(sum + start, multiplier, (int)shift, center)",
        (REQUANTIZED_S8,),
    )


def _loads(words: list[str]) -> list[str]:
    return [f"const int32_t {word} = FLASH_I32(constant + {at});" for at, word in enumerate(words)]


REQUANTIZED_S8 = Kernel(
    "requantized_s8",
    """\
/* A sum to int8 as TFLM does it */
static inline int8_t requantized_s8(int32_t sum, int32_t multiplier, int shift, int32_t zero)
{
    int32_t value = requantize(sum, multiplier, shift) + zero;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}
""",
    (REQUANTIZE,),
)
