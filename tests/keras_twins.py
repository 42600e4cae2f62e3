"""The networks of tests/nets.py as Keras models with the same weights, as their authors would write them in Keras.

Importing this module needs torch; building needs Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.keras_nets import import_keras
from tests.nets import net

Step = Callable[[Any, Any, Any], Any]
"""(Keras, a module of PyTorch, its input in Keras) -> its output."""


def keras_twin(name: str) -> Any:
    """The Keras model of a network of `tests.nets.NETS`: channels last, but for that the same outputs."""
    module, (x, *_) = net(name)
    keras = import_keras()
    keras.backend.clear_session()
    batch, *sizes = x.shape
    steps_first = name in ("lstm", "gru", "transformer")
    inputs = keras.Input(sizes if steps_first else [*sizes[1:], sizes[0]], batch_size=batch)
    return keras.Model(inputs, _apply(keras, module, inputs))


def _apply(keras: Any, module: nn.Module, x: Any) -> Any:
    return STEPS[type(module).__name__.strip("_")](keras, module, x)


def _weighted(layer: Any, x: Any, *weights: torch.Tensor | None) -> Any:
    """The output of a layer that has these weights."""
    y = layer(x)
    layer.set_weights([w.detach().numpy() for w in weights if w is not None])
    return y


def _sequential(keras: Any, module: Any, x: Any) -> Any:
    for step in module:
        x = _apply(keras, step, x)
    return x


def _convolution(keras: Any, module: Any, x: Any) -> Any:
    dims = f"{len(module.kernel_size)}D"
    sizes = zip(module.kernel_size, module.padding, module.stride, strict=True)
    padding = "same" if all((k, s) == (2 * p + 1, 1) for k, p, s in sizes) else "valid"
    if padding == "valid" and any(module.padding):
        pads = module.padding if dims == "2D" else module.padding[0]
        x = getattr(keras.layers, f"ZeroPadding{dims}")(pads)(x)
    options = {"strides": module.stride, "padding": padding, "use_bias": module.bias is not None}
    if module.groups > 1:
        layer = keras.layers.DepthwiseConv2D(module.kernel_size, **options)
        return _weighted(layer, x, module.weight.permute(2, 3, 0, 1), module.bias)
    layer = getattr(keras.layers, f"Conv{dims}")(module.out_channels, module.kernel_size, **options)
    return _weighted(layer, x, module.weight.permute(*range(2, module.weight.dim()), 1, 0), module.bias)


def _transposed(keras: Any, module: Any, x: Any) -> Any:
    layer = keras.layers.Conv2DTranspose(module.out_channels, module.kernel_size, strides=module.stride)
    return _weighted(layer, x, module.weight.permute(2, 3, 1, 0), module.bias)


def _batch_norm(keras: Any, module: Any, x: Any) -> Any:
    layer = keras.layers.BatchNormalization(epsilon=module.eps)
    return _weighted(layer, x, module.weight, module.bias, module.running_mean, module.running_var)


def _dense(keras: Any, module: Any, x: Any) -> Any:
    return _weighted(keras.layers.Dense(module.out_features), x, module.weight.T, module.bias)


def _layer_norm(keras: Any, module: Any, x: Any) -> Any:
    return _weighted(keras.layers.LayerNormalization(epsilon=module.eps), x, module.weight, module.bias)


def _prelu(keras: Any, module: Any, x: Any) -> Any:
    return _weighted(keras.layers.PReLU(shared_axes=[1, 2]), x, module.weight.reshape(1, 1, -1))


def _flatten(keras: Any, module: Any, x: Any) -> Any:
    """In PyTorch's order of the elements."""
    rank = len(x.shape)
    x = keras.layers.Permute((rank - 1, *range(1, rank - 1)))(x) if rank > 2 else x
    return keras.layers.Flatten()(x)


def _zero_pad(keras: Any, module: Any, x: Any) -> Any:
    left, right, top, bottom = module.padding
    return keras.layers.ZeroPadding2D(((top, bottom), (left, right)))(x)


def _inverted(keras: Any, module: Any, x: Any) -> Any:
    y = _apply(keras, module.body, x)
    return keras.layers.Add()([x, y]) if module.residual else y


def _residual(keras: Any, module: Any, x: Any) -> Any:
    return keras.layers.ReLU()(keras.layers.Add()([_apply(keras, module.body, x), _apply(keras, module.shortcut, x)]))


def _squeeze_excite(keras: Any, module: Any, x: Any) -> Any:
    return keras.layers.Multiply()([x, _apply(keras, module.gate, x)])


