"""Fine-tuning: what goes forward is the integer graph, gradients are those of the float operators, and it helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.quantize.float_nets import DATA, Net, outputs, random_samples, residual_net, unequal_mobilenet
from tinymaix.cli import main
from tinymaix.graph import Array, Graph, ModelError, Node, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.average_pool_2d import AveragePool2D
from tinymaix.ops.base import Operator
from tinymaix.ops.batch_matmul import BatchMatMul
from tinymaix.ops.concatenation import Concatenation
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.functions import Abs, Cos, Elu
from tinymaix.ops.gelu import Gelu
from tinymaix.ops.hard_swish import HardSwish
from tinymaix.ops.leaky_relu import LeakyRelu
from tinymaix.ops.logistic import Logistic
from tinymaix.ops.max_pool_2d import MaxPool2D
from tinymaix.ops.maximum import Maximum
from tinymaix.ops.mean import Mean
from tinymaix.ops.minimum import Minimum
from tinymaix.ops.mul import Mul
from tinymaix.ops.pad import Pad
from tinymaix.ops.prelu import Prelu
from tinymaix.ops.reduce import Sum
from tinymaix.ops.relu import Relu
from tinymaix.ops.relu6 import Relu6
from tinymaix.ops.relu_n1_to_1 import ReluN1To1
from tinymaix.ops.reshape import Reshape
from tinymaix.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from tinymaix.ops.slice import Slice
from tinymaix.ops.softmax import Softmax
from tinymaix.ops.squared_difference import SquaredDifference
from tinymaix.ops.sub import Sub
from tinymaix.ops.tanh import Tanh
from tinymaix.ops.transpose import Transpose
from tinymaix.quantize import Scheme, quantize
from tinymaix.quantize.agreement import agreement, raw_values, real_values
from tinymaix.quantize.float_run import run_node
from tinymaix.quantize.samples import Samples

torch = pytest.importorskip("torch", reason="the extra that trains")
from tinymaix.quantize.train import Trainer, fine_tune  # noqa: E402
from tinymaix.quantize.train_gradients import surrogate  # noqa: E402

FLOAT = np.dtype("float32")


def deployed(graph: Graph, trainer: Trainer, inputs: list[list[Array]]) -> Array:
    """What the graph gives for each sample on the references, at the trainer's result."""
    seen = Graph(graph.nodes, graph.inputs, [t for t in graph.tensors if t.name == trainer.result.name])
    rows = []
    for sample in inputs:
        raw = [raw_values(t, a) for t, a in zip(graph.inputs, sample, strict=True)]
        rows.append(real_values(seen.outputs[0], seen.run(raw)[0]).reshape(-1))
    return np.stack(rows)


SCHEMES = [
    Scheme(correct_bias=False),
    Scheme(weights="int4"),
    Scheme(activations="int16", per_channel=False, correct_bias=False),
]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_trained_forward_pass_is_the_exported_graph_bit_for_bit(scheme: Scheme) -> None:
    graph = residual_net(uneven=False)
    graph.nodes.append(_softmax(graph))
    graph.outputs = [graph.nodes[-1].output]
    samples = random_samples(graph, 24)
    trained = fine_tune(graph, samples, scheme, epochs=2, batch=8)
    trainer = Trainer(trained)
    forward = trainer.forward(samples.inputs)
    assert trainer.result.name == graph.nodes[-2].output.name  # before the softmax
    assert forward.requires_grad
    ours = forward.detach().numpy()
    assert np.array_equal(ours, deployed(trained, trainer, samples.inputs))
    start = quantize(graph, samples, scheme)
    assert any(
        not np.array_equal(np.asarray(a.data), np.asarray(b.data))
        for a, b in zip(trained.constants, start.constants, strict=True)
    )
    assert "fine-tuned" in trained.notes[-1]


def _softmax(graph: Graph) -> Node:
    x = graph.outputs[0]
    return Node(Softmax(), [x], [Tensor("probabilities", x.shape, FLOAT)], "softmax")


def _elementwise(op: Operator, *shapes: tuple[int, ...], constant: bool = False) -> tuple[Graph, Net]:
    net = Net(shapes[0])
    others = [Tensor(f"x{i}", shape, FLOAT) for i, shape in enumerate(shapes[1:])]
    if constant:
        others = [net.constant(net.rng.normal(size=shape)) for shape in shapes[1:]]
    net.add(op, net.x, *others)
    graph = net.graph()
    graph.inputs += [] if constant else others
    return graph, net


SHAPE = (1, 6, 5, 4)
ONE = (
    Relu(),
    Relu6(),
    ReluN1To1(),
    LeakyRelu(0.1),
    HardSwish(),
    Gelu(),
    Logistic(),
    Tanh(),
    Softmax(2.0),
    Elu(),
    Abs(),
    Sum((1, -1)),
    Slice((0, 1, 0, 2), (1, 4, 5, 2)),
    Transpose((0, 3, 1, 2)),
    AveragePool2D((3, 2), (2, 1), (1, 1, 0, 1)),
    MaxPool2D((3, 2), (2, 1), (1, 1, 0, 1)),
    Mean((1, 2)),
    Mean((-1,), keep_dims=True),
    Pad(((0, 0), (1, 2), (0, 3), (0, 1))),
    ResizeNearestNeighbor((12, 10)),
    Reshape((1, -1)),
)
TWO = (Add("relu"), Sub(), Mul(), Maximum(), Minimum(), SquaredDifference(), Concatenation(3), Prelu())


