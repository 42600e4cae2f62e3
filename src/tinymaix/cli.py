"""The `tinymaix` command: parses, calls the API, prints.

Exit status: 0 success, 1 a proof that failed, 2 a mistake of the user with a sentence about it on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinymaix import api
from tinymaix.version import VERSION

if TYPE_CHECKING:
    from tinymaix.chips import Chip

OPTIMIZE = ("speed", "balanced", "ram", "flash")
TUNE = ("off", "quick", "full")
TOOLCHAINS = ("auto", "clang", "gcc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parser().parse_args(arguments)
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

    command = add(
        "inspect", inspect, "show a model's layers, shapes, MACs, parameters and arena",
        "tinymaix inspect model.tflite",
        "tinymaix inspect model.keras --graph model.svg",
        "tinymaix inspect model.tflite --chip rp2350 --optimize speed",
    )  # fmt: skip
    _model(command)
    command.add_argument("--chip", help="show the layers as they run on this chip or core, and what computes each")
    command.add_argument("--optimize", choices=OPTIMIZE, default="balanced", help="with --chip; default: balanced")
    command.add_argument("--graph", metavar="FILE", type=Path, help="draw the layers too, as .svg or .html")

    command = add(
        "convert", convert, "write a .tmdl for the TinyMaix runtime, and a C header beside it",
        "tinymaix convert mnist.tflite mnist.tmdl",
        "tinymaix convert mnist_float.tflite mnist.tmdl --type fp16 --out-deq 0",
    )  # fmt: skip
    _model(command)
    command.add_argument("out", metavar="OUT.tmdl", type=Path)
    command.add_argument("--out-deq", type=int, choices=(0, 1), default=1, help="1: the runtime gives floats (default)")
    command.add_argument("--big-endian", action="store_true", help="for a big-endian chip")
    command.add_argument(
        "--type", choices=("int8", "int16", "fp32", "fp16", "fp8_143", "fp8_152"), help="default: as the model is"
    )
    command.add_argument(
        "--more-layers", action="store_true", help="also layers that only our runtime knows (built with TM_MORE_LAYERS)"
    )

    command = add(
        "compile", compile_, "write a self-contained C99 project for one model",
        "tinymaix compile model.tflite --chip stm32f411ce -o firmware/",
        "tinymaix compile model.tflite --chip stm32f411ce -o firmware/ --optimize speed --tune full",
    )  # fmt: skip
    _model(command)
    command.add_argument("--chip", required=True, help="a name of `tinymaix chips`, or a core such as cortex-m4")
    command.add_argument("-o", "--output", metavar="DIR", type=Path, required=True)
    command.add_argument("--name", help="prefix of the C names (default: the file's name)")
    _build_options(command)
    _tune_options(command)

    command = add(
        "run", run, "run one inference on the reference, on this computer, or on an emulated chip",
        "tinymaix run model.tflite --input x.npy --output y.npy",
        "tinymaix run model.tflite --input x.npz --output y.npz --on cortex-m4",
        "tinymaix run streaming.tflite --input frames.npy --output y.npy --steps",
    )  # fmt: skip
    _model(command)
    command.add_argument("--input", required=True, type=Path, help=".npy, or .npz with in0, in1, ... (raw values)")
    command.add_argument("--output", required=True, type=Path, help=".npy, or .npz with out0, out1, ...")
    command.add_argument(
        "--steps", action="store_true", help="inputs have one axis more in front: steps of a streaming model, in order"
    )
    command.add_argument("--on", default="reference", metavar="reference|host|CHIP", help="default: reference")
    _build_options(command)

    command = add(
        "bench", bench, "count what one inference costs on a chip",
        "tinymaix bench model.tflite --chip atmega328p",
        "tinymaix bench model.tflite --chip cortex-m4,rp2040 --optimize speed --json",
        "tinymaix bench model.tflite --chip cortex-m4 --layers",
    )  # fmt: skip
    _model(command)
    command.add_argument("--chip", required=True, help="a name of `tinymaix chips`, a core, or several with commas")
    command.add_argument("--layers", action="store_true", help="show what each layer costs")
    _build_options(command)
    _tune_options(command)

    command = add(
        "fit", fit_, "list the chips that a model fits, the fastest first, and what is missing on the others",
        "tinymaix fit model.tflite",
        "tinymaix fit model.tflite --match stm32 --need-fps 10 --max-ram 20000",
    )  # fmt: skip
    _model(command)
    command.add_argument("--match", default="", help="only chips whose name, title or core contains this")
    command.add_argument("--need-fps", type=_positive, metavar="N", help="inferences a second that a chip must reach")
    command.add_argument("--max-flash", type=int, metavar="BYTES", help="flash that the program may take")
    command.add_argument("--max-ram", type=int, metavar="BYTES", help="RAM that the program may take, with the stack")
    _build_options(command)

    command = add("chips", chips, "list the chips", "tinymaix chips", "tinymaix chips stm32 --json")
    command.add_argument("match", nargs="?", default="", help="only chips whose name, title or core contains this")

    command = add(
        "cache", cache, "show or clear what --tune has learned and keeps on disk", "tinymaix cache --clear"
    )  # fmt: skip
    command.add_argument("--clear", action="store_true", help="remove it")

    command = add("demo", demo, "classify a handwritten digit on emulated chips", "tinymaix demo --digit 7")
    command.add_argument("--digit", type=int, choices=range(10), default=2, metavar="0..9", help="default: 2")
    command.add_argument("--chip", default="atmega328p,stm32f411ce", help="chips to run on, with commas")
    return top


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", type=Path, help="a .tflite, .tmdl, .h5, .keras, .onnx or .pt2 file")


def _build_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--optimize", choices=OPTIMIZE, default="balanced", help="default: balanced")
    command.add_argument("--toolchain", choices=TOOLCHAINS, default="auto", help="default: auto")


def _tune_options(command: argparse.ArgumentParser) -> None:
    text = "try kernels on the emulated chip: a few, or all of them (default: off, the best guess)"
    command.add_argument("--tune", choices=TUNE, default="off", help=text)
    command.add_argument("--max-flash", type=int, metavar="BYTES", help="the tuned firmware's flash at most")
    command.add_argument("--max-ram", type=int, metavar="BYTES", help="the tuned firmware's RAM with stack at most")


def _tuning(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `_build_options` and `_tune_options`, as the API takes them."""
    names = ("optimize", "toolchain", "tune", "max_flash", "max_ram")
    return {name: getattr(options, name) for name in names}


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A line on a terminal's standard error that says what is going on; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda sentence: None
        return
    from rich.console import Console

    with Console(stderr=True).status("reading the model") as status:
        yield status.update


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))


