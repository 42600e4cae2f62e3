"""A damaged .tflite is read or refused with a ModelError: no other exception, no hang, no memory that it merely claims.

About 3,000 mutants of small files, the same in every run. The limit of time counts this process's own CPU seconds.
"""

from __future__ import annotations

import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.graphs import FLOAT, INT8, classifier_graph, conv_graph
from tests.oracles import one_op
from tinymaix.graph import Graph, ModelError, Node, Quantization, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.base import Operator
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from tinymaix.read.tflite import read_tflite
from tinymaix.write.tflite import tflite_bytes

MUTANTS_OF_EACH = 150
CPU_SECONDS = 10.0
LARGEST_ALLOCATION = 64 << 20
SHARED_FILES = (
    "kernel_tests/misc/model_with_add.tflite",
    "kernel_tests/misc/model_with_detection_postprocess.tflite",
    "kernel_tests/misc/model_with_logistic.tflite",
    "kernel_tests/misc/model_with_multiple_outputs.tflite",
    "kernel_tests/misc/model_with_reverse_sequence.tflite",
    "kernel_tests/mlperf_layers_int8/aww_layer9.tflite",
    "kernel_tests/mlperf_layers_int8/resnet_layer14.tflite",
    "kernel_tests/mlperf_layers_int8/toycar_layer5.tflite",
    "kernel_tests/seanet_int16/transpose_conv/transpose_conv4.tflite",
    "tflm/audio_preprocessor_int8.tflite",
    "tflm/hello_world_float.tflite",
    "tflm/hello_world_int8.tflite",
    "tflm/keyword_scrambled_8bit.tflite",
    "tflm/network_tester.tflite",
    "tflm/trained_lstm_int8.tflite",
    "tinymaix/tflite/mnist_arduino_q.tflite",
    "zoo/coral__split_concat.tflite",
    "zoo/mlonmcu__lstm2.tflite",
    "zoo/mww__v2_okay_nabu.tflite",
)
EXTREMES = [0, 1, 2, 3, *(v for bits in (7, 8, 15, 16, 31, 32) for v in (2**bits - 1, 2**bits % 2**32))]


