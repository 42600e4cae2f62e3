"""One HTML page with plots of what bench/farm.py has found.

python bench/farm_page.py farm.sqlite -o farm.html
python bench/farm_page.py farm.sqlite -o farm.html --optimize speed
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from tinymaix.page import Page, Point
from tinymaix.write.atomic import write_atomic

FIGURES = (
    "name, chip, optimize, tune, macs, instructions, cycles, milliseconds, millijoules, code_bytes, weight_bytes, "
    "arena_bytes, stack_bytes, bit_exact, fits"
)
COLUMNS = ["model", "chip", "optimize", "tune", *FIGURES.split(", ")[4:]]
Row = dict[str, str | int | float | None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path, metavar="FILE.sqlite")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PAGE.html")
    parser.add_argument("--optimize", help="only what was compiled so")
    options = parser.parse_args()
    if not options.database.is_file():
        parser.error(f"no such file: {options.database}")
    with closing(sqlite3.connect(options.database)) as database:
        database.row_factory = sqlite3.Row
        try:
            every = [dict(row) for row in database.execute("select *, rowid from trials order by rowid")]
        except sqlite3.DatabaseError as error:
            parser.error(f"{options.database} is no database of trials: {error}")
    rows = [row for row in newest(every) if options.optimize in (None, row["optimize"])]
    write_atomic(options.output, farm_page(rows).html())
    print(f"{options.output}: {len(rows)} trials")
    return 0


def newest(rows: list[Row]) -> list[Row]:
    """Of trials that differ in nothing but the package's code, the last."""
    last = {(row["model"], row["chip"], row["optimize"], row["toolchain"], row["tune"]): row for row in rows}
    return list(last.values())


def farm_page(rows: list[Row]) -> Page:
    done = [row for row in rows if row["error"] is None]
    failed = [row for row in rows if row["error"] is not None]
    wrong = [row for row in done if not row["bit_exact"]]
    page = Page("Models on chips")
    page.text(f"{len(done)} trials, {len(wrong)} of them not bit-exact; {len(failed)} that could not be run.")
    page.scatter("cycles by MACs", by_chip(done, "macs", "cycles"), "MACs", "cycles", logarithmic=True)
    page.scatter("milliseconds and RAM", by_chip(done, "milliseconds", "arena_bytes"), "ms", "bytes", logarithmic=True)
    page.scatter(
        "milliseconds and millijoules", by_chip(done, "milliseconds", "millijoules"), "ms", "mJ", logarithmic=True
    )
    page.heading("What it costs to be small").scatter(
        "code and cycles per MAC of each model", by_optimize(done), "bytes of code", "cycles per MAC"
    )
    for name in dict.fromkeys(str(row["name"]) for row in done):
        bars = [
            (f"{row['chip']}, {row['optimize']}", row["milliseconds"])
            for row in done
            if row["name"] == name and isinstance(row["milliseconds"], float)
        ]
        if bars:
            page.bars(f"{name}: milliseconds", sorted(bars, key=lambda bar: bar[1]), "ms")
    page.heading("All figures")
    page.table(COLUMNS, [[row[key] for key in FIGURES.split(", ")] for row in done])
    if failed:
        page.heading("What could not be run")
        page.table(
            ["model", "chip", "optimize", "why"], [[r["name"], r["chip"], r["optimize"], r["error"]] for r in failed]
        )
    return page


def by_chip(rows: list[Row], x: str, y: str) -> dict[str, list[Point]]:
    """The points of each chip that has both figures."""
    points: dict[str, list[Point]] = defaultdict(list)
    for row in rows:
        if isinstance(row[x], int | float) and isinstance(row[y], int | float):
            points[str(row["chip"])].append((float(row[x] or 0), float(row[y] or 0)))
    return points


def by_optimize(rows: list[Row]) -> dict[str, list[Point]]:
    points: dict[str, list[Point]] = defaultdict(list)
    for row in rows:
        macs, cycles, code = row["macs"], row["cycles"], row["code_bytes"]
        if isinstance(macs, int) and isinstance(cycles, int) and isinstance(code, int) and macs:
            points[str(row["optimize"])].append((float(code), cycles / macs))
    return points


if __name__ == "__main__":
    sys.exit(main())
