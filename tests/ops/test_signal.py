"""The operators of TFLM's signal library against TFLM, and their C against numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.make import SEEDS
from tests.oracles import check_compiled, check_exact, check_sequence, one_op, random_inputs, tflm
from tinymaix.graph import Array, Graph, ModelError, Shape, Tensor
from tinymaix.ops.base import Operator
from tinymaix.ops.signal_energy import SignalEnergy
from tinymaix.ops.signal_fft_auto_scale import SignalFftAutoScale
from tinymaix.ops.signal_filter_bank import SignalFilterBank
from tinymaix.ops.signal_filter_bank_log import SignalFilterBankLog
from tinymaix.ops.signal_filter_bank_spectral_subtraction import SignalFilterBankSpectralSubtraction
from tinymaix.ops.signal_filter_bank_square_root import SignalFilterBankSquareRoot
from tinymaix.ops.signal_pcan import TABLE_SIZE, SignalPcan
from tinymaix.ops.signal_rfft import SignalRfft
from tinymaix.ops.signal_window import SignalWindow


def tensor(name: str, shape: Shape, dtype: str, data: Sequence[int] | Array | None = None) -> Tensor:
    return Tensor(name, shape, np.dtype(dtype), None, None if data is None else np.asarray(data, dtype))


def graph_of(op: Operator, inputs: Sequence[Tensor], types: Sequence[str]) -> Graph:
    shapes = op.infer(inputs)
    outputs = [tensor(f"y{i}", shape, kind) for i, (shape, kind) in enumerate(zip(shapes, types, strict=True))]
    return one_op(op, inputs, outputs)


def rfft(length: int, samples: int, dtype: str, rows: int = 1) -> Graph:
    shape = (samples,) if rows == 1 else (rows, samples)
    return graph_of(SignalRfft(length), [tensor("x", shape, dtype)], [dtype])


def filter_bank() -> Graph:
    widths = [2, 3, 1, 4]
    starts = np.cumsum([0, *widths])[:-1]
    rng = np.random.default_rng(4)
    weights = rng.integers(0, 4096, 10)
    parts = [weights, 4096 - weights, 1 + starts, starts, np.array(widths)]
    constants = [tensor(f"c{i}", p.shape, "int16", p) for i, p in enumerate(parts)]
    return graph_of(SignalFilterBank(3), [tensor("x", (12,), "uint32"), *constants], ["uint64"])


def noise_reduction(clamping: bool) -> Graph:
    op = SignalFilterBankSpectralSubtraction((409, 983), (15975, 15401), 819, 10, 14, clamping)
    x = tensor("x", (40,), "uint32")
    start = np.zeros(40, np.uint32)
    state = Tensor("noise", (40,), start.dtype, initial=start)
    return one_op(op, [x, state], [tensor("y", (40,), "uint32"), tensor("n", (40,), "uint32")])


def gain_table(rng: np.random.Generator) -> Array:
    return np.sort(rng.integers(-3000, 32767, TABLE_SIZE))[::-1].astype(np.int16)


def pcan(shift: int) -> Graph:
    x, noise = tensor("x", (40,), "uint32"), tensor("noise", (40,), "uint32")
    table = tensor("table", (TABLE_SIZE,), "int16", gain_table(np.random.default_rng(7)))
    return graph_of(SignalPcan(shift), [x, noise, table], ["uint32"])


def window(shift: int) -> Graph:
    weights = tensor("w", (24,), "int16", np.random.default_rng(2).integers(-4096, 4097, 24))
    return graph_of(SignalWindow(shift), [tensor("x", (2, 24), "int16"), weights], ["int16"])


def scaled() -> Graph:
    return graph_of(SignalFftAutoScale(), [tensor("x", (16,), "int16")], ["int16", "int32"])


def logarithm() -> Graph:
    return graph_of(SignalFilterBankLog(3, 64), [tensor("x", (40,), "uint32")], ["int16"])


def square_root() -> Graph:
    inputs = [tensor("x", (40,), "uint64"), tensor("bits", (), "int32")]
    return graph_of(SignalFilterBankSquareRoot(), inputs, ["uint32"])


def loud_and_quiet(rng: np.random.Generator, shape: Shape, dtype: str) -> Array:
    """Values of every number of bits."""
    info = np.iinfo(dtype)
    full = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    shifts = rng.integers(0, info.bits, shape).astype(dtype)
    return np.asarray((full >> shifts).astype(dtype))


@pytest.mark.parametrize("dtype", ["int16", "int32"])
@pytest.mark.parametrize(("length", "samples"), [(4, 4), (8, 8), (16, 13), (32, 32), (64, 60), (128, 128), (512, 480)])
def test_transform_is_exact(length: int, samples: int, dtype: str) -> None:
    graph = rfft(length, samples, dtype)
    quiet = random_inputs(graph)[0] >> 1  # beyond 1 / sqrt(2) of the range KISS FFT's sums are undefined
    check_exact(graph, [quiet], litert_too=False)


@given(SEEDS, st.sampled_from([16, 32]), st.integers(2, 9))
def test_transform_is_a_transform(seed: int, bits: int, log_length: int) -> None:
    length = 1 << log_length
    graph = rfft(length, length, f"int{bits}")
    x = np.random.default_rng(seed).integers(-(1 << (bits - 2)), 1 << (bits - 2), length).astype(f"int{bits}")
    pairs = graph.run([x])[0].astype(np.float64).reshape(-1, 2)
    expected = np.fft.rfft(x) / length
    error = np.abs(pairs[:, 0] + 1j * pairs[:, 1] - expected).max()
    assert error <= 4, f"{error} units of the last place"


@given(SEEDS)
def test_window_is_exact(seed: int) -> None:
    graph = window(12)
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


@given(SEEDS, st.integers(0, 15))
def test_auto_scale_is_exact(seed: int, shift: int) -> None:
    graph = scaled()
    x = random_inputs(graph, seed)[0] >> np.int16(shift)
    check_exact(graph, [x], litert_too=False)


@pytest.mark.parametrize("last", [[], [-5], [-5, 3], [7], [0]], ids=str)
def test_auto_scale_forgets_at_the_lowest_value(last: list[int]) -> None:
    x = np.array([100] * (15 - len(last)) + [-32768, *last], np.int16)
    check_exact(scaled(), [x], litert_too=False)


@given(SEEDS)
def test_energy_is_exact(seed: int) -> None:
    graph = graph_of(SignalEnergy(0, 9), [tensor("x", (18,), "int16")], ["uint32"])
    check_exact(graph, random_inputs(graph, seed), litert_too=False)


@given(SEEDS)
def test_channels_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    check_exact(filter_bank(), [loud_and_quiet(rng, (12,), "uint32")], litert_too=False)
    bits = np.array(rng.integers(0, 16), np.int32)
    check_exact(square_root(), [loud_and_quiet(rng, (40,), "uint64"), bits], litert_too=False)
    check_exact(logarithm(), [loud_and_quiet(rng, (40,), "uint32")], litert_too=False)
    both = [loud_and_quiet(rng, (40,), "uint32") for _ in range(2)]
    check_exact(pcan(6), both, litert_too=False)


@pytest.mark.parametrize("clamping", [False, True])
def test_noise_reduction_is_exact_over_time(clamping: bool) -> None:
    rng = np.random.default_rng(9)
    check_sequence(noise_reduction(clamping), [[loud_and_quiet(rng, (40,), "uint32")] for _ in range(6)])


def test_compiled() -> None:
    rng = np.random.default_rng(3)
    waves = [(8, 8, "int16"), (64, 60, "int16"), (128, 128, "int32"), (256, 250, "int32")]
    cases = [(graph, [random_inputs(graph, k)]) for k, graph in enumerate(rfft(*wave, rows=2) for wave in waves)]
    cases += [(graph, [random_inputs(graph)]) for graph in (window(12), scaled())]
    cases += [
        (graph_of(SignalEnergy(2, 7), [tensor("x", (18,), "int16")], ["uint32"]), [[np.full(18, -32768, np.int16)]])
    ]
    cases += [(filter_bank(), [[loud_and_quiet(rng, (12,), "uint32")]])]
    roots = [[loud_and_quiet(rng, (40,), "uint64"), np.array(bits, np.int32)] for bits in (0, 3)]
    top = np.full(40, 2**64 - 1, np.uint64)
    cases += [(square_root(), [*roots, [top, np.array(0, np.int32)]])]
    cases += [(logarithm(), [[loud_and_quiet(rng, (40,), "uint32")], [np.zeros(40, np.uint32)]])]
    cases += [(pcan(6), [[loud_and_quiet(rng, (40,), "uint32") for _ in range(2)] for _ in range(3)])]
    for clamping in (False, True):
        cases += [(noise_reduction(clamping), [[loud_and_quiet(rng, (40,), "uint32")] for _ in range(4)])]
    check_compiled(cases)


def test_what_does_not_fit_is_said() -> None:
    x = tensor("x", (12,), "uint32")
    wrong = [tensor(f"c{i}", (2,), "int16", [0, 20]) for i in range(5)]
    with pytest.raises(ModelError, match="reaches beyond"):
        SignalFilterBank(1).infer([x, *wrong])
    with pytest.raises(ModelError, match="power of two"):
        SignalRfft(480).infer([tensor("x", (480,), "int16")])
    problems = graph_of(SignalFilterBankLog(3, 64), [tensor("x", (4,), "int32")], ["int16"]).nodes
    assert problems[0].op.problems(problems[0]) == ["'x' is int32; SIGNAL_FILTER_BANK_LOG has uint32 there"]


def test_tflm_runs_what_we_write() -> None:
    graph = rfft(16, 16, "int16")
    assert tflm(graph, random_inputs(graph))[0].shape == (18,)
