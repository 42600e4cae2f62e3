"""Layers of Keras that multiply tensors with each other: attention, dot products, sums after Einstein."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinymaix.graph import ModelError, Tensor
from tinymaix.ops.base import positive_axis
from tinymaix.read.keras_activations import activate
from tinymaix.read.keras_layer import Layer, rank, weight_shape
from tinymaix.read.keras_weights import Weights
from tinymaix.read.products import attention, causal_mask, einsum, seen, weighted

ROLES = ("query", "value", "key")


def multi_head_attention(layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Queries attend to keys and values in heads of their own, over given axes; the output, and the scores if asked."""
    query, value, key, mask = _roles(layer, inputs)
    heads, size = layer.size("num_heads"), layer.size("key_dim")
    depth = layer.size("value_dim", size)
    axes = layer.axes("attention_axes", len(query.shape), tuple(range(1, len(query.shape) - 1)))
    _refuse(layer, "use_gate", "sliding_window")
    q, k, v = (
        _to_heads(layer, _projected(layer, name, x, heads, width), axes)
        for name, x, width in (("query", query, size), ("key", key, size), ("value", value, depth))
    )
    mask = _mask(layer, mask, q.shape[-2], k.shape[-2], axis=1)
    context, weights = attention(layer.b, q, k, v, 1 / math.sqrt(size), mask)
    back = _from_heads(layer, context, query, axes)
    width = query.shape[-1] if layer.config.get("output_shape") is None else layer.size("output_shape")
    y = _output(layer, back, (heads, depth, width))
    return _with_scores(layer, y, weights)


