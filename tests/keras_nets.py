"""Small networks in Keras 3 with random weights: together they hold every layer that is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest


def import_keras() -> Any:
    """Keras on whatever backend is installed. Raises ImportError where there is none."""
    backend = next((name for name in ("jax", "torch", "tensorflow") if find_spec(name)), None)
    if backend is None:
        raise ImportError("keras has no backend: install jax, torch or tensorflow")
    os.environ.setdefault("KERAS_BACKEND", backend)
    return import_module("keras")


def require_keras() -> None:
    """Skips the test where Keras cannot be imported."""
    try:
        import_keras()
    except ImportError as error:
        pytest.skip(f"Keras cannot be imported: {error}")


def build(name: str) -> Any:
    """The network of that name in `NETS`, the same one each time."""
    keras = import_keras()
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    model = NETS[name](keras, keras.layers)
    rng = np.random.default_rng(2)
    for layer in model._flatten_layers():
        if not layer._trainable_variables and not layer._non_trainable_variables:
            continue
        for variable in layer._trainable_variables + layer._non_trainable_variables:
            kind = variable.name
            if "seed" in kind or kind == "count":
                continue
            low, high = (0.5, 2.0) if "variance" in kind or "gamma" in kind else (-0.7, 0.7)
            variable.assign(rng.uniform(low, high, variable.shape).astype(np.float32))
        if hasattr(layer, "finalize_state"):  # a Normalization takes over what it has learned
            layer.finalize_state()
    return model


def inputs(model: Any) -> list[np.ndarray[Any, np.dtype[Any]]]:
    """Random inputs with a batch of 1."""
    rng = np.random.default_rng(3)
    return [
        rng.integers(0, 5, (1, *t.shape[1:])).astype(np.int32)
        if "int" in str(t.dtype)
        else rng.uniform(-1, 1, (1, *t.shape[1:])).astype(np.float32)
        for t in model.inputs
    ]


def as_array(value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """A tensor of any backend as an array."""
    return np.asarray(import_keras().ops.convert_to_numpy(value))


def cnn_1d(keras: Any, L: Any) -> Any:
    return keras.Sequential(
        [
            L.Input((20, 3)),
            L.Conv1D(4, 3, padding="same"),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.MaxPooling1D(2),
            L.SeparableConv1D(5, 3, activation="relu", depth_multiplier=2),
            L.Conv1D(4, 3, padding="causal", dilation_rate=2, use_bias=False),
            L.BatchNormalization(scale=False),
            L.ReLU(),
            L.ZeroPadding1D((1, 2)),
            L.DepthwiseConv1D(3, strides=2),
            L.Cropping1D(1),
            L.UpSampling1D(2),
            L.AveragePooling1D(2, strides=1, padding="same"),
            L.GlobalAveragePooling1D(),
            L.Dropout(0.3),
            L.Dense(3, activation="softmax"),
        ]
    )


def cnn_2d(keras: Any, L: Any) -> Any:
    x = inputs = keras.Input((12, 10, 3))
    x = L.Rescaling(1 / 127.5, offset=-1.0)(x)
    x = L.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
    x = L.BatchNormalization()(x)
    x = a = L.ReLU(6.0)(x)
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, dilation_rate=2)(x)
    x = L.BatchNormalization(center=False)(x)
    x = L.Activation("relu6")(x)
    x = L.Conv2D(4, 1, groups=2)(x)
    x = L.Add()([a, x])
    x = L.Activation("relu")(x)
    x = L.SeparableConv2D(4, (3, 2), padding="valid", activation="relu")(x)
    x = L.ZeroPadding2D(((0, 1), (2, 1)))(x)
    x = L.Conv2D(4, 3, activation="relu")(x)
    x = L.UpSampling2D((2, 1))(x)
    x = L.Cropping2D(((1, 0), (0, 1)))(x)
    x = L.Concatenate()([L.MaxPooling2D(2, strides=1)(x), L.AveragePooling2D(2, strides=1)(x)])
    x = L.Concatenate(axis=-1)([L.GlobalMaxPooling2D()(x), L.GlobalAveragePooling2D()(x)])
    return keras.Model(inputs, L.Dense(5, activation="softmax")(x))


def merges(keras: Any, L: Any) -> Any:
    a, b = keras.Input((2, 3, 4), name="left"), keras.Input((2, 3, 4), name="right")
    parts = [
        L.Subtract()([a, b]), L.Multiply()([a, b, a]), L.Average()([a, b, b]), L.Maximum()([a, b]),
        L.Minimum()([a, b]), L.Add()([a, b, a]),
    ]  # fmt: skip
    x = L.Concatenate(axis=2)(parts)
    x = L.Permute((3, 1, 2))(x)
    x = L.BatchNormalization(axis=1)(x)
    x = L.Reshape((4, -1))(x)
    x = L.Softmax()(x)
    return keras.Model([a, b], [L.Flatten()(x), L.Dense(2)(x)])


def recurrent(keras: Any, L: Any) -> Any:
    x = inputs = keras.Input((6, 3))
    x = L.LSTM(4, return_sequences=True)(x)
    x = L.Bidirectional(L.GRU(3, return_sequences=True, reset_after=False))(x)
    x = L.TimeDistributed(L.Dense(4, activation="relu"))(x)
    x = L.GRU(3, return_sequences=True, go_backwards=True, recurrent_activation="hard_sigmoid")(x)
    x = L.SimpleRNN(3, return_sequences=True, use_bias=False)(x)
    x = L.Bidirectional(L.LSTM(2), merge_mode="ave")(x)
    return keras.Model(inputs, x)


def nested(keras: Any, L: Any) -> Any:
    x = inputs = keras.Input((6,))
    block = keras.Sequential([L.Input((6,)), L.Dense(6, activation="tanh"), L.Dense(6)], name="block")
    y = keras.Input((6,))
    twice = keras.Model(y, L.Add()([block(y), y]), name="twice")
    shared = L.Dense(6, name="shared")
    x = shared(twice(shared(block(x))))
    x = keras.ops.relu6(x * 0.5 + x)
    return keras.Model(inputs, L.Dense(2, name="last")(x - 1.0))


def activations(keras: Any, L: Any) -> Any:
    x = inputs = keras.Input((4, 3))
    names = ["sigmoid", "tanh", "silu", "hard_sigmoid", "hard_silu", "linear", "relu", "relu6", "leaky_relu"]
    outputs = [L.Activation(name)(x) for name in names]
    outputs += [L.LeakyReLU(negative_slope=0.1)(x), L.ReLU(max_value=0.5)(x), L.ReLU(negative_slope=0.2)(x)]
    return keras.Model(inputs, L.Concatenate()(outputs))


def more_activations(keras: Any, L: Any) -> Any:
    x = inputs = keras.Input((4, 3))
    names = ["elu", "selu", "gelu", "exponential", "softplus", "softsign", "mish", "log_softmax"]
    outputs = [L.Activation(name)(x) for name in names] + [L.ELU(alpha=0.5)(x), L.PReLU(shared_axes=[1])(x)]
    return keras.Model(inputs, L.Concatenate()(outputs))


def unet(keras: Any, L: Any) -> Any:
    x = inputs = keras.Input((8, 8, 2))
    x = a = L.Conv2D(3, 3, padding="same", activation="relu")(x)
    x = L.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    x = L.Conv2DTranspose(3, 3, strides=2, padding="same", activation="relu")(x)
    x = L.Concatenate()([a, x])
    x = L.Conv2DTranspose(2, 2, strides=2, use_bias=False)(x)
    x = L.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(inputs, L.Resizing(10, 12)(x))


def table(keras: Any, L: Any) -> Any:
    numbers, words = keras.Input((4,)), keras.Input((3,), dtype="int32")
    x = L.Dense(5, activation="relu")(L.Normalization()(numbers))
    x = L.RepeatVector(3)(x)
    x = L.Concatenate()([x, L.Embedding(5, 2)(words)])
    x = L.LayerNormalization()(x)
    return keras.Model([numbers, words], L.Dense(1)(L.Flatten()(x)))


def attention(keras: Any, L: Any) -> Any:
    a, b = keras.Input((4, 6), name="left"), keras.Input((5, 6), name="right")
    x = L.MultiHeadAttention(2, 3, value_dim=4)(L.LayerNormalization()(a), b)
    x = L.Add()([x, a])
    x = L.MultiHeadAttention(2, 3, use_bias=False, output_shape=6)(query=x, value=x, key=x, use_causal_mask=True)
    x = L.RMSNormalization()(x)
    x = L.Attention(use_scale=True)([x, L.AdditiveAttention()([x, b]), x])
    y, scores = L.MultiHeadAttention(3, 2)(x, b, return_attention_scores=True)
    image = L.Reshape((2, 2, 6))(L.EinsumDense("abc,cd->abd", (None, 6), bias_axes="d", activation="gelu")(y))
    image = L.MultiHeadAttention(2, 3, attention_axes=(2,))(image, image)
    image = L.GroupNormalization(3)(image)
    pooled = L.Dot(axes=1)([L.UnitNormalization()(L.GlobalAveragePooling2D()(image)), L.GlobalMaxPooling1D()(x)])
    return keras.Model([a, b], [image, scores, pooled])


def states(keras: Any, L: Any) -> Any:
    """An encoder whose last states a decoder begins with; cells on top of each other; a constant first state."""
    x = inputs = keras.Input((5, 3))
    sequence, h, c = L.LSTM(4, return_sequences=True, return_state=True)(x)
    x = L.LSTM(4, return_sequences=True)(sequence, initial_state=[h, c])
    x, *ends = L.Bidirectional(L.GRU(3, return_sequences=True, return_state=True))(x)
    x = L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(2)]), return_sequences=True)(x)
    begin = keras.ops.convert_to_tensor(np.array([[0.5, -0.25]], np.float32))
    x = L.RNN(L.SimpleRNNCell(2))(x, initial_state=[begin])
    return keras.Model(inputs, [x, *ends])


def functions(keras: Any, L: Any) -> Any:
    x = inputs = keras.Input((4, 6))
    ops = keras.ops
    products = ops.matmul(x, ops.swapaxes(x, 1, 2)) + ops.einsum("bij,bkj->bik", x, x * 0.5)
    parts = ops.split(x, [1, 3], axis=1)
    padded = ops.pad(x, ((0, 0), (0, 2), (0, 0)))
    moved = ops.concatenate([ops.flip(ops.transpose(x, (0, 2, 1)), 1), ops.moveaxis(padded, 1, 2)], axis=-1)
    picked = x[:, 1:3, ::2] / (1.5 + x[:, None, 0, 1:4] ** 2)
    chosen = ops.where(ops.greater(x, 0.1), -x, ops.clip(x, -0.3, 0.2)) * np.arange(6, dtype=np.float32)
    sums = ops.stack([ops.mean(x, axis=1), ops.max(x, axis=1), ops.var(x, axis=1), ops.sum(x, axis=1)], axis=-1)
    taken = ops.take(ops.repeat(ops.softmax(x, axis=1), 2, axis=2), [0, 2], axis=1)
    outputs = [products, moved, picked, chosen, sums, taken, *parts, ops.gelu(ops.squeeze(ops.expand_dims(x, 1), 1))]
    return keras.Model(inputs, outputs)


def channels_first(keras: Any, L: Any) -> Any:
    x = inputs = keras.Input((3, 9, 6))
    first = {"data_format": "channels_first"}
    x = a = L.Conv2D(4, 3, padding="same", strides=2, **first)(x)
    x = L.ReLU()(L.BatchNormalization(axis=1)(L.DepthwiseConv2D(3, padding="same", **first)(x)))
    x = L.Concatenate(axis=1)([a, x])
    x = L.UpSampling2D(2, **first)(L.MaxPooling2D((2, 1), **first)(x))
    pooled = L.GlobalAveragePooling2D(**first)(L.Conv2DTranspose(3, 2, strides=2, **first)(x))
    return keras.Model(inputs, L.Concatenate()([pooled, L.Dense(3)(L.Flatten(**first)(x))]))


def more_layers(keras: Any, L: Any) -> Any:
    x, numbers = keras.Input((8, 8, 3)), keras.Input((3,), dtype="int32")
    images = [
        L.CenterCrop(4, 4)(x), L.AdaptiveAveragePooling2D(4)(x), L.AdaptiveMaxPooling2D(4)(x),
        L.Resizing(4, 4, interpolation="nearest")(x), L.Rescaling([1.0, 2.0, 3.0], offset=[0.1, 0.2, 3])(x[:, ::2, 4:]),
        L.ReLU(threshold=0.2, negative_slope=0.1, max_value=0.5)(x[:, 4:, :4]), L.Softmax(axis=1)(x[:, 2:6, 2:6]),
        L.SpectralNormalization(L.Dense(3))(x[:, :4, 4:]),
    ]  # fmt: skip
    names = [
        "celu",
        "hard_shrink",
        "hard_tanh",
        "log_sigmoid",
        "soft_shrink",
        "sparse_plus",
        "squareplus",
        "tanh_shrink",
    ]
    activations = [L.Activation(name)(x) for name in (*names, "sparse_sigmoid", "tanh_shrink")]
    codes = [L.CategoryEncoding(5)(numbers), L.CategoryEncoding(5, output_mode="count")(numbers)]
    return keras.Model([x, numbers], [L.Concatenate()(images), L.Concatenate()(activations), *codes])


NETS: dict[str, Callable[[Any, Any], Any]] = {
    net.__name__: net
    for net in (
        cnn_1d, cnn_2d, merges, recurrent, nested, activations, more_activations, unet, table, attention, states,
        functions, channels_first, more_layers,
    )
}  # fmt: skip