def check_rule(graph: Graph) -> None:
    """The rule computes what the float operator does, and has a gradient."""
    node, samples = graph.nodes[-1], random_samples(graph, 3)
    values = {id(t): np.stack([s[i] for s in samples.inputs]) for i, t in enumerate(graph.inputs)}
    arrays = [values[id(t)] if t.data is None else t.data for t in node.present]
    given = [torch.tensor(a, requires_grad=True) for a in arrays]
    layer = isinstance(node.op, Conv2D | DepthwiseConv2D | FullyConnected)
    expanded = [
        g if t.data is None or layer else g.expand(3, *t.shape) for t, g in zip(node.present, given, strict=True)
    ]
    ours = surrogate(node, expanded)
    assert np.allclose(ours.detach().numpy(), run_node(node, values, 3)[id(node.output)], atol=2e-6)
    torch.autograd.backward(ours.sum())
    assert all(g.grad is not None for g in given)


@pytest.mark.parametrize("op", ONE, ids=lambda op: op.kind)
def test_rules_of_one_input(op: Operator) -> None:
    check_rule(_elementwise(op, SHAPE)[0])


@pytest.mark.parametrize("op", TWO, ids=lambda op: op.kind)
def test_rules_of_two_inputs(op: Operator) -> None:
    if not isinstance(op, Prelu):
        check_rule(_elementwise(op, SHAPE, SHAPE)[0])
    if not isinstance(op, Concatenation):
        check_rule(_elementwise(op, SHAPE, (4,), constant=True)[0])


@pytest.mark.parametrize("adjoint", [False, True])
def test_the_rule_of_matrix_products(adjoint: bool) -> None:
    other = (1, 6, 3, 4) if adjoint else (1, 6, 4, 3)
    check_rule(_elementwise(BatchMatMul(adjoint_b=adjoint), SHAPE, other)[0])


LAYERS = (
    Conv2D((2, 1), (1, 2), (1, 0, 2, 1), "relu6"),
    DepthwiseConv2D((1, 2), (1, 1), (0, 1, 1, 1)),
    FullyConnected("relu"),
)


@pytest.mark.parametrize("op", LAYERS, ids=lambda op: op.kind)
def test_rules_of_layers(op: Operator) -> None:
    net = Net(SHAPE if not isinstance(op, FullyConnected) else (1, 6))
    net.layer(op, 8, 2)
    check_rule(net.graph())


@pytest.mark.parametrize("labels", [True, False])
def test_four_bits_come_closer_to_float(labels: bool) -> None:
    graph, calibration, test = unequal_mobilenet()
    scheme = Scheme(weights="int4", equalize=True, correct_bias=False)
    samples = calibration if labels else Samples(calibration.inputs)
    before = agreement(graph, quantize(graph, calibration, scheme), test)
    after = agreement(graph, fine_tune(graph, samples, scheme, epochs=5), test)
    assert before.accuracy is not None
    assert after.accuracy is not None
    assert after.accuracy > before.accuracy
    assert after.sqnr > before.sqnr + (0 if labels else 2)


def test_training_is_the_same_every_time() -> None:
    graph = residual_net(uneven=False)
    samples = random_samples(graph, 20)
    first, second = (fine_tune(graph, samples, Scheme(weights="int4"), epochs=2) for _ in range(2))
    for a, b in zip(first.constants, second.constants, strict=True):
        assert np.array_equal(np.asarray(a.data), np.asarray(b.data))


def test_the_best_epoch_may_be_the_start() -> None:
    graph = residual_net(uneven=False)
    samples = random_samples(graph, 20)
    trained = fine_tune(graph, samples, epochs=1, rate=50.0)
    assert "after 0 of 1 epochs" in trained.notes[-1]
    for a, b in zip(trained.constants, quantize(graph, samples).constants, strict=True):
        assert np.array_equal(np.asarray(a.data), np.asarray(b.data))


def test_targets_are_learned_where_labels_are_floats() -> None:
    graph = residual_net(uneven=False)
    samples = random_samples(graph, 20)
    wanted = outputs(graph, samples.inputs)
    assert "fell" in fine_tune(graph, Samples(samples.inputs, wanted), epochs=1).notes[-1]
    with pytest.raises(ModelError, match="do not fit 20 outputs of 5 values"):
        fine_tune(graph, Samples(samples.inputs, wanted[:, :2]), epochs=1)
    with pytest.raises(ModelError, match="labels reach from 0 to 7; the model has 5 classes"):
        fine_tune(graph, Samples(samples.inputs, np.arange(20) % 8), epochs=1)


def test_what_has_no_gradient_is_a_sentence() -> None:
    net = Net((1, 4, 4, 2))
    net.layer(Conv2D(), 3)
    net.add(Cos())
    graph = net.graph()
    with pytest.raises(ModelError, match=r"COS 'cos_1' cannot be trained through; what can is ABS, ADD"):
        fine_tune(graph, random_samples(graph, 4))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(DATA / "unequal_digits.npz") as file:
        x = file["x"][:30, :, :, None].astype(np.float32) / 16
        np.savez(tmp_path / "data.npz", x=x, y=file["y"][:30].astype(np.int64))
    model, out = DATA / "unequal_mobilenet.pt2", tmp_path / "out.tflite"
    asked = ["quantize", str(model), "--data", str(tmp_path / "data.npz"), "-o", str(out), "--train-epochs"]
    assert main([*asked, "1", "--equalize"]) == 0
    assert "fine-tuned" in capsys.readouterr().out
    assert out.stat().st_size > 5000
    assert main([*asked, "1", "--auto"]) == 2
    assert "one scheme" in capsys.readouterr().err