def grouped_query_attention(layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """As `multi_head_attention` over the middle axis, with several heads of queries to each head of keys and values."""
    query, value, key, mask = _roles(layer, inputs)
    rank(query, 3)
    _refuse(layer, "use_gate", "sliding_window")
    heads, groups, size = (layer.size(name) for name in ("num_query_heads", "num_key_value_heads", "head_dim"))
    if heads % groups:
        raise ModelError(f"{heads} heads of queries do not divide among {groups} heads of keys")
    b, (batch, steps, width) = layer.b, query.shape
    q = b.transpose(_projected(layer, "query", query, heads, size), (0, 2, 1, 3))
    q = b.reshape(q, (batch, groups, heads // groups, steps, size))
    k, v = (
        b.reshape(
            b.transpose(_projected(layer, name, x, groups, size), (0, 2, 1, 3)), (batch, groups, 1, x.shape[1], size)
        )
        for name, x in (("key", key), ("value", value))
    )
    context, weights = attention(b, q, k, v, 1 / math.sqrt(size), _mask(layer, mask, steps, k.shape[3], axis=1))
    back = b.reshape(b.transpose(context, (0, 3, 1, 2, 4)), (batch, steps, heads * size))
    y = _output(layer, back, (heads, size, width))
    return _with_scores(layer, y, b.reshape(weights, (batch, heads, steps, k.shape[3])))


def _roles(layer: Layer, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Query, value, key (the value where it is not given) and the mask."""
    names = layer.call.names or [""] * len(inputs)
    plain = iter(ROLES)
    found = {name or next(plain, "more"): x for name, x in zip(names, inputs, strict=True)}
    unknown = set(found) - {*ROLES, "attention_mask"}
    if unknown or "query" not in found or "value" not in found:
        raise ModelError(
            f"it is called with {', '.join(sorted(found))}; query, value, key and attention_mask are taken"
        )
    return found["query"], found["value"], found.get("key", found["value"]), found.get("attention_mask")


def _refuse(layer: Layer, *keys: str) -> None:
    for key in keys:
        if layer.config.get(key):
            raise ModelError(f"its {key} is not supported")


def _own(layer: Layer, name: str) -> Weights:
    """The weights of a layer inside, such as "query"."""
    attribute = "_output_dense" if name == "attention_output" else f"_{name}_dense"
    return layer.weights.child(attribute if layer.kind.startswith("Group") else attribute[1:], f"{name}/")


def _projected(layer: Layer, name: str, x: Tensor, heads: int, width: int) -> Tensor:
    """A dense layer whose output is split into heads: (..., heads, width)."""
    names = ["bias"] if layer.flag("use_bias", True) else []
    kernel, *bias = _own(layer, name).take("kernel", *names)
    kernel = weight_shape(kernel, (x.shape[-1], heads, width), f"kernel of the {name}").reshape(-1, heads * width)
    constant = None
    if bias:
        constant = layer.constant(
            f"{name}_bias", weight_shape(bias[0], (heads, width), f"bias of the {name}").reshape(-1)
        )
    y = layer.op("FULLY_CONNECTED", x, layer.constant(f"{name}_kernel", kernel.T), constant, keep_num_dims=True)
    return layer.reshape(y, (*x.shape[:-1], heads, width))


def _output(layer: Layer, x: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The dense layer behind the heads; ``shape`` of its kernel: (heads, width of each, width of the output)."""
    names = ["bias"] if layer.flag("use_bias", True) else []
    kernel, *bias = _own(layer, "attention_output").take("kernel", *names)
    kernel = weight_shape(kernel, shape, "kernel of the output").reshape(-1, shape[2])
    constant = layer.constant("output_bias", weight_shape(bias[0], shape[2:], "bias of the output")) if bias else None
    return layer.op("FULLY_CONNECTED", x, layer.constant("output_kernel", kernel.T), constant, keep_num_dims=True)


def _to_heads(layer: Layer, x: Tensor, axes: Sequence[int]) -> Tensor:
    """(batch, ..., heads, width) as (batch, other axes, heads, elements of ``axes``, width)."""
    heads = len(x.shape) - 2
    others = [axis for axis in range(heads) if axis not in axes]
    x = layer.b.transpose(x, (*others, heads, *axes, heads + 1))
    count = math.prod(x.shape[len(others) + 1 : -1])
    return layer.reshape(x, (*x.shape[: len(others) + 1], count, x.shape[-1]))


def _from_heads(layer: Layer, x: Tensor, query: Tensor, axes: Sequence[int]) -> Tensor:
    """The reverse, with the heads side by side along the last axis."""
    others = [axis for axis in range(len(query.shape) - 1) if axis not in axes]
    count = len(others)
    sizes = [query.shape[axis] for axis in axes]
    x = layer.reshape(x, (*x.shape[: count + 1], *sizes, x.shape[-1]))
    made = [*others, -1, *axes]  # -1: the heads
    x = layer.b.transpose(x, (*(made.index(axis) for axis in (*range(len(query.shape) - 1), -1)), len(made)))
    return layer.reshape(x, (*query.shape[:-1], x.shape[-2] * x.shape[-1]))


def _mask(layer: Layer, mask: Tensor | None, rows: int, columns: int, axis: int) -> Tensor | None:
    """What is added to the scores: the mask given, with an axis for the heads, or that of a causal attention."""
    causal = layer.call.options.get("use_causal_mask") is True
    if mask is not None and (causal or mask.shape[-2:] != (rows, columns)):
        raise ModelError(f"a mask of shape {list(mask.shape)} is not supported for scores of {[rows, columns]}")
    if mask is not None:
        mask = layer.reshape(mask, (*mask.shape[:axis], 1, *mask.shape[axis:])) if len(mask.shape) == 3 else mask
        return seen(layer.b, mask)
    return causal_mask(layer.b, rows, columns) if causal else None


def _with_scores(layer: Layer, y: Tensor, scores: Tensor) -> list[Tensor]:
    return [y, scores] if layer.call.options.get("return_attention_scores") is True else [y]


def dot_attention(layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Attention and AdditiveAttention: inputs query, value and perhaps key, of which nothing is projected."""
    if not 2 <= len(inputs) <= 3 or any(layer.call.names):
        raise ModelError(f"it is called with {len(inputs)} inputs; a query, a value and a key without masks are taken")
    b, query, value, key = layer.b, inputs[0], inputs[1], inputs[-1] if len(inputs) == 3 else inputs[1]
    additive = layer.kind == "AdditiveAttention"
    scale = layer.weights.take("scale")[0] if layer.flag("use_scale", additive) else None
    mask = _mask(layer, None, query.shape[-2], key.shape[-2], axis=0)
    if not additive and layer.choice("score_mode", ("dot", "concat")) == "dot":
        return _with_scores(layer, *attention(b, query, key, value, 1.0 if scale is None else float(scale), mask))
    rank(query, 3)
    rows = layer.reshape(query, (*query.shape[:2], 1, query.shape[2]))
    columns = layer.reshape(key, (key.shape[0], 1, *key.shape[1:]))
    total = layer.op("ADD", rows, columns)
    if additive:
        total = layer.op("TANH", total)
        total = total if scale is None else layer.op("MUL", total, layer.constant("scale", scale))
        scores = layer.op("SUM", total, axes=(3,), keep_dims=False)
    else:
        names = ("scale", "concat_score_weight") if scale is not None else ("concat_score_weight",)
        weight = layer.weights.take(*names)[-1]
        total = total if scale is None else layer.op("MUL", total, layer.constant("scale", scale))
        scores = layer.op("SUM", layer.op("TANH", total), axes=(3,), keep_dims=False)
        scores = layer.op("MUL", scores, layer.constant("weight", weight))
    return _with_scores(layer, *weighted(b, scores, value, mask))


def dot(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Sums of products along an axis of each of two inputs."""
    if len(inputs) != 2:
        raise ModelError(f"it is called with {len(inputs)} inputs; it takes two")
    x, y = inputs
    ranks = len(x.shape), len(y.shape)
    wanted = layer.listed(layer.config.get("axes"))
    first, second = (
        positive_axis(axis, size) for axis, size in zip(wanted * 2 if len(wanted) == 1 else wanted, ranks, strict=True)
    )
    if layer.flag("normalize", False):
        x, y = (layer.b.at_last_axis("L2_NORMALIZATION", t, axis) for t, axis in ((x, first), (y, second)))
    letters = iter("cdefghijklm")
    left = ["a" if i == 0 else "b" if i == first else next(letters) for i in range(ranks[0])]
    right = ["a" if i == 0 else "b" if i == second else next(letters) for i in range(ranks[1])]
    result = ["a", *(axis for axis in (*left, *right) if axis not in "ab")]
    product = einsum(layer.b, f"{''.join(left)},{''.join(right)}->{''.join(result)}", x, y)
    return product if len(product.shape) > 1 else layer.reshape(product, (*product.shape, 1))


def einsum_dense(layer: Layer, x: Tensor) -> Tensor:
    """Einstein's sum of the input and a kernel, and a bias along the axes that bias_axes names."""
    equation, bias_axes = layer.text("equation", ""), layer.config.get("bias_axes")
    kernel, *bias = layer.weights.take("kernel", *([] if bias_axes is None else ["bias"]))
    y = einsum(layer.b, equation, x, layer.constant("kernel", kernel))
    for values in bias:
        y = layer.op("ADD", y, layer.constant("bias", values))
    return activate(layer, y)
