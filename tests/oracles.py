"""Independent implementations to test operators against: TFLM (golden), LiteRT's reference kernels, compiled C.

Use in a test: ``from tests.oracles import check_compiled, check_exact, one_op``.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro import runtime

from tinymaix.compile.project import Project, compile_graph
from tinymaix.cores import find
from tinymaix.graph import Array, Graph, Node, Tensor, unique
from tinymaix.ops.base import Operator
from tinymaix.read import flatbuffer
from tinymaix.read import tflite_schema as schema
from tinymaix.write.tflite import tflite_bytes

FLOAT_TOLERANCE = 1e-6
"""Largest difference of float outputs, relative to the largest magnitude among the expected values."""

C_FLAGS = ("-std=c99", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
UNDEFINED = "-fsanitize=undefined"


def one_op(op: Operator, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor]) -> Graph:
    """A graph of one operator; its inputs are those that are not constant."""
    node = Node(op, list(inputs), list(outputs), name="node")
    return Graph([node], unique(node.activations), list(outputs), name=op.kind.lower())


def random_inputs(graph: Graph, seed: int = 0) -> list[Array]:
    """Inputs over the full range of each integer type; from -1 to 1 for floats."""
    rng = np.random.default_rng(seed)
    return [random_array(tensor, rng) for tensor in graph.inputs]


def random_array(tensor: Tensor, rng: np.random.Generator) -> Array:
    if tensor.dtype.kind == "f":
        return rng.uniform(-1, 1, tensor.shape).astype(tensor.dtype)
    if tensor.dtype.kind == "b":
        return rng.integers(0, 2, tensor.shape).astype(np.bool_)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max, tensor.shape, tensor.dtype, endpoint=True)


def tflm(model: Graph | bytes, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of TFLM's interpreter.

    Raises:
        RuntimeError: it refuses the model (its reason is on stderr).
    """
    return tflm_sequence(model, [inputs])[0]


def tflm_sequence(model: Graph | bytes, sequence: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """Outputs of TFLM's interpreter for one inputs after the other, its variables going on.

    Raises: as `tflm`.
    """
    data = tflite_bytes(model) if isinstance(model, Graph) else model
    arena = 10 * len(data) + 4 * sum(array.nbytes for array in sequence[0]) + (1 << 20)
    if isinstance(model, Graph):
        arena += 4 * sum(tensor.nbytes for tensor in model.tensors)
    try:
        interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena)
        outputs = len(model.outputs) if isinstance(model, Graph) else _output_count(data)
        results = []
        for inputs in sequence:
            for i, array in enumerate(inputs):
                interpreter.set_input(array, i)
            interpreter.invoke()
            results.append([np.array(interpreter.get_output(i)) for i in range(outputs)])
        return results
    except (RuntimeError, ValueError) as error:
        raise RuntimeError(f"TFLM refuses {_describe(model)}: {error}") from error


