"""tinymaix quantize --auto: try what may help, show all of it, and write the cheapest that loses little."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tinymaix.commands.shared import positive, print_json, progress_bar

if TYPE_CHECKING:
    from tinymaix.graph import Graph
    from tinymaix.page import Page
    from tinymaix.quantize.auto import AutoResult
    from tinymaix.quantize.samples import Samples
    from tinymaix.quantize.scheme import Scheme


def add_auto_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--auto", action="store_true", help="try schemes and take the cheapest that loses little")
    command.add_argument("--chip", help="with --auto: the chip whose flash, RAM and cycles count")
    command.add_argument("--max-flash", type=int, metavar="BYTES", help="with --auto: flash at most")
    command.add_argument("--max-ram", type=int, metavar="BYTES", help="with --auto: RAM at most")
    command.add_argument("--max-cycles", type=int, metavar="N", help="with --auto and --chip: cycles at most")
    command.add_argument(
        "--goal", type=positive, default=1.0, metavar="POINTS", help="with --auto: points to lose at most (default: 1)"
    )
    command.add_argument("--html", metavar="FILE", type=Path, help="with --auto: write all trials as a page, too")


def search(options: argparse.Namespace, graph: Graph, samples: Samples, base: Scheme) -> AutoResult:
    """The trials within the limits that the options give.

    Raises:
        ModelError: nothing keeps to the limits, or cycles are limited on no chip.
    """
    from tinymaix.costs import measure
    from tinymaix.graph import ModelError
    from tinymaix.quantize.auto import Limits, auto

    if options.max_cycles is not None and options.chip is None:
        raise ModelError("--max-cycles needs a --chip to count them on")
    limits = Limits(options.max_flash, options.max_ram, options.max_cycles, options.goal)
    with progress_bar() as say:
        return auto(graph, samples, limits, partial(measure, chip=options.chip), say, base=base)


def show(options: argparse.Namespace, graph: Graph, result: AutoResult) -> None:
    """Print the trials as the options say, and write the page that they ask for."""
    from tinymaix import report
    from tinymaix.write.atomic import write_atomic

    if options.html is not None:
        write_atomic(options.html, page(graph, result).html())
    if options.json:
        print_json({"model": graph.name, "file": str(options.output), "chip": options.chip, **result.as_dict()})
        return
    columns, rows = table(result)
    report.show(report.table(f"{graph.name}: {len(rows)} schemes", columns, rows))
    print("* nothing else is better in accuracy, cycles, flash and RAM at once; > is what was written")
    print(f"{options.output}: {words(result.best.scheme)}; {result.best.agreement.text()}")
    for note in [*result.notes, *result.best.graph.notes]:
        print(f"note: {note}")


def table(result: AutoResult) -> tuple[list[str], list[list[object]]]:
    """Header and a row for each trial."""
    front = {id(t) for t in result.front}
    labels = result.best.agreement.accuracy is not None
    header = ["scheme", "accuracy" if labels else "agrees", "loses", "SQNR dB", "cycles", "flash", "RAM", ""]
    rows: list[list[object]] = []
    for t in result.trials:
        share = t.agreement.accuracy if labels else t.agreement.top1
        mark = ("*" if id(t) in front else "") + (">" if t is result.best else "") + ("" if t.fits else " too large")
        rows.append([
            words(t.scheme), None if share is None else f"{share:.2%}", f"{t.loss:.2f}", f"{t.agreement.sqnr:.1f}",
            t.cost.cycles, t.cost.flash, t.cost.ram, mark,
        ])  # fmt: skip
    return header, rows


def words(scheme: Scheme) -> str:
    """The scheme in words, with the number of layers in place of many names."""
    kinds = Counter(scheme.layers.values())
    if sum(kinds.values()) <= 2:
        return scheme.describe()
    return ", ".join([replace(scheme, layers={}).describe(), *(f"{n} layers {kind}" for kind, n in kinds.items())])


def page(graph: Graph, result: AutoResult) -> Page:
    """All trials as a page: the table, and what is lost against each cost."""
    from tinymaix.page import Page

    header, rows = table(result)
    page = Page(f"{graph.name}: {len(rows)} ways to quantize it")
    page.text(f"Taken: {words(result.best.scheme)}; {result.best.agreement.text()}.").points(result.notes)
    page.table(header, rows, "* is on the front; > was taken")
    front = {id(t) for t in result.front}
    words_of = {"cycles": "cycles", "flash": "flash, bytes", "ram": "RAM, bytes"}
    for name in words_of:
        points: dict[str, list[tuple[float, float]]] = {"others": [], "on the front": [], "taken": []}
        for t in result.trials:
            cost = getattr(t.cost, name)
            if cost is not None:
                group = "taken" if t is result.best else "on the front" if id(t) in front else "others"
                points[group].append((float(cost), max(t.loss, 0.0)))
        if any(points.values()):
            page.scatter(f"points lost against {words_of[name]}", points, words_of[name], "points lost")
    return page
