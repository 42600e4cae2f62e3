"""No two kernels of the package share a name: any of them may stand in one file."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import tinymaix.cores
import tinymaix.ops
from tinymaix.ops.emit import Kernel


def kernels(package: object) -> set[Kernel]:
    """Every Kernel that a module of the package defines or imports, with what it needs."""
    found: set[Kernel] = set()

    def add(kernel: Kernel) -> None:
        found.add(kernel)
        for needed in kernel.needs:
            add(needed)

    for module in walk_packages(package.__path__, f"{package.__name__}."):  # type: ignore[attr-defined]
        for value in vars(import_module(module.name)).values():
            if isinstance(value, Kernel):
                add(value)
    return found


def test_kernel_names_differ() -> None:
    replacing = {
        "mul_high",
        "dot_s8",
        "dot_s16",
        "requantize",
        "lookup_s8",
    }  # a core's own, by the name of the portable one
    sources: dict[str, str] = {}
    for kernel in kernels(tinymaix.ops) | kernels(tinymaix.cores):
        if kernel.name not in replacing:
            assert sources.setdefault(kernel.name, kernel.source) == kernel.source, kernel.name