def litert(model: Graph | bytes, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of LiteRT's reference kernels on one thread.

    Raises:
        RuntimeError: it refuses the model.
    """
    data = tflite_bytes(model) if isinstance(model, Graph) else model
    try:
        interpreter = _litert_interpreter(data)
        interpreter.allocate_tensors()
        for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    except (RuntimeError, ValueError) as error:
        raise RuntimeError(f"LiteRT refuses {_describe(model)}: {error}") from error


def check_exact(
    graph: Graph, inputs: Sequence[Array], litert_too: bool = True, tolerance: float = FLOAT_TOLERANCE
) -> None:
    """Assert that every operator takes the graph and that the numpy reference gives the bytes of TFLM (and LiteRT).

    Floats may differ by ``tolerance``, see `FLOAT_TOLERANCE`.
    """
    for node in graph.nodes:
        assert node.op.problems(node) == []
        assert node.op.infer(node.inputs) == [tensor.shape for tensor in node.outputs], f"shapes of {node.op}"
    outputs = graph.run(inputs)
    data = tflite_bytes(graph)
    expect_same(outputs, tflm(graph, inputs), f"{_describe(graph)}: numpy and TFLM", tolerance)
    if litert_too:
        expect_same(outputs, litert(data, inputs), f"{_describe(graph)}: numpy and LiteRT", tolerance)


def check_sequence(graph: Graph, sequence: Sequence[Sequence[Array]], tolerance: float = FLOAT_TOLERANCE) -> None:
    """`check_exact` over a sequence through which states go on, against TFLM only."""
    for node in graph.nodes:
        assert node.op.problems(node) == []
        assert node.op.infer(node.inputs) == [tensor.shape for tensor in node.outputs], f"shapes of {node.op}"
    found, expected = graph.run_sequence(sequence), tflm_sequence(graph, sequence)
    for k, (a, b) in enumerate(zip(found, expected, strict=True)):
        expect_same(a, b, f"{_describe(graph)}: numpy and TFLM, run {k}", tolerance)


def check_compiled(
    cases: Sequence[tuple[Graph, Sequence[Sequence[Array]]]], tolerance: float = FLOAT_TOLERANCE
) -> None:
    """Assert that the C made for each graph gives the bytes of the numpy reference for each of its lists of inputs.

    The lists of inputs of one graph are a sequence through which its states go on, from their initial values.
    All graphs are built by one run of the compiler. Undefined behaviour is an error where the compiler can find it.
    The arena is filled with rubbish before each run, and a run must leave its inputs as they are.
    """
    projects = [compile_graph(graph, find("host"), name=f"case{i}") for i, (graph, _) in enumerate(cases)]
    with tempfile.TemporaryDirectory() as folder, _no_undefined_behaviour(Path(folder)):
        library = ctypes.CDLL(_build(projects, Path(folder)))
        for project, (graph, runs) in zip(projects, cases, strict=True):
            if graph.states:
                getattr(library, f"{project.name}_reset")()
            for inputs, outputs in zip(runs, graph.run_sequence(runs), strict=True):
                found = _run_compiled(library, project, inputs)
                expect_same(found, outputs, f"{_describe(graph)}: C and numpy", tolerance)


def expect_same(found: Sequence[Array], expected: Sequence[Array], what: str, tolerance: float = 0.0) -> None:
    """Assert equal types, shapes and bytes; floats within ``tolerance`` of the largest expected magnitude."""
    assert len(found) == len(expected), f"{what}: {len(found)} outputs and {len(expected)}"
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), (
            f"{what}: output {i} is {a.dtype}{a.shape} and {b.dtype}{b.shape}"
        )
        if a.dtype.kind == "f" and tolerance:
            finite = np.abs(b[np.isfinite(b)])
            same = np.isclose(a, b, rtol=0.0, atol=tolerance * float(finite.max(initial=0.0)), equal_nan=True)
        else:
            same = (a == b) | ((a != a) & (b != b))
        wrong = np.argwhere(~same)
        if wrong.size:
            at = tuple(int(v) for v in wrong[0])
            raise AssertionError(
                f"{what}: output {i} differs in {len(wrong)} of {a.size}; first {list(at)}: {a[at]} and {b[at]}"
            )


def _compiler() -> str:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for this machine")
    return compiler


@cache
def c_flags() -> tuple[str, ...]:
    """C_FLAGS, and the sanitizer where its library can be loaded."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.c"
        probe.write_text("int probe(int x);\nint probe(int x) { return x + 1; }\n")
        command = [_compiler(), *C_FLAGS, UNDEFINED, "-o", f"{folder}/probe.so", str(probe)]
        if subprocess.run(command, capture_output=True).returncode:
            return C_FLAGS
        try:
            ctypes.CDLL(f"{folder}/probe.so")
        except OSError:
            return C_FLAGS
        return (*C_FLAGS, UNDEFINED)


def _build(projects: Sequence[Project], folder: Path) -> str:
    for project in projects:
        project.write(folder / project.name)
    sources = [f"{project.name}/model.c" for project in projects]
    command = [_compiler(), *c_flags(), "-o", "models.so", *sources]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, f"the emitted C does not compile:\n{result.stderr}"
    return str(folder / "models.so")


def _run_compiled(library: ctypes.CDLL, project: Project, inputs: Sequence[Array]) -> list[Array]:
    given = [np.array(array, order="C") for array in inputs]
    outputs = [np.full(t.nbytes, 0x55, np.uint8).view(t.dtype).reshape(t.shape) for t in project.plan.graph.outputs]
    arena = (ctypes.c_uint8 * project.plan.arena).in_dll(library, f"{project.name}_arena")
    ctypes.memset(arena, 0xA5, project.plan.arena)
    run = getattr(library, f"{project.name}_run")
    status = run(*(ctypes.c_void_p(array.ctypes.data) for array in (*given, *outputs)))
    assert status == 0, f"{project.name}_run returned {status}"
    expect_same(given, inputs, "inputs after and before the run")
    return outputs


@contextmanager
def _no_undefined_behaviour(folder: Path) -> Iterator[None]:
    """Assert that the sanitizer reports nothing meanwhile: it writes to the process's stderr."""
    report = folder / "stderr"
    saved = os.dup(2)
    try:
        with report.open("wb") as file:
            os.dup2(file.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        text = report.read_text(errors="replace")
        assert "runtime error" not in text, f"the emitted C has undefined behaviour:\n{text}"


def _litert_interpreter(data: bytes) -> Interpreter:
    return Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)


def _output_count(data: bytes) -> int:
    subgraph = flatbuffer.Buffer(data).root("the model").tables(schema.Model.SUBGRAPHS, "subgraph")[0]
    return len(subgraph.ints(schema.SubGraph.OUTPUTS))


def _describe(model: Graph | bytes) -> str:
    if isinstance(model, bytes):
        return f"a model of {len(model)} bytes"
    return ", ".join(f"{node.op}({', '.join(map(repr, node.inputs))})" for node in model.nodes)
