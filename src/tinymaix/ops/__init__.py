"""One file an operator. Importing this package defines them all; see `tinymaix.ops.base` for how to add one."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from tinymaix.ops.base import CUSTOM_OPERATORS, OPERATORS, TFLITE_OPERATORS, TMDL_OPERATORS, Operator

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["CUSTOM_OPERATORS", "OPERATORS", "TFLITE_OPERATORS", "TMDL_OPERATORS", "Operator"]
