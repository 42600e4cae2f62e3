"""A turn of a depthwise kernel in assembly: two columns, or a lone one, of one or two output rows, without a loop.

It is straight code over the products of `depthwise_taps`: loads come in bursts, since loads in a row overlap, and no
sum is set to its first value by an instruction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinymaix.cores.armv7em.depthwise_spec import COLUMNS, CONSTANTS, START, STOP, WEIGHTS, Dot
from tinymaix.cores.armv7em.depthwise_taps import Product

Operand = tuple[str, int, int]
"""("x", row, pair) of the widened rows, ("w", word, 0) of weights on the stack."""


def turn(dot: Dot, columns: int) -> list[str]:
    """The outputs of a turn, up to the comparison that says whether it was the last one of its columns."""
    outputs = [(row, column) for row in range(dot.tile.turn) for column in range(columns)]
    sums = dict(zip(outputs, dot.free, strict=False))
    spare = dot.free[len(outputs) :]
    lines = _sums(dot, columns, sums, spare)
    return [*lines, *_finish(dot, list(sums.values()), spare), *_store(dot, columns, sums, spare)]


def _sums(dot: Dot, columns: int, sums: dict[tuple[int, int], str], spare: Sequence[str]) -> list[str]:
    """All products of a turn; r0 moves on to the next one."""
    products = dot.tile.products(columns)
    following: Operand = ("x", dot.down_bytes // dot.tile.row_bytes, 0)
    if dot.across:
        following = ("x", 0, dot.tile.stride[1])
    if dot.resident:  # each word of pixels is read once; the row with that with which the next turn begins comes last
        products.sort(key=lambda p: (p.row == following[1], p.row, p.pair))
    bursts = _bursts(dot, products, spare)
    order = [product.output for _, group in bursts for product, _, _ in group]
    last_begun = sorted(sums, key=order.index)[-1]
    start, begun, lines, moved = sums[last_begun], set(), [f"ldr {sums[last_begun]}, [sp, #{START}]"], False
    for number, (loads, group) in enumerate(bursts):
        final = number == len(bursts) - 1
        for operand, register in sorted(loads, key=lambda load: (load[0] == following, load[0])):
            moved = final and operand == following and dot.step_bytes < 256
            kind, index, pair = operand
            offset = index * dot.tile.row_bytes + pair * dot.tile.pitch
            place = f"[sp, #{WEIGHTS + 4 * index}]" if kind == "w" else f"[r0, #{offset}]" + "!" * moved
            lines.append(f"ldr {register}, {place}")
        for product, x, w in group:
            total = sums[product.output]
            lines.append(product.line(total, x, w, total if product.output in begun else start))
            begun.add(product.output)
    return lines if moved else [*lines, f"add r0, r0, #{dot.step_bytes}"]


def _bursts(
    dot: Dot, products: Sequence[Product], spare: Sequence[str]
) -> list[tuple[list[tuple[Operand, str]], list[tuple[Product, str, str]]]]:
    """Loads (operand, register) and then the products they serve (with registers of pixels and weights), repeatedly.

    As many loads come together as registers allow; what is needed soonest again is kept.
    """
    wanted: list[list[Operand]] = []
    for p in products:
        wanted.append([("x", p.row, p.pair), *([] if dot.resident else [("w", p.word, 0)])])
    held: dict[Operand, str] = {}
    bursts = []
    at = 0
    while at < len(products):
        needed: dict[Operand, None] = {}
        end = at
        while end < len(products) and len({**needed, **dict.fromkeys(wanted[end])}) <= len(spare):
            needed |= dict.fromkeys(wanted[end])
            end += 1
        later = [operand for operands in wanted[end:] for operand in operands]
        new = [operand for operand in needed if operand not in held]
        others = sorted((operand for operand in held if operand not in needed and operand in later), key=later.index)
        kept = others[: len(spare) - len(needed)]
        held = {operand: held[operand] for operand in held if operand in needed or operand in kept}
        open_registers = [register for register in spare if register not in held.values()]
        loads = list(zip(new, open_registers, strict=False))
        held |= dict(loads)
        group = []
        for product, operands in zip(products[at:end], wanted[at:end], strict=True):
            group.append((product, held[operands[0]], dot.weights[product.word] if dot.resident else held[operands[1]]))
        bursts.append((loads, group))
        at = end
    return bursts


def _finish(dot: Dot, sums: Sequence[str], spare: Sequence[str]) -> list[str]:
    """The sums to int8, in place; the flags say whether more turns follow."""
    a, b = spare[:2]
    requant = dot.requant
    multiplier, sign, right = (f"[sp, #{CONSTANTS + offset}]" for offset in (0, 4, 4 + 4 * requant.signed))
    center = f"[sp, #{dot.argument(5)}]"
    lines = [f"ldr {a}, {sign if requant.signed else multiplier}", f"ldr {b}, [sp, #{STOP}]", f"cmp r0, {b}"]
    if requant.signed:
        for total in sums:
            lines += [f"and {b}, {a}, {total}, asr #31", f"sub {total}, {total}, {b}"]
        lines += [f"ldr {a}, {multiplier}"]
    if requant.varied:
        lines += [f"ldr {b}, {right}"]
        for total in sums:
            lines += [f"smmul {total}, {total}, {a}", f"asr {total}, {total}, {b}"]
        lines += [f"ldr {b}, {center}"] if requant.centered else []
        lines += [f"add {total}, {total}, {b}" for total in sums if requant.centered]
    elif requant.centered:
        lines += [f"ldr {b}, {center}", *(f"smmla {total}, {total}, {a}, {b}" for total in sums)]
    else:
        lines += [f"smmul {total}, {total}, {a}" for total in sums]
    return [*lines, *(f"ssat {total}, #8, {total}, asr #{requant.shift}" for total in sums)]


def _store(dot: Dot, columns: int, sums: dict[tuple[int, int], str], spare: Sequence[str]) -> list[str]:
    """r1 moves on to the next turn; not behind a lone column at the end of a row."""
    rows = range(dot.tile.turn)
    ends = dot.across and columns == 1
    if dot.distances:
        step, down = dot.distances.step, dot.distances.down
        lines = [f"strb {total}, [r1, #{row * down + column * step}]" for (row, column), total in sums.items()]
        return lines if ends else [*lines, f"add r1, r1, #{COLUMNS * step if dot.across else dot.tile.turn * down}"]
    (step_in, down_in), at, lines = spare[:2], "r1", []
    lines += [f"ldr {step_in}, [sp, #{dot.argument(3)}]"] if columns > 1 else []
    lines += [] if dot.across and not rows[-1] else [f"ldr {down_in}, [sp, #{dot.argument(4)}]"]
    for row in rows:
        last = row == rows[-1]
        below = "r1" if last else sums[row, 0]  # which has been stored by then
        right = [f"strb {sums[row, 1]}, [{at}, {step_in}]"] if columns > 1 else []
        move = [] if last and dot.across else [f"add {below}, {at}, {down_in}"]
        lines += [f"strb {sums[row, 0]}, [{at}]", *(right + move if below == at else move + right)]
        at = below
    return lines if ends or not dot.across else [*lines, f"add r1, r1, {step_in}, lsl #1"]