def inspect(options: argparse.Namespace) -> int:
    from tinymaix import report
    from tinymaix.plan import plan

    graph = api.read(options.model)
    placed, ways = plan(graph), None
    if options.chip:
        from tinymaix.chips import find_chip
        from tinymaix.compile.project import Draft

        draft = Draft(graph, find_chip(options.chip).core, optimize=options.optimize)
        chosen = draft.guess()
        graph, placed, ways = draft.live, draft.plan(chosen), draft.words(chosen)
    if options.graph:
        from tinymaix.drawing import write_drawing

        write_drawing(graph, options.graph)
    if options.json:
        _print_json(report.inspect_dict(graph, placed, ways))
    else:
        report.show(*report.inspect_table(graph, placed, ways))
    return 0


def convert(options: argparse.Namespace) -> int:
    ways = {"out_deq": bool(options.out_deq), "big_endian": options.big_endian, "more_layers": options.more_layers}
    tmdl = api.convert(options.model, options.out, kind=options.type, **ways)
    if options.json:
        _print_json(tmdl.as_dict())
    else:
        print(tmdl.log(options.out))
    return 0


def compile_(options: argparse.Namespace) -> int:
    from tinymaix import report

    with progress() as say:
        project = api.compile(
            options.model, options.chip, options.output, name=options.name, progress=say, **_tuning(options)
        )
    figures = {
        "name": project.name,
        "chip": options.chip,
        "files": [str(options.output / name) for name in project.files],
        "weights": project.weights,
        "arena": project.plan.arena,
        "macs": project.plan.graph.macs,
    }
    if options.json:
        _print_json({**figures, **report.tuning_dict(project.tuning)})
        return 0
    if project.tuning:
        report.show(report.tuning_table(project.tuning, options.chip))
    print(f"{project.weights:,} bytes of constants in flash, {project.plan.arena:,} bytes of arena in RAM")
    print(f"call {project.name}_run() of {options.output / 'model.h'}; {project.name}_selftest() proves it on the chip")
    return 0