@contextmanager
def limits() -> Iterator[None]:
    """Raise TimeoutError after CPU_SECONDS, and assert that what was allocated at one time stayed within bounds."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"reading took more than {CPU_SECONDS} s of CPU time")

    timer = getattr(signal, "ITIMER_VIRTUAL", None)
    if timer is not None:
        previous = signal.signal(signal.SIGVTALRM, stop)
        signal.setitimer(timer, CPU_SECONDS)
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        if timer is not None:
            signal.setitimer(timer, 0)
            signal.signal(signal.SIGVTALRM, previous)
    assert peak <= LARGEST_ALLOCATION, f"reading held {peak:,} bytes at one time"


def expect_read_or_refused(data: bytes) -> None:
    """Let nothing but a ModelError with its sentences pass."""
    with limits():
        try:
            read_tflite(data)
        except ModelError as error:
            if not all(error.problems):
                raise AssertionError("a ModelError without a sentence") from error


def mutant(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The file with one to three random damages; one is most likely, as it lets most of the file be read."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        if len(changed) < 8:
            break
        at = int(rng.integers(len(changed)))
        match rng.choice(["bit", "byte", "word", "half", "near", "cut", "delete", "insert", "splice"]):
            case "bit":
                changed[at] ^= 1 << rng.integers(8)
            case "byte":
                changed[at] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
            case "word":
                at &= ~3
                changed[at : at + 4] = int(rng.choice([*EXTREMES, len(data)])).to_bytes(4, "little")
            case "half":
                at &= ~1
                changed[at : at + 2] = int(rng.choice(EXTREMES) & 0xFFFF).to_bytes(2, "little")
            case "near":  # an offset that stays inside the file
                at &= ~3
                changed[at : at + 4] = int(rng.integers(-len(data), len(data)) & 0xFFFFFFFF).to_bytes(4, "little")
            case "cut":
                del changed[at:]
            case "delete":
                del changed[at : at + int(rng.integers(1, 33))]
            case "insert":
                changed[at:at] = rng.bytes(int(rng.integers(1, 33)))
            case "splice":
                start, size = int(rng.integers(len(other))), int(rng.integers(4, 129))
                changed[at : at + size] = other[start : start + size]
    return bytes(changed)


def damage(data: bytes, other: bytes, seed: int) -> None:
    for i in range(MUTANTS_OF_EACH):
        changed = mutant(data, other, np.random.default_rng((seed, i)))
        try:
            expect_read_or_refused(changed)
        except Exception as error:
            raise AssertionError(f"mutant {i}: {type(error).__name__}: {error}") from error


def chain_of_constants(*ops: Operator, size: int) -> bytes:
    """A file in which each operator works on the constant result of the one before; the first on one value."""
    t = Tensor("one", (1, 1, 1, 1), FLOAT, None, np.ones((1, 1, 1, 1), np.float32))
    x = Tensor("x", (1, size, size, 1), FLOAT)
    nodes = []
    for i, op in enumerate(ops):
        y = Tensor(f"y{i}", op.infer([t])[0], FLOAT)
        nodes.append(Node(op, [t], [y], f"node{i}"))
        t = y
    add = Node(Add(), [x, t], [Tensor("z", x.shape, FLOAT)], "add")
    return tflite_bytes(Graph([*nodes, add], [x], add.outputs))


OWN_FILES = {
    "int8": tflite_bytes(conv_graph(INT8)),
    "float": tflite_bytes(conv_graph(FLOAT)),
    "classifier": tflite_bytes(classifier_graph()),
    "constants": chain_of_constants(ResizeNearestNeighbor((9, 9)), MaxPool2D((3, 3), (3, 3)), size=3),
}


@pytest.mark.parametrize("name", OWN_FILES)
def test_mutants_of_own_files(name: str) -> None:
    names = list(OWN_FILES)
    damage(OWN_FILES[name], OWN_FILES[names[names.index(name) - 1]], seed=names.index(name))


@pytest.mark.parametrize("name", SHARED_FILES)
def test_mutants_of_shared_files(name: str, shared: Path) -> None:
    index = SHARED_FILES.index(name)
    other = shared / "models" / SHARED_FILES[index - 1]
    damage((shared / "models" / name).read_bytes(), other.read_bytes(), seed=100 + index)


@pytest.mark.parametrize(
    "shape", [(65536,) * 4, (2**31 - 1,) * 8, (0, 2**31 - 1, 2**31 - 1, 2**31 - 1), (2**31 - 1, 1, 1, 2)], ids=str
)
def test_claimed_shape_is_refused_without_being_allocated(shape: tuple[int, ...]) -> None:
    graph = conv_graph(INT8)
    graph.inputs[0].shape = shape
    with limits(), pytest.raises(ModelError, match="larger than any chip's memory"):
        read_tflite(tflite_bytes(graph))


def test_many_tensors_may_not_share_one_large_buffer() -> None:
    weights = np.zeros((1, 170, 170, 8), np.int8)
    x = Tensor("x", (1, 200, 200, 8), INT8, Quantization.of(0.1))
    nodes = []
    for i in range(600):
        shared = Tensor(f"w{i}", weights.shape, INT8, Quantization.of(0.1), weights)
        nodes.append(Node(Conv2D(), [x, shared], [Tensor(f"y{i}", (1, 31, 31, 1), INT8, Quantization.of(0.1))]))
    data = tflite_bytes(Graph(nodes, [x], [nodes[0].output]))
    with limits(), pytest.raises(ModelError, match="more data than the file holds"):
        read_tflite(data)


def test_long_name_is_not_repeated_without_end() -> None:
    unknown = Tensor("n" * 300_000, (1, 1), FLOAT)
    output = Tensor("y", (1, 20_000), FLOAT)
    graph = one_op(Concatenation(1), [unknown] * 20_000, [output])
    graph.inputs = [Tensor("x", (1,), FLOAT)]
    with limits(), pytest.raises(ModelError, match="a variable, which it cannot"):
        read_tflite(tflite_bytes(graph))


def test_small_file_cannot_ask_for_large_constants_or_long_work() -> None:
    size = 1500
    resizes = [ResizeNearestNeighbor((size + i % 2, size)) for i in range(30)]
    pool = MaxPool2D(pool=(size, size), stride=(1, 1), padding=(size // 2 - 1, size // 2, size // 2 - 1, size // 2))
    for ops in (resizes, [resizes[0], pool]):
        data = chain_of_constants(*ops, size=ops[-1].infer([Tensor("t", (1, size, size, 1), FLOAT)])[0][1])
        assert len(data) < 10_000
        expect_read_or_refused(data)
