"""What each ATen operator is on a `Builder`, by name without overload, for programs before and after decomposition.

Meaning of the arguments: https://docs.pytorch.org/docs/stable/torch.html, aten/src/ATen/native/native_functions.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read import layers, products, torch_axes, torch_functions, torch_quantized, torch_recurrent, window_layers
from tinymaix.read.channels_first import constant_data, kernel_type
from tinymaix.read.torch_file import TYPES
from tinymaix.read.torch_layer import TorchLayer

Result = Tensor | list[Tensor]
Lower = Callable[[TorchLayer], Result]


def _conv(n: TorchLayer) -> Tensor:
    w, bias = n.tensor("weight"), n.optional("bias")
    window, groups = n.window(w.shape[2:]), n.integer("groups", 1)
    if n.flag("transposed") or "transpose" in n.kind:
        extra = n.integers("output_padding") or [0]
        extra = extra * len(window.kernel) if len(extra) == 1 else extra
        return window_layers.transposed_convolution(n.b, n.x, w, bias, window, groups, extra)
    return window_layers.convolution(n.b, n.x, w, bias, window, groups)


def _pool(kind: str) -> Lower:
    def lower(n: TorchLayer) -> Tensor:
        if n.integer("divisor_override", 0):
            raise ModelError("divisor_override is not supported")
        window = n.window(n.integers("kernel_size"))
        count_pad = kind == "AVERAGE_POOL_2D" and n.flag("count_include_pad", True)
        return window_layers.pool(n.b, kind, n.x, window, n.flag("ceil_mode"), count_pad)

    return lower


def _adaptive(kind: str) -> Lower:
    def lower(n: TorchLayer) -> Tensor:
        sizes = n.integers("output_size")
        return window_layers.adaptive_pool(n.b, kind, n.x, sizes * (n.rank - 2) if len(sizes) == 1 else sizes)

    return lower


def _linear(n: TorchLayer) -> Tensor:
    w, bias = n.tensor("weight"), n.optional("bias")
    if w.data is None:
        y = layers.matmul(n.b, n.x, n.b.transpose(w, (1, 0)))
        return y if bias is None else n.b.op("ADD", y, bias)
    return layers.dense(n.b, n.x, w, bias)


def _addmm(n: TorchLayer) -> Tensor:
    """beta * self + alpha * mat1 @ mat2; with constants and without factors a dense layer with a bias."""
    bias, x, w = n.x, n.tensor("mat1"), n.tensor("mat2")
    alpha, beta = n.number("alpha", 1.0), n.number("beta", 1.0)
    if alpha == beta == 1.0 and w.data is not None and bias.data is not None and bias.shape == w.shape[1:]:
        return layers.dense(n.b, x, n.b.rearranged(w, w.shape, (1, 0), axis=0), bias)
    y = layers.matmul(n.b, x, w)
    y = layers.scalar(n.b, "MUL", y, alpha) if alpha != 1.0 else y
    return n.b.op("ADD", y, layers.scalar(n.b, "MUL", bias, beta) if beta != 1.0 else bias)


def _matmul(name: str) -> Lower:
    return lambda n: layers.matmul(n.b, n.x, n.tensor(name))


def _attention(n: TorchLayer) -> Tensor:
    """softmax(q k' * scale + mask) v"""
    q, k, v = (n.tensor(name) for name in ("query", "key", "value"))
    if n.flag("is_causal"):
        mask: Tensor | None = products.causal_mask(n.b, q.shape[-2], k.shape[-2])
    else:
        mask = n.optional("attn_mask")
        mask = products.seen(n.b, mask) if mask is not None and mask.dtype == np.bool_ else mask
    return products.attention(n.b, q, k, v, n.number("scale", 1 / math.sqrt(q.shape[-1])), mask)[0]


def _batch_norm(n: TorchLayer) -> Tensor:
    if n.flag("training"):
        raise ModelError("a batch norm in training mode was exported; call model.eval() first")
    names = ("weight", "bias", "running_mean", "running_var")
    return layers.batch_norm(n.b, n.x, [n.optional(name) for name in names], n.number("eps", 1e-5))


def _layer_norm(n: TorchLayer) -> Tensor:
    axes = range(n.rank - len(n.integers("normalized_shape")), n.rank)
    return layers.layer_norm(n.b, n.x, axes, n.number("eps", 1e-5), n.optional("weight"), n.optional("bias"))


def _rms_norm(n: TorchLayer) -> Tensor:
    axes = range(n.rank - len(n.integers("normalized_shape")), n.rank)
    y = layers.normalized(n.b, n.x, axes, n.number("eps", float(np.finfo(np.float32).eps)), centered=False)
    weight = n.optional("weight")
    return y if weight is None else n.b.op("MUL", y, weight)


def _group_norm(n: TorchLayer) -> Tensor:
    groups = n.integer("num_groups", n.integer("group", n.x.shape[1]))
    return layers.group_norm(n.b, n.x, groups, n.number("eps", 1e-5), n.optional("weight"), n.optional("bias"))


def _clamp(n: TorchLayer) -> Tensor:
    return layers.clip(n.b, n.x, n.number("min", -math.inf), n.number("max", math.inf))


def _hardtanh(n: TorchLayer) -> Tensor:
    return layers.clip(n.b, n.x, n.number("min_val", -1.0), n.number("max_val", 1.0))


def _prelu(n: TorchLayer) -> Tensor:
    alpha = constant_data(n.tensor("weight"), "its weight")
    return n.b.op("PRELU", n.x, n.b.constant(alpha.reshape(alpha.size, *(1,) * (n.rank - 2))))


def _gelu(n: TorchLayer) -> Tensor:
    return n.b.op("GELU", n.x, approximate=n.text("approximate", "none") == "tanh")


def _softmax(kind: str) -> Lower:
    return lambda n: n.b.at_last_axis(kind, n.x, n.integer("dim", -1))


def _promoted(n: TorchLayer, *tensors: Tensor) -> list[Tensor]:
    """The tensors in the type that PyTorch computes with: float32 where one of them is."""
    if not any(t.dtype == np.float32 for t in tensors):
        return list(tensors)
    return [
        t if t.dtype == np.float32
        else n.b.op("CAST", t, dtype=np.float32) if t.data is None
        else n.b.constant(t.data, t.name, np.float32)
        for t in tensors
    ]  # fmt: skip


def _binary(kind: str, dtype: type | None = None) -> Lower:
    def lower(n: TorchLayer) -> Tensor:
        other = n.tensor("other")
        alpha = n.number("alpha", 1.0)
        other = layers.scalar(n.b, "MUL", other, alpha) if alpha != 1.0 else other
        return n.b.op(kind, *_promoted(n, n.x, other), dtype=dtype)

    return lower


def _divide(n: TorchLayer) -> Tensor:
    other = n.tensor("other")
    if n.text("rounding_mode", ""):
        raise ModelError("a rounded division is not supported")
    if other.data is not None and other.dtype == np.float32:
        return n.b.op("MUL", n.x, n.b.constant(np.float32(1) / other.data))
    return n.b.op("DIV", n.x, other)


def _reversed_sub(n: TorchLayer) -> Tensor:
    return n.b.op("SUB", n.tensor("other"), n.x)


def _pow(n: TorchLayer) -> Tensor:
    value = n.arguments.get("exponent")
    if value == 2:
        return n.b.op("MUL", n.x, n.x)
    return n.b.op("SQRT", n.x) if value == 0.5 else n.b.op("POW", n.x, n.tensor("exponent"))


def _reduce(kind: str) -> Lower:
    def lower(n: TorchLayer) -> Tensor:
        axes = tuple(positive_axis(axis, n.rank) for axis in n.integers("dim")) or tuple(range(n.rank))
        return n.b.op(kind, n.x, axes=axes, keep_dims=n.flag("keepdim"))

    return lower


def _arg(kind: str) -> Lower:
    def lower(n: TorchLayer) -> Tensor:
        x = n.x if n.integers("dim") else n.b.reshape(n.x, (n.x.elements,))
        axis = positive_axis(n.integer("dim", 0), len(x.shape))
        y = n.b.op(kind, x, axis=axis, dtype=np.int32)
        return n.b.reshape(y, [1 if i == axis else s for i, s in enumerate(x.shape)]) if n.flag("keepdim") else y

    return lower


def _upsample(kind: str) -> Lower:
    def lower(n: TorchLayer) -> Tensor:
        sizes, scales = n.integers("output_size"), n.numbers("scale_factors")
        full = n.x.shape[2:]
        if not sizes:
            sizes = [math.floor(size * scale) for size, scale in zip(full, scales, strict=True)]
        scales = scales or [size / old for size, old in zip(sizes, full, strict=True)]
        nearest = "tf_half_pixel_for_nn" if "exact" in n.kind else "asymmetric"
        half = "align_corners" if n.flag("align_corners") else "half_pixel"
        return window_layers.resize(
            n.b, kind, n.x, (sizes[0], sizes[-1]), nearest if kind == "nearest" else half, scales
        )

    return lower


def _filled(value: float | None) -> Lower:
    def lower(n: TorchLayer) -> Tensor:
        shape = n.integers("size") or list(n.x.shape)
        fill = n.number("fill_value", 0.0) if value is None else value
        if math.prod(shape) > 1 << 24:
            raise ModelError(f"a constant of shape {shape} is larger than any chip's memory")
        return n.b.constant(np.full(shape, fill, TYPES.get(n.integer("dtype", 7), "float32")))

    return lower


def _arange(n: TorchLayer) -> Tensor:
    start, end, step = n.number("start", 0), n.number("end", 0), n.number("step", 1)
    if abs(end - start) > (1 << 24) * abs(step):
        raise ModelError("its range is larger than any chip's memory")
    whole = all(isinstance(n.arguments.get(name, 0), int) for name in ("start", "end", "step"))
    return n.b.constant(np.arange(start, end, step), dtype=TYPES.get(n.integer("dtype", 5 if whole else 7), "float32"))


def _cast(n: TorchLayer) -> Tensor:
    code = n.arguments.get("dtype")
    dtype = n.x.dtype if code is None else kernel_type(np.dtype(TYPES[code]))
    if n.x.data is not None:
        return n.b.constant(n.x.data.astype(dtype))
    return n.x if dtype == n.x.dtype else n.b.op("CAST", n.x, dtype=dtype)


def _embedding(n: TorchLayer) -> Tensor:
    return n.b.op("GATHER", n.tensor("weight"), n.tensor("indices"), axis=0, dtype=np.float32)


def _same(n: TorchLayer) -> Tensor:
    return n.x


def _op(kind: str, dtype: type | None = None, **attributes: Any) -> Lower:
    return lambda n: n.b.op(kind, n.x, dtype=dtype, **attributes)


_ATEN: dict[str, Lower] = {
    "conv1d": _conv, "conv2d": _conv, "convolution": _conv, "conv_transpose1d": _conv, "conv_transpose2d": _conv,
    "max_pool1d": _pool("MAX_POOL_2D"), "max_pool2d": _pool("MAX_POOL_2D"),
    "max_pool2d_with_indices": _pool("MAX_POOL_2D"), "avg_pool1d": _pool("AVERAGE_POOL_2D"),
    "avg_pool2d": _pool("AVERAGE_POOL_2D"), "adaptive_avg_pool1d": _adaptive("AVERAGE_POOL_2D"),
    "adaptive_avg_pool2d": _adaptive("AVERAGE_POOL_2D"), "_adaptive_avg_pool2d": _adaptive("AVERAGE_POOL_2D"),
    "adaptive_max_pool1d": _adaptive("MAX_POOL_2D"), "adaptive_max_pool2d": _adaptive("MAX_POOL_2D"),
    "linear": _linear, "addmm": _addmm, "mm": _matmul("mat2"), "bmm": _matmul("mat2"), "matmul": _matmul("other"),
    "scaled_dot_product_attention": _attention,
    "batch_norm": _batch_norm, "_native_batch_norm_legit_no_training": _batch_norm, "layer_norm": _layer_norm,
    "native_layer_norm": _layer_norm, "group_norm": _group_norm, "native_group_norm": _group_norm,
    "instance_norm": _group_norm, "rms_norm": _rms_norm,
    "relu": _op("RELU"), "relu6": _op("RELU6"), "hardtanh": _hardtanh, "clamp": _clamp, "sigmoid": _op("LOGISTIC"),
    "clamp_min": _clamp, "clamp_max": _clamp,
    "tanh": _op("TANH"), "prelu": _prelu, "_prelu_kernel": _prelu, "gelu": _gelu,
    "silu": lambda n: n.b.op("MUL", n.x, n.b.op("LOGISTIC", n.x)), "hardswish": _op("HARD_SWISH"),
    "hardsigmoid": lambda n: layers.hard_sigmoid(n.b, n.x, 1 / 6, 0.5),
    "leaky_relu": lambda n: n.b.op("LEAKY_RELU", n.x, alpha=n.number("negative_slope", 0.01)),
    "softmax": _softmax("SOFTMAX"), "_softmax": _softmax("SOFTMAX"), "log_softmax": _softmax("LOG_SOFTMAX"),
    "_log_softmax": _softmax("LOG_SOFTMAX"),
    "abs": _op("ABS"), "neg": _op("NEG"), "sqrt": _op("SQRT"), "rsqrt": _op("RSQRT"), "exp": _op("EXP"),
    "log": _op("LOG"), "erf": _op("ERF"), "floor": _op("FLOOR"), "ceil": _op("CEIL"), "round": _op("ROUND"),
    "sin": _op("SIN"), "cos": _op("COS"), "logical_not": _op("LOGICAL_NOT"),
    "square": lambda n: n.b.op("MUL", n.x, n.x),
    "reciprocal": lambda n: n.b.op("DIV", n.b.constant(np.float32(1)), n.x),
    "add": _binary("ADD"), "sub": _binary("SUB"), "rsub": _reversed_sub, "mul": _binary("MUL"), "div": _divide,
    "maximum": _binary("MAXIMUM"), "minimum": _binary("MINIMUM"), "pow": _pow,
    "eq": _binary("EQUAL", bool), "ne": _binary("NOT_EQUAL", bool), "lt": _binary("LESS", bool),
    "gt": _binary("GREATER", bool), "le": _binary("LESS_EQUAL", bool), "ge": _binary("GREATER_EQUAL", bool),
    "where": lambda n: n.b.op("SELECT_V2", n.tensor("condition"), n.x, n.tensor("other"), dtype=n.x.dtype),
    "mean": _reduce("MEAN"), "sum": _reduce("SUM"), "amax": _reduce("REDUCE_MAX"), "amin": _reduce("REDUCE_MIN"),
    "argmax": _arg("ARG_MAX"), "argmin": _arg("ARG_MIN"),
    "embedding": _embedding,
    "upsample_nearest1d": _upsample("nearest"), "upsample_nearest2d": _upsample("nearest"),
    "_upsample_nearest_exact1d": _upsample("nearest"), "_upsample_nearest_exact2d": _upsample("nearest"),
    "upsample_bilinear2d": _upsample("linear"),
    "pixel_shuffle": lambda n: window_layers.depth_space(
        n.b, "DEPTH_TO_SPACE", n.x, n.integer("upscale_factor", 1), "CRD"
    ),
    "pixel_unshuffle": lambda n: window_layers.depth_space(
        n.b, "SPACE_TO_DEPTH", n.x, n.integer("downscale_factor", 1), "CRD"
    ),
    "copy": lambda n: layers.broadcast(n.b, n.tensor("src"), n.x.shape),
    "zeros": _filled(0.0), "ones": _filled(1.0), "full": _filled(None), "zeros_like": _filled(0.0),
    "ones_like": _filled(1.0), "full_like": _filled(None), "arange": _arange,
    "_to_copy": _cast, "to": _cast, "lift_fresh_copy": _same, "alias": _same, "clone": _same, "contiguous": _same,
    "detach": _same, "dropout": _same, "dropout1d": _same, "dropout2d": _same, "feature_dropout": _same,
    "native_dropout": _same, "alpha_dropout": _same, "_assert_tensor_metadata": lambda n: [],
}  # fmt: skip

LAYERS: dict[str, Lower] = {
    **{f"aten.{name}": lower for name, lower in _ATEN.items()},
    **torch_axes.LAYERS,
    **torch_functions.LAYERS,
    **torch_recurrent.LAYERS,
    **torch_quantized.LAYERS,
}
