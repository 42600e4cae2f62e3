"""The C library of `src/tinymaix/device` as a Python object, and a builder of .tmdl files."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_uint16, c_uint32, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinymaix.graph import Array

DEVICE = Path(__file__).resolve().parents[2] / "src/tinymaix/device"
SOURCES = [DEVICE / "tm_model.c", DEVICE / "tm_layers.c", DEVICE / "tm_stat.c", DEVICE / "tm_more.c"]
OLD_LOAD = """
#include "tinymaix.h"
tm_err_t old_load(tm_mdl_t *mdl, const uint8_t *bin, uint8_t *buf, tm_cb_t cb, tm_mat_t *in);
tm_err_t old_load(tm_mdl_t *mdl, const uint8_t *bin, uint8_t *buf, tm_cb_t cb, tm_mat_t *in)
{
    return tm_load(mdl, bin, buf, cb, in);
}
"""
STRICT = ["-Wall", "-Wextra", "-Werror"]

CONV2D, GAP, FC, SOFTMAX, RESHAPE, DWCONV2D, ADD = range(7)
OK, ERR = 0, 1
ERR_MAGIC, ERR_UNSUPPORT, ERR_OOM, ERR_LAYERTYPE, ERR_DIMS, ERR_MDLTYPE, ERR_KSIZE = 2, 3, 4, 5, 6, 8, 9
ERR_SIZE, ERR_OFFSET, ERR_ALIGN, ERR_OVERLAP, ERR_ACT, ERR_SCALE, ERR_ENDIAN, ERR_VERSION = range(10, 18)


class Mat(ctypes.Structure):
    _fields_ = [("dims", c_uint16), ("h", c_uint16), ("w", c_uint16), ("c", c_uint16), ("data", c_void_p)]


class Scale(ctypes.Structure):
    _fields_ = [("mult", ctypes.c_int32), ("shift", ctypes.c_int32)]


class Mdl(ctypes.Structure):
    _fields_ = [
        ("b", c_void_p),
        ("cb", c_void_p),
        ("buf", c_void_p),
        ("subbuf", c_void_p),
        ("main_alloc", c_uint16),
        ("layer_i", c_uint16),
        ("layer_body", c_void_p),
        ("single", ctypes.c_uint8 * 64),  # of single-layer mode
    ]


CALLBACK = ctypes.CFUNCTYPE(c_int, POINTER(Mdl), c_void_p)


def compiler(name: str = "gcc") -> str:
    """Path of a compiler; skips the test where it is absent."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def compile_c(arguments: Sequence[str | Path], name: str = "gcc") -> None:
    """Run a compiler; its messages become the failure."""
    command = [compiler(name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


TYPES: dict[str, np.dtype[Any]] = {
    "int8": np.dtype("int8"),
    "int16": np.dtype("int16"),
    "fp32": np.dtype("float32"),
    "fp16": np.dtype("float16"),
    "fp8_143": np.dtype("uint8"),
    "fp8_152": np.dtype("uint8"),
}
"""Model types in the order of their numbers, and an activation as it is stored."""


def run_program(path: Path) -> None:
    """Run it; anything but success is the failure."""
    done = subprocess.run([path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.returncode} {done.stderr}"


class Library:
    """tm_load_n, tm_preprocess and tm_run of a host build."""

    def __init__(self, folder: Path, options: Sequence[str] = (), compiler: str = "gcc") -> None:
        path = folder / "libtinymaix.so"
        flags = ["-std=c99", "-O2", "-shared", "-fPIC", "-DTM_ENABLE_STAT=1", *STRICT, *options]
        old = folder / "old_load.c"  # the header's own function
        old.write_text(OLD_LOAD)
        compile_c([*flags, "-I", DEVICE, *SOURCES, old, "-o", path], compiler)
        self.open(path)
        self.c.tm_strerror.restype = c_char_p
        self.c.tm_round.argtypes = [c_float]

    def open(self, path: Path, model_type: str = "int8", prefix: str = "") -> None:
        """The build for one type of models in a shared library; ``prefix`` is its TM_PREFIX."""
        self.c = ctypes.CDLL(str(path))
        self.dtype, self.prefix = TYPES[model_type], prefix

    def call(self, name: str, *arguments: Any) -> int:
        result: int = getattr(self.c, self.prefix + name)(*arguments)
        return result

    def scale(self, a: float, b: float, d: float) -> tuple[int, int]:
        """Multiplier and shift of a * b / d, each a float32."""
        result = Scale()
        self.c.tm_scale(byref(result), *(c_uint32(int(np.float32(x).view(np.uint32))) for x in (a, b, d)))
        return result.mult, result.shift

    def load(self, data: bytes, buf_len: int | None = None) -> Model:
        """Load a file, into a buffer of ``buf_len`` bytes or, without, one from malloc."""
        return Model(self, data, buf_len)


class Model:
    """A loaded file; ``error`` is tm_load_n's result."""

    def __init__(self, library: Library, data: bytes, buf_len: int | None) -> None:
        self.library = library
        self.file = aligned(len(data))
        self.file[:] = np.frombuffer(data, np.uint8)
        self.buf = None if buf_len is None else aligned(buf_len)
        self.mdl = Mdl()
        buf = c_void_p(None if self.buf is None else self.buf.ctypes.data)
        file = c_void_p(self.file.ctypes.data)
        size, room = c_uint32(len(data)), c_uint32(buf_len or 0)
        self.inputs = (Mat * 256)()  # as many as a file may say that there are
        self.input = self.inputs[0]
        self.error: int = library.call("tm_load_n", byref(self.mdl), file, size, buf, room, None, self.inputs)

    def __del__(self) -> None:
        if self.error == OK:
            self.library.call("tm_unload", byref(self.mdl))

    def run(self, x: Array, callback: Callable[[Any, Any], int] | None = None) -> Array:
        """Output for ``x``: of the model's type, or float32 where the file says so. (h, w, c)."""
        error, out = self.try_run(x, callback)
        assert error == OK, error
        return self.array(out)

    def array(self, out: Mat) -> Array:
        floats = bool(self.file[5])
        dtype, shape = np.dtype("float32") if floats else self.library.dtype, (out.h, out.w, out.c)
        data = ctypes.string_at(out.data, int(np.prod(shape)) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape)

    def run_all(self, inputs: Sequence[Array], outputs: int) -> list[Array]:
        """Outputs of a model with any number of inputs."""
        arrays = [np.ascontiguousarray(x) for x in inputs]
        mats = (Mat * len(arrays))()
        for mat, x in zip(mats, arrays, strict=True):
            shape = (1, 1, 1, *x.shape[1:])[-3:]
            mat.dims, mat.h, mat.w, mat.c, mat.data = 3, *shape, x.ctypes.data
        outs = (Mat * outputs)()
        self.mdl.cb = None
        error = self.library.call("tm_run", byref(self.mdl), mats, outs)
        assert error == OK, error
        return [self.array(out) for out in outs]

    def try_run(self, x: Array, callback: Callable[[Any, Any], int] | None = None) -> tuple[int, Mat]:
        x = np.ascontiguousarray(x)
        mat, out = Mat(self.input.dims, self.input.h, self.input.w, self.input.c, x.ctypes.data), Mat()
        function = CALLBACK(callback) if callback else None
        self.mdl.cb = ctypes.cast(function, c_void_p).value if function else None
        return self.library.call("tm_run", byref(self.mdl), byref(mat), byref(out)), out

    def preprocess(self, mode: int, x: Array) -> tuple[int, Array]:
        """(error, input of the model's type) for uint8 or float32 ``x``."""
        x = np.ascontiguousarray(x)
        out = np.zeros(x.size, self.library.dtype)
        h, w, c = x.shape
        source, target = Mat(3, h, w, c, x.ctypes.data), Mat(3, h, w, c, out.ctypes.data)
        error = self.library.call("tm_preprocess", byref(self.mdl), c_int(mode), byref(source), byref(target))
        return error, out.reshape(x.shape)


def aligned(size: int) -> Array:
    """Bytes that begin at a multiple of 8."""
    return np.zeros(size // 8 + 1, np.uint64).view(np.uint8)[:size]


def align8(n: int) -> int:
    return -(-n // 8) * 8


@dataclass
class Layer:
    """One layer of a file; the offsets in the main buffer are bytes."""

    type: int
    in_dims: tuple[int, int, int]
    out_dims: tuple[int, int, int]
    in_oft: int
    out_oft: int
    in_q: tuple[float, int] = (0.05, 0)
    out_q: tuple[float, int] = (0.05, 0)
    kernel: tuple[int, int] = (1, 1)  # h, w like the other pairs
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    act: int = 0
    scales: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    weights: Array = field(default_factory=lambda: np.zeros(0, np.int8))
    bias: Array = field(default_factory=lambda: np.zeros(0, np.int32))
    in1: tuple[int, float, int] = (0, 0.05, 0)  # offset, scale, zero point
    is_out: int = 1

    def body(self) -> bytes:
        if self.type == ADD:
            return struct.pack("<IfiI", *self.in1, 0)
        if self.type not in (CONV2D, DWCONV2D, FC):
            return b""
        blocks = [pad8(a.tobytes()) for a in (self.scales, self.weights, self.bias)]
        head = 64 if self.type == FC else 80
        offsets = (head, head + len(blocks[0]), head + len(blocks[0]) + len(blocks[1]))
        if self.type == FC:
            return struct.pack("<4I", *offsets, 0) + b"".join(blocks)
        pairs = [n for pair in (self.kernel, self.stride, self.dilation) for n in reversed(pair)]
        multiplier = self.out_dims[2] // self.in_dims[2] if self.type == DWCONV2D else 0
        return struct.pack("<6BH4B5I", *pairs, self.act, *self.pad, multiplier, 0, *offsets) + b"".join(blocks)

    def pack(self) -> bytes:
        body = self.body()
        offsets = self.type, self.is_out, 48 + len(body), self.in_oft, self.out_oft
        head = struct.pack("<HHIII", *offsets) + struct.pack("<8H", 3, *self.in_dims, 3, *self.out_dims)
        return head + struct.pack("<fifi", *self.in_q, *self.out_q) + body


def pad8(data: bytes) -> bytes:
    return data + bytes(align8(len(data)) - len(data))


def tmdl(layers: Sequence[Layer], buf_size: int, out_deq: int = 0, mdl_type: int = 0) -> bytes:
    """A file of these layers, of integers."""
    head = struct.pack("<4sBBHHHII", b"MAIX", mdl_type, out_deq, 1, 1, len(layers), buf_size, 0)
    dims = struct.pack("<8H", 3, *layers[0].in_dims, 3, *layers[-1].out_dims)
    return head + dims + bytes(28) + b"".join(layer.pack() for layer in layers)
