"""What a .pt2 file holds, without torch: the graph of a torch.export program as JSON, and its weights as raw bytes.

`torch.export.load` is not used: it unpickles constants and sample inputs and evaluates symbolic expressions, so that a
file from a stranger could run code. Here JSON and raw bytes are read and nothing else; what is pickled is refused.
Layout: https://docs.pytorch.org/docs/stable/export/pt2_archive.html, torch/_export/serde/schema.py.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinymaix.graph import Array, ModelError, Shape

MAX_BYTES = 2**29
MAX_JSON_BYTES = 2**26
MAX_RANK = 8

TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
}  # fmt: skip
"""ScalarType of the schema."""
BFLOAT16 = 13
UNPACKED = (
    "a pickled file of PyTorch can run any code when it is loaded, so it is never read: "
    "save the program with torch.export.save(torch.export.export(model.eval(), example_inputs), 'model.pt2')"
)


@dataclass
class TorchNode:
    """One operator: ``target`` as in "aten.conv2d.default"; references to tensors are `Ref`."""

    target: str
    arguments: dict[str, Any]
    outputs: list[str]


@dataclass(frozen=True)
class Ref:
    """The name of a tensor, as an argument."""

    name: str


@dataclass
class TorchFile:
    """The graph of a file, with its parameters and buffers as ``constants``. ``mutated``: names of buffers that a run
    changes, and the names of their new values."""

    nodes: list[TorchNode] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: list[tuple[str, Shape, str]] = field(default_factory=list)  # name, shape, type
    outputs: list[str] = field(default_factory=list)
    mutated: dict[str, str] = field(default_factory=dict)


def is_torch(data: bytes) -> bool:
    """Whether a zip file is one of PyTorch's, to be read or to be refused."""
    return any(
        name.endswith(("models/model.json", "data.pkl", "serialized_exported_program.json")) for name in _names(data)
    )


def _names(data: bytes) -> list[str]:
    try:
        return zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def parse_torch(data: bytes) -> TorchFile:
    """Parse a .pt2 file.

    Raises:
        ModelError: it is damaged, pickled, or of another layout.
    """
    archive = _Archive(data)
    models = [name for name in archive.names if name.endswith("models/model.json")]
    if not models:
        if any(name.endswith("data.pkl") for name in archive.names):
            raise ModelError(UNPACKED)
        raise ModelError("the .pt2 has the layout of PyTorch before 2.8; save it again with a current PyTorch")
    root = models[0][: -len("models/model.json")]
    try:
        program = archive.json(models[0])
        stored = {kind: archive.config(root, kind) for kind in ("weights", "constants")}
        return _Program(archive, root, stored, program["graph_module"]).file()
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"damaged .pt2: its description of the program makes no sense ({error!r})") from None


class _Archive:
    """The zip file, whose entries are bounded before they are read."""

    def __init__(self, data: bytes) -> None:
        try:
            self.zip = zipfile.ZipFile(io.BytesIO(data))
            self.names = self.zip.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ModelError(f"damaged .pt2: it is not a whole zip file ({error})") from None
        if sum(info.file_size for info in self.zip.infolist()) > min(MAX_BYTES, 64 * len(data)):
            raise ModelError("the .pt2 unpacks to far more data than a model for a microcontroller has")

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        try:
            info = self.zip.getinfo(name)
            if info.file_size > limit:
                raise ModelError(f"'{name}' in the .pt2 is larger than {limit >> 20} MB")
            return self.zip.read(info)
        except KeyError:
            raise ModelError(f"damaged .pt2: '{name}' is missing") from None
        except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, NotImplementedError) as error:
            raise ModelError(f"damaged .pt2: '{name}' cannot be read ({error})") from None
        except Exception as error:
            if isinstance(error, ModelError) or type(error).__module__ != "zlib":
                raise
            raise ModelError(f"damaged .pt2: '{name}' cannot be unpacked ({error})") from None

    def json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name, MAX_JSON_BYTES))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ModelError(f"damaged .pt2: '{name}' is not JSON ({error})") from None

    def config(self, root: str, kind: str) -> dict[str, Any]:
        """The description of each stored tensor by its qualified name."""
        name = f"{root}data/{kind}/model_{kind}_config.json"
        found: dict[str, Any] = self.json(name)["config"] if name in self.names else {}
        return found


