"""What AVERAGE_POOL_2D and MAX_POOL_2D share: their window over NHWC, options, and rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import Operator, OptionFields, Options, array, same_quantization
from tinymaix.ops.conv_2d import fused_activation
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.fixed_point import ACTIVATIONS, float_range, quantized_range
from tinymaix.ops.window import Padding, Pair, Window, nhwc, padding_code, padding_of

Self = TypeVar("Self", bound="Pool2D")


@dataclass(frozen=True)
class Pool2D(Operator):
    """One value for each window and channel of x NHWC. Padding takes no part: windows are cut at the border."""

    pool: Pair = (2, 2)
    stride: Pair = (2, 2)
    padding: Padding = (0, 0, 0, 0)
    activation: str = "none"

    types: ClassVar[tuple[str, ...]] = ("int8", "int16", "float32")

    @classmethod
    def from_tflite(
        cls: type[Self], options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> Self:
        pool, stride = (options.i32(4), options.i32(3)), (options.i32(2), options.i32(1))
        padding = padding_of(options.i8(0), _shape(inputs), pool, stride)
        return cls(pool, stride, padding, fused_activation(options.i8(5)))

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        return {
            0: ("i8", padding_code(self.window(), node.input(0).shape)),
            1: ("i32", self.stride[1]),
            2: ("i32", self.stride[0]),
            3: ("i32", self.pool[1]),
            4: ("i32", self.pool[0]),
            5: ("i8", ACTIVATIONS.index(self.activation)),
        }, list(node.inputs)

    def window(self) -> Window:
        return Window(self.pool, self.stride, (1, 1), self.padding)

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = _shape(inputs)
        top, bottom, left, right = self.padding
        if max(top, bottom) >= self.pool[0] or max(left, right) >= self.pool[1]:
            raise ModelError(f"padding {self.padding} leaves windows of {self.pool} without any input")
        return [(shape[0], *self.window().output(shape[1], shape[2]), shape[3])]

    def problems(self, node: Node) -> list[str]:
        return super().problems(node) or same_quantization(node)

    def overwrites(self, node: Node) -> list[int]:
        """A window begins at or behind the address of its output, unless padding or a larger output moves it before."""
        x, y = node.input(0), node.output
        behind = self.padding[0] == self.padding[2] == 0 and y.shape[1] <= x.shape[1] and y.shape[2] <= x.shape[2]
        return [0] if behind else []

    def taps(self, node: Node, x: Array, fill: int | float) -> list[Array]:
        """The window's elements in the kernel's order, each (N, out_h, out_w, C); ``fill`` in the padding."""
        windows = self.window().views(x, fill)
        return [windows[..., ky, kx] for ky, kx in np.ndindex(*self.pool)]

    def bounds(self, node: Node) -> tuple[Array, Array]:
        """The fused activation's lowest and highest raw value, in the output's type."""
        output = node.output
        integer = output.dtype != np.float32
        low, high = quantized_range(self.activation, output) if integer else float_range(self.activation)
        return np.asarray(low, output.dtype), np.asarray(high, output.dtype)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.clip(self.values(node, array(inputs[0])), *self.bounds(node)).astype(node.output.dtype)]

    def values(self, node: Node, x: Array) -> Array:
        """Raw outputs without the fused activation."""
        raise NotImplementedError

    def emit(self, node: Node, code: LayerCode) -> None:
        (n, in_h, in_w, channels), (_, out_h, out_w, _) = node.input(0).shape, node.output.shape
        low, high = self.bounds(node)
        geometry: dict[str, Argument] = {
            "batches": n, "in_h": in_h, "in_w": in_w, "channels": channels, "out_h": out_h, "out_w": out_w,
            "pool_h": self.pool[0], "pool_w": self.pool[1], "stride_h": self.stride[0], "stride_w": self.stride[1],
            "pad_top": self.padding[0], "pad_left": self.padding[2],
        }  # fmt: skip
        code.call(
            self.kernel(node.output.dtype.name),
            x=code.input(0),
            y=code.output(),
            low=low.item(),
            high=high.item(),
            **geometry,
        )

    def kernel(self, dtype: str) -> Kernel:
        """The C kernel for a type, made by `pool_kernel`."""
        raise NotImplementedError


def _shape(inputs: Sequence[Tensor | None]) -> Shape:
    if not inputs or inputs[0] is None:
        raise ModelError("the input is missing")
    return nhwc(inputs[0].shape, f"'{inputs[0].name}'")


def pool_kernel(
    name: str, c_type: str, sum_type: str, comment: str, start: str, step: str, finish: str, *needs: Kernel
) -> Kernel:
    """A C kernel that begins each window with ``start``, does ``step`` for each ``value`` in it, then ``finish``."""
    return Kernel(
        name,
        f"""\
/* {comment} NHWC; windows are cut at the border. */
static void {name}(const {c_type} *x, {c_type} *y, {sum_type} low, {sum_type} high,
    int batches, int in_h, int in_w, int channels, int out_h, int out_w,
    int pool_h, int pool_w, int stride_h, int stride_w, int pad_top, int pad_left)
{{
    for (int n = 0; n < batches; n++, x += in_h * in_w * channels)
        for (int oy = 0; oy < out_h; oy++) {{
            int top = oy * stride_h - pad_top, bottom = top + pool_h;
            if (top < 0)
                top = 0;
            if (bottom > in_h)
                bottom = in_h;
            for (int ox = 0; ox < out_w; ox++) {{
                int left = ox * stride_w - pad_left, right = left + pool_w;
                if (left < 0)
                    left = 0;
                if (right > in_w)
                    right = in_w;
                for (int c = 0; c < channels; c++) {{
                    {sum_type} result = {start};
                    for (int iy = top; iy < bottom; iy++)
                        for (int ix = left; ix < right; ix++) {{
                            {sum_type} value = x[(iy * in_w + ix) * channels + c];
                            {step}
                        }}
{finish}\
                }}
            }}
        }}
}}
""",
        needs,
    )
