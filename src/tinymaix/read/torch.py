"""PyTorch -> Graph: a .pt2 file (without torch), a torch.export program, or an nn.Module with example inputs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymaix.graph import Graph, ModelError, Tensor
from tinymaix.read.channels_first import Builder
from tinymaix.read.integer import to_integers
from tinymaix.read.tflite_states import read_late
from tinymaix.read.torch_file import Ref, TorchFile, TorchNode, is_torch, parse_torch
from tinymaix.read.torch_layer import TorchLayer
from tinymaix.read.torch_layers import LAYERS

if TYPE_CHECKING:
    import torch

__all__ = ["is_torch", "read_module", "read_program", "read_pt2", "read_torch"]

MAX_PROBLEMS = 100
VIEWS = {
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "t", "permute", "slice", "select",
    "narrow", "split", "split_with_sizes", "chunk", "unbind", "expand", "expand_as", "alias", "detach", "contiguous",
    "dropout", "to", "feature_dropout",
}  # fmt: skip
"""ATen operators whose result may share its input's memory."""


def read_torch(model: Any, example_inputs: Sequence[Any] | None = None) -> Graph:
    """Read what torch.export.export returns, or a module with example inputs.

    Raises:
        ModelError: it is neither, there are no example inputs, or as `read_pt2`.
    """
    try:
        import torch
    except ImportError:
        raise ModelError(
            f"a {type(model).__name__} is neither the path of a model nor a Graph; "
            "PyTorch modules and programs need the extra 'torch': pip install 'tinymaix[torch]'"
        ) from None
    if isinstance(model, torch.export.ExportedProgram):
        return read_program(model)
    if not isinstance(model, torch.nn.Module):
        raise ModelError(f"a {type(model).__name__} is no path of a model, Graph, exported program or torch.nn.Module")
    if example_inputs is None:
        raise ModelError("a torch.nn.Module needs example inputs: tinymaix.read(module, example_inputs=(x,))")
    return read_module(model, example_inputs)


def read_pt2(data: bytes, name: str = "model") -> Graph:
    """Read a program that was saved with torch.export.save. Nothing of the file is unpickled or executed.

    Returns:
        The graph with TRANSPOSE nodes around the layers with channels, which `tinymaix.rewrite.simplify` removes.

    Raises:
        ModelError: one sentence for everything that is damaged or not supported.
    """
    return _Reader(parse_torch(data), name).graph()


def read_program(program: torch.export.ExportedProgram, name: str = "model") -> Graph:
    """Read what torch.export.export returns.

    Raises:
        ModelError: as `read_pt2`.
    """
    import torch

    stream = io.BytesIO()
    torch.export.save(program, stream)
    return read_pt2(stream.getvalue(), name)


def read_module(module: torch.nn.Module, example_inputs: Sequence[Any], name: str = "") -> Graph:
    """Export a module in eval mode with example inputs, whose shapes the graph will have, and read it.

    Raises:
        ModelError: torch cannot export it, or as `read_pt2`.
    """
    import torch

    training = module.training
    try:
        program = torch.export.export(module.eval(), tuple(example_inputs))
    except Exception as error:  # whatever the module's own code raises
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"torch.export cannot export {type(module).__name__}: {reason[0] if reason else type(error).__name__}"
        ) from error
    finally:
        module.train(training)
    return read_program(program, name or type(module).__name__)


