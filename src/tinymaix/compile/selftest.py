"""C that runs a compiled model: selftest.c for any chip, harness.c for the emulators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinymaix.compile.model_c import FLASH_MACROS, arguments
from tinymaix.compile.text import array_definition, block_comment
from tinymaix.graph import Array, Tensor
from tinymaix.ops.emit import C_TYPES, Constant
from tinymaix.plan import Plan

FLOAT_TOLERANCE = 1e-4
"""Largest difference of a float output, relative to the largest output, that the self-test lets pass."""


def selftest(plan: Plan, name: str, inputs: Sequence[Array], outputs: Sequence[Array]) -> str:
    """selftest.c: a golden input, the output that it must give, and the comparison."""
    expected = iter(outputs)
    given = iter(inputs)
    constants, fills, checks = [], [], []
    for argument, tensor, is_input in arguments(plan):
        place = f"{name}_{argument}".upper()
        data = next(given) if is_input else next(expected)
        constant = Constant(f"golden_{argument}", np.ascontiguousarray(data), tensor.name)
        constants.append(array_definition(constant))
        if is_input:
            fills.append(f"    FLASH_COPY({place}, {constant.name}, sizeof {constant.name});")
        else:
            checks.append(_check(tensor, place, constant))
    places = ", ".join(f"{name}_{argument}".upper() for argument, _, _ in arguments(plan))
    usage = (
        f"Self-test of {name}: call {name}_selftest() on the chip. It returns 0 where every output is the golden one, "
        "otherwise how many values are wrong. Compile with -DSELFTEST_MAIN for a main() that returns the same."
    )
    return "\n".join(
        [
            block_comment(usage),
            '#include "model.h"',
            "#include <string.h>",
            "",
            FLASH_MACROS,
            *constants,
            f"int {name}_selftest(void);\n",
            f"int {name}_selftest(void)",
            "{",
            "    int wrong = 0;",
            *([f"    {name}_reset();"] if plan.state_bytes else []),
            *fills,
            f"    {name}_run({places});",
            *checks,
            "    return wrong;",
            "}",
            "",
            "#ifdef SELFTEST_MAIN",
            "int main(void)",
            "{",
            f"    return {name}_selftest();",
            "}",
            "#endif",
            "",
        ]
    )


def _check(tensor: Tensor, place: str, constant: Constant) -> str:
    kind = C_TYPES[tensor.dtype.name]
    if tensor.dtype == np.float32:
        margin = FLOAT_TOLERANCE * max(float(np.abs(constant.data).max(initial=0)), 1e-3)
        return (
            f"    for (int i = 0; i < {tensor.elements}; i++) {{\n"
            f"        float off = {place}[i] - FLASH_F32({constant.name} + i);\n"
            f"        wrong += !(off <= {margin:.9g}f && off >= -{margin:.9g}f);\n    }}"
        )
    if tensor.dtype.itemsize == 8:
        return (
            f"    for (int i = 0; i < {tensor.elements}; i++) {{\n        {kind} golden;\n"
            f"        FLASH_COPY(&golden, {constant.name} + i, sizeof golden);\n"
            f"        wrong += {place}[i] != golden;\n    }}"
        )
    load = {"int8": "FLASH_I8", "int16": "FLASH_I16", "int32": "FLASH_I32"}.get(tensor.dtype.name, "FLASH_U8")
    return (
        f"    for (int i = 0; i < {tensor.elements}; i++)\n        wrong += {place}[i] != {load}({constant.name} + i);"
    )


def harness(plan: Plan, name: str) -> str:
    """harness.c: one inference on what an emulator wrote into the arena, without a copy."""
    places = ", ".join(f"{name}_{argument}".upper() for argument, _, _ in arguments(plan))
    return (
        f"{block_comment('What is measured: one inference, inputs and outputs in their own places.')}\n"
        '#include "model.h"\n\n'
        f"int tm_main(void);\n\nint tm_main(void)\n{{\n    return {name}_run({places});\n}}\n"
    )