def _unet(keras: Any, module: Any, x: Any) -> Any:
    join = keras.layers.Concatenate()
    high = _apply(keras, module.down, x)
    middle = _apply(keras, module.middle, high)
    up = _apply(keras, module.up, _apply(keras, module.low, middle))
    joined = _apply(keras, module.join, join([up, middle]))
    last = _apply(keras, module.last, join([_apply(keras, module.upsample, joined), high]))
    return keras.layers.Activation("sigmoid")(last)


def _recurrent(keras: Any, module: Any, x: Any) -> Any:
    """PyTorch has two biases; Keras has their sum in an LSTM, and the gates z and r of a GRU in the other order."""
    cell = module.cell
    arrays = [getattr(cell, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    arrays = [a.T if a.dim() == 2 else a for a in arrays]
    if isinstance(cell, nn.LSTM):
        y = _weighted(keras.layers.LSTM(cell.hidden_size), x, *arrays[:2], arrays[2] + arrays[3])
    else:
        r, z, n = zip(*(a.chunk(3, dim=-1) for a in arrays), strict=True)
        kernel, recurrent, *biases = (torch.cat(parts, dim=-1) for parts in zip(z, r, n, strict=True))
        y = _weighted(keras.layers.GRU(cell.hidden_size), x, kernel, recurrent, torch.stack(biases))
    return _apply(keras, module.head, y)


def _transformer(keras: Any, module: Any, x: Any) -> Any:
    x = x + module.position.detach().numpy()
    width, heads = x.shape[-1], module.heads
    layer = keras.layers.MultiHeadAttention(heads, width // heads)
    y = _apply(keras, module.norm_1, x)
    y = layer(y, y)
    projected = [
        array.detach().T.reshape(*shape, heads, -1)
        for w, b in zip(module.qkv.weight.chunk(3), module.qkv.bias.chunk(3), strict=True)
        for array, shape in ((w, [width]), (b, []))
    ]
    out = module.projection
    projected += [out.weight.detach().T.reshape(heads, -1, width), out.bias.detach()]
    layer.set_weights([array.numpy() for array in projected])
    x = keras.layers.Add()([x, y])
    x = keras.layers.Add()([x, _apply(keras, module.mlp, _apply(keras, module.norm_2, x))])
    return _apply(keras, module.head, keras.layers.GlobalAveragePooling1D()(x))


def _layer(kind: str, *arguments: Any, **options: Any) -> Step:
    return lambda keras, module, x: getattr(keras.layers, kind)(*arguments, **options)(x)


STEPS: dict[str, Step] = {
    "Sequential": _sequential, "Conv2d": _convolution, "Conv1d": _convolution, "ConvTranspose2d": _transposed,
    "BatchNorm2d": _batch_norm, "BatchNorm1d": _batch_norm, "Linear": _dense, "LayerNorm": _layer_norm,
    "PReLU": _prelu, "Flatten": _flatten, "ZeroPad2d": _zero_pad, "Inverted": _inverted, "Residual": _residual,
    "SqueezeExcite": _squeeze_excite, "UNet": _unet, "Recurrent": _recurrent, "Transformer": _transformer,
    "AdaptiveAvgPool2d": _layer("GlobalAveragePooling2D", keepdims=True), "Dropout": _layer("Dropout", 0.2),
    "MaxPool2d": lambda keras, module, x: keras.layers.MaxPooling2D(module.kernel_size)(x),
    "AvgPool2d": lambda keras, module, x: keras.layers.AveragePooling2D(module.kernel_size)(x),
    "MaxPool1d": lambda keras, module, x: keras.layers.MaxPooling1D(module.kernel_size)(x),
    "AvgPool1d": lambda keras, module, x: keras.layers.AveragePooling1D(module.kernel_size)(x),
    "LeakyReLU": lambda keras, module, x: keras.layers.LeakyReLU(module.negative_slope)(x),
    "Upsample": _layer("UpSampling2D", 2), "ReLU": _layer("ReLU"), "ReLU6": _layer("ReLU", 6.0), "ELU": _layer("ELU"),
    "Softmax": _layer("Softmax"), "Identity": lambda keras, module, x: x, "GELU": _layer("Activation", "gelu"),
    "LogSoftmax": _layer("Activation", "log_softmax"), "Tanh": _layer("Activation", "tanh"),
    "Hardswish": _layer("Activation", "hard_silu"), "Hardsigmoid": _layer("Activation", "hard_sigmoid"),
    "SiLU": _layer("Activation", "silu"),
}  # fmt: skip
"""By the class of the module."""
