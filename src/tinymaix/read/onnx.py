"""An .onnx file -> Graph, without the onnx package: opset 7 and later, channels-first layers as channels-last ones.

The file is hostile until shown otherwise: `tinymaix.read.onnx_file` checks its bytes, and shapes are inferred from the
inputs rather than believed. All problems of a model are reported at once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinymaix.graph import Graph, ModelError, Tensor
from tinymaix.read.channels_first import Builder
from tinymaix.read.integer import to_integers
from tinymaix.read.onnx_attributes import OnnxLayer
from tinymaix.read.onnx_constants import CONSTANTS
from tinymaix.read.onnx_file import OnnxFile, OnnxNode, looks_like_onnx, parse_onnx
from tinymaix.read.onnx_layers import LAYERS
from tinymaix.read.onnx_quantized import quantized_input

__all__ = ["looks_like_onnx", "read_onnx"]

OPSETS = range(7, 29)
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
MAX_PROBLEMS = 100


def read_onnx(data: bytes, name: str = "model", folder: Path | None = None) -> Graph:
    """Read an .onnx model.

    Args:
        data: the whole file.
        name: what to call the graph.
        folder: where external data may lie; None where there is no folder.

    Returns:
        The graph with TRANSPOSE nodes around the layers with channels, which `tinymaix.rewrite.simplify` removes.

    Raises:
        ModelError: one sentence for everything that is damaged or not supported.
    """
    file = parse_onnx(data, folder)
    if file.opset not in OPSETS:
        raise ModelError(
            f"the .onnx uses opset {file.opset}; opsets {OPSETS[0]} to {OPSETS[-1]} are supported: "
            "export it again, or convert it with onnx.version_converter"
        )
    return _Reader(file, name).graph()


class _Reader:
    """One file while it is read. ``problems`` collects sentences; `graph` raises them together."""

    def __init__(self, file: OnnxFile, name: str) -> None:
        self.file, self.builder = file, Builder(name)
        self.problems: list[str] = []
        self.missing: set[str] = set()
        self.values: dict[str, Tensor | None] = {"": None}
        for label, data in file.constants.items():
            self.values[label] = self.builder.constant(data, label)

    def graph(self) -> Graph:
        for name, shape, dtype in self.file.inputs:
            self.values[name] = quantized_input(self.file, name, shape, dtype, self.builder)
        used = {name for node in self.file.nodes for name in node.inputs} | set(self.file.outputs)
        for node in self.file.nodes:
            node.outputs = [name if name in used else "" for name in node.outputs]
            self._node(node)
            if len(self.problems) >= MAX_PROBLEMS:
                break
        outputs = [self.values.get(name) for name in self.file.outputs]
        if not self.problems:
            self.problems += [
                f"output '{name}' of the model is never computed"
                for name, tensor in zip(self.file.outputs, outputs, strict=True)
                if tensor is None
            ]
            if not self.file.inputs or not outputs:
                self.problems.append("the model needs at least one input and one output")
        if self.missing:
            self.problems.append(f"supported operators are: {', '.join(sorted(LAYERS))}")
        if self.problems:
            raise ModelError(list(dict.fromkeys(self.problems)))
        return to_integers(self.builder, [tensor for tensor in outputs if tensor is not None])

    def _node(self, node: OnnxNode) -> None:
        label = f"{node.kind} '{node.name}'"
        lower = LAYERS.get(node.kind) if node.domain in DOMAINS else None
        if lower is None:
            self.missing.add(node.kind)
            where = f" of domain '{node.domain}'" if node.domain not in DOMAINS else ""
            self.problems.append(f"{label}{where} is not supported; export the model without it")
            return
        unknown = [name for name in node.inputs if name not in self.values]
        if unknown:
            if not self.problems:  # else it follows from what was reported before
                self.problems.append(f"{label} reads '{unknown[0]}', which nothing before it defines")
            return
        inputs = [self.values[name] for name in node.inputs]
        made_as = next(filter(None, node.outputs), node.name)
        try:
            with self.builder.named(made_as), np.errstate(all="ignore"):
                layer = OnnxLayer(self.builder, node, inputs, self.file.opset)
                results = self._folded(layer) or lower(layer)
        except ModelError as error:
            self.problems += [f"{label}: {problem}" for problem in error.problems]
        except (ArithmeticError, LookupError, ValueError, TypeError, AssertionError, MemoryError) as error:
            self.problems.append(f"{label}: its attributes make no sense ({error})")
        else:
            for name, tensor in zip(node.outputs, results if isinstance(results, list) else [results], strict=False):
                self._define(name, tensor, label, made_as)

    def _define(self, name: str, tensor: Tensor, label: str, made_as: str) -> None:
        """Give the tensor its name in the file, unless it has one from before the node."""
        if name and name in self.values:
            self.problems.append(f"{label} writes '{name}', which something before it defines")
        elif name:
            self.values[name] = tensor
            if not tensor.is_constant and tensor.name == made_as:
                tensor.name = name

    def _folded(self, layer: OnnxLayer) -> Tensor | None:
        """The output of an operator on constants, such as the arithmetic of shapes."""
        compute = CONSTANTS.get(layer.kind)
        arrays = [None if t is None else t.data for t in layer.inputs]
        if compute is None or any(t is not None and t.data is None for t in layer.inputs):
            return None
        return self.builder.constant(compute(layer, *arrays))
