"""Recurrent layers: numpy against a plain loop over scalars, and the emitted C against numpy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tests.oracles import check_compiled, one_op, random_inputs
from tinymaix.graph import Array, Graph, ModelError, Tensor
from tinymaix.ops.recurrent import GRU, LSTM, STATE, Recurrent, SimpleRNN

FLOAT = np.dtype("float32")
CASES: list[Recurrent] = [
    SimpleRNN(),
    SimpleRNN("relu", sequences=True, reverse=True),
    LSTM(),
    LSTM("relu", sequences=True, gate="hard_sigmoid"),
    LSTM(reverse=True),
    GRU(),
    GRU(sequences=True, reset_after=False),
    GRU("linear", reverse=True, sequences=True),
]


def graph(
    op: Recurrent, shape: tuple[int, int, int] = (2, 5, 3), units: int = 4, biases: bool = True, keep: bool = False
) -> Graph:
    rng = np.random.default_rng(units)
    gates = op.gates * units
    shapes = [(gates, shape[2]), (gates, units), *([(gates,)] * (1 + isinstance(op, GRU)) if biases else [])]
    constants = [Tensor(f"w{i}", s, FLOAT, None, rng.uniform(-1, 1, s).astype(FLOAT)) for i, s in enumerate(shapes)]
    inputs: list[Tensor | None] = [Tensor("x", shape, FLOAT), *constants]
    if keep:
        state = (shape[0], op.states, units)
        inputs += [None] * (STATE - len(inputs)) + [Tensor("state", state, FLOAT, initial=np.zeros(state, FLOAT))]
    return one_op(op, inputs, [Tensor("y", op.infer(inputs)[0], FLOAT)])


FUNCTIONS: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "relu": lambda v: max(v, 0.0),
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "hard_sigmoid": lambda v: min(max(0.2 * v + 0.5, 0.0), 1.0),
    "linear": lambda v: v,
}


def scalar(op: Recurrent, model: Graph, x: Array) -> Array:
    """The textbook's equations, one number at a time."""
    kernel, recurrent, *biases = [t.data for t in model.nodes[0].present[1:] if t.data is not None]
    units = recurrent.shape[1]
    bias, own_bias = [*biases, *[np.zeros(len(kernel))] * 2][:2]
    y = np.zeros((*x.shape[:2], units))
    h = np.zeros((x.shape[0], units))
    act = FUNCTIONS[op.activation]
    for n in range(x.shape[0]):
        h[n], c = 0, np.zeros(units)
        for s in range(x.shape[1]):
            t = x.shape[1] - 1 - s if op.reverse else s
            given, own = kernel @ x[n, t] + bias, recurrent @ h[n] + own_bias
            old = h[n].copy()
            for u in range(units):
                a = [given[g * units + u] for g in range(op.gates)]
                b = [own[g * units + u] for g in range(op.gates)]
                if isinstance(op, LSTM):
                    gate = FUNCTIONS[op.gate]
                    c[u] = gate(a[1] + b[1]) * c[u] + gate(a[0] + b[0]) * act(a[2] + b[2])
                    h[n, u] = gate(a[3] + b[3]) * act(c[u])
                elif isinstance(op, GRU):
                    gate = FUNCTIONS[op.gate]
                    z, r = gate(a[0] + b[0]), gate(a[1] + b[1])
                    if op.reset_after:
                        candidate = a[2] + r * b[2]
                    else:
                        resets = [gate(given[units + v] + own[units + v]) for v in range(units)]
                        candidate = (
                            a[2]
                            + own_bias[2 * units + u]
                            + sum(recurrent[2 * units + u, v] * resets[v] * old[v] for v in range(units))
                        )
                    h[n, u] = z * old[u] + (1 - z) * act(candidate)
                else:
                    h[n, u] = act(a[0] + b[0])
            y[n, t] = h[n]
    return y if op.sequences else h


@pytest.mark.parametrize("op", CASES, ids=str)
@pytest.mark.parametrize("biases", [True, False])
def test_reference(op: Recurrent, biases: bool) -> None:
    model = graph(op, biases=biases)
    (x,) = random_inputs(model)
    assert model.nodes[0].op.problems(model.nodes[0]) == []
    np.testing.assert_allclose(model.run([x])[0], scalar(op, model, x), atol=2e-6)


def test_compiled() -> None:
    graphs = [graph(op, biases=biases) for op in CASES for biases in (True, False)]
    graphs.append(graph(LSTM(sequences=True), (1, 1, 1), units=1))
    graphs += [graph(op, (2, 2, 3), keep=True) for op in CASES]
    check_compiled([(g, [random_inputs(g, seed) for seed in range(3)]) for g in graphs], tolerance=4e-6)


@pytest.mark.parametrize("op", [SimpleRNN(sequences=True), LSTM(sequences=True), GRU(sequences=True)], ids=str)
def test_a_state_goes_on_from_run_to_run(op: Recurrent) -> None:
    whole, step = graph(op, (2, 6, 3)), graph(op, (2, 2, 3), keep=True)
    (x,) = random_inputs(whole)
    found = np.concatenate([y for (y,) in step.run_sequence([[part] for part in np.split(x, 3, axis=1)])], axis=1)
    np.testing.assert_allclose(found, whole.run([x])[0], atol=1e-6)


def test_shapes_that_do_not_fit() -> None:
    x, w = Tensor("x", (1, 4, 3), FLOAT), Tensor("w", (8, 3), FLOAT)
    with pytest.raises(ModelError, match="recurrent kernel"):
        LSTM().infer([x, w, Tensor("u", (8, 3), FLOAT)])
    with pytest.raises(ModelError, match="do not fit"):
        GRU().infer([x, w, Tensor("u", (8, 2), FLOAT)])


def test_a_function_that_is_not_there_is_a_problem() -> None:
    model = graph(SimpleRNN("elu"))
    assert "'elu' is not supported" in model.nodes[0].op.problems(model.nodes[0])[0]
