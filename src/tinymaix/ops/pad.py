"""PAD with a constant: zero, which is the zero point in int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Shape, Tensor
from tinymaix.ops.base import OptionFields, Options, array, constant_ints, int_tensor, same_quantization
from tinymaix.ops.emit import Argument, Kernel, LayerCode
from tinymaix.ops.move import Move, input_shape, strided
from tinymaix.ops.strides import ROW_OFFSET, row_steps

Self = TypeVar("Self", bound="Pad")


@dataclass(frozen=True)
class Pad(Move):
    """Input: x of any rank. ``pads`` are (elements before, elements after) for each axis."""

    pads: tuple[tuple[int, int], ...] = ()

    kind: ClassVar[str] = "PAD"
    tflite: ClassVar[tuple[int, int]] = (34, 22)

    @classmethod
    def from_tflite(
        cls: type[Self], options: Options, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]
    ) -> Self:
        return cls(pads_of(inputs))

    @classmethod
    def tflite_inputs(cls, inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        return inputs[:1]

    def to_tflite(self, node: Node) -> tuple[OptionFields, list[Tensor | None]]:
        flat = [size for pair in self.pads for size in pair]
        pads = int_tensor(f"{node.output.name}_pads", flat)
        pads.shape = len(self.pads), 2
        assert pads.data is not None
        pads.data = pads.data.reshape(pads.shape)
        return {}, [node.input(0), pads]

    def fill(self, output: Tensor) -> Any:
        """The raw value of the padding."""
        return output.q.z if output.dtype.kind in "iu" and output.quantization is not None else 0

    def infer(self, inputs: Sequence[Tensor | None]) -> list[Shape]:
        shape = input_shape(inputs)
        if len(self.pads) != len(shape) or any(min(pair) < 0 for pair in self.pads):
            raise ModelError(f"pads {self.pads} must be two sizes, not negative, for each axis of {list(shape)}")
        return [tuple(size + before + after for size, (before, after) in zip(shape, self.pads, strict=True))]

    def problems(self, node: Node) -> list[str]:
        output = node.output
        if output.dtype == np.int8 and (output.quantization is None or output.quantization.per_channel):
            return [f"'{output.name}' is int8 without one scale and zero point; the padding needs its zero point"]
        return super().problems(node) or same_quantization(node)

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
        return [np.pad(array(inputs[0]), self.pads, constant_values=self.fill(node.output))]

    def emit(self, node: Node, code: LayerCode) -> None:
        x, y = node.input(0), node.output
        fill = np.array([self.fill(y)], y.dtype).tobytes()
        itemsize = y.dtype.itemsize
        if len(set(fill)) == 1:
            code.call(FILL_BYTES, y=code.output(), value=fill[0], bytes=y.nbytes)
        else:
            value = code.constant("fill", np.frombuffer(fill, np.int8))
            code.call(FILL_ELEMENTS, y=code.output(), value=value, itemsize=itemsize, elements=y.elements)
        steps = row_steps(y.shape)
        loops, run = strided(list(zip(x.shape, steps, strict=True)), itemsize)
        tables: dict[str, Argument] = {"sizes": "NULL", "steps": "NULL"}
        if loops:
            tables["sizes"] = code.constant("sizes", [size for size, _ in loops], "int32")
            tables["steps"] = code.constant("steps", [step for _, (step,) in loops], "int32")
        code.call(
            SPREAD_ROWS,
            x=code.input(0),
            y=code.output(),
            **tables,
            rank=len(loops),
            rows=x.nbytes // run if run else 0,
            bytes=run,
            start=itemsize * sum(before * step for (before, _), step in zip(self.pads, steps, strict=True)),
        )


def pads_of(inputs: Sequence[Tensor | None]) -> tuple[tuple[int, int], ...]:
    """The constant pads of a .tflite's PAD and PADV2."""
    flat = constant_ints(inputs, 1, "the sizes of PAD")
    if len(flat) % 2:
        raise ModelError(f"the sizes of PAD must be pairs, not {len(flat)} numbers")
    return tuple(zip(flat[::2], flat[1::2], strict=True))


FILL_BYTES = Kernel(
    "fill_bytes",
    """\
static void fill_bytes(void *y, int value, int bytes)
{
    memset(y, value, (size_t)bytes);
}
""",
)

FILL_ELEMENTS = Kernel(
    "fill_elements",
    """\
/* Fills y with copies of the `itemsize` bytes at `value`. */
static void fill_elements(void *y, const int8_t *value, int itemsize, int elements)
{
    int8_t *target = (int8_t *)y;
    for (int i = 0; i < elements; i++)
        for (int b = 0; b < itemsize; b++)
            *target++ = FLASH_I8(value + b);
}
""",
)

SPREAD_ROWS = Kernel(
    "spread_rows",
    """\
/* Copies consecutive rows of bytes to where `rank` axes lead in y, counted in bytes from `start`. */
static void spread_rows(const void *x, void *y, const int32_t *sizes, const int32_t *steps, int rank, int rows,
                        int bytes, int start)
{
    const int8_t *source = (const int8_t *)x;
    int8_t *target = (int8_t *)y + start;
    for (int row = 0; row < rows; row++, source += bytes)
        memcpy(target + row_offset(sizes, steps, rank, row), source, (size_t)bytes);
}
""",
    (ROW_OFFSET,),
)
