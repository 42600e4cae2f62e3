"""Pieces of C text: identifiers, arrays, comments."""

from __future__ import annotations

import re
import textwrap

import numpy as np

from tinymaix.graph import Array
from tinymaix.ops.emit import C_TYPES, Constant

_KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool catch "
    "class delete false friend namespace new operator private protected public template this throw true try typename "
    "using virtual main"
)
_RESERVED = frozenset(_KEYWORDS.split())


def identifier(name: str) -> str:
    """A C and C++ identifier in lower case made from any name."""
    word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "model"
    return f"model_{word}" if word[0].isdigit() or word in _RESERVED else word


def array_definition(constant: Constant) -> str:
    """A constant as a C array. Weights go to flash; what is read like an activation goes where loads are plain."""
    data = constant.data
    comment = f"/* {comment_text(constant.comment)} */\n" if constant.comment else ""
    where = "" if constant.in_ram else " FLASH"
    return (
        f"{comment}static const {C_TYPES[data.dtype.name]} {constant.name}[{max(data.size, 1)}]{where} = {{\n"
        f"{array_body(data)}\n}};\n"
    )


def array_body(data: Array) -> str:
    """The values of an array as indented lines."""
    flat = data.reshape(-1)
    if flat.dtype == np.float32:
        words = [float_word(value) for value in flat.tolist()]
        width = 8
    else:
        words = [int_word(value) for value in flat.astype(np.int64).tolist()]
        width = 24 if flat.dtype.itemsize == 1 else 12
    words = words or ["0"]
    return "\n".join(f"    {', '.join(words[i : i + width])}," for i in range(0, len(words), width))


def int_word(value: int) -> str:
    """An integer that every compiler reads with the right type."""
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return str(value)


def float_word(value: float) -> str:
    """A float literal; nine digits give back the same float32."""
    word = f"{value:.9g}"
    return f"{word}f" if any(mark in word for mark in ".e") else f"{word}.0f"


def comment_text(text: str) -> str:
    """Text that cannot end a comment or a line: names come from files."""
    printable = "".join(c if c.isprintable() and ord(c) < 128 else "?" for c in text)
    return printable.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").replace("??", "?")


def block_comment(text: str, width: int = 110) -> str:
    """A comment of several lines."""
    lines = [line for part in text.split("\n") for line in (textwrap.wrap(comment_text(part), width) or [""])]
    return "/* " + "\n * ".join(lines) + "\n */"


def section(title: str) -> str:
    return f"/* ---- {title} {'-' * max(4, 100 - len(title))} */\n"
