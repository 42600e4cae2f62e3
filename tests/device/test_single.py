"""Single-layer mode: one layer at a time in RAM, files in either byte order."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.device import runtime as r
from tests.device.runtime import Library, align8
from tests.tmdl_graphs import classifier, residual
from tinymaix.graph import Graph
from tinymaix.write.tmdl import tmdl_bytes

GRAPHS = [(classifier, "classifier"), (residual, "residual")]


@pytest.fixture(scope="module", params=["int8", "fp32", "fp16", "fp8_143"])
def single(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Library, Library]:
    """The name of a model type, and its builds with single-layer mode and without."""
    folder = tmp_path_factory.mktemp("single")
    kind = f"-DTM_MDL_TYPE={list(r.TYPES).index(request.param)}"
    builds = []
    for mode in ("1", "0"):
        (folder / mode).mkdir()
        builds.append(Library(folder / mode, [kind, f"-DTM_SINGLE_LAYER={mode}"]))
        builds[-1].dtype = r.TYPES[request.param]
    return request.param, builds[0], builds[1]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("make", [make for make, _ in GRAPHS], ids=[name for _, name in GRAPHS])
def test_same_output(single: tuple[str, Library, Library], make: Callable[[bool], Graph], order: str) -> None:
    name, one, whole = single
    graph = make(name == "int8")
    files = {big: tmdl_bytes(graph, mdl_type=name, big_endian=big).data for big in (False, True)}
    x = np.random.default_rng(1).integers(0, 256, graph.inputs[0].shape[1:], np.uint8)
    native = whole.load(files[sys.byteorder == "big"])
    assert native.error == r.OK
    _, stored = native.preprocess(3, x)
    model = one.load(files[order == "big"])
    assert model.error == r.OK
    assert model.preprocess(3, x)[1].tobytes() == stored.tobytes()
    assert model.run(stored).tobytes() == native.run(stored).tobytes()


def test_other_byte_order_needs_it(single: tuple[str, Library, Library]) -> None:
    name, _, whole = single
    data = tmdl_bytes(residual(name == "int8"), mdl_type=name, big_endian=sys.byteorder == "little").data
    assert whole.load(data).error == r.ERR_ENDIAN


def test_room(single: tuple[str, Library, Library]) -> None:
    name, one, _ = single
    file = tmdl_bytes(residual(name == "int8"), mdl_type=name)
    size = align8(file.head.buf_size) + file.layer_buffer
    assert one.load(file.data, size).error == r.OK
    assert one.load(file.data, size - 1).error == r.ERR_OOM


def test_every_shorter_file_is_refused(single: tuple[str, Library, Library]) -> None:
    name, one, _ = single
    data = tmdl_bytes(residual(name == "int8"), mdl_type=name).data
    assert {one.load(data[:n]).error for n in range(0, len(data), 3)} == {r.ERR_SIZE}


def test_read_hook(tmp_path: Path) -> None:
    """All access to the file goes through TM_READ: here it lies at an address that is none."""
    hook = tmp_path / "hook.h"
    hook.write_text(
        """
        #include <string.h>
        extern unsigned char flash_file[];
        #define TM_READ(dst, src, n) memcpy(dst, flash_file + ((size_t)(src) - 8), n)
        """
    )
    data = tmdl_bytes(classifier(True)).data
    main = tmp_path / "main.c"
    main.write_text(
        f"""
        #include "tinymaix.h"
        unsigned char flash_file[] = {{{",".join(map(str, data))}}};
        int main(void)
        {{
            tm_mdl_t mdl;
            tm_mat_t in, out;
            if (tm_load_n(&mdl, (const uint8_t *)8, sizeof(flash_file), NULL, 0, NULL, &in) != TM_OK)
                return 1;
            memset(in.data, 0, (size_t)in.h * in.w * in.c);
            if (tm_run(&mdl, &in, &out) != TM_OK)
                return 2;
            tm_unload(&mdl);
            return 0;
        }}
        """
    )
    program = tmp_path / "program"
    r.compile_c(["-O1", "-include", hook, "-DTM_SINGLE_LAYER=1", "-I", r.DEVICE, main, *r.SOURCES, "-o", program])
    r.run_program(program)
