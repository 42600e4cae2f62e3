"""Layers of Keras that slide, pad, crop and resize: 1-D ones become 2-D ones on an image of height 1."""

from __future__ import annotations

from typing import Any

from tinymaix.graph import Array, ModelError, Tensor
from tinymaix.ops.window import Padding, Pair, extent, same_padding
from tinymaix.read.keras_1 import kernel as kernel_of_keras_1
from tinymaix.read.keras_activations import activate
from tinymaix.read.keras_layer import Layer, rank, weight_shape

GUESSED = "the file does not name its backend: kernels of layers with dim_ordering 'th' are taken as Theano turns them"


def _axes(layer: Layer) -> int:
    """1 for Conv1D and its like, 2 for Conv2D."""
    return 1 if "1D" in layer.kind else 2


def _image(layer: Layer, x: Tensor) -> Tensor:
    """The input as (batch, height, width, channels)."""
    rank(x, 2 + _axes(layer))
    first = layer.channels_first()
    if _axes(layer) == 1:
        layer.b.remember(x) if first else None
        x = layer.reshape(x, (*x.shape[:2], 1, x.shape[2]) if first else (x.shape[0], 1, *x.shape[1:]))
    return layer.b.to_last(x) if first else x


def _flat(layer: Layer, y: Tensor) -> Tensor:
    """The output in the layer's own dimensions."""
    first = layer.channels_first()
    y = layer.b.to_first(y) if first else y
    if _axes(layer) == 1:
        y = layer.reshape(y, (*y.shape[:2], y.shape[3]) if first else (y.shape[0], *y.shape[2:]))
        layer.b.remember(y) if first else None
    return y


