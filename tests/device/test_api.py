"""The API: loading, refusing what is damaged, preprocessing, the callback, and clean builds in C99, C++ and for AVR."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from ctypes import byref, c_uint32, c_void_p
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.device import runtime as r
from tests.device.runtime import Layer, Library, tmdl

CONV = Layer(
    r.CONV2D,
    (4, 4, 2),
    (4, 4, 3),
    0,
    32,
    kernel=(3, 3),
    pad=(1, 1, 1, 1),
    scales=np.full(3, 0.01, np.float32),
    weights=np.arange(-27, 27, dtype=np.int8),
    bias=np.array([10, -20, 30], np.int32),
)
FC = replace(CONV, type=r.FC, in_dims=(1, 1, 18), out_dims=(1, 1, 3))
SOFTMAX = Layer(r.SOFTMAX, (1, 1, 8), (1, 1, 8), 0, 8, (0.1, 3), (1 / 256, -128))
ADD = Layer(r.ADD, (2, 2, 2), (2, 2, 2), 0, 16, in1=(8, 0.1, 0))
GAP = Layer(r.GAP, (2, 2, 2), (1, 1, 2), 0, 8)
RESHAPE = Layer(r.RESHAPE, (2, 2, 2), (1, 1, 8), 0, 0)


def conv_with(**changes: Any) -> bytes:
    return tmdl([replace(CONV, **changes)], 80)


def poked(offset: int, kind: str, value: Any) -> bytes:
    """The convolution's file with one field overwritten."""
    data = bytearray(tmdl([CONV], 80))
    struct.pack_into("<" + kind, data, offset, value)
    return bytes(data)


def one(layer: Layer, **changes: Any) -> bytes:
    return tmdl([replace(layer, **changes)], 80)


