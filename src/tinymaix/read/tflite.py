"""A .tflite file -> Graph, without TensorFlow.

The file is hostile until shown otherwise: all offsets go through `tinymaix.read.flatbuffer`, every index is checked
here, and shapes are inferred from the inputs rather than believed. All problems of a model are reported at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinymaix.graph import Array, Graph, ModelError, Node, Tensor, unique
from tinymaix.ops import CUSTOM_OPERATORS, OPERATORS, TFLITE_OPERATORS, Operator
from tinymaix.ops.pooling import Pool2D
from tinymaix.read import flatbuffer
from tinymaix.read import tflite_schema as schema
from tinymaix.read.flatbuffer import Table
from tinymaix.read.flexbuffer import NamedNumbers
from tinymaix.read.tflite_legacy import modernize
from tinymaix.read.tflite_names import builtin_name
from tinymaix.read.tflite_states import Key, Variables, read_late
from tinymaix.read.tflite_tensors import MAX_TENSOR_BYTES, TensorReader

MAX_FOLDED_BYTES = 2**24
MAX_FOLDED_MACS = 2**24
"""What folding constants may add up to in one file: a small file can describe a lot of work."""
MAX_PROBLEMS = 100
CUSTOM_PREFIX = "CUSTOM "
"""Before the name of a custom operator, where sentences name it."""


def read_tflite(data: bytes, name: str = "model") -> Graph:
    """Read the first subgraph of a .tflite.

    Args:
        data: the whole file.
        name: what to call the graph.

    Raises:
        ModelError: one sentence for everything that is damaged or not supported.
    """
    if data[4:8] != schema.FILE_IDENTIFIER:
        raise ModelError("not a .tflite file: the identifier TFL3 is not at byte 4")
    model = flatbuffer.Buffer(data).root("the model")
    version = model.u32(schema.Model.VERSION)
    if version != schema.SCHEMA_VERSION:
        raise ModelError(f"the .tflite has schema version {version}; only version {schema.SCHEMA_VERSION} is in use")
    subgraphs = model.tables(schema.Model.SUBGRAPHS, "subgraph")
    if not subgraphs:
        raise ModelError("the .tflite holds no subgraph")
    return _Reader(model, subgraphs, 0, name).graph()


class _NoOptions:
    """The options of an operator that has none: every field at its default."""

    def i8(self, slot: int, default: int = 0) -> int:
        return default

    i32 = i8

    def f32(self, slot: int, default: float = 0.0) -> float:
        return default

    def flag(self, slot: int, default: bool = False) -> bool:
        return default

    def ints(self, slot: int) -> list[int]:
        return []


class _Reader:
    """One subgraph while it is read. ``problems`` collects sentences; `graph` raises them together."""

    def __init__(self, model: Table, subgraphs: list[Table], index: int, name: str) -> None:
        self.model, self.subgraphs, self.index, self.name = model, subgraphs, index, name
        self.subgraph = subgraphs[index]
        self.problems: list[str] = []
        self.missing: set[str] = set()
        self.labels: dict[int, str] = {}  # what to call a node in problems, by its id
        self.codes = [_operator_code(code) for code in model.tables(schema.Model.OPERATOR_CODES, "operator code")]
        reader = TensorReader(model.tables(schema.Model.BUFFERS, "buffer"), model.buffer.data, self.problems)
        self.tensors = [
            reader.tensor(i, table) for i, table in enumerate(self.subgraph.tables(schema.SubGraph.TENSORS, "tensor"))
        ]
        self.variables = Variables(reader)
        self.first_values: dict[int, dict[Key, Array]] = {}  # by subgraph that runs once
        self.known = {id(tensor) for tensor in self.tensors if tensor.is_constant or tensor.is_state}
        self.bytes_left, self.macs_left = MAX_FOLDED_BYTES, MAX_FOLDED_MACS

    def graph(self) -> Graph:
        inputs = self._pick(self.subgraph.ints(schema.SubGraph.INPUTS), "the inputs of the model")
        self.known |= {id(tensor) for tensor in inputs}
        if any(tensor.is_constant or tensor.is_state for tensor in inputs) or len({id(t) for t in inputs}) < len(
            inputs
        ):
            self.problems.append("an input of the model is a constant or a variable, or is named twice")
        nodes = read_late(self._nodes())
        for first in self.first_values.values():
            self.problems += self.variables.set_initial(first)
        outputs = self._pick(self.subgraph.ints(schema.SubGraph.OUTPUTS), "the outputs of the model")
        self.problems += [
            f"output '{tensor.name}' of the model is never computed"
            for tensor in outputs
            if id(tensor) not in self.known or tensor.is_state or self.variables.is_handle(tensor)
        ]
        graph = Graph(nodes, inputs, outputs, self.name)
        modernize(graph)
        self._check(nodes)
        if not inputs or not outputs:
            self.problems.append("the model needs at least one input and one output")
        if self.missing:
            self.problems.append(f"supported operators are: {', '.join(sorted(OPERATORS))}")
        if self.problems:
            raise ModelError(list(dict.fromkeys(self.problems)))
        return graph

    def _nodes(self) -> list[Node]:
        nodes = []
        for i, table in enumerate(self.subgraph.tables(schema.SubGraph.OPERATORS, "operator")):
            node = self._node(i, table)
            if node is not None:
                nodes.append(node)
            if len(self.problems) >= MAX_PROBLEMS:
                break
        return nodes

    def _check(self, nodes: Sequence[Node]) -> None:
        """Collect what keeps nodes from being computed."""
        for node in nodes:
            label = self.labels.get(id(node), f"{node.op.kind} '{node.name}'")
            if node.states and not node.op.takes_states:
                self.problems.append(f"{label}: it reads '{node.states[0].name}', a variable, which it cannot")
            try:
                self.problems += [f"{label}: {problem}" for problem in node.op.problems(node)]
            except ModelError as error:
                self.problems += [f"{label}: {problem}" for problem in error.problems]
            except (ArithmeticError, LookupError, ValueError, TypeError) as error:
                self.problems.append(f"{label}: its attributes make no sense ({error})")

    def _pick(self, indices: Sequence[int], what: str) -> list[Tensor]:
        wrong = [index for index in indices if not 0 <= index < len(self.tensors)]
        if wrong:
            self.problems.append(f"{what} name tensor {wrong[0]}, but there are {len(self.tensors)}")
        return [self.tensors[index] for index in indices if 0 <= index < len(self.tensors)]

    def _node(self, index: int, table: Table) -> Node | None:
        """One operator, or None where it is folded into constants or has problems."""
        code, kind, operator = self._operator(index, table)
        indices = table.ints(schema.Operator.INPUTS)
        what = f"operator {index} {kind}"
        present = iter(self._pick([i for i in indices if i != -1], f"the inputs of {what}"))
        inputs = [None if i == -1 else next(present, None) for i in indices]
        outputs = self._pick(table.ints(schema.Operator.OUTPUTS), f"the outputs of {what}")
        label = f"{what} (output '{outputs[0].name}')" if outputs else what
        self.problems += [
            f"{label} reads '{t.name}' before it is computed"
            for t in unique(t for t in inputs if t is not None)
            if id(t) not in self.known
        ]
        silent = code in (schema.CALL_ONCE, schema.ASSIGN_VARIABLE)
        if (
            (not outputs and not silent)
            or any(id(tensor) in self.known for tensor in outputs)
            or len(set(map(id, outputs))) < len(outputs)
        ):
            self.problems.append(f"{label} must write tensors that nothing else defines")
            return None
        self.known |= {id(tensor) for tensor in outputs}
        node: Node | None = None
        try:
            if code == schema.CALL_ONCE:
                self._call_once(table)
            elif code in (schema.VAR_HANDLE, schema.READ_VARIABLE, schema.ASSIGN_VARIABLE):
                node = self.variables.node(code, table, inputs, outputs)
            elif operator is not None:
                if any(t is not None and self.variables.is_handle(t) for t in inputs):
                    raise ModelError("it takes a handle of a variable, which is not supported")
                node = self._apply(operator, table, inputs, outputs)
            if node is not None:
                self.labels[id(node)] = label
            return node
        except ModelError as error:
            self.problems += [f"{label}: {problem}" for problem in error.problems]
        except (ArithmeticError, LookupError, ValueError, TypeError) as error:
            self.problems.append(f"{label}: its attributes make no sense ({error})")
        return None

    def _call_once(self, table: Table) -> None:
        """First values of variables, from a subgraph that assigns constants to them."""
        options = table.table(schema.Operator.BUILTIN_OPTIONS, f"the options of {table.what}") or _NoOptions()
        index = options.i32(schema.CallOnceOptions.INIT_SUBGRAPH_INDEX)
        if not 0 < index < len(self.subgraphs) or self.index != 0:
            raise ModelError(f"it runs subgraph {index} of {len(self.subgraphs)} from subgraph {self.index}")
        if index not in self.first_values:
            inner = _Reader(self.model, self.subgraphs, index, self.name)
            nodes = inner._nodes()
            if inner.problems:
                raise ModelError(inner.problems)
            self.first_values[index] = inner.variables.assigned(nodes)

    def _operator(self, index: int, table: Table) -> tuple[int, str, type[Operator] | None]:
        code_index = table.u32(schema.Operator.OPCODE_INDEX)
        if code_index >= len(self.codes):
            self.problems.append(f"operator {index} has code index {code_index}, but there are {len(self.codes)} codes")
            return -1, "?", None
        code, kind = self.codes[code_index]
        custom = kind.removeprefix(CUSTOM_PREFIX)
        operator = TFLITE_OPERATORS.get(code) if code != schema.CUSTOM_OPERATOR else CUSTOM_OPERATORS.get(custom)
        if operator is None and code not in schema.VARIABLE_OPERATORS:
            self.missing.add(kind)
            names = self._pick(table.ints(schema.Operator.OUTPUTS), "outputs")
            tensor = f" (output '{names[0].name}')" if names else ""
            self.problems.append(
                f"operator {index} {kind}{tensor} is not supported; build the model without it, "
                "or define it in Python as a tinymaix.ops.Operator"
            )
        return code, kind, operator

    def _apply(
        self, operator: type[Operator], table: Table, inputs: list[Tensor | None], outputs: list[Tensor]
    ) -> Node | None:
        if operator.tflite_custom:
            bytes_ = table.vector(schema.Operator.CUSTOM_OPTIONS, "u1")
            op = operator.from_custom(NamedNumbers(b"" if bytes_ is None else bytes_.tobytes()), inputs, outputs)
        else:
            options = table.table(schema.Operator.BUILTIN_OPTIONS, f"the options of {table.what}") or _NoOptions()
            op = operator.from_tflite(options, inputs, outputs)
        kept = list(operator.tflite_inputs(inputs))
        shapes = op.infer(kept)
        if len(shapes) != len(outputs):
            raise ModelError(f"it has {len(outputs)} outputs, but {operator.kind} gives {len(shapes)}")
        for tensor, shape in zip(outputs, shapes, strict=True):
            tensor.shape = tuple(int(size) for size in shape)
            if tensor.nbytes > MAX_TENSOR_BYTES:
                raise ModelError(f"its output of shape {list(shape)} is larger than any chip's memory")
        node = Node(op, kept, outputs, outputs[0].name)
        if _is_known(node) and self._affordable(node):
            values = op.reference(node, [None if t is None else _value(t) for t in node.inputs])
            for tensor, value in zip(outputs, values, strict=True):
                tensor.data = value
            return None
        return node

    def _affordable(self, node: Node) -> bool:
        """Whether to compute a constant now, charged to what the whole file may ask for. A pool counts no MACs."""
        size, macs = sum(tensor.nbytes for tensor in node.outputs), node.op.macs(node)
        if size > self.bytes_left or macs > self.macs_left or isinstance(node.op, Pool2D):
            return False
        self.bytes_left -= size
        self.macs_left -= macs
        return True


def _is_known(node: Node) -> bool:
    """Whether the outputs follow from the file alone: all inputs are constants, or only their shape matters."""
    return node.op.kind == "SHAPE" or not (node.activations or node.states)


def _value(tensor: Tensor) -> Array:
    """A constant's value; for SHAPE any array of the shape will do, and this one takes no memory."""
    return tensor.data if tensor.data is not None else np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape)


def _operator_code(table: Table) -> tuple[int, str]:
    """(BuiltinOperator code, name). The newer field holds codes above 127; the older one is a signed byte."""
    code = max(table.i8(schema.OperatorCode.DEPRECATED_BUILTIN_CODE), table.i32(schema.OperatorCode.BUILTIN_CODE))
    if code == schema.CUSTOM_OPERATOR:
        return code, CUSTOM_PREFIX + table.text(schema.OperatorCode.CUSTOM_CODE)
    return code, builtin_name(code)
