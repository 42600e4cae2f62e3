"""The depthwise kernels' inner function in assembly: two columns of one or two output rows a turn, channel by channel.

A turn is straight code over the products of `depthwise_taps`: loads come in bursts, since loads in a row overlap, and
no sum is set to its first value by an instruction of its own. Few weights stay in registers, many are widened to the
stack. Turns follow each other along a row, or down a pair of columns where that is longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinymaix.cores.armv7em.columns import ASSEMBLY, NAKED, assembly
from tinymaix.cores.armv7em.depthwise_taps import Product, Tile
from tinymaix.cores.armv7em.requantize import FINISHED_S8, twin_finish
from tinymaix.cores.exact_high import HighRequant
from tinymaix.ops.emit import Kernel

POOL = ("r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr")
"""r0 walks the widened rows, r1 the output."""
COLUMNS = 2
NEAR = 4095
NEAR_PAIR = 1020
"""The largest literal offset of a load or store, and of one of two words."""

START, CONSTANTS, STOP, INNER, OUTER, JUMP, LAST, CHANNEL, PLANE, OUT, COUNT, LONE, WEIGHTS = (0, 4, *range(16, 60, 4))
"""Where things stand on the stack; CHANNEL to COUNT as the first four arguments come.

The inner loop of turns moves r0 by INNER bytes to STOP; the outer one moves STOP by OUTER bytes to LAST, r1 by JUMP.
"""

Operand = tuple[str, int, int]
"""("x", row, pair) of the widened rows, ("w", word, 0) of weights on the stack."""


@dataclass(frozen=True)
class Distances:
    """Bytes between neighbouring outputs of a row and between rows, where a kernel serves only these."""

    step: int
    down: int


@dataclass(frozen=True)
class Dot:
    """What a kernel is made for."""

    tile: Tile
    requant: HighRequant
    distances: Distances | None
    across: bool  # whether the inner loop goes along a row rather than down a pair of columns
    odd: bool  # whether rows of an odd number of outputs occur, whose last column takes code of its own

    @property
    def resident(self) -> bool:
        """Whether all weights stay in registers beside the sums and two words of pixels."""
        return len(self.tile.words) + COLUMNS * self.tile.turn + 2 <= len(POOL)

    @property
    def frame(self) -> int:
        """Bytes of the stack frame, a multiple of eight."""
        return -(-(WEIGHTS + (0 if self.resident else 8 * self.tile.packed)) // 8) * 8

    def argument(self, index: int) -> int:
        """Where an argument behind the first four stands: plane_step, rows, out_w, step, down, center."""
        return self.frame + 36 + 4 * index

    @property
    def weights(self) -> tuple[str, ...]:
        return POOL[len(POOL) - len(self.tile.words) :] if self.resident else ()

    @property
    def words(self) -> int:
        """Words of a channel in flash: its weights, the first value of its sums, what finishing them takes."""
        return self.tile.packed + 1 + int(self.requant.constants.shape[1])

    @property
    def free(self) -> tuple[str, ...]:
        """Registers that hold no weights."""
        return POOL[: len(POOL) - len(self.weights)]

    @property
    def right_bytes(self) -> int:
        """From a pair of columns to the next."""
        return self.tile.pitch * self.tile.stride[1] * COLUMNS // 2

    @property
    def down_bytes(self) -> int:
        """From the widened rows of a turn to those of the next one below."""
        return self.tile.turn * self.tile.stride[0] * self.tile.row_bytes

    @property
    def step_bytes(self) -> int:
        """By which the inner loop moves r0."""
        return self.right_bytes if self.across else self.down_bytes

    @property
    def far(self) -> bool:
        """Whether an offset does not fit into an instruction."""
        products = self.tile.products(COLUMNS)
        reach = max(p.pair for p in products) * self.tile.pitch + max(p.row for p in products) * self.tile.row_bytes
        out = self.distances.down * self.tile.turn + self.distances.step if self.distances else 0
        return max(reach, self.right_bytes, out) > NEAR or self.argument(5) > NEAR_PAIR

    @property
    def name(self) -> str:
        """depthwise_dot_3x3_s1_10, depthwise_dot_5x5_s2x1_signed_12_64_320, ..."""
        tile = self.tile
        parts = ["depthwise_dot", f"{tile.kernel[0]}x{tile.kernel[1]}", f"s{_pair(tile.stride)}"]
        parts += [f"d{_pair(tile.dilation)}"] * (tile.dilation != (1, 1)) + [f"r{tile.rows}"]
        parts += [f"c{tile.lanes}"] * (tile.lanes != 4) + ["single"] * (tile.turn == 1) + ["down"] * (not self.across)
        parts += ["even"] * (not self.odd) + ["signed"] * self.requant.signed + ["varied"] * self.requant.varied
        parts += [str(self.requant.shift)]
        parts += [f"{self.distances.step}_{self.distances.down}"] if self.distances else []
        return "_".join(parts)


def _pair(sizes: tuple[int, int]) -> str:
    return str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]}x{sizes[1]}"


def instructions(dot: Dot) -> list[str]:
    """The function's assembly."""
    a, b, c, d = dot.free[:4]
    lines = [*_begin(dot), "3:", *_channel(dot)]
    lines += [f"ldr {a}, [sp, #{INNER}]", f"ldr {b}, [sp, #{OUTER}]", f"add {a}, r0, {a}", f"str {a}, [sp, #{STOP}]"]
    lines += [f"add {c}, {a}, {b}", f"str {c}, [sp, #{LAST}]"]
    lines += [] if dot.across else [f"cmp {b}, #0", "beq.w 5f"]
    lines += [".balign 4", "1:", *_turn(dot, COLUMNS), "bne.w 1b"]
    lone = [f"ldr {a}, [sp, #{LONE}]", f"cmp {a}, #0", "beq.w 5f"] if dot.odd else []
    if dot.odd and dot.across:
        lines += [*lone, *_turn(dot, 1), "5:"]
    if not dot.across or dot.tile.rows > dot.tile.turn:
        lines += [f"ldr {b}, [sp, #{INNER}]", f"ldr {c}, [sp, #{JUMP}]", f"ldr {d}, [sp, #{LAST}]"]
        lines += [f"ldr {a}, [sp, #{STOP}]", f"add r1, r1, {c}"]
        lines += [f"add {a}, {a}, #{dot.down_bytes if dot.across else dot.right_bytes}"]
        lines += [f"str {a}, [sp, #{STOP}]", f"sub r0, {a}, {b}", f"cmp {a}, {d}", "bne.w 1b"]
    if not dot.across:
        lines += ["5:"]
    if dot.odd and not dot.across:
        lines += [*lone, ".balign 4", "2:", *_turn(dot, 1), "bne.w 2b", "5:"]
    lines += [f"ldr {a}, [sp, #{COUNT}]", f"subs {a}, {a}, #1", f"str {a}, [sp, #{COUNT}]", "bne.w 3b"]
    return [*lines, f"add sp, #{dot.frame}", "pop {r4-r11, pc}"]


