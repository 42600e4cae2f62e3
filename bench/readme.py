"""Put real output into README.md and README.zh.md: the block after <!-- $ command --> becomes what the command prints.

python bench/readme.py
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"<!-- \$ (?P<command>.+?) -->\n```\n(?P<text>.*?)```", re.S)


def output(command: str) -> str:
    """What a command prints, run from the root of the repository by this Python."""
    words = shlex.split(command)
    program = [sys.executable, "-m", "tinymaix.cli"] if words[0] == "tinymaix" else [sys.executable]
    result = subprocess.run([*program, *words[1:]], cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{command} failed:\n{result.stderr}")
    return "\n".join(line.rstrip() for line in result.stdout.rstrip().splitlines()) + "\n"


def main() -> int:
    known: dict[str, str] = {}
    for path in (ROOT / "README.md", ROOT / "README.zh.md"):
        text = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            command = match["command"]
            if command not in known:
                print(f"$ {command}", file=sys.stderr)
                known[command] = output(command)
        filled = BLOCK.sub(lambda m: f"<!-- $ {m['command']} -->\n```\n{known[m['command']]}```", text)
        path.write_text(filled, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
