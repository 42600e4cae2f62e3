"""Write a file whole or not at all: every writer's last step."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8) to ``path`` by way of a temporary file beside it.

    Whoever looks sees the old file or the new one, and a failure or Ctrl-C leaves nothing behind.

    Raises:
        OSError: the folder is missing, the disk is full, or the file may not be written.
    """
    target = Path(os.path.realpath(path))  # a link keeps pointing at its file
    content = data.encode() if isinstance(data, str) else data
    if target.exists() and not target.is_file():  # a pipe or a device is written to, never replaced
        target.write_bytes(content)
        return
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