def _pair(layer: Layer, key: str, default: int = 1) -> Pair:
    sizes = layer.sizes(key, _axes(layer), default)
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _padding(layer: Layer, x: Tensor, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Padding:
    choices = ("valid", "same", "causal") if layer.kind.endswith("1D") else ("valid", "same")
    match layer.choice("padding", choices):
        case "same":
            return same_padding(x.shape[1], x.shape[2], kernel, stride, dilation)
        case "causal":
            return 0, 0, extent(kernel[1], dilation[1]) - 1, 0
    return 0, 0, 0, 0


def _window(layer: Layer, x: Tensor) -> tuple[Pair, dict[str, Any]]:
    """Kernel, and the attributes of the operator."""
    kernel, stride, dilation = _pair(layer, "kernel_size"), _pair(layer, "strides"), _pair(layer, "dilation_rate")
    padding = _padding(layer, x, kernel, stride, dilation)
    return kernel, {"stride": stride, "dilation": dilation, "padding": padding}


def _bias(layer: Layer, values: list[Array], channels: int) -> Tensor | None:
    return layer.constant("bias", weight_shape(values[0], (channels,), "bias")) if values else None


def convolution(layer: Layer, x: Tensor) -> Tensor:
    """Conv1D and Conv2D, grouped too; kernel (height, width, in / groups, out)."""
    x = _image(layer, x)
    kernel, attributes = _window(layer, x)
    filters, groups = layer.size("filters"), layer.size("groups", 1)
    weights, *bias = layer.weights.take("kernel", *_with_bias(layer))
    sizes = (*kernel[2 - _axes(layer) :], x.shape[3] // groups, filters)
    weights = weight_shape(_kernel(layer, weights), sizes, "kernel").reshape(*kernel, -1, filters).transpose(3, 0, 1, 2)
    y = layer.op("CONV_2D", x, layer.constant("kernel", weights), _bias(layer, bias, filters), **attributes)
    return activate(layer, _flat(layer, y))


def _kernel(layer: Layer, stored: Array) -> Array:
    """A kernel ([height,] width, ...) as Keras 2 and later apply it, but for Theano from its start."""
    first, theano = layer.keras == 1, layer.b.theano
    if theano is None:
        theano = first and layer.channels_first()
        if theano and GUESSED not in layer.b.notes:
            layer.b.notes.append(GUESSED)
    kernel = kernel_of_keras_1(layer.kind, layer.channels_first(), stored) if first else stored
    return kernel[(slice(None, None, -1),) * _axes(layer)] if theano else kernel


def transposed(layer: Layer, x: Tensor) -> Tensor:
    """Conv1DTranspose and Conv2DTranspose; kernel (height, width, out, in)."""
    x = _image(layer, x)
    kernel, stride = _pair(layer, "kernel_size"), _pair(layer, "strides")
    if _pair(layer, "dilation_rate") != (1, 1) or layer.config.get("output_padding") is not None:
        raise ModelError("a transposed convolution with dilation or output_padding is not supported")
    same = layer.choice("padding", ("valid", "same")) == "same"
    size = [n * s if same else n * s + max(k - s, 0) for n, k, s in zip(x.shape[1:3], kernel, stride, strict=True)]
    wanted = layer.config.get("output_shape")  # Keras 1 stores it, the batch included
    if wanted is not None and list(wanted)[2 if layer.channels_first() else 1 :][:2] != size:
        raise ModelError(f"its output_shape {str(wanted)[:60]} is not supported; {size} pixels are")
    filters = layer.size("filters")
    weights, *bias = layer.weights.take("kernel", *_with_bias(layer))
    sizes = (*kernel[2 - _axes(layer) :], filters, x.shape[3])
    weights = weight_shape(_kernel(layer, weights), sizes, "kernel").reshape(*kernel, filters, -1).transpose(2, 0, 1, 3)
    padding = same_padding(size[0], size[1], kernel, stride) if same else (0, 0, 0, 0)
    y = layer.op(
        "TRANSPOSE_CONV", x, layer.constant("kernel", weights), _bias(layer, bias, filters),
        size=(size[0], size[1]), stride=stride, padding=padding,
    )  # fmt: skip
    return activate(layer, _flat(layer, y))


def depthwise(layer: Layer, x: Tensor) -> Tensor:
    """DepthwiseConv1D and 2D; kernel (height, width, in, multiplier)."""
    x = _image(layer, x)
    weights, *bias = layer.weights.take("depthwise_kernel|kernel", *_with_bias(layer))
    y = _depthwise(layer, x, weights, bias)
    return activate(layer, _flat(layer, y))


def _depthwise(layer: Layer, x: Tensor, weights: Array, bias: list[Array]) -> Tensor:
    kernel, attributes = _window(layer, x)
    channels, multiplier = x.shape[3], layer.size("depth_multiplier", 1)
    weights = weight_shape(weights, (*kernel[2 - _axes(layer) :], channels, multiplier), "depthwise kernel")
    constant = layer.constant("depthwise_kernel", weights.reshape(1, *kernel, channels * multiplier))
    return layer.op("DEPTHWISE_CONV_2D", x, constant, _bias(layer, bias, channels * multiplier), **attributes)


def separable(layer: Layer, x: Tensor) -> Tensor:
    """A depthwise and a pointwise convolution."""
    x = _image(layer, x)
    filters = layer.size("filters")
    weights, pointwise, *bias = layer.weights.take("depthwise_kernel", "pointwise_kernel", *_with_bias(layer))
    y = _depthwise(layer, x, weights, [])
    pointwise = weight_shape(pointwise, (*(1,) * _axes(layer), y.shape[3], filters), "pointwise kernel")
    constant = layer.constant("pointwise_kernel", pointwise.reshape(1, 1, -1, filters).transpose(3, 0, 1, 2))
    y = layer.op("CONV_2D", y, constant, _bias(layer, bias, filters))
    return activate(layer, _flat(layer, y))


def _with_bias(layer: Layer) -> list[str]:
    return ["bias"] if layer.flag("use_bias", True) else []


def pool(layer: Layer, x: Tensor) -> Tensor:
    """MaxPooling and AveragePooling."""
    x = _image(layer, x)
    size = _pair(layer, "pool_size", 2)
    stride = size if layer.config.get("strides") is None else _pair(layer, "strides")
    kind = "MAX_POOL_2D" if layer.kind.startswith("Max") else "AVERAGE_POOL_2D"
    return _flat(layer, layer.op(kind, x, pool=size, stride=stride, padding=_padding(layer, x, size, stride)))


def global_average(layer: Layer, x: Tensor) -> Tensor:
    rank(x, 2 + _axes(layer))
    start = 2 if layer.channels_first() else 1
    axes = tuple(range(start, start + _axes(layer)))
    return layer.op("MEAN", x, axes=axes, keep_dims=layer.flag("keepdims", False))


def global_max(layer: Layer, x: Tensor) -> Tensor:
    image = _image(layer, x)
    y = layer.op("MAX_POOL_2D", image, pool=image.shape[1:3], stride=image.shape[1:3])
    return _flat(layer, y) if layer.flag("keepdims", False) else layer.reshape(y, (y.shape[0], y.shape[3]))


def adaptive_pool(layer: Layer, x: Tensor) -> Tensor:
    """AdaptiveAveragePooling and AdaptiveMaxPooling to sizes that divide the input's."""
    x = _image(layer, x)
    sizes = _pair(layer, "output_size")
    if any(full % size for full, size in zip(x.shape[1:3], sizes, strict=True)):
        raise ModelError(f"a pooling of {list(x.shape[1:3])} to {list(sizes)} has windows of unequal sizes")
    window = x.shape[1] // sizes[0], x.shape[2] // sizes[1]
    kind = "MAX_POOL_2D" if "Max" in layer.kind else "AVERAGE_POOL_2D"
    return _flat(layer, layer.op(kind, x, pool=window, stride=window))


def _pairs(layer: Layer, key: str) -> tuple[Pair, ...]:
    """Sizes before and after each of the four axes."""
    pairs = layer.pairs(key, _axes(layer))
    return ((0, 0), *((0, 0),) * (2 - len(pairs)), *pairs, (0, 0))


def zero_padding(layer: Layer, x: Tensor) -> Tensor:
    return _flat(layer, layer.op("PAD", _image(layer, x), pads=_pairs(layer, "padding")))


def cropping(layer: Layer, x: Tensor) -> Tensor:
    x = _image(layer, x)
    pairs = _pairs(layer, "cropping")
    sizes = tuple(size - before - after for size, (before, after) in zip(x.shape, pairs, strict=True))
    if min(sizes) < 1:
        raise ModelError(f"it crops an input of shape {list(x.shape)} to nothing")
    return _flat(layer, layer.op("SLICE", x, begin=tuple(before for before, _ in pairs), size=sizes))


def center_crop(layer: Layer, x: Tensor) -> Tensor:
    """The middle of an image at least as large."""
    x = _image(layer, x)
    size = layer.size("height"), layer.size("width")
    if size[0] > x.shape[1] or size[1] > x.shape[2]:
        raise ModelError(f"it cuts {list(size)} out of {list(x.shape[1:3])}; use Resizing to enlarge")
    begin = (0, (x.shape[1] - size[0]) // 2, (x.shape[2] - size[1]) // 2, 0)
    return _flat(layer, layer.op("SLICE", x, begin=begin, size=(x.shape[0], *size, x.shape[3])))


def upsampling(layer: Layer, x: Tensor) -> Tensor:
    """UpSampling1D and 2D by whole factors."""
    x = _image(layer, x)
    factors = _pair(layer, "size", 2)
    size = x.shape[1] * factors[0], x.shape[2] * factors[1]
    if layer.choice("interpolation", ("nearest", "bilinear")) == "nearest":
        return _flat(layer, layer.op("RESIZE_NEAREST_NEIGHBOR", x, size=size))
    return _flat(layer, layer.op("RESIZE_BILINEAR", x, size=size, half_pixel_centers=True))


def resizing(layer: Layer, x: Tensor) -> Tensor:
    x = _image(layer, x)
    if layer.flag("crop_to_aspect_ratio", False) or layer.flag("pad_to_aspect_ratio", False):
        raise ModelError("keeping the aspect ratio is not supported")
    linear = layer.choice("interpolation", ("bilinear", "nearest")) == "bilinear"
    kind = "RESIZE_BILINEAR" if linear else "RESIZE_NEAREST_NEIGHBOR"
    return _flat(layer, layer.op(kind, x, size=(layer.size("height"), layer.size("width")), half_pixel_centers=True))
