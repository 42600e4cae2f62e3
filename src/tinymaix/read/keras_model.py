"""A Keras model -> Graph: its inputs, and its layers called in an order in which their operands are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from typing import Any

import numpy as np

from tinymaix.graph import Graph, ModelError, Shape, Tensor
from tinymaix.read.channels_first import MAX_TENSOR_BYTES
from tinymaix.read.keras_config import OPERATION, Call, Entry, Model, Operand, Ref, class_and_config, parse
from tinymaix.read.keras_layer import Builder, Layer
from tinymaix.read.keras_layers import LAYERS, OTHERS, SUPPORTED, WITHOUT_MASKS, convert
from tinymaix.read.keras_ops import OPERATIONS
from tinymaix.read.keras_weights import Weights

MAX_PROBLEMS = 50
INPUT_TYPES = {
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64"), "float32"),
    **{name: name for name in ("int8", "uint8", "int32")},
}
"""Types of inputs, and what they are here."""


def read_graph(config: Any, weights: Weights, name: str, keras: int, theano: bool | None = None) -> Graph:
    """The Graph of a whole model.

    Args:
        config: {"class_name": ..., "config": ...}.
        weights: of all its layers.
        name: what to call the graph.
        keras: the major version that wrote the file.
        theano: whether its backend was Theano; None where that is not known.

    Raises:
        ModelError: one sentence for everything that is not supported.
    """
    kind, inner = class_and_config(config, "the model")
    model = parse(kind, inner)
    problems = list(_unsupported(model))
    if problems:
        raise ModelError(list(dict.fromkeys(problems))[:MAX_PROBLEMS])
    builder = Builder(name, [_input(model, ref) for ref in model.inputs], keras=keras, theano=theano)
    return builder.graph(_Converter(builder).run(model, weights, builder.inputs))


def _unsupported(model: Model) -> Iterator[str]:
    """A sentence for each layer of a class that is not read."""
    for entry in model.entries:
        if entry.inner:
            yield from _unsupported(entry.inner)
        elif entry.kind not in (*LAYERS, *OTHERS, "InputLayer"):
            yield f"layer '{entry.name}' ({entry.kind[:80]}): {_why(entry)}"


def _why(entry: Entry) -> str:
    if entry.kind == "Lambda":
        return "it holds Python code, which is never executed; build the model with layers instead"
    if entry.kind in ("TFOpLambda", "SlicingOpLambda"):
        return f"the function {str(entry.config.get('function'))[:80]} is not supported; use a layer instead"
    if entry.kind.startswith(OPERATION):
        return f"this function on tensors is not supported; supported are {', '.join(sorted(OPERATIONS))}, and layers"
    if entry.kind == "Masking":
        return f"masks are not supported; {WITHOUT_MASKS}"
    if entry.kind == "PruneLowMagnitude":
        return "it is a wrapper for training; save the model after strip_pruning"
    if entry.kind.startswith("Quantize"):
        return "it is a wrapper for quantization-aware training; convert the model to an integer .tflite"
    return f"it is custom or not supported; supported are {', '.join(SUPPORTED)}, those of training only, and models"


def _input(model: Model, ref: Ref) -> Tensor:
    """The tensor of an input of the whole model, with a batch of 1."""
    entry = next((e for e in model.entries if e.name == ref.layer and e.kind == "InputLayer"), None)
    if entry is None:
        raise ModelError(f"input '{ref.layer[:80]}' of the model is not an InputLayer")
    dtype = entry.config.get("dtype")
    dtype = dtype.get("config", {}).get("name") if isinstance(dtype, dict) else dtype
    if str(dtype or "float32") not in INPUT_TYPES:
        raise ModelError(f"input '{entry.name}' is {str(dtype)[:40]}; floats, int8, uint8 and int32 are supported")
    if entry.config.get("sparse") or entry.config.get("ragged"):
        raise ModelError(f"input '{entry.name}' is sparse or ragged; only dense tensors are supported")
    return Tensor(entry.name, _input_shape(entry), np.dtype(INPUT_TYPES[str(dtype or "float32")]))


def _input_shape(entry: Entry) -> Shape:
    config = entry.config
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    if shape is None and isinstance(config.get("shape"), list):
        shape = [None, *config["shape"]]
    if not isinstance(shape, list) or not shape:
        raise ModelError(
            f"the shape of input '{entry.name}' is not stored; build the model with an Input before saving"
        )
    sizes = [1 if size is None and i == 0 else size for i, size in enumerate(shape)]
    if any(size is None for size in sizes):
        raise ModelError(
            f"input '{entry.name}' has the open shape {shape}; a chip needs a fixed one: save the model with an Input "
            "of a fixed shape"
        )
    if len(sizes) > 8 or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sizes):
        raise ModelError(f"the shape {str(shape)[:80]} of input '{entry.name}' makes no sense")
    elements = 4
    for size in sizes:
        elements *= min(size, MAX_TENSOR_BYTES)
    if elements > MAX_TENSOR_BYTES:
        raise ModelError(f"input '{entry.name}' of shape {shape} is larger than any chip's memory")
    return tuple(sizes)


class _Converter:
    """Calls layers in an order in which their inputs are there."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder

    def run(self, model: Model, weights: Weights, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of a model on given inputs."""
        if len(inputs) != len(model.inputs):
            raise ModelError(f"a model with {len(model.inputs)} inputs is called with {len(inputs)}")
        stored = weights.layers([(e.kind, e.name) for e in model.entries])
        entries = {e.name: (e, w) for e, w in zip(model.entries, stored, strict=True)}
        values = {(ref.layer, 0): [tensor] for ref, tensor in zip(model.inputs, inputs, strict=True)}
        for name, call in _order(model, entries):
            if (name, call) not in values:
                entry, own = entries[name]
                given = entry.calls[call]
                operands = [self._value(operand, values, entry.name) for operand in given.operands]
                values[name, call] = self._call(entry, own, given, operands)
        return [_pick(ref, values) for ref in model.outputs]

    def _value(self, operand: Operand, values: Mapping[tuple[str, int], list[Tensor]], name: str) -> Tensor:
        if isinstance(operand, Ref):
            return _pick(operand, values)
        return self.builder.constant(np.atleast_1d(operand), f"{name}/number", np.float32)

    def _call(self, entry: Entry, weights: Weights, call: Call, operands: list[Tensor]) -> list[Tensor]:
        try:
            if entry.inner:
                return self.run(entry.inner, weights, operands)
            if entry.kind == "InputLayer":
                raise ModelError("it is not among the inputs of the model")
            with self.builder.named(entry.name):
                layer = Layer(entry.kind, entry.name, entry.config, weights, self.builder, call)
                result = convert(layer, operands)
            return result if isinstance(result, list) else [result]
        except ModelError as error:
            raise ModelError([f"layer '{entry.name}' ({entry.kind}): {p}" for p in error.problems]) from None
        except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"layer '{entry.name}' ({entry.kind}): its config makes no sense ({str(error)[:200]})"
            ) from None


def _order(model: Model, entries: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Every call that the outputs need, each after those whose outputs it takes, else in the order of the config."""
    place = {name: i for i, name in enumerate(entries)}
    sorter: TopologicalSorter[tuple[int, int]] = TopologicalSorter()
    waiting = [(ref.layer, ref.call) for ref in model.outputs]
    seen = set(waiting)
    while waiting:
        name, call = waiting.pop()
        if name not in entries or not 0 <= call < len(entries[name][0].calls):
            raise ModelError(f"the config reads call {call} of layer '{name[:80]}', which is not there")
        before = {(o.layer, o.call) for o in entries[name][0].calls[call].operands if isinstance(o, Ref)}
        sorter.add((place[name], call), *((place.get(layer, -1), number) for layer, number in before))
        waiting += before - seen
        seen |= before
    try:
        sorter.prepare()
    except CycleError:
        raise ModelError("its layers read each other in a circle") from None
    names, order, ready = list(entries), [], sorted(sorter.get_ready())
    while ready:
        first = heappop(ready)
        order.append((names[first[0]], first[1]))
        sorter.done(first)
        for following in sorter.get_ready():
            heappush(ready, following)
    return order


def _pick(ref: Ref, values: Mapping[tuple[str, int], list[Tensor]]) -> Tensor:
    outputs = values[ref.layer, ref.call]
    if not 0 <= ref.output < len(outputs):
        raise ModelError(f"the config reads output {ref.output} of layer '{ref.layer[:80]}', which has {len(outputs)}")
    return outputs[ref.output]