class _Reader:
    """One program while it is read. ``problems`` collects sentences; `graph` raises them together."""

    def __init__(self, file: TorchFile, name: str) -> None:
        self.file, self.builder = file, Builder(name)
        self.at = 0  # index of the node that is being read
        self.problems: list[str] = []
        self.missing: set[str] = set()
        self.values: dict[str, Tensor] = {}
        self.lacking: dict[str, str] = {}  # a sentence for each output that a supported operator does not give
        self.shared: dict[str, set[str]] = {}  # names of the tensors that share memory with one, by its name
        self.last_read = {ref.name: i for i, node in enumerate(file.nodes) for ref in _refs([*node.arguments.values()])}
        self.last_read.update(dict.fromkeys([*file.outputs, *file.mutated.values()], len(file.nodes)))
        self.states: dict[str, Tensor] = {}  # by the name of the buffer
        changed = {*file.mutated, *_changed_in_place(file)}
        for label, data in file.constants.items():
            if label in changed:
                with self.builder.named(label):
                    self.states[label], self.values[label] = self.builder.state(label, data)
            else:
                self.values[label] = self.builder.constant(data, label)

    def graph(self) -> Graph:
        for name, shape, dtype in self.file.inputs:
            self.values[name] = self.builder.input(name, shape, dtype)
        for at, node in enumerate(self.file.nodes):
            self.at = at
            self._node(node)
            if len(self.problems) >= MAX_PROBLEMS:
                break
        outputs = [self.values.get(name) for name in self.file.outputs]
        if not self.problems:
            self.problems += [
                self.lacking.get(name, f"output '{name}' of the program is never computed")
                for name, tensor in zip(self.file.outputs, outputs, strict=True)
                if tensor is None
            ]
            if not self.file.inputs or not outputs:
                self.problems.append("the program needs at least one tensor as input and one as output")
        if self.missing:
            self.problems.append(f"supported operators are: {', '.join(sorted(LAYERS))}")
        if self.problems:
            raise ModelError(list(dict.fromkeys(self.problems)))
        for name, state in self.states.items():
            value = self.values.get(self.file.mutated.get(name, name))
            if value is None:
                raise ModelError(f"the new value of buffer '{name}' is never computed")
            with self.builder.named(name):
                self.builder.op("ASSIGN_VARIABLE", state, value)
        self.builder.nodes = read_late(self.builder.nodes)
        return to_integers(self.builder, [tensor for tensor in outputs if tensor is not None])

    def _node(self, node: TorchNode) -> None:
        kind, in_place = _kind(node.target)
        label = f"{kind} '{node.outputs[0] if node.outputs else ''}'"
        lower = LAYERS.get(kind)
        if lower is None:
            self.missing.add(kind)
            self.problems.append(f"{label} is not supported; build the model without it")
            return
        refs = [ref for value in node.arguments.values() for ref in _refs(value)]
        unknown = [ref.name for ref in refs if ref.name not in self.values]
        if unknown:
            if not self.problems:  # else it follows from what was reported before
                missing = f"{label} reads '{unknown[0]}', which nothing before it defines"
                self.problems.append(self.lacking.get(unknown[0], missing))
            return
        try:
            with self.builder.named(node.outputs[0] if node.outputs else kind), np.errstate(all="ignore"):
                read = [output in self.last_read for output in node.outputs]
                results = lower(TorchLayer(self.builder, kind, _resolved(node.arguments, self.values), read))
                self._define(node, results if isinstance(results, list) else [results], refs, in_place)
        except ModelError as error:
            self.problems += [f"{label}: {problem}" for problem in error.problems]
        except (ArithmeticError, LookupError, ValueError, TypeError, AssertionError, MemoryError) as error:
            self.problems.append(f"{label}: its arguments make no sense ({error})")

    def _define(self, node: TorchNode, results: list[Tensor], refs: list[Ref], in_place: bool) -> None:
        if in_place and refs:
            self._overwrite(refs[0].name, results[0])
        elif refs and node.target.split(".")[1] in VIEWS:
            group = self.shared.setdefault(refs[0].name, {refs[0].name})
            group.update(node.outputs)
            self.shared.update(dict.fromkeys(node.outputs, group))
        for name in node.outputs[len(results) :]:
            self.lacking[name] = f"'{name}', output {node.outputs.index(name)} of {node.target}, is not supported"
        for name, tensor in zip(node.outputs, results, strict=False):
            if name in self.values:
                raise ModelError(f"it writes '{name}', which something before it defines")
            if name:
                self.values[name] = tensor

    def _overwrite(self, name: str, result: Tensor) -> None:
        """What works in place changes the tensors that share its memory, too."""
        others = [other for other in self.shared.get(name, set()) - {name} if self.last_read.get(other, -1) > self.at]
        if others:
            raise ModelError(
                f"it changes '{name}' in place while '{others[0]}', which shares its memory, is still read; "
                "save program.run_decompositions({}), which undoes that"
            )
        self.values[name] = result


def _kind(target: str) -> tuple[str, bool]:
    """("aten.relu", True) of "aten.relu_.default": the operator without its overload, and whether it works in place."""
    parts = target.split(".")
    name = parts[1] if len(parts) > 1 else target
    if parts[0] in ("aten", "quantized_decomposed") and len(parts) > 1:
        in_place = name.endswith("_") and not name.endswith("__")
        return f"{parts[0]}.{name[:-1] if in_place else name}", in_place
    return target, False


def _changed_in_place(file: TorchFile) -> Iterator[str]:
    """Names of the stored tensors that an operator overwrites."""
    for node in file.nodes:
        refs = [ref.name for value in node.arguments.values() for ref in _refs(value)]
        if _kind(node.target)[1] and refs and refs[0] in file.constants:
            yield refs[0]


def _refs(value: Any) -> list[Ref]:
    if isinstance(value, Ref):
        return [value]
    return [ref for item in value for ref in _refs(item)] if isinstance(value, list) else []


def _resolved(arguments: dict[str, Any], values: dict[str, Tensor]) -> dict[str, Any]:
    """The arguments with tensors in place of references."""

    def resolve(value: Any) -> Any:
        if isinstance(value, Ref):
            return values[value.name]
        return [resolve(item) for item in value] if isinstance(value, list) else value

    return {name: resolve(value) for name, value in arguments.items()}
