"""Makes the .onnx and .pt2 fixtures beside this file, with what PyTorch and onnxruntime compute for one input.

Run from the repository: python -m tests.data.make_onnx. Needs torch, onnx, onnxscript, onnxruntime and torchao.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from tests.nets import net
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

from tinymaix.graph import Array

HERE = Path(__file__).parent
NETS = ("cnn_1d", "lstm", "gru", "transformer")
FIXED_TIME = (2020, 1, 1, 0, 0, 0)


def pt2(program: torch.export.ExportedProgram) -> bytes:
    """What torch.export.save writes, packed and without its pickled sample inputs and stack traces."""
    stream = io.BytesIO()
    torch.export.save(program, stream)
    packed = io.BytesIO()
    with zipfile.ZipFile(stream) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            if "sample_inputs" not in info.filename:
                target.writestr(zipfile.ZipInfo(info.filename, FIXED_TIME), source.read(info), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def without_metadata(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    for node in program.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key in ("val", "tensor_meta")}
    return program


class _Samples(CalibrationDataReader):
    def __init__(self, name: str, shape: list[int]) -> None:
        rng = np.random.default_rng(0)
        self.samples = iter([{name: rng.uniform(-1, 1, shape).astype(np.float32)} for _ in range(8)])

    def get_next(self) -> Any:
        return next(self.samples, None)


def quantized_onnx(source: Path, form: QuantFormat, name: str) -> None:
    """A quantized copy of a float .onnx, and what onnxruntime computes with it without fusing anything."""
    session = onnxruntime.InferenceSession(source)
    entry = session.get_inputs()[0]
    target = HERE / f"{name}.onnx"
    quantize_static(
        source, target, _Samples(entry.name, entry.shape), quant_format=form, per_channel=form == QuantFormat.QDQ,
        activation_type=QuantType.QInt8 if form == QuantFormat.QOperator else QuantType.QUInt8,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = np.random.default_rng(1).uniform(-1, 1, entry.shape).astype(np.float32)
    write(name, x, onnxruntime.InferenceSession(target, options).run(None, {entry.name: x})[0])


def write(name: str, x: Array, y: Array) -> None:
    np.savez_compressed(HERE / f"{name}.npz", x=x, y=y)


def small_cnn() -> tuple[torch.nn.Module, torch.Tensor]:
    """A 2-D CNN of a few kilobytes with a residual sum, pooling and a dense layer behind a flattening."""
    torch.manual_seed(3)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv2d(2, 8, 3, 2, 1)
            self.depthwise = torch.nn.Conv2d(8, 8, 3, 1, 1, groups=8)
            self.pointwise = torch.nn.Conv2d(8, 8, 1)
            self.head = torch.nn.Linear(8 * 4 * 3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(x))
            x = torch.relu(x + self.pointwise(torch.relu(self.depthwise(x))))
            x = torch.nn.functional.max_pool2d(x, 2)
            y: torch.Tensor = self.head(x.flatten(1))
            return y

    return Net().eval(), torch.rand(1, 2, 16, 12) * 2 - 1


def main() -> None:
    for name in NETS:
        module, (x,) = net(name)
        y = module(x).detach().numpy()
        torch.onnx.export(module, (x,), HERE / f"onnx_{name}.onnx", dynamo=False, opset_version=17)
        (HERE / f"torch_{name}.pt2").write_bytes(pt2(without_metadata(torch.export.export(module, (x,)))))
        write(f"onnx_{name}", x.numpy(), y)
        write(f"torch_{name}", x.numpy(), y)
    module, x = small_cnn()
    source = HERE / "onnx_small.onnx"
    torch.onnx.export(module, (x,), source, dynamo=False, opset_version=17)
    write("onnx_small", x.numpy(), module(x).detach().numpy())
    quantized_onnx(source, QuantFormat.QDQ, "onnx_small_qdq")
    quantized_onnx(source, QuantFormat.QOperator, "onnx_small_qlinear")
    quantizer = X86InductorQuantizer()
    quantizer.set_global(get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(module, (x,)).module(), quantizer)
    for _ in range(8):
        prepared(torch.rand_like(x) * 2 - 1)
    converted = convert_pt2e(prepared)
    program = torch.export.export(converted, (x,))
    (HERE / "torch_small_pt2e.pt2").write_bytes(pt2(without_metadata(program)))
    write("torch_small_pt2e", x.numpy(), converted(x).detach().numpy())


if __name__ == "__main__":
    main()