def run(options: argparse.Namespace) -> int:
    from tinymaix.arrays import load_inputs, save_outputs

    graph = api.read(options.model)
    inputs = load_inputs(options.input, len(graph.inputs))
    ways = {name: getattr(options, name) for name in ("on", "optimize", "toolchain", "steps")}
    outputs = api.run(graph, inputs, **ways)
    save_outputs(options.output, outputs)
    if options.json:
        _print_json({"output": str(options.output), "outputs": [list(array.shape) for array in outputs]})
    return 0


def bench(options: argparse.Namespace) -> int:
    from tinymaix import report

    with progress() as say:
        graph = api.read(options.model)
        results = [
            api.bench(graph, chip, layers=options.layers, progress=say, **_tuning(options))
            for chip in options.chip.split(",")
        ]
    if options.json:
        figures = [result.as_dict() for result in results]
        _print_json(figures[0] if len(figures) == 1 else figures)
    else:
        report.show(report.bench_table(results, f"{graph.name}: {graph.macs:,} MACs, optimize {options.optimize}"))
        report.show(*(report.layers_table(result) for result in results if result.layers is not None))
        report.show(*(report.tuning_table(result.tuning, result.chip) for result in results if result.tuning))
    floats = any(tensor.dtype.kind == "f" for tensor in graph.outputs)  # they may differ in their last digits
    return 0 if floats or all(result.bit_exact for result in results) else 1


def fit_(options: argparse.Namespace) -> int:
    from tinymaix import report
    from tinymaix.fit import Limits, fit

    limits = Limits(options.max_flash, options.max_ram, options.need_fps)
    chosen = _matching(options.match)
    if not chosen:
        raise ValueError(f'No chip matches "{options.match}". The command `tinymaix chips` lists them.')
    with progress() as say:
        graph = api.read(options.model)
        fits = fit(graph, chosen, optimize=options.optimize, toolchain=options.toolchain, limits=limits, progress=say)
    if options.json:
        _print_json([found.as_dict() for found in fits])
    else:
        report.show(*report.fit_parts(fits, graph))
    return 0


def _matching(word: str) -> list[Chip]:
    """The chips whose name, title, core or boards contain a word."""
    from tinymaix.chips import chips as known

    return [
        c for c in known().values() if word.lower() in f"{c.name} {c.title} {c.core.name} {' '.join(c.boards)}".lower()
    ]


def chips(options: argparse.Namespace) -> int:
    from tinymaix import report

    found = _matching(options.match)
    if options.json:
        _print_json([report.chip_dict(chip) for chip in found])
    else:
        report.show(report.chips_table(found))
    return 0 if found or not options.match else 2


def cache(options: argparse.Namespace) -> int:
    from tinymaix import trials

    figures: dict[str, object] = {"folder": str(trials.folder())}
    if options.clear:
        figures["removed"] = trials.clear()
    figures["entries"] = len(trials.entries())
    if options.json:
        _print_json(figures)
    else:
        left = f"{figures['entries']} entries in {figures['folder']}"
        print(f"{figures['removed']} entries removed; {left}" if options.clear else left)
    return 0


def demo(options: argparse.Namespace) -> int:
    from tinymaix.demo import run_demo

    with progress() as say:
        result = run_demo(options.digit, options.chip.split(","), say)
    if options.json:
        _print_json(result.as_dict())
    else:
        result.show()
    return 0 if result.exact else 1


if __name__ == "__main__":
    sys.exit(main())
