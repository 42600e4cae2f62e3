"""The text of model.c and model.h.

model.c keeps apart what is constant (weights), what is working memory (the arena) and what happens (one function in the
order of execution), so that it can be read from top to bottom.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

from tinymaix.compile.layers import describe, dims, kernels_in_order, pointer
from tinymaix.compile.tables import tables
from tinymaix.compile.text import array_definition, block_comment, comment_text, section
from tinymaix.graph import Tensor, unique
from tinymaix.ops.emit import C_TYPES, SMALL, Call, Constant, Kernel, LayerCode
from tinymaix.plan import Plan

FLASH_MACROS = """\
/* Constants stay in flash. An AVR cannot read flash with plain loads; every other core can. With WEIGHTS_IN_RAM
 * start-up code copies them to RAM with the variables, which is faster where flash is slow and no cache holds them. */
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define FLASH PROGMEM
#define FLASH_I8(p) ((int8_t)pgm_read_byte(p))
#define FLASH_U8(p) ((uint8_t)pgm_read_byte(p))
#define FLASH_I16(p) ((int16_t)pgm_read_word(p))
#define FLASH_I32(p) ((int32_t)pgm_read_dword(p))
#define FLASH_I64(p) ((int64_t)((uint64_t)pgm_read_dword(p) | (uint64_t)pgm_read_dword((const char *)(p) + 4) << 32))
#define FLASH_F32(p) pgm_read_float(p)
#define FLASH_COPY memcpy_P
#else
#if defined(WEIGHTS_IN_RAM)
#define FLASH __attribute__((section(".data.weights")))
#else
#define FLASH
#endif
#define FLASH_I8(p) (*(p))
#define FLASH_U8(p) (*(p))
#define FLASH_I16(p) (*(p))
#define FLASH_I32(p) (*(p))
#define FLASH_I64(p) (*(p))
#define FLASH_F32(p) (*(p))
#define FLASH_COPY memcpy
#endif
"""


def arguments(plan: Plan) -> list[tuple[str, Tensor, bool]]:
    """(name, tensor, is input) of each parameter of the run function, inputs first."""

    def names(kind: str, tensors: Sequence[Tensor]) -> list[str]:
        return [kind] if len(tensors) == 1 else [f"{kind}{i}" for i in range(len(tensors))]

    graph = plan.graph
    inputs = zip(names("input", graph.inputs), graph.inputs, strict=True)
    outputs = zip(names("output", graph.outputs), graph.outputs, strict=True)
    return [*((name, t, True) for name, t in inputs), *((name, t, False) for name, t in outputs)]


def prototype(plan: Plan, name: str) -> str:
    parts = [f"{'const ' if is_input else ''}{C_TYPES[t.dtype.name]} *{n}" for n, t, is_input in arguments(plan)]
    return f"int {name}_run({', '.join(parts)})"


def header(plan: Plan, name: str, intro: str) -> str:
    """model.h: the run function, and where its inputs and outputs stand in the arena."""
    lines = []
    for argument, tensor, is_input in arguments(plan):
        macro = f"{name}_{argument}".upper()
        kind = C_TYPES[tensor.dtype.name]
        quantized = tensor.quantization is not None and not tensor.quantization.per_channel
        scale = f", real = {tensor.q.s:.9g} * (q - {tensor.q.z})" if quantized else ""
        lines += [
            f"/* {argument}: {comment_text(tensor.name)}, {dims(tensor.shape)} {tensor.dtype}{scale} */",
            f"#define {macro} (({kind} *)(void *)({name}_arena.bytes + {plan.offsets[id(tensor)]}))",
            f"#define {macro}_SIZE {tensor.elements}",
        ]
        if is_input and quantized and tensor.dtype.kind in "iu":
            lines += [f"#define {macro}_SCALE {tensor.q.s:.9g}f", f"#define {macro}_ZERO {tensor.q.z}"]
    guard = f"{name}_MODEL_H".upper()
    usage = (
        "Run one inference. Returns 0.\nInputs and outputs may stand anywhere. Where an input is already filled in at "
        f"its own place in the arena ({name.upper()}_INPUT...) pass that pointer, or an output's own, and no copy is "
        "made. "
        "A run overwrites the inputs in the arena. Not reentrant: there is one arena."
    )
    return "\n".join(
        [
            block_comment(intro),
            f"#ifndef {guard}",
            f"#define {guard}",
            "",
            "#include <stddef.h>",
            "#include <stdint.h>",
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            f"#define {name.upper()}_ARENA_SIZE {max(plan.arena, 1)}",
            "",
            "/* All working memory of the model. */",
            f"typedef union {{ uint8_t bytes[{name.upper()}_ARENA_SIZE]; int64_t aligned; }} {name}_arena_t;",
            f"extern {name}_arena_t {name}_arena;",
            "",
            *lines,
            "",
            *_state_declarations(plan, name),
            block_comment(usage),
            f"{prototype(plan, name)};",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            "#endif",
            "",
        ]
    )


def source(
    plan: Plan,
    name: str,
    layers: Sequence[LayerCode],
    own: Mapping[str, Kernel],
    intro: str,
    *,
    compact: bool = False,
    in_ram: bool = False,
) -> str:
    """model.c; compact: calls of one kernel by several layers become a table; in_ram: constants are copied to RAM."""
    texts, rows = tables(layers) if compact else ([], {})
    constants = [constant for layer in layers for constant in layer.constants]
    fixed = {
        id(tensor): Constant(f"{name}_{argument}_value", tensor.data, tensor.name, in_ram=True)
        for argument, tensor, is_input in arguments(plan)
        if tensor.data is not None and not is_input
    }
    calls = [call for layer in layers for call in layer.calls]
    parts = [
        block_comment(intro),
        '#include "model.h"\n#include <string.h>\n',
        "#define WEIGHTS_IN_RAM\n" * in_ram + FLASH_MACROS,
        section("weights and other constants"),
        *(array_definition(constant) for constant in (*constants, *fixed.values())),
        *(array_definition(constant) for constant in _initial_values(plan, name).values()),
        section("working memory"),
        f"{name}_arena_t {name}_arena;\n",
        f"{name}_state_t {name}_state;\n" if plan.state_bytes else "",
        _access_macros(name, plan, layers),
        section("kernels"),
        *(kernel.source for kernel in _functions(calls, own, bool(texts))),
        section("the network"),
        *texts,
        _reset_function(plan, name),
        "SMALL " * bool(texts) + _run_function(plan, name, layers, fixed, rows),
    ]
    return "\n".join(part for part in parts if part)


def _functions(calls: Sequence[Call], own: Mapping[str, Kernel], tables: bool) -> list[Kernel]:
    """The kernels, and what tables need."""
    found = kernels_in_order(calls, own)
    return found if SMALL in found or not tables else [SMALL, *found]


def _state_declarations(plan: Plan, name: str) -> list[str]:
    """model.h's part on the states; nothing for a model without any."""
    if not plan.state_bytes:
        return []
    names = "\n".join(f"{plan.states[id(t)]}: {t.name}, {dims(t.shape)} {t.dtype}" for t in plan.graph.states)
    return [
        f"#define {name.upper()}_STATE_SIZE {plan.state_bytes}",
        "",
        block_comment(f"What the model remembers from run to run, each state at its offset:\n{names}"),
        f"typedef union {{ uint8_t bytes[{name.upper()}_STATE_SIZE]; int64_t aligned; }} {name}_state_t;",
        f"extern {name}_state_t {name}_state;",
        "",
        "/* Forget: every state gets its initial value. Call it before the first run and between sequences. */",
        f"void {name}_reset(void);",
        "",
    ]