HEAD = 64  # of the file; the layer's own head takes 48 more
INF, NAN = float("inf"), float("nan")
DAMAGE: list[tuple[str, bytes, int]] = [
    *[(f"magic{i}", poked(i, "B", 0x58), r.ERR_MAGIC) for i in range(3)],
    ("type", poked(4, "B", 2), r.ERR_MDLTYPE),
    ("inputs", poked(6, "H", 2), r.ERR_UNSUPPORT),
    ("outputs", poked(8, "H", 2), r.ERR_UNSUPPORT),
    ("byte_order", poked(6, "H", 0x100), r.ERR_ENDIAN),
    ("no_layers", poked(10, "H", 0), r.ERR_SIZE),
    ("layers", poked(10, "H", 2), r.ERR_SIZE),
    ("version", poked(36, "B", 1), r.ERR_VERSION),
    ("input_dims", poked(22, "H", 5), r.ERR_DIMS),
    ("buf_size", poked(12, "I", 79), r.ERR_OFFSET),
    ("layer_type", poked(HEAD, "H", 7), r.ERR_LAYERTYPE),
    ("no_output", poked(HEAD + 2, "H", 0), r.ERR_UNSUPPORT),
    ("size_small", poked(HEAD + 4, "I", 72), r.ERR_SIZE),
    ("size_odd", poked(HEAD + 4, "I", 81), r.ERR_SIZE),
    ("size_large", poked(HEAD + 4, "I", 0xFFFFFFF8), r.ERR_SIZE),
    ("in_oft", poked(HEAD + 8, "I", 0xFFFFFFFF), r.ERR_OFFSET),
    ("out_oft", poked(HEAD + 12, "I", 33), r.ERR_OFFSET),
    ("overlap", poked(HEAD + 12, "I", 31), r.ERR_OVERLAP),
    ("in_place", poked(HEAD + 12, "I", 0), r.ERR_OVERLAP),
    ("in_h", tmdl([replace(CONV, in_dims=(5, 4, 2), out_oft=40)], 88), r.ERR_DIMS),
    ("in_zero", conv_with(in_dims=(0, 4, 2)), r.ERR_DIMS),
    ("in_c_zero", conv_with(in_dims=(4, 4, 0)), r.ERR_DIMS),
    ("in_huge", conv_with(in_dims=(0x4000, 1, 1)), r.ERR_OFFSET),
    ("in_pixels", tmdl([replace(RESHAPE, in_dims=(0x4000, 0x200, 1), out_dims=(0x4000, 0x200, 1))], 80), r.ERR_DIMS),
    ("out_w", conv_with(out_dims=(4, 3, 3)), r.ERR_DIMS),
    ("out_c", conv_with(out_dims=(4, 4, 4)), r.ERR_OFFSET),
    *[(f"in_scale_{s}", conv_with(in_q=(s, 0)), r.ERR_SCALE) for s in (0.0, -1.0, 1e-40, INF, NAN)],
    *[(f"out_scale_{s}", conv_with(out_q=(s, 0)), r.ERR_SCALE) for s in (0.0, -1.0, 1e-40, INF, NAN)],
    *[(f"weight_scale_{s}", conv_with(scales=np.full(3, s, np.float32)), r.ERR_SCALE) for s in (-1.0, INF, NAN)],
    *[(f"zero_point_{z}", conv_with(out_q=(1.0, z)), r.ERR_SCALE) for z in (-129, 128, 2**31 - 1)],
    ("kernel", poked(HEAD + 48, "B", 0), r.ERR_KSIZE),
    ("stride", conv_with(stride=(0, 1)), r.ERR_KSIZE),
    ("dilation", conv_with(dilation=(1, 0)), r.ERR_KSIZE),
    ("dilated_too_far", conv_with(dilation=(9, 1)), r.ERR_DIMS),
    ("pad", conv_with(pad=(9, 1, 1, 1)), r.ERR_DIMS),
    ("tanh", conv_with(act=4), r.ERR_ACT),
    ("sign_bit", conv_with(act=5), r.ERR_ACT),
    *[(f"block{i}", poked(HEAD + 68 + 4 * i, "I", 0xFFFFFFF0), r.ERR_OFFSET) for i in range(3)],
    ("scales_odd", poked(HEAD + 68, "I", 82), r.ERR_ALIGN),
    ("bias_odd", poked(HEAD + 76, "I", 81), r.ERR_ALIGN),
    ("multiplier", one(CONV, type=r.DWCONV2D, out_dims=(4, 4, 3)), r.ERR_DIMS),
    ("fc_out", one(FC, out_dims=(2, 1, 3)), r.ERR_DIMS),
    ("fc_in", one(FC, in_dims=(1, 1, 40), out_oft=40), r.ERR_OFFSET),
    ("gap_c", one(GAP, out_dims=(1, 1, 3)), r.ERR_DIMS),
    ("gap_hw", one(GAP, out_dims=(1, 2, 2)), r.ERR_DIMS),
    ("gap_overlap", one(GAP, in_oft=0, out_oft=4), r.ERR_OVERLAP),
    ("softmax_dims", one(SOFTMAX, out_dims=(1, 8, 1)), r.ERR_DIMS),
    ("softmax_out_scale", one(SOFTMAX, out_q=(1 / 128, -128)), r.ERR_SCALE),
    ("softmax_out_zero", one(SOFTMAX, out_q=(1 / 256, -127)), r.ERR_SCALE),
    ("softmax_in_large", one(SOFTMAX, in_q=(32.0, 0)), r.ERR_SCALE),
    ("softmax_in_small", one(SOFTMAX, in_q=(2.0**-27, 0)), r.ERR_SCALE),
    (
        "softmax_classes",
        tmdl([replace(SOFTMAX, in_dims=(1, 1, 4096), out_dims=(1, 1, 4096), out_oft=0)], 4096),
        r.ERR_DIMS,
    ),
    ("add_dims", one(ADD, out_dims=(2, 2, 3)), r.ERR_DIMS),
    ("add_second_oft", one(ADD, in1=(73, 0.1, 0)), r.ERR_OFFSET),
    ("add_second_scale", one(ADD, in1=(8, 0.0, 0)), r.ERR_SCALE),
    ("add_second_zero", one(ADD, in1=(8, 0.1, -200)), r.ERR_SCALE),
    ("add_second_overlap", one(ADD, in1=(12, 0.1, 0)), r.ERR_OVERLAP),
    ("reshape", one(RESHAPE, out_dims=(1, 1, 9)), r.ERR_DIMS),
]


