"""Variables of a .tflite -> states of a Graph.

The file names a variable by a handle (VAR_HANDLE), reads and assigns it through that handle, and sets first values in a
subgraph that runs once (CALL_ONCE). A Graph has a state with an initial value, and nodes that read or assign it.
"""

from __future__ import annotations

import numpy as np

from tinymaix.graph import Array, ModelError, Node, Tensor
from tinymaix.ops.variables import NOTHING, AssignVariable, ReadVariable
from tinymaix.read import tflite_schema as schema
from tinymaix.read.flatbuffer import Table
from tinymaix.read.tflite_tensors import TensorReader

Key = tuple[str, str]
"""Container and name: what two handles of one variable have in common."""


class Variables:
    """The variables that the operators read so far know."""

    def __init__(self, tensors: TensorReader) -> None:
        self._tensors = tensors
        self._handles: dict[int, Key] = {}  # by id of the handle's tensor
        self._states: dict[Key, Tensor] = {}

    def is_handle(self, tensor: Tensor) -> bool:
        return id(tensor) in self._handles

    def node(self, code: int, table: Table, inputs: list[Tensor | None], outputs: list[Tensor]) -> Node | None:
        """The node of an operator on variables; None for VAR_HANDLE.

        Raises:
            ModelError: its operands are not what such an operator takes.
        """
        if code == schema.VAR_HANDLE:
            if len(outputs) != 1:
                raise ModelError("it must have one output")
            options = table.table(schema.Operator.BUILTIN_OPTIONS, f"the options of {table.what}")
            if options is None:
                raise ModelError("it does not name its variable")
            names = options.text(schema.VarHandleOptions.CONTAINER), options.text(schema.VarHandleOptions.SHARED_NAME)
            self._handles[id(outputs[0])] = names
            return None
        handle, *values = inputs
        if handle is None or not self.is_handle(handle):
            raise ModelError("its first input is not a handle of a variable")
        key = self._handles[id(handle)]
        if code == schema.READ_VARIABLE and len(outputs) == 1 and not values:
            return Node(ReadVariable(), [self._state(key, outputs[0])], outputs, outputs[0].name)
        value = values[0] if code == schema.ASSIGN_VARIABLE and len(values) == 1 and not outputs else None
        if value is None:
            raise ModelError("it does not have the inputs and outputs of its kind")
        state = self._state(key, value)
        nothing = Tensor(f"{state.name}_assigned", NOTHING, state.dtype)
        return Node(AssignVariable(), [state, value], [nothing], state.name)

    def _state(self, key: Key, like: Tensor) -> Tensor:
        """The state of a variable, made where it is met first: of the type of the value that it holds."""
        state = self._states.get(key)
        if state is None:
            state = Tensor(key[1] or like.name, like.shape, like.dtype, like.quantization)
            self._tensors.make_state(state)
            self._states[key] = state
        if (state.shape, state.dtype) != (like.shape, like.dtype):
            raise ModelError(f"'{like.name}' {like.dtype}{list(like.shape)} is not what variable {state} holds")
        return state

    def set_initial(self, first: dict[Key, Array]) -> list[str]:
        """Give the states the values of the subgraph that runs once; a sentence for each that does not fit."""
        problems = []
        for key, data in first.items():
            state = self._states.get(key)
            if state is None:
                continue
            if (state.shape, state.dtype) == (data.shape, data.dtype):
                state.initial = np.array(data)
            else:
                problems.append(f"variable {state} starts as {data.dtype}{list(data.shape)}, which it cannot hold")
        return problems

    def assigned(self, nodes: list[Node]) -> dict[Key, Array]:
        """What nodes that assign constants leave in the variables.

        Raises:
            ModelError: they do something else.
        """
        keys = {id(state): key for key, state in self._states.items()}
        values = {}
        for node in nodes:
            data = node.input(1).data if isinstance(node.op, AssignVariable) else None
            if data is None:
                raise ModelError(f"{node.op.kind} '{node.name}' is more than a constant first value of a variable")
            values[keys[id(node.input(0))]] = data
        return values


def read_late(nodes: list[Node]) -> list[Node]:
    """The nodes with each READ_VARIABLE right before what first takes its output or changes its state.

    Files read all variables first, and then the copies would need their memory all at once.
    """
    ordered: list[Node] = []
    waiting: list[Node] = []
    for node in nodes:
        if isinstance(node.op, ReadVariable):
            waiting.append(node)
            continue
        due = [read for read in waiting if any(t is read.output or t is read.input(0) for t in node.present)]
        waiting = [read for read in waiting if read not in due]
        ordered += [*due, node]
    return ordered + waiting