@dataclass
class _Program:
    archive: _Archive
    root: str
    stored: dict[str, dict[str, Any]]
    module: dict[str, Any]

    def file(self) -> TorchFile:
        graph, signature = self.module["graph"], self.module["signature"]
        file = TorchFile()
        for spec in signature["input_specs"]:
            self._input(file, graph, spec)
        buffers = {
            str(value["buffer_name"]): str(value["arg"]["name"])
            for kind, value in map(_only, signature["input_specs"])
            if kind == "buffer"
        }
        for entry in graph["nodes"]:
            file.nodes.append(_node(entry))
        for spec in signature["output_specs"]:
            kind, value = _only(spec)
            if kind == "buffer_mutation":
                file.mutated[buffers[str(value["buffer_name"])]] = str(value["arg"]["name"])
                continue
            if kind != "user_output" or "as_tensor" not in value["arg"]:
                raise ModelError(
                    f"the program has an output of kind '{kind}'; only tensors and new values of buffers are supported"
                )
            file.outputs.append(str(value["arg"]["as_tensor"]["name"]))
        return file

    def _input(self, file: TorchFile, graph: dict[str, Any], spec: dict[str, Any]) -> None:
        kind, value = _only(spec)
        names = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
        if kind in names:
            file.constants[str(value["arg"]["name"])] = self._tensor(str(value[names[kind]]))
        elif kind == "user_input" and "as_tensor" in value["arg"]:
            name = str(value["arg"]["as_tensor"]["name"])
            meta = graph["tensor_values"][name]
            shape, code = _sizes(meta["sizes"], name), meta["dtype"]
            if code not in TYPES:
                raise ModelError(
                    f"input '{name}' has elements of type {code}; supported are {', '.join(TYPES.values())}"
                )
            file.inputs.append((name, shape, TYPES[code]))
        elif kind != "constant_input" and not (kind == "user_input" and "as_tensor" not in value["arg"]):
            raise ModelError(f"the program takes an input of kind '{kind}', which is not supported")

    def _tensor(self, name: str) -> Array:
        kind = next((kind for kind, stored in self.stored.items() if name in stored), None)
        if kind is None:
            raise ModelError(f"damaged .pt2: the weights '{name}' are missing")
        entry = self.stored[kind][name]
        if entry["use_pickle"]:
            raise ModelError(f"'{name}' is pickled: {UNPACKED}")
        meta = entry["tensor_meta"]
        shape = _sizes(meta["sizes"], name)
        code = meta["dtype"]
        if code not in TYPES and code != BFLOAT16:
            raise ModelError(f"'{name}' has elements of type {code}; supported are {', '.join(TYPES.values())}")
        dtype = np.dtype(TYPES.get(code, "uint16")).newbyteorder("<")
        raw = self.archive.read(f"{self.root}data/{kind}/{entry['path_name']}")
        strides = [_size(stride) for stride in meta["strides"]]
        array = _strided(np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype), shape, strides, name)
        if code == BFLOAT16:
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(dtype.newbyteorder("="))


def _strided(flat: Array, shape: Shape, strides: list[int], name: str) -> Array:
    """The elements of a tensor in their order, as a copy."""
    last = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if math.prod(shape) else -1
    if min(strides, default=0) < 0 or last >= flat.size:
        raise ModelError(f"damaged .pt2: '{name}' of shape {list(shape)} needs more than its {flat.nbytes} bytes")
    steps = [stride * flat.itemsize for stride in strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False)).reshape(shape)


def _node(entry: dict[str, Any]) -> TorchNode:
    arguments = {str(given["name"]): _argument(given["arg"]) for given in entry["inputs"]}
    outputs = []
    for output in entry["outputs"]:
        kind, value = _only(output)
        found = [value] if kind == "as_tensor" else value if kind == "as_tensors" else [{"name": ""}]
        outputs += [str(item["name"]) for item in found]
    return TorchNode(str(entry["target"]).removeprefix("torch.ops."), arguments, outputs)


def _argument(given: dict[str, Any]) -> Any:
    """A plain value, a `Ref` or a list of them; what no supported operator takes is None."""
    kind, value = _only(given)
    if kind == "as_tensor":
        return Ref(str(value["name"]))
    if kind in ("as_tensors", "as_optional_tensors"):
        return [_optional(item) for item in value]
    if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_scalar_type"):
        return value
    if kind in ("as_sym_int", "as_sym_ints"):
        return [_size(item) for item in value] if isinstance(value, list) else _size(value)
    return None


def _optional(item: dict[str, Any]) -> Ref | None:
    if "name" in item:
        return Ref(str(item["name"]))
    return Ref(str(item["as_tensor"]["name"])) if "as_tensor" in item else None


def _only(union: dict[str, Any]) -> tuple[str, Any]:
    """(kind, value) of a union, which is a table of one entry."""
    ((kind, value),) = union.items()
    return str(kind), value


def _size(entry: dict[str, Any]) -> int:
    if "as_int" not in entry:
        raise ModelError("the program has sizes that are known at run time only; export it without dynamic shapes")
    return int(entry["as_int"])


def _sizes(entries: list[dict[str, Any]], name: str) -> Shape:
    sizes = tuple(_size(entry) for entry in entries)
    if len(sizes) > MAX_RANK or min(sizes, default=0) < 0 or math.prod(max(size, 1) for size in sizes) > MAX_BYTES:
        raise ModelError(f"'{name}' of shape {list(sizes)} is larger than any chip's memory")
    return sizes
