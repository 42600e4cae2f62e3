"""Each layer type against TFLM, on shapes, strides, pads and scales that the shipped models do not have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.device.runtime import ADD, CONV2D, DWCONV2D, FC, GAP, OK, RESHAPE, SOFTMAX, Layer, Library, align8, tmdl
from tests.oracles import one_op, random_inputs, tflm
from tinymaix.graph import Array, Quantization, Tensor
from tinymaix.ops.add import Add
from tinymaix.ops.base import Operator
from tinymaix.ops.conv_2d import Conv2D
from tinymaix.ops.depthwise_conv_2d import DepthwiseConv2D
from tinymaix.ops.fully_connected import FullyConnected
from tinymaix.ops.mean import Mean
from tinymaix.ops.softmax import Softmax

INT8, INT32 = np.dtype("int8"), np.dtype("int32")
ACTIVATIONS = ("none", "relu", "relu_n1_to_1", "relu6")
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
QUANTIZATION = st.tuples(st.floats(2**-8, 2**-2, width=32), st.integers(-128, 127))


def run(library: Library, layer: Layer, x: Array) -> Array:
    """The layer alone in a file, input at 0, output behind it."""
    size = x.size + int(np.prod(layer.out_dims))
    model = library.load(tmdl([layer], align8(size)), align8(size))
    assert model.error == OK
    return model.run(x)


def golden(op: Operator, inputs: Sequence[Tensor | None], out: tuple[Tensor], x: Array) -> Array:
    return tflm(one_op(op, inputs, out), [x])[0]


@settings(max_examples=60)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), depthwise=st.booleans())
def test_convolution(library: Library, data: st.DataObject, seed: int, depthwise: bool) -> None:
    rng = np.random.default_rng(seed)
    kernel, stride = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5))), data.draw(PAIR)
    dilation = data.draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 3)]))
    pad = data.draw(st.tuples(*[st.integers(0, 2)] * 4))
    cin, factor = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    cout = cin * factor if depthwise else data.draw(st.integers(1, 6))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    h, w = (r + data.draw(st.integers(0, 5)) for r in reach)
    in_q, out_q = data.draw(QUANTIZATION), data.draw(QUANTIZATION)
    act = data.draw(st.integers(0, 3))

    x = rng.integers(-128, 128, (1, h, w, cin), np.int8)
    scales = rng.uniform(0.001, 0.05, cout).astype(np.float32)
    bias = rng.integers(-2000, 2000, cout, np.int32)
    weights = rng.integers(-127, 128, (1, *kernel, cout) if depthwise else (cout, *kernel, cin), np.int8)
    around = ((0, 0), (pad[0], pad[1]), (pad[2], pad[3]), (0, 0))
    padded = np.pad(x, around, constant_values=in_q[1])  # a .tflite has no explicit pads in a convolution
    source = Tensor("x", padded.shape, INT8, Quantization.of(*in_q))
    kernels = Tensor("w", weights.shape, INT8, Quantization.of(scales, 0, 3 if depthwise else 0), weights)
    biases = Tensor("b", (cout,), INT32, Quantization.of(scales * np.float32(in_q[0])), bias)
    op: Operator = (DepthwiseConv2D if depthwise else Conv2D)(stride, dilation, (0, 0, 0, 0), ACTIVATIONS[act])
    inputs = [source, kernels, biases]
    shape = op.infer(inputs)[0]
    expected = golden(op, inputs, (Tensor("y", shape, INT8, Quantization.of(*out_q)),), padded)

    flat = weights[0].transpose(2, 0, 1) if depthwise else weights.transpose(0, 3, 1, 2)
    folded = bias - in_q[1] * flat.reshape(cout, -1).sum(1, dtype=np.int32)
    layer = Layer(
        DWCONV2D if depthwise else CONV2D,
        (h, w, cin),
        (shape[1], shape[2], cout),
        0,
        x.size,
        in_q,
        out_q,
        kernel,
        stride,
        dilation,
        pad,
        act,
        scales,
        np.ascontiguousarray(flat),
        folded.astype(np.int32),
    )
    np.testing.assert_array_equal(run(library, layer, x), expected[0])


@given(QUANTIZATION, QUANTIZATION, st.integers(1, 40), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_fully_connected(
    library: Library, in_q: tuple[float, int], out_q: tuple[float, int], n: int, m: int, per_channel: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    per_channel = per_channel and m > 1
    x = rng.integers(-128, 128, (1, n), np.int8)
    scales = rng.uniform(0.001, 0.05, m if per_channel else 1).astype(np.float32)
    weights, bias = rng.integers(-127, 128, (m, n), np.int8), rng.integers(-2000, 2000, m, np.int32)
    inputs = [
        Tensor("x", (1, n), INT8, Quantization.of(*in_q)),
        Tensor("w", (m, n), INT8, Quantization.of(scales), weights),
        Tensor("b", (m,), INT32, Quantization.of(scales * np.float32(in_q[0])), bias),
    ]
    expected = golden(FullyConnected(), inputs, (Tensor("y", (1, m), INT8, Quantization.of(*out_q)),), x)
    folded = (bias - in_q[1] * weights.sum(1, dtype=np.int32)).astype(np.int32)
    stored = np.zeros(m, np.float32)
    stored[: len(scales)] = scales
    layer = Layer(FC, (1, 1, n), (1, 1, m), 0, n, in_q, out_q, scales=stored, weights=weights, bias=folded)
    np.testing.assert_array_equal(run(library, layer, x).ravel(), expected[0])


def test_one_scale_is_multiplied_in_double(library: Library) -> None:
    """One row of 256 tells the product of in_s and w_s in float32 from that in double."""
    in_q, out_q, scale = (0.123456789, -128), (66.81745147705078, -128), np.float32(0.0031415927)
    weights = np.full((2, 600), 127, np.int8)
    source = Tensor("x", (256, 600), INT8, Quantization.of(*in_q))
    kernels = Tensor("w", (2, 600), INT8, Quantization.of(float(scale)), weights)
    graph = one_op(FullyConnected(), [source, kernels], [Tensor("y", (256, 2), INT8, Quantization.of(*out_q))])
    x = random_inputs(graph)[0]
    stored, bias = np.array([scale, 0], np.float32), np.full(2, 128 * 127 * 600, np.int32)
    layer = Layer(FC, (1, 1, 600), (1, 1, 2), 0, 600, in_q, out_q, scales=stored, weights=weights, bias=bias)
    model = library.load(tmdl([layer], 608))
    found = np.stack([model.run(row).ravel() for row in x])
    np.testing.assert_array_equal(found, tflm(graph, [x])[0])


@settings(max_examples=60)
@given(st.floats(2**-24, 20, width=32), st.integers(-128, 127), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_softmax(library: Library, scale: float, zero: int, n: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (2, n), np.int8)
    out = Tensor("y", x.shape, INT8, Quantization.of(1 / 256, -128))
    expected = golden(Softmax(), [Tensor("x", x.shape, INT8, Quantization.of(scale, zero))], (out,), x)
    layer = Layer(SOFTMAX, (2, 1, n), (2, 1, n), 0, 2 * n, (scale, zero), (1 / 256, -128))
    np.testing.assert_array_equal(run(library, layer, x)[:, 0], expected)


def test_softmax_of_thousands(library: Library) -> None:
    """Below 1/512 a class is nothing. (TFLM shifts an int32 by more than 31 and gives what the CPU makes of it.)"""
    x = np.zeros(4095, np.int8)
    layer = Layer(SOFTMAX, (1, 1, 4095), (1, 1, 4095), 0, 4095, (0.1, 0), (1 / 256, -128))
    assert (run(library, layer, x) == -128).all()


@given(QUANTIZATION, QUANTIZATION, st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_mean(
    library: Library, in_q: tuple[float, int], out_q: tuple[float, int], h: int, w: int, same: bool, seed: int
) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (1, h, w, 5), np.int8)
    out_q = in_q if same else out_q
    out = Tensor("y", (1, 5), INT8, Quantization.of(*out_q))
    expected = golden(Mean((1, 2)), [Tensor("x", x.shape, INT8, Quantization.of(*in_q))], (out,), x)[0]
    layer = Layer(GAP, (h, w, 5), (1, 1, 5), 0, x.size, in_q, out_q)
    np.testing.assert_array_equal(run(library, layer, x).ravel(), expected)


def add_layers(qs: Sequence[tuple[float, int]], shape: tuple[int, int, int], crossed: bool) -> bytes:
    """A reshape that copies the input, then the sum of the copy and the input."""
    n = int(np.prod(shape))
    first, second = (qs[1], qs[0]) if crossed else (qs[0], qs[1])
    return tmdl(
        [
            Layer(RESHAPE, shape, shape, 0, n, qs[0], qs[0], is_out=0),
            Layer(ADD, shape, shape, n, 2 * n, first, qs[2], in1=(0, *second)),
        ],
        align8(3 * n),
    )


@given(st.tuples(QUANTIZATION, QUANTIZATION, QUANTIZATION), st.booleans(), st.integers(0, 2**32 - 1))
def test_add(library: Library, qs: tuple[tuple[float, int], ...], crossed: bool, seed: int) -> None:
    """`crossed`: as TinyMaix's converter writes it where the kept operand is the first: scales in the operands' order,
    offsets in the layers'. What the previous layer's output is says which scale belongs to which."""
    x = np.random.default_rng(seed).integers(-128, 128, (1, 2, 3, 4), np.int8)
    a, b, y = (Tensor(name, x.shape, INT8, Quantization.of(*q)) for name, q in zip("aby", qs, strict=True))
    expected = tflm(one_op(Add(), [a, b], [y]), [x, x])[0]
    model = library.load(add_layers(qs, (2, 3, 4), crossed))
    assert model.error == OK
    np.testing.assert_array_equal(model.run(x), expected[0])


@pytest.mark.parametrize("out", [0, 24, 48])
def test_reshape(library: Library, out: int) -> None:
    x = np.arange(24, dtype=np.int8)
    model = library.load(tmdl([Layer(RESHAPE, (2, 3, 4), (1, 1, 24), 24, out)], 72))
    assert model.error == OK
    np.testing.assert_array_equal(model.run(x).ravel(), x)