@pytest.mark.parametrize(("data", "error"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_damage(library: Library, data: bytes, error: int) -> None:
    assert library.load(data).error == error
    assert library.c.tm_strerror(error) not in (b"unknown error", b"no error")


@pytest.mark.parametrize("layer", [CONV, FC, SOFTMAX, ADD, GAP, RESHAPE], ids=lambda layer: f"type{layer.type}")
def test_undamaged(library: Library, layer: Layer) -> None:
    assert library.load(one(layer)).error == r.OK


def test_every_shorter_file_is_refused(library: Library) -> None:
    data = tmdl([CONV], 80)
    assert {library.load(data[:n]).error for n in range(len(data))} == {r.ERR_SIZE}


def test_unaligned_file(library: Library) -> None:
    model = library.load(tmdl([CONV], 80))
    shifted = r.aligned(400)
    shifted[1 : 1 + len(model.file)] = model.file
    mdl, address = r.Mdl(), c_void_p(shifted.ctypes.data + 1)
    size = c_uint32(len(model.file))
    assert library.c.tm_load_n(byref(mdl), address, size, None, c_uint32(0), None, None) == r.ERR_ALIGN


def test_buffer_too_small(library: Library) -> None:
    assert library.load(tmdl([CONV], 80), 79).error == r.ERR_OOM
    assert library.load(tmdl([CONV], 80), 80).error == r.OK


def test_dequantized_output(library: Library) -> None:
    """Floats lie behind the bytes, and have to fit as well."""
    x = np.arange(-4, 4, dtype=np.int8)
    layer = replace(RESHAPE, out_q=(0.5, 3))
    found = library.load(tmdl([layer], 40, out_deq=1)).run(x)
    np.testing.assert_array_equal(found.ravel(), (x.astype(np.float32) - 3) * 0.5)
    assert library.load(tmdl([layer], 39, out_deq=1)).error == r.ERR_OFFSET


def test_old_load_needs_no_lengths(library: Library) -> None:
    model = library.load(tmdl([CONV], 80), 80)
    assert model.buf is not None
    mdl = r.Mdl()
    file, buf = c_void_p(model.file.ctypes.data), c_void_p(model.buf.ctypes.data)
    assert library.c.old_load(byref(mdl), file, buf, None, None) == r.OK


def test_input_of_another_size(library: Library) -> None:
    model = library.load(tmdl([CONV], 80))
    model.input.c = 3
    assert model.try_run(np.zeros(48, np.int8))[0] == r.ERR_DIMS
    assert model.preprocess(2, np.zeros((4, 4, 3), np.uint8))[0] == r.ERR_DIMS


def test_callback(library: Library) -> None:
    """It sees every layer in order; its error stops the run and is the run's result."""
    seen: list[int] = []

    def callback(stop: int) -> Callable[[Any, Any], int]:
        def called(mdl: Any, layer: int) -> int:
            assert mdl.contents.layer_body == layer
            seen.append(mdl.contents.layer_i)
            return 77 if len(seen) == stop else r.OK

        return called

    model = library.load(tmdl([replace(RESHAPE, out_dims=(2, 2, 2), is_out=0), GAP], 80))
    x = np.ones(8, np.int8)
    assert model.try_run(x, callback(0))[0] == r.OK
    assert seen == [0, 1]
    seen.clear()
    assert model.try_run(x, callback(1))[0] == 77
    assert seen == [0]


def test_preprocess(library: Library) -> None:
    scale, zero = 1 / 64, 10
    model = library.load(one(CONV, in_q=(scale, zero)))
    u8 = np.random.default_rng(0).integers(0, 256, (4, 4, 2), np.uint8)
    values = np.linspace(-5, 5, 32, dtype=np.float32).reshape(4, 4, 2)
    values[0, 0] = np.nan, np.inf

    def quantized(real: Any) -> Any:
        scaled = np.asarray(real, np.float32) / np.float32(scale)
        return np.clip(np.trunc(scaled + np.copysign(np.float64(0.5), scaled)) + zero, -128, 127)

    none, fp2int, uint2int, fp01, fpn11, dtype = range(6)
    error, found = model.preprocess(fp2int, values)
    assert error == r.OK
    assert found[0, 0, 1] == 127
    np.testing.assert_array_equal(found.ravel()[2:], quantized(values).ravel()[2:])
    np.testing.assert_array_equal(model.preprocess(uint2int, u8)[1], u8.astype(np.int16) - 128)
    np.testing.assert_array_equal(model.preprocess(fp01, u8)[1], quantized(u8.astype(np.float32) / np.float32(255)))
    np.testing.assert_array_equal(model.preprocess(fpn11, u8)[1], quantized((u8.astype(np.float32) - 128) / 128))
    assert model.preprocess(none, u8)[0] == r.OK
    assert model.preprocess(dtype, u8)[0] == r.ERR_UNSUPPORT


def test_stat(library: Library, capfd: pytest.CaptureFixture[str]) -> None:
    model = library.load(one(CONV))
    assert library.c.tm_stat(c_void_p(model.file.ctypes.data)) == r.OK
    library.c.fflush(None)
    assert "000\tConv2D" in capfd.readouterr().out


@pytest.mark.parametrize("level", ["TM_OPT0", "TM_OPT1"])
@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("gcc", ["-std=c99"]),
        ("g++", ["-x", "c++", "-std=c++11"]),
        ("avr-gcc", ["-std=c99", "-mmcu=atmega328p"]),
    ],
    ids=["c99", "c++", "avr"],
)
def test_strict_build(tmp_path: Path, command: str, flags: list[str], level: str) -> None:
    for source in r.SOURCES:
        options = ["-Os", f"-DTM_OPT_LEVEL={level}", "-DTM_ENABLE_STAT=1", *r.STRICT]
        r.compile_c([*flags, *options, "-c", source, "-o", tmp_path / "out.o"], command)