def _begin(dot: Dot) -> list[str]:
    """The arguments to what the loops need."""
    return [
        "push {r4-r11, lr}",
        f"sub sp, #{dot.frame}",
        f"add r4, sp, #{CHANNEL}",
        "stm r4, {r0, r1, r2, r3}",
        f"ldrd r4, r5, [sp, #{dot.argument(1)}]",
        f"ldrd r6, r7, [sp, #{dot.argument(3)}]",
        f"mov r8, #{dot.tile.stride[0] * dot.tile.row_bytes}",
        "mul r8, r4, r8",
        "lsr r10, r5, #1",
        f"movw r11, #{dot.right_bytes}",
        "mul r11, r10, r11",
        f"strd {'r11, r8' if dot.across else 'r8, r11'}, [sp, #{INNER}]",
        *_jump(dot),
        f"str r9, [sp, #{JUMP}]",
        "and r5, r5, #1",
        f"str r5, [sp, #{LONE}]",
    ]


def _jump(dot: Dot) -> list[str]:
    """r9 = what r1 lacks at the end of the inner loop: r4 are rows, r10 pairs of columns, r6 step, r7 down."""
    if dot.across:
        return ["mul r9, r10, r6", f"mov r12, #{dot.tile.turn}", "mul r12, r12, r7", "sub r9, r12, r9, lsl #1"]
    return ["mul r9, r4, r7", "rsb r9, r9, r6, lsl #1"]


