"""What each layer of a compiled model costs: the counts of one inference by the lines of model.c.

The run function calls one layer's kernels after another. Its instructions count to the layer in whose lines they stand,
and what they call counts with them. The rest, such as copying inputs and outputs, is between the layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinymaix.chips.cycles import estimate
from tinymaix.chips.emulate.machine import Emulation, Part, Parts
from tinymaix.chips.firmware import Firmware
from tinymaix.chips.lines import lines_of
from tinymaix.compile.layers import dims
from tinymaix.compile.project import Project

BETWEEN = "between layers"
COMMENT = re.compile(r" {4}/\* (\d+)  ")
"""How the comment above a layer's calls begins (see compile.layers.describe)."""


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs an inference; all of them add up to the whole."""

    index: int | None
    """In the order of execution; None for what is between the layers."""
    operator: str
    shapes: str
    """Of inputs and outputs."""
    kernel: str
    """The functions that its calls name."""
    macs: int
    weights: int
    """Bytes of its constants; those shared with an earlier layer count there."""
    instructions: int
    cycles: int | None
    """As the whole: exact, modelled, or None."""

    @property
    def cycles_per_mac(self) -> float | None:
        return None if self.cycles is None or not self.macs else self.cycles / self.macs


def parts_of(project: Project, firmware: Firmware) -> Parts:
    """The layers as parts of the work: layer i is part i + 1, and part 0 is between them."""
    function = f"{project.name}_run"
    layers = layer_lines(project.files["model.c"])
    lines = lines_of(firmware, function)
    for i in reversed(range(len(lines) - 1)):  # line 0: the compiler's own preparation of what follows
        lines[i] = lines[i] or lines[i + 1]
    return Parts(firmware.symbols[function][0], tuple(layers.get(line, -1) + 1 for line in lines))


def layer_lines(model_c: str) -> Mapping[int, int]:
    """The layer by each line of model.c, counted from 1, that belongs to one."""
    found: dict[int, int] = {}
    layer = None
    network = model_c.index("/* ---- the network")
    for number, line in enumerate(model_c[network:].split("\n"), model_c.count("\n", 0, network) + 1):
        if match := COMMENT.match(line):
            layer = int(match[1])
        elif not line.strip():
            layer = None
        if layer is not None:
            found[number] = layer
    return found


def layer_costs(project: Project, firmware: Firmware, counted: Emulation, cycles: int | None) -> list[LayerCost]:
    """The costs of all layers and, last, of what is between them: together ``counted`` and ``cycles``."""
    costs = [_cost(project, i, _share(firmware, counted.parts.get(i + 1))) for i in range(len(project.layers))]
    known = [cost.cycles for cost in costs if cost.cycles is not None]
    instructions = (counted.instructions or 0) - sum(cost.instructions for cost in costs)
    rest = None if cycles is None else cycles - sum(known)
    return [*costs, LayerCost(None, BETWEEN, "", "", 0, 0, instructions, rest)]


def _share(firmware: Firmware, part: Part | None) -> tuple[int, int | None]:
    """Instructions and cycles of a part; a layer without code has none."""
    if part is None:
        return 0, 0
    model = estimate(firmware, part) if part.cycles is None else None
    return part.instructions, model.cycles if model else part.cycles


def _cost(project: Project, index: int, share: tuple[int, int | None]) -> LayerCost:
    layer = project.layers[index]
    node = layer.node
    inputs, outputs = (", ".join(dims(t.shape) for t in tensors) for tensors in (node.activations, node.outputs))
    return LayerCost(
        index=index,
        operator=node.op.kind,
        shapes=f"{inputs} -> {outputs}",
        kernel=", ".join(dict.fromkeys(call.kernel.name for call in layer.calls)),
        macs=node.op.macs(node),
        weights=sum(constant.data.nbytes for constant in layer.constants),
        instructions=share[0],
        cycles=share[1],
    )


def by_kind(costs: Sequence[LayerCost]) -> list[tuple[str, int, int, int, int | None]]:
    """(operator, layers, MACs, instructions, cycles) of each kind of layer, the dearest first."""
    kinds: dict[str, list[LayerCost]] = {}
    for cost in costs:
        kinds.setdefault(cost.operator, []).append(cost)
    rows = [
        (
            kind,
            len(group),
            sum(cost.macs for cost in group),
            sum(cost.instructions for cost in group),
            None if any(cost.cycles is None for cost in group) else sum(cost.cycles or 0 for cost in group),
        )
        for kind, group in kinds.items()
    ]
    return sorted(rows, key=lambda row: (-(row[4] or row[3]), row[0]))
