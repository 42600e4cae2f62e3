"""A report as one HTML page: text, tables and charts in SVG, light and dark, any width. No script, no other file.

page = Page("vww_96_int8").text("31 layers").table(["layer", "cycles"], rows).bars("cycles", {"CONV_2D": 1200})
Path("page.html").write_text(page.html())
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

Number = int | float
Point = tuple[float, float]

STYLE = """\
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --bar: #4a86c5; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 0 16px 48px; max-width: 1000px; }
h1 { font-size: 26px; } h2 { font-size: 20px; margin-top: 36px; } p, li { overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: 4px 10px; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
tbody tr:hover { background: var(--soft); }
svg { max-width: 100%; height: auto; font-family: inherit; }
.scroll svg { max-width: none; }
.bars { display: grid; grid-template-columns: minmax(60px, auto) 1fr auto; gap: 3px 10px; font-size: 14px; }
.bars > span:nth-child(3n + 1) { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 38vw; }
.bars i { display: block; height: 14px; margin-top: 3px; background: var(--bar); border-radius: 2px; min-width: 1px; }
figure { margin: 16px 0; } figcaption { font-weight: 600; margin-bottom: 6px; }
@media (max-width: 600px) {
.chart text { font-size: 20px; }
th, td { white-space: normal; padding: 4px 6px; }
.many thead { display: none; } .many, .many tbody, .many tr, .many td { display: flow-root; }
.many tr { border-bottom: 1px solid var(--line); padding: 6px 0; }
.many td { border: 0; padding: 1px 0; text-align: right; }
.many td { overflow-wrap: anywhere; min-height: 1em; }
.many td::before { content: attr(data-name); float: left; margin-right: 12px; opacity: 0.7; }
}
.legend { font-size: 14px; } .legend i { display: inline-block; width: 12px; height: 12px; margin: 0 4px 0 12px; }
"""
MANY = 4
"""A table of more columns is too wide for a phone: there it is a list, each row's cells below each other."""
COLOURS = ("#4a86c5", "#d9822b", "#4f9d5d", "#b5546b", "#8263b0", "#7a7a7a", "#3fa7a7", "#a68a3c")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 320, 100, 36, 12, 48
"""Of a chart and its margins, where the axes stand."""


@dataclass
class Page:
    """A page that grows from top to bottom; every method gives it back, so that calls can be chained."""

    title: str
    parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> Page:
        return self._add(f"<h2>{clean(text)}</h2>")

    def text(self, *paragraphs: str) -> Page:
        return self._add(*(f"<p>{clean(paragraph)}</p>" for paragraph in paragraphs))

    def points(self, sentences: Sequence[str]) -> Page:
        """A list of sentences; nothing where there are none."""
        items = "".join(f"<li>{clean(sentence)}</li>" for sentence in sentences)
        return self._add(f"<ul>{items}</ul>") if items else self

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> Page:
        """Numbers stand at the right, with commas; None is a dash."""
        numeric = [any(type(row[i]) in (int, float) for row in rows) for i in range(len(header))]
        classes = [' class="number"' if is_number else "" for is_number in numeric]
        head = "".join(f"<th{c}>{clean(name)}</th>" for c, name in zip(classes, header, strict=True))
        many = len(header) > MANY
        opened = [
            f'<td{c} data-name="{clean(n)}">' if many else f"<td{c}>" for c, n in zip(classes, header, strict=True)
        ]
        body = "".join(
            "<tr>" + "".join(f"{td}{clean(shown(v))}</td>" for td, v in zip(opened, row, strict=True)) + "</tr>\n"
            for row in rows
        )
        kind = ' class="many"' if many else ""
        inside = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>"
        return self._figure(caption, f'<div class="wide"><table{kind}>{inside}</table></div>')

    def bars(self, caption: str, values: Mapping[str, Number] | Sequence[tuple[str, Number]], unit: str = "") -> Page:
        """A bar for each name, as long as its value, which stands behind it."""
        pairs = list(values.items()) if isinstance(values, Mapping) else list(values)
        most = max((value for _, value in pairs), default=0) or 1
        rows = "".join(
            f'<span title="{clean(name)}">{clean(name)}</span>'
            f'<span><i style="width: {100 * max(value, 0) / most:.2f}%"></i></span>'
            f'<span class="number">{shown(value)}{clean(f" {unit}" if unit else "")}</span>\n'
            for name, value in pairs
        )
        return self._figure(caption, f'<div class="bars">{rows}</div>')

    def lines(
        self, caption: str, series: Mapping[str, Sequence[Point]], x: str = "", y: str = "", logarithmic: bool = False
    ) -> Page:
        """A line for each name through its points; a logarithmic chart has both axes so, and leaves out what is not
        above zero."""
        return self._chart(caption, series, x, y, logarithmic, joined=True)

    def scatter(
        self, caption: str, series: Mapping[str, Sequence[Point]], x: str = "", y: str = "", logarithmic: bool = False
    ) -> Page:
        """A dot for each point, as `lines`."""
        return self._chart(caption, series, x, y, logarithmic, joined=False)

    def svg(self, caption: str, picture: str, scroll: bool = False) -> Page:
        """A picture of one's own; ``scroll``: as large as it is, in a frame that scrolls sideways."""
        return self._figure(caption, f'<div class="wide{" scroll" if scroll else ""}">{picture}</div>')

    def html(self) -> str:
        """The page."""
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{clean(self.title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{clean(self.title)}</h1>\n"
            + "\n".join(self.parts)
            + "\n</body>\n</html>\n"
        )

    def _add(self, *parts: str) -> Page:
        self.parts += parts
        return self

    def _figure(self, caption: str, inside: str) -> Page:
        above = f"<figcaption>{clean(caption)}</figcaption>" if caption else ""
        return self._add(f"<figure>{above}{inside}</figure>")

    def _chart(
        self, caption: str, series: Mapping[str, Sequence[Point]], x: str, y: str, logarithmic: bool, joined: bool
    ) -> Page:
        usable = {name: [p for p in points if _usable(p, logarithmic)] for name, points in series.items()}
        every = [point for points in usable.values() for point in points]
        if not every:
            return self._figure(caption, "<p>no values</p>")
        across = Axis.over([p[0] for p in every], LEFT, WIDTH - RIGHT, logarithmic)
        up = Axis.over([p[1] for p in every], HEIGHT - BOTTOM, TOP, logarithmic)
        drawn = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'font-size="12" class="chart" role="img"><title>{clean(caption)}</title>',
            *_frame(across, up, x, y),
        ]
        for i, (name, points) in enumerate(usable.items()):
            colour = COLOURS[i % len(COLOURS)]
            places = [(across.at(px), up.at(py)) for px, py in points]
            if joined:
                path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
                drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            for (px, py), (vx, vy) in zip(places, points, strict=True):
                about = f"{name}: {shown(vx)}, {shown(vy)}"
                drawn.append(
                    f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{colour}" fill-opacity="0.8">'
                    f"<title>{clean(about)}</title></circle>"
                )
        legend = "".join(
            f'<i style="background: {COLOURS[i % len(COLOURS)]}"></i>{clean(name)}' for i, name in enumerate(usable)
        )
        drawn.append(f'</svg><div class="legend">{legend}</div>' if len(usable) > 1 else "</svg>")
        return self._figure(caption, "\n".join(drawn))


@dataclass(frozen=True)
class Axis:
    """From a value to its place between two pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    @staticmethod
    def over(values: Sequence[float], start: float, end: float, logarithmic: bool) -> Axis:
        """An axis that holds all values; a linear one begins at 0 where none is below."""
        low, high = min(values), max(values)
        if logarithmic:
            return Axis(
                10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high) + 1e-9), start, end, True
            )
        low = min(low, 0.0)
        step = _step(low, high if high > low else low + 1.0)
        return Axis(step * math.floor(low / step), step * math.ceil(high / step) or step, start, end, False)

    def at(self, value: float) -> float:
        if self.logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values along the axis."""
        if self.logarithmic:
            exponents = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
            return [10.0**e for e in exponents][:: -(-len(exponents) // 8)]
        step = _step(self.low, self.high)
        first = math.ceil(self.low / step)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _step(low: float, high: float) -> float:
    """A round distance, about a fifth of the way."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(m for m in (1, 2, 5, 10) if m * power >= rough)


def _usable(point: Point, logarithmic: bool) -> bool:
    return all(math.isfinite(value) and (value > 0 or not logarithmic) for value in point)


def _frame(across: Axis, up: Axis, x: str, y: str) -> list[str]:
    """Lines and words of both axes."""
    lines = []
    for value in across.ticks():
        at = across.at(value)
        lines.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#8886"/>')
        lines.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="currentColor">'
            f"{shown(value)}</text>"
        )
    for value in up.ticks():
        at = up.at(value)
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#8886"/>')
        lines.append(
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" fill="currentColor">{shown(value)}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle" fill="currentColor">{clean(x)}</text>'
        f'<text x="12" y="{HEIGHT / 2}" text-anchor="middle" fill="currentColor" '
        f'transform="rotate(-90 12 {HEIGHT / 2})">{clean(y)}</text>'
    )
    return lines


def shown(value: object) -> str:
    """A value for a reader: commas in whole numbers, four digits of others, a dash for None, yes and no."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clean(text: str) -> str:
    """Text for HTML and SVG: names come from files, and control characters may not stand there at all."""
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text))
