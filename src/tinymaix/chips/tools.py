"""The outside programs and optional packages that building and emulating need: found, or named in the error."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

EXTRA = "pip install 'tinymaix[chips]'"


class ToolError(RuntimeError):
    """A program or package is missing; the message says what to install."""


class BuildError(RuntimeError):
    """A compiler or linker refused; the message holds what it said."""


def package(name: str) -> ModuleType:
    """Import an optional package. Raises ToolError that names the pip extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ToolError(
            f"The Python package {name.split('.')[0]} is needed here and cannot be imported ({error}). Run: {EXTRA}"
        ) from None


def program(name: str, advice: str) -> str:
    """Path of a program. Raises ToolError with `advice` on how to get it."""
    path = shutil.which(name)
    if path is None:
        raise ToolError(f"The program {name} is needed here and is not on the PATH. {advice}")
    return path


def cache_dir() -> Path:
    """The user's cache folder for this package, made if it is missing; a temporary one where that cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for folder in (
        Path(base) / "tinymaix",
        Path(tempfile.gettempdir()) / f"tinymaix-{os.environ.get('USER', 'cache')}",
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise ToolError(f"No cache folder can be written. Set XDG_CACHE_HOME to a folder that can ({base} cannot).")


def zig_cc() -> list[str]:
    """The command of the clang in the ziglang wheel. Raises ToolError."""
    package("ziglang")
    return [sys.executable, "-m", "ziglang", "cc"]


def host_cc() -> list[str]:
    """The command of a C compiler for this computer: the system's own, or else zig's. Raises ToolError."""
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return [path]
    return zig_cc()


def compiler_version(program: str) -> str:
    """What a compiler says about itself."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace").stdout


def compile_c(command: Sequence[str | Path], what: str) -> None:
    """Run a compiler. Raises BuildError with its messages, cut to what one can read."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **_zig_environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        said = said if len(said) < 4000 else said[:3000] + "\n...\n" + said[-900:]
        raise BuildError(f"Compiling {what} failed (exit code {done.returncode}):\n{said}")


def _zig_environment() -> Mapping[str, str]:
    zig = str(cache_dir() / "zig")
    return {"ZIG_GLOBAL_CACHE_DIR": os.environ.get("ZIG_GLOBAL_CACHE_DIR", zig), "ZIG_LOCAL_CACHE_DIR": zig}


def cached_native(source: Path, arguments: Sequence[str]) -> Path:
    """Compile one of this package's C files for this computer, once: the result is kept in the user's cache under a
    hash of source and command. `arguments` are the compiler's further ones. Raises ToolError or BuildError."""
    command = [*host_cc(), "-O2", "-std=c99"]
    key = hashlib.sha256("\0".join([*command, *arguments, sys.platform, source.read_text()]).encode()).hexdigest()[:16]
    target = cache_dir() / f"{source.stem}-{key}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            fresh = Path(scratch) / target.name
            compile_c([*command, source, "-o", fresh, *arguments], source.name)
            os.replace(fresh, target)
    return target
