"""The config of a Keras model, as Keras 2 and Keras 3 write it -> layers and what each of their calls takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from tinymaix.graph import Array, ModelError
from tinymaix.read.keras_tensorflow import as_keras_3

MODELS = ("Sequential", "Functional", "Model")
MAX_DEPTH = 16

OTHER_OPERAND = ("x1", "x2", "y")
"""Keywords of functions of two operands, which may be numbers."""

OPERATIONS_OF_KERAS = ("keras.src.ops.", "keras.ops")
"""Modules of the functions on tensors (`keras.ops`) that Keras 3 stores beside layers; their classes share names."""


OPERATION = "keras.ops."
"""Begins the kind of an entry that is such a function."""


class Ref(NamedTuple):
    """A tensor: output ``output`` of call ``call`` of a layer."""

    layer: str
    call: int
    output: int


Operand = Ref | float | Array


@dataclass(frozen=True)
class Call:
    """One call of a layer: its operands, those given by position first."""

    operands: list[Operand]
    names: list[str] = field(default_factory=list)  # the keyword of each operand, "" of one given by position
    options: dict[str, Any] = field(default_factory=dict)  # keywords that are neither operands nor None
    given: list[Any] = field(default_factory=list)  # what stands in the file for the arguments given by position


@dataclass(frozen=True)
class Entry:
    """A layer of a model, and the operands of each of its calls."""

    kind: str
    name: str
    config: dict[str, Any]
    calls: list[Call]
    inner: Model | None = None  # where the layer is a model itself


@dataclass(frozen=True)
class Model:
    """A model: its layers, and the tensors that go in and come out."""

    entries: list[Entry]
    inputs: list[Ref]
    outputs: list[Ref]


def parse(kind: str, config: Any, depth: int = 0) -> Model:
    """A Sequential or functional model's config, with the models inside it.

    Raises:
        ModelError: it is damaged, or the model is neither.
    """
    if depth > MAX_DEPTH:
        raise ModelError(f"its models are nested more than {MAX_DEPTH} deep")
    if kind not in MODELS:
        raise ModelError(
            f"the model is a {kind}: only its own Python code says what it computes; build it as a functional or "
            "Sequential model"
        )
    layers = config if isinstance(config, list) else config.get("layers") if isinstance(config, dict) else None
    if not isinstance(layers, list) or not layers:
        raise ModelError(f"the {kind} model holds no layers")
    return (_sequential if kind == "Sequential" else _functional)(layers, config, depth)


def _sequential(layers: list[Any], config: Any, depth: int) -> Model:
    """Each layer called once on the output of the one before."""
    entries = [_entry(layer, [], depth) for layer in layers]
    if entries[0].kind != "InputLayer":
        shape = entries[0].config.get("batch_input_shape") or entries[0].config.get("batch_shape")
        if shape is None and isinstance(config, dict):
            shape = config.get("build_input_shape")
        entries.insert(0, Entry("InputLayer", f"{entries[0].name}_input", {"batch_shape": shape}, [Call([])]))
    else:
        entries[0] = Entry("InputLayer", entries[0].name, entries[0].config, [Call([])])
    for i in range(1, len(entries)):
        entries[i].calls.append(Call([Ref(entries[i - 1].name, 0, 0)], [""]))
    return Model(entries, [Ref(entries[0].name, 0, 0)], [Ref(entries[-1].name, 0, 0)])


def _functional(layers: list[Any], config: Any, depth: int) -> Model:
    entries = []
    for layer in layers:
        calls = layer.get("inbound_nodes", []) if isinstance(layer, dict) else []
        if not isinstance(calls, list):
            raise ModelError("the inbound_nodes of a layer are not a list")
        entry = _entry(layer, [_call(call) for call in calls], depth)
        entries.append(replace(entry, calls=[Call([])]) if entry.kind == "InputLayer" else entry)
    return Model(entries, _refs(config.get("input_layers")), _refs(config.get("output_layers")))


def _entry(layer: Any, calls: list[Call], depth: int) -> Entry:
    kind, config = class_and_config(layer, "a layer")
    name = layer.get("name") or (config.get("name") if isinstance(config, dict) else None)
    inner = parse(kind, config, depth + 1) if kind in MODELS else None
    config = {} if isinstance(config, list) else config
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        found = as_keras_3(str(config.get("function")), calls[0].options if calls else {})
        kind, config = (f"{OPERATION}{found[0]}", found[1]) if found else (kind, config)
    elif _is_operation(layer, config):
        kind = f"{OPERATION}{kind}"
    return Entry(kind, str(name)[:200], config, calls, inner)


def _is_operation(layer: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether an entry is a function on tensors. A .h5 has no modules, but says of layers if they train."""
    if "module" in layer or "registered_name" in layer:
        return str(layer.get("module")).startswith(OPERATIONS_OF_KERAS)
    calls = layer.get("inbound_nodes")
    new = isinstance(calls, list) and any(isinstance(call, dict) for call in calls)
    return new and "trainable" not in config