def _initial_values(plan: Plan, name: str) -> dict[int, Constant]:
    """Arrays for the states, by id, whose initial bytes are not all the same."""
    return {
        id(t): Constant(f"{name}_initial_{i}", t.initial, f"first value of {t.name}")
        for i, t in enumerate(plan.graph.states)
        if t.initial is not None and len(set(t.initial.tobytes())) > 1
    }


def _reset_function(plan: Plan, name: str) -> str:
    if not plan.state_bytes:
        return ""
    arrays, lines = _initial_values(plan, name), []
    for state in plan.graph.states:
        target = pointer(plan, state)
        if id(state) in arrays:
            lines.append(f"    FLASH_COPY({target}, {arrays[id(state)].name}, {state.nbytes});")
        elif state.initial is not None and state.nbytes:
            lines.append(f"    memset({target}, {state.initial.tobytes()[0]}, {state.nbytes});")
    return f"void {name}_reset(void)\n{{\n" + "\n".join(lines) + "\n}\n"


def _access_macros(name: str, plan: Plan, layers: Sequence[LayerCode]) -> str:
    """The typed views of the arena that the run function uses."""
    used = [argument for layer in layers for call in layer.calls for argument in call.arguments]
    places = [pointer(plan, t) for t in (*plan.graph.inputs, *plan.graph.outputs, *plan.graph.states)]
    text = " ".join([*used, *places])
    kinds = {
        "I8": "int8_t", "U8": "uint8_t", "I16": "int16_t", "U16": "uint16_t", "I32": "int32_t", "U32": "uint32_t",
        "I64": "int64_t", "U64": "uint64_t", "F32": "float",
    }  # fmt: skip
    return "".join(
        f"#define {prefix}{macro}(offset) (({kind} *)(void *)({name}_{block}.bytes + (offset)))\n"
        for prefix, block in (("", "arena"), ("STATE_", "state"))
        for macro, kind in kinds.items()
        if re.search(rf"\b{prefix}{macro}\(", text)
    )


def _run_function(
    plan: Plan, name: str, layers: Sequence[LayerCode], fixed: Mapping[int, Constant], rows: Mapping[int, str]
) -> str:
    body: list[str] = []
    for argument, tensor, is_input in arguments(plan):
        if is_input:
            body.append(_copy(pointer(plan, tensor), argument, tensor, argument))
    for tensor in unique(plan.graph.outputs):
        if id(tensor) in fixed:
            body.append(f"memcpy({pointer(plan, tensor)}, {fixed[id(tensor)].name}, {tensor.nbytes});")
    for layer in layers:
        note = "; the same bytes, no code" if layer.node.op.is_view else ""
        note += f"; {layer.reason}" if layer.reason else ""
        body += ["", f"/* {comment_text(describe(layer.node, layer.index) + note)} */"]
        for call in layer.calls:
            body += [rows[id(call)]] if id(call) in rows else call.lines()
    body.append("")
    for argument, tensor, is_input in arguments(plan):
        if not is_input:
            body.append(_copy(argument, pointer(plan, tensor), tensor, argument))
    body.append("return 0;")
    return f"{prototype(plan, name)}\n{{\n{textwrap.indent(chr(10).join(body), '    ')}\n}}\n"


def _copy(to: str, source: str, tensor: Tensor, argument: str) -> str:
    place = to if source == argument else source
    return f"if ({argument} != {place})\n    memcpy({to}, {source}, {tensor.nbytes});"
