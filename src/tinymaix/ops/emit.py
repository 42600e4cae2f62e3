"""What an operator hands to the compiler: C functions, constants and calls of one layer.

Kernels are whole C functions, never templates: shapes and offsets are arguments that the call site gives as literals.
Arguments are given by the names in the C prototype, so that they cannot change places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tinymaix.graph import Array, Node, Tensor

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float32": "float",
    "bool": "uint8_t",
}

Argument = int | float | str


@dataclass(frozen=True, eq=False)
class Kernel:
    """One C function with the functions it calls. ``source`` is the whole definition with the comment above it.

    Weights and other constants are read through ``FLASH_I8(p)``, ``FLASH_I16(p)``, ``FLASH_I32(p)``, ``FLASH_F32(p)``
    (a load, or pgm_read on AVR); activations are read directly.
    """

    name: str
    source: str
    needs: tuple[Kernel, ...] = ()

    @cached_property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """(name, C type) of each parameter, read from the prototype in ``source``."""
        match = re.search(rf"\b{re.escape(self.name)}\s*\(([^)]*)\)\s*\{{", self.source)
        if not match:
            raise ValueError(f"kernel {self.name}: its source does not define it")
        parts = [part.strip() for part in match[1].split(",")]
        return tuple((m[2], m[1].strip()) for p in parts if (m := re.fullmatch(r"(.*?)(\w+)", p, re.S)) and m[1])


SMALL = Kernel(
    "SMALL",
    """\
/* For functions whose time is spent in those that they call: as little code as can be. (GCC 12 drops calls from a
 * function whose attribute is optimize("Os"), which its manual calls fit for debugging only.) */
#if defined(__clang__)
#define SMALL __attribute__((noinline, minsize))
#elif defined(__GNUC__)
#define SMALL __attribute__((noinline, cold))
#else
#define SMALL
#endif
""",
)


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that stands in flash beside the code: ``name`` is its C identifier."""

    name: str
    data: Array
    comment: str = ""
    in_ram: bool = False  # read as an activation: on AVR such data cannot stay in program memory


@dataclass(frozen=True)
class Call:
    """One statement of the emitted run function."""

    kernel: Kernel
    arguments: tuple[str, ...]

    def lines(self) -> list[str]:
        """The call as C text: pointers first, then the numbers in rows under the names of the parameters."""
        names = [name for name, _ in self.kernel.parameters]
        pointers = [a for a, (_, t) in zip(self.arguments, self.kernel.parameters, strict=True) if "*" in t]
        numbers = [(n, a) for n, a in zip(names, self.arguments, strict=True)][len(pointers) :]
        rows = [", ".join(pointers)] if pointers else []
        for start in range(0, len(numbers), 6):
            row = numbers[start : start + 6]
            rows.append(f"/* {' '.join(n for n, _ in row)} */ {', '.join(a for _, a in row)}")
        text = [f"{self.kernel.name}({rows[0]}"] if rows else [f"{self.kernel.name}("]
        for row_text in rows[1:]:
            text[-1] += ","
            text.append(f"    {row_text}")
        text[-1] += ");"
        return text


@dataclass(frozen=True)
class Implementation:
    """One way to compute a node on a core, chosen before the activations are placed."""

    emit: Callable[[LayerCode], None]
    scratch: int = 0  # bytes of working memory, 4-byte aligned
    lead: int | None = None  # bytes by which the first input must begin above the output; None: they must not overlap
    reason: str = ""  # why this kernel: a comment of the emitted C
    portable: bool = False  # the operator's own kernel rather than the core's


@dataclass(eq=False)
class LayerCode:
    """The C of one layer while it is made. ``pointer`` gives a tensor's typed C pointer, as "I8(128)"."""

    node: Node
    index: int
    pointer: Callable[[Tensor], str]
    scratch: str = "NULL"
    reason: str = ""
    replace: Mapping[str, Kernel] = field(default_factory=dict)  # a core's own kernels, by the portable kernel's name
    pool: dict[tuple[str, bytes], Constant] = field(default_factory=dict)  # arrays of all layers: equal ones are shared
    constants: list[Constant] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def input(self, index: int) -> str:
        """C pointer to an input. A constant operand becomes an array that is read like an activation."""
        tensor = self.node.input(index)
        if tensor.data is not None:
            return self._add(Constant(f"operand{index}_{self.index}", tensor.data, tensor.name, in_ram=True))
        return self.pointer(tensor)

    def output(self, index: int = 0) -> str:
        return self.pointer(self.node.outputs[index])

    def constant(self, role: str, data: Array | Sequence[int], dtype: str | None = None, comment: str = "") -> str:
        """Place an array in flash and return its C identifier, such as "weights_3"."""
        return self._add(Constant(f"{role}_{self.index}", np.asarray(data, dtype), comment))

    def call(self, kernel: Kernel, **arguments: Argument) -> None:
        """Call ``kernel`` with arguments by the names in its prototype (pointers stand first there).

        Floats become literals that give back the same float32.
        """
        kernel = self.replace.get(kernel.name, kernel)
        names = [name for name, _ in kernel.parameters]
        if set(names) != set(arguments):
            raise TypeError(f"{kernel.name} takes {', '.join(names)}; given were {', '.join(arguments)}")
        self.calls.append(Call(kernel, tuple(literal(arguments[name]) for name in names)))

    def _add(self, constant: Constant) -> str:
        key = (f"{constant.data.dtype} {constant.in_ram}", constant.data.tobytes())
        known = self.pool.setdefault(key, constant)
        if known is constant:
            self.constants.append(constant)
        return known.name


def literal(value: Argument) -> str:
    """A C literal. int32's minimum is spelled so that no compiler takes it for a long."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, np.integer)):
        return "(-2147483647 - 1)" if int(value) == -(2**31) else str(int(value))
    number = np.float32(value)
    if not np.isfinite(number):
        raise ValueError(f"{value} cannot stand in C; clamps without a bound use the largest float32")
    text = np.format_float_scientific(number, unique=True, trim="0")
    return f"{text}f"
