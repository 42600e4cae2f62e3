"""The `tinymaix` command: parses, calls the API, prints.

Exit status: 0 success, 1 a proof that failed, 2 a mistake of the user with a sentence about it on standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from tinymaix.commands import (
    bench,
    cache,
    chips,
    compare,
    compile,
    convert,
    demo,
    emulate,
    fit,
    h5_to_tflite,
    inspect,
    quantize,
    report,
    run,
    tflite2tmdl,
)
from tinymaix.version import VERSION

COMMANDS = (
    inspect,
    quantize,
    compare,
    convert,
    compile,
    run,
    bench,
    fit,
    report,
    emulate,
    chips,
    cache,
    demo,
    h5_to_tflite,
    tflite2tmdl,
)
"""In the order in which the help lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(["n1to1" if word == "-1to1" else word for word in given])  # or it would be an option
    try:
        status = options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("tinymaix: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        print("tinymaix: this needs more memory than the computer has", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"tinymaix: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except (ValueError, RuntimeError) as error:  # ModelError, ChipError, BuildError, ToolError, EmulationError
        print("\n".join(f"tinymaix: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    except Exception as error:  # a mistake of ours must not bury the user in a traceback, but we want to see it
        if os.environ.get("TINYMAIX_TRACEBACK"):
            raise
        print(f"tinymaix: our own mistake: {type(error).__name__}: {error}", file=sys.stderr)
        print("tinymaix: please report it; TINYMAIX_TRACEBACK=1 in the environment says more", file=sys.stderr)
        return 1
    return int(status)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="tinymaix",
        description="Put a trained neural network on a microcontroller, and prove that it fits and is exact.",
        epilog="Start with: tinymaix demo",
    )
    top.add_argument("--version", action="version", version=f"tinymaix {VERSION}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, function: Callable[[argparse.Namespace], int], text: str, *examples: str
    ) -> argparse.ArgumentParser:
        shown = "examples:\n" + "\n".join(f"  {example}" for example in examples)
        formatter = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(name, help=text, description=text, epilog=shown, formatter_class=formatter)
        command.set_defaults(command=function)
        command.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
        return command

    for command in COMMANDS:
        command.register(add)
    return top


if __name__ == "__main__":
    sys.exit(main())
