"""Plan -> the C of every layer: each operator's own, with the functions that the core has better ones for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

from tinymaix.graph import Node, Shape, Tensor
from tinymaix.ops.emit import Call, Constant, Implementation, Kernel, LayerCode
from tinymaix.plan import Plan

ACCESS = {
    "int8": "I8", "uint8": "U8", "bool": "U8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
    "int64": "I64", "uint64": "U64", "float32": "F32",
}  # fmt: skip
"""Type of a tensor -> the macro of the emitted C that gives a typed pointer into the arena."""


def lower(plan: Plan, chosen: Mapping[int, Implementation], own: Mapping[str, Kernel]) -> list[LayerCode]:
    """The C of every node in the order of the plan, each computed as chosen; a view has none."""
    pool: dict[tuple[str, bytes], Constant] = {}
    layers = []
    for index, node in enumerate(plan.order):
        scratch = f"I32({plan.scratch[id(node)]})" if id(node) in plan.scratch else "NULL"
        code = LayerCode(node, index, lambda tensor: pointer(plan, tensor), scratch, "", own, pool)
        if not node.op.is_view:
            chosen[id(node)].emit(code)
            code.reason = chosen[id(node)].reason
        layers.append(code)
    return layers


def pointer(plan: Plan, tensor: Tensor) -> str:
    """Typed C pointer to a tensor's place in the arena, or to a state's among the states."""
    if tensor.is_state:
        return f"STATE_{ACCESS[tensor.dtype.name]}({plan.states[id(tensor)]})"
    return f"{ACCESS[tensor.dtype.name]}({plan.offsets[id(tensor)]})"


def kernels_in_order(calls: Iterable[Call], own: Mapping[str, Kernel]) -> list[Kernel]:
    """Every function that the calls need, each once and after those that it calls itself."""
    ordered: dict[str, Kernel] = {}

    def add(kernel: Kernel) -> None:
        kernel = own.get(kernel.name, kernel)
        for needed in kernel.needs:
            add(needed)
        if ordered.setdefault(kernel.name, kernel).source != kernel.source:
            raise ValueError(f"two different kernels are called {kernel.name}")

    for call in calls:
        add(call.kernel)
    return list(ordered.values())


def describe(node: Node, index: int) -> str:
    """One line about a layer: number, operator, shapes, and the attributes that are not the default ones."""
    inputs = ", ".join(dims(t.shape) for t in node.activations)
    outputs = ", ".join(dims(t.shape) for t in node.outputs)
    attributes = [
        f"{field.name} {_plain(getattr(node.op, field.name))}"
        for field in fields(node.op)  # type: ignore[arg-type]  # every operator is a dataclass
        if getattr(node.op, field.name) != field.default
    ]
    return f"{index}  {node.op.kind}  {inputs} -> {outputs}" + "".join(f", {text}" for text in attributes)


def dims(shape: Shape) -> str:
    """28x28x1; a leading batch of one is left out."""
    shown = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    return "x".join(map(str, shown)) or "1"


def _plain(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