FIRMWARE = """
#include "tinymaix.h"
static const uint32_t mdl_data[16] = {0};
static uint8_t mdl_buf[64];
static uint8_t picture[4] = {0, 1, 2, 3};
static tm_err_t layer_cb(tm_mdl_t *mdl, tml_head_t *lh)
{
    mtype_t *output = TML_GET_OUTPUT(mdl, lh);
    return TML_DEQUANT(lh, output[0]) > 0 ? TM_OK : TM_ERR;
}
int main(void)
{
    tm_mdl_t mdl;
    tm_mat_t in_uint8 = {3, 2, 2, 1, {(mtype_t *)picture}};
    tm_mat_t in = {3, 2, 2, 1, {NULL}};
    tm_mat_t outs[1];
    tm_err_t res = tm_load(&mdl, (const uint8_t *)mdl_data, mdl_buf, layer_cb, &in);
    if (res != TM_OK)
        return res == TM_ERR_MAGIC ? 0 : 1;
    res = tm_preprocess(&mdl, TMPP_UINT2INT, &in_uint8, &in);
    if (res == TM_OK)
        res = tm_run(&mdl, &in, outs);
    tm_unload(&mdl);
    return outs[0].dataf[0] > 0.5f;
}
"""


@pytest.mark.parametrize("flags", [["gcc", "-std=c99"], ["g++", "-x", "c++"]], ids=["c99", "c++"])
def test_firmware_of_the_original_api(tmp_path: Path, flags: list[str]) -> None:
    main = tmp_path / "main.c"
    main.write_text(FIRMWARE)
    options: list[str | Path] = ["-O1", *r.STRICT, "-I", r.DEVICE]
    r.compile_c([*flags[1:], *options, main, *r.SOURCES, "-o", tmp_path / "firmware"], flags[0])
    assert subprocess.run([tmp_path / "firmware"], check=False).returncode == 0
