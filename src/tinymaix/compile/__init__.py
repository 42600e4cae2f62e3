"""Graph + Plan + core -> a C99 project made for this one model."""

from __future__ import annotations

from tinymaix.compile.project import Project, compile_graph

__all__ = ["Project", "compile_graph"]