def class_and_config(value: Any, what: str) -> tuple[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        raise ModelError(f"the config of {what} lacks its class_name; the file is damaged")
    config = value.get("config")
    if not isinstance(config, dict | list):
        raise ModelError(f"the config of {what} of class {value['class_name'][:80]} is missing; the file is damaged")
    return value["class_name"], config


def _call(call: Any) -> Call:
    """One call: lists [layer, call, output, keywords] in Keras 2, a dict of arguments in Keras 3."""
    if isinstance(call, dict):
        given = call.get("args")
        return _arguments(given if isinstance(given, list) else [given], call.get("kwargs"))
    if isinstance(call, list) and len(call) == 4 and isinstance(call[0], str):
        call = [call]
    items = call if isinstance(call, list) else [call]
    given = [item[:3] if isinstance(item, list) else item for item in items]
    given = [item[2] if isinstance(item, list) and item[:1] == ["_CONSTANT_VALUE"] else item for item in given]
    keywords = [item[3] for item in items if isinstance(item, list) and len(item) > 3 and isinstance(item[3], dict)]
    return _arguments(given, {key: value for each in keywords for key, value in each.items()})


def _arguments(given: list[Any], keywords: Any) -> Call:
    """Keywords that hold a tensor are operands, and those that name the other operand of a function of two."""
    operands = list(_operands(given))
    names = [""] * len(operands)
    options: dict[str, Any] = {}
    for key, value in keywords.items() if isinstance(keywords, dict) else ():
        found = list(_operands(value))
        if key in OTHER_OPERAND or any(not isinstance(operand, float) for operand in found):
            operands += found
            names += [str(key)] * len(found)
        elif value is not None:
            options[str(key)] = value
    return Call(operands, names, options, given)


def _operands(value: Any, depth: int = 0) -> Iterator[Operand]:
    """Tensors and numbers in nested lists, in their order."""
    ref = _ref(value)
    if ref is not None:
        yield ref
    elif isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__tensor__"):
        yield _array(value.get("config"))
    elif isinstance(value, list | tuple) and depth < MAX_DEPTH:
        for item in value:
            yield from _operands(item, depth + 1)
    elif isinstance(value, dict) and depth < MAX_DEPTH:
        for item in value.values():
            yield from _operands(item, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def _ref(value: Any) -> Ref | None:
    """["conv", 0, 0], or that inside a __keras_tensor__."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        value = config.get("keras_history") if isinstance(config, dict) else None
    if (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(isinstance(v, int) and not isinstance(v, bool) for v in value[1:])
    ):
        return Ref(value[0], value[1], value[2])
    return None


def _array(config: Any) -> Array:
    """An array that stands in the config, as float32."""
    try:
        return np.asarray(config["value"], np.float32)
    except (TypeError, KeyError, ValueError, OverflowError):
        raise ModelError("the config holds an array that is none; the file is damaged") from None


def _refs(value: Any) -> list[Ref]:
    """The tensors of input_layers or output_layers: one, a list, or a dict of them."""
    refs = [operand for operand in _operands(value) if isinstance(operand, Ref)]
    if not refs:
        raise ModelError("the config of the model does not say what its inputs and outputs are; the file is damaged")
    return refs