def _channel(dot: Dot) -> list[str]:
    """The next channel's weights and constants; r0 and r1 to where its turns begin."""
    a, b, c, d = dot.free[:4]
    lines = [f"ldr {a}, [sp, #{CHANNEL}]", f"mov {b}, #0xFF00FF00"]
    if dot.resident:
        targets = [dot.weights[index : index + 2] for index in range(0, len(dot.weights), 2)]
        raw = [pair[-1] for pair in targets]
        lines += [f"ldm {a}!, {{{', '.join(raw)}}}" if len(raw) > 1 else f"ldr {raw[0]}, [{a}], #4"]
        for pair in targets:
            lines += [f"and {pair[0]}, {b}, {pair[-1]}, lsl #8"]
            lines += [f"and {pair[1]}, {b}, {pair[1]}"] if len(pair) > 1 else []
    else:
        e = dot.free[4]
        lines += [f"add {d}, sp, #{WEIGHTS}", f"add {e}, {d}, #{8 * dot.tile.packed}", "6:", f"ldr r1, [{a}], #4"]
        lines += [f"and {c}, {b}, r1, lsl #8", f"and r1, {b}, r1", f"strd {c}, r1, [{d}], #8"]
        lines += [f"cmp {d}, {e}", "bne.w 6b"]
    constants = ", ".join(dot.free[1 : 2 + dot.requant.constants.shape[1]])
    lines += [f"ldm {a}!, {{{constants}}}", f"stm sp, {{{constants}}}"]
    lines += [f"ldrd r0, r1, [sp, #{PLANE}]", f"ldr {b}, [sp, #{dot.argument(0)}]", f"str {a}, [sp, #{CHANNEL}]"]
    return [*lines, f"add {b}, r0, {b}", f"add {c}, r1, #1", f"strd {b}, {c}, [sp, #{PLANE}]"]


def _turn(dot: Dot, columns: int) -> list[str]:
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
        lines += [f"ldr {b}, {center}"] if requant.signed else []
        lines += [f"add {total}, {total}, {b}" for total in sums if requant.signed]
    elif requant.signed:
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


def dot_kernel(dot: Dot) -> Kernel:
    """The C function: the assembly and its portable twin."""
    tile = dot.tile
    prototype = f"""\
void {dot.name}(
    const int32_t *channel, const uint32_t *plane, int8_t *y, int count, int plane_step, int rows, int out_w, int step,
    int down, int32_t center)"""
    taps = [(row, column) for row in range(tile.kernel[0]) for column in range(tile.kernel[1])]
    table = ", ".join(str(tile.byte_of(tap)) for tap in taps)
    return Kernel(
        dot.name,
        f"""\
/* ``count`` channels' taps with their widened rows, ``plane_step`` bytes apart: ``rows`` by ``out_w`` outputs of each,
 * ``step`` bytes between columns, ``down`` between rows. */
#if defined(__ARM_FEATURE_DSP)
{NAKED} {prototype}
{{
    __asm__ volatile(
{assembly(instructions(dot))});
}}
#else
static {prototype}
{{
    static const uint8_t byte_of[{len(taps)}] = {{{table}}};
    for (; count > 0; count--, channel += {dot.words}, plane += plane_step / 4, y++)
        for (int i = 0; i < rows * out_w; i++) {{
            const int32_t *constant = channel + {tile.packed + 1};
            int oy = i / out_w, ox = i % out_w;
            uint32_t sum = (uint32_t)channel[{tile.packed}];
            for (int tap = 0; tap < {len(taps)}; tap++) {{
                int row = oy * {tile.stride[0]} + tap / {tile.kernel[1]} * {tile.dilation[0]};
                int px = ox * {tile.stride[1]} + tap % {tile.kernel[1]} * {tile.dilation[1]}, at = byte_of[tap];
                uint32_t pair = plane[{tile.lanes * tile.in_rows} * (px / 2) + {tile.lanes} * row];
                int32_t weight = (int8_t)((uint32_t)channel[at / 4] >> at % 4 * 8);
                sum += (uint32_t)((int32_t)(int16_t)(px % 2 ? pair >> 16 : pair) * weight * 256);
            }}
            y[oy * down + ox * step] = {twin_finish(dot.requant)};
        }}
}}
#endif
""",
        (ASSEMBLY, FINISHED_S8),
    )
