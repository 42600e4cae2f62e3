"""Which type each node computes with: what the scheme asks for, as far as its operator has it."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass

from tinymaix.graph import Graph, ModelError, Node
from tinymaix.quantize import rules
from tinymaix.quantize.scheme import Scheme
from tinymaix.quantize.weights import INT4_KINDS, LARGE_KINDS


@dataclass(frozen=True)
class NodeTypes:
    """Types of activations by id of the node, what they were wanted to be, and the nodes whose weights have 4 bits."""

    activations: dict[int, str]
    asked: dict[int, str]
    int4: frozenset[int]

    def __getitem__(self, node: Node) -> str:
        return self.activations[id(node)]

    def wanted(self, node: Node) -> str:
        return self.asked[id(node)]

    def bits(self, node: Node) -> int:
        return 4 if id(node) in self.int4 else 8


def node_types(graph: Graph, scheme: Scheme, wide: Collection[int] = ()) -> NodeTypes:
    """The types for a scheme. A node that only moves values takes them in the type that they come in.

    Args:
        wide: ids of nodes that are int16 where the scheme does not name their layer.
    """
    activations: dict[int, str] = {}
    asked: dict[int, str] = {}
    makers: dict[int, Node] = {}
    int4 = set()
    for node in graph.nodes:
        named = scheme.layers.get(node.name, "")
        wanted = {"": scheme.activations, "int4": "int8"}.get(named, named)
        maker = makers.get(id(node.present[0])) if node.present else None
        if id(node) in wide and not named:
            wanted = "int16"
        elif not named and rules.follows(node) and maker is not None and activations[id(maker)] != "float32":
            wanted = activations[id(maker)]
        fitting = [kind for kind in (wanted, "int8") if kind in rules.types(node)]
        activations[id(node)] = fitting[0] if fitting and wanted != "float32" else "float32"
        asked[id(node)] = wanted
        kinds = INT4_KINDS if named == "int4" else LARGE_KINDS if scheme.weights == "int4" and not named else ()
        if activations[id(node)] == "int8" and node.op.kind in kinds:
            int4.add(id(node))
        makers.update((id(t), node) for t in node.outputs)
    return NodeTypes(activations, asked, frozenset(int4))


def check_names(graph: Graph, scheme: Scheme) -> None:
    """Raise ModelError where a scheme names a layer that is not there."""
    names = [node.name for node in graph.nodes]
    problems = []
    for name in scheme.layers:
        if name not in names:
            near = difflib.get_close_matches(name, names, 3) or names[:10]
            problems.append(f"there is no layer '{name}'; near are {', '.join(repr(n) for n in near)}")
    if problems:
        raise ModelError(problems)
