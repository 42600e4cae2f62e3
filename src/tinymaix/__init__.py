"""tinymaix: put a trained neural network on a microcontroller, and prove that it fits, is exact, and how fast it is.

import tinymaix

graph = tinymaix.read("model.tflite")
print(tinymaix.bench(graph, "stm32f411ce"))
tinymaix.compile(graph, "stm32f411ce", "firmware/")
"""

from tinymaix.api import bench, compare, compile, convert, quantize, read, run
from tinymaix.graph import Graph, ModelError, Node, Quantization, Tensor
from tinymaix.version import VERSION

__version__ = VERSION

__all__ = [
    "Graph",
    "ModelError",
    "Node",
    "Quantization",
    "Tensor",
    "__version__",
    "bench",
    "compare",
    "compile",
    "convert",
    "quantize",
    "read",
    "run",
]
