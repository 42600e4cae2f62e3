"""What RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR share: attributes, spelling and shape rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from tinymaix.graph import ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, constant_ints, int_tensor
from tinymaix.ops.move import input_shape
from tinymaix.ops.window import Pair, nhwc

Self = TypeVar("Self", bound="Resize")


@dataclass(frozen=True)
class Resize(Operator):
    """``size`` is the output's (height, width)."""

    size: Pair
    align_corners: bool = False
    half_pixel_centers: bool = False

    first_flag: ClassVar[int]
    """The field of the options that says align_corners; half_pixel_centers is the next."""

    @classmethod
    def from_tflite(
        cls: type[Self], options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> Self:
        size = constant_ints(inputs, 1, "the new size")
        if len(size) != 2:
            raise ModelError(f"the new size must be a height and a width, not {list(size)}")
        return cls((size[0], size[1]), options.flag(cls.first_flag), options.flag(cls.first_flag + 1))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        flags = ("flag", self.align_corners), ("flag", self.half_pixel_centers)
        fields: OptionFields = {self.first_flag + i: flag for i, flag in enumerate(flags)}
        return fields, [*node.inputs, int_tensor("size", self.size)]

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        batch, height, width, channels = nhwc(input_shape(inputs), "the input")
        if min(*self.size, height, width) < 1:
            raise ModelError(f"an image of {height}x{width} cannot be resized to {self.size[0]}x{self.size[1]}")
        return [(batch, *self.size, channels)]
