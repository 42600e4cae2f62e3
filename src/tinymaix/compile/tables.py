"""Calls of one kernel by several layers, as a table: small code where a call with twenty literals would not be.

A call spends four to eight bytes of code on each argument, a row of a table one, two or four; what all layers agree on
stands once, in the function that hands a row on to the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tinymaix.ops.emit import Call, Kernel, LayerCode

FEWEST_CALLS = 3
FEWEST_ARGUMENTS = 5
"""Calls of a kernel, and arguments in which they differ, from which on a table is smaller than the calls."""

INTEGER = re.compile(r"-?\d+")
PLACE = re.compile(r"(.*\b[A-Z]\w*\()(\d+)(\))")
"""A pointer into the arena, such as (uint32_t *)I32(128)."""
TYPES = (
    ("uint8_t", 0, 2**8), ("int8_t", -(2**7), 2**7), ("uint16_t", 0, 2**16), ("int16_t", -(2**15), 2**15),
    ("int32_t", -(2**31), 2**31),
)  # fmt: skip


@dataclass(frozen=True)
class _Field:
    """A parameter in which the calls differ."""

    name: str
    kind: str  # its C type in the table
    words: list[str]  # its value in each row
    argument: str  # what the kernel gets, with {} for the value of the row

    @property
    def bytes(self) -> int:
        return next((int(size) // 8 for size in re.findall(r"\d+", self.kind) if "*" not in self.kind), 4)


def tables(layers: Sequence[LayerCode]) -> tuple[list[str], dict[int, str]]:
    """The C of all tables, and by id of each call that is a row of one, what stands in its place."""
    calls: dict[str, list[tuple[int, Call]]] = {}
    for layer in layers:
        for call in layer.calls:
            calls.setdefault(call.kernel.name, []).append((layer.index, call))
    texts: list[str] = []
    places: dict[int, str] = {}
    for name, rows in calls.items():
        kernel = rows[0][1].kernel
        fields, shared = _columns(kernel, [call for _, call in rows])
        if len(rows) >= FEWEST_CALLS and len(fields) >= FEWEST_ARGUMENTS:
            texts.append(_text(kernel, fields, shared, [index for index, _ in rows]))
            places |= {id(call): f"{name}_row(&{name}_rows[{row}]);" for row, (_, call) in enumerate(rows)}
    return texts, places


def _columns(kernel: Kernel, calls: Sequence[Call]) -> tuple[list[_Field], dict[str, str]]:
    """The parameters in which the calls differ, the widest first, and the others with their argument."""
    fields, shared = [], {}
    for column, (name, kind) in enumerate(kernel.parameters):
        words = [call.arguments[column] for call in calls]
        if len(set(words)) == 1:
            shared[name] = words[0]
        else:
            fields.append(_field(name, kind, words))
    return sorted(fields, key=lambda field: -field.bytes), shared


def _field(name: str, kind: str, words: list[str]) -> _Field:
    places = [PLACE.fullmatch(word) for word in words]
    if all(places) and len({(place[1], place[3]) for place in places if place}) == 1:
        offsets = [place[2] for place in places if place]
        first = places[0]
        return _Field(name, _narrowest(offsets), offsets, f"{first[1]}{{}}{first[3]}" if first else "")
    if "*" not in kind and all(INTEGER.fullmatch(word) for word in words):
        return _Field(name, _narrowest(words), words, "{}")
    return _Field(name, kind, words, "{}")


def _narrowest(words: Sequence[str]) -> str:
    """The smallest C type that holds all values."""
    numbers = [int(word) for word in words]
    return next((kind for kind, low, high in TYPES if low <= min(numbers) and max(numbers) < high), "int64_t")


def _text(kernel: Kernel, fields: Sequence[_Field], shared: dict[str, str], indices: Sequence[int]) -> str:
    name = kernel.name
    members = "".join(f"    {field.kind}{'' if '*' in field.kind else ' '}{field.name};\n" for field in fields)
    rows = "".join(
        f"    {{{', '.join(field.words[row] for field in fields)}}}, /* layer {index} */\n"
        for row, index in enumerate(indices)
    )
    given = {field.name: field.argument.format(f"row->{field.name}") for field in fields} | shared
    arguments = [f"/* {parameter} */ {given[parameter]}" for parameter, _ in kernel.parameters]
    lines = ",\n        ".join(", ".join(arguments[i : i + 4]) for i in range(0, len(arguments), 4))
    return (
        f"/* {name}: the arguments in which its layers differ, and the call with those in which they agree. */\n"
        f"struct {name}_arguments {{\n{members}}};\n\n"
        f"static const struct {name}_arguments {name}_rows[{len(indices)}] = {{\n{rows}}};\n\n"
        f"static SMALL void {name}_row(const struct {name}_arguments *row)\n{{\n    {name}(\n        {lines});\n}}\n"
    )
