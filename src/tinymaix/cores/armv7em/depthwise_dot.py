"""The depthwise kernels' inner function in assembly: turn after turn, channel after channel.

Few weights stay in registers, many are widened to the stack. Turns follow each other along a row, or down a pair of
columns where that is longer.
"""

from __future__ import annotations

from tinymaix.cores.armv7em.assembly import ASSEMBLY, NAKED, assembly
from tinymaix.cores.armv7em.depthwise_spec import (
    CHANNEL,
    COLUMNS,
    COUNT,
    INNER,
    JUMP,
    LAST,
    LONE,
    OUTER,
    PLANE,
    STOP,
    WEIGHTS,
    Dot,
)
from tinymaix.cores.armv7em.depthwise_turn import turn
from tinymaix.cores.armv7em.requantize import twin_finish
from tinymaix.cores.finish import FINISHED_S8
from tinymaix.ops.emit import Kernel


def instructions(dot: Dot) -> list[str]:
    """The function's assembly."""
    a, b, c, d = dot.free[:4]
    lines = [*_begin(dot), "3:", *_channel(dot)]
    lines += [f"ldr {a}, [sp, #{INNER}]", f"ldr {b}, [sp, #{OUTER}]", f"add {a}, r0, {a}", f"str {a}, [sp, #{STOP}]"]
    lines += [f"add {c}, {a}, {b}", f"str {c}, [sp, #{LAST}]"]
    lines += [] if dot.across else [f"cmp {b}, #0", "beq.w 5f"]
    lines += [".balign 4", "1:", *turn(dot, COLUMNS), "bne.w 1b"]
    lone = [f"ldr {a}, [sp, #{LONE}]", f"cmp {a}, #0", "beq.w 5f"] if dot.odd else []
    if dot.odd and dot.across:
        lines += [*lone, *turn(dot, 1), "5:"]
    if not dot.across or dot.tile.rows > dot.tile.turn:
        lines += [f"ldr {b}, [sp, #{INNER}]", f"ldr {c}, [sp, #{JUMP}]", f"ldr {d}, [sp, #{LAST}]"]
        lines += [f"ldr {a}, [sp, #{STOP}]", f"add r1, r1, {c}"]
        lines += [f"add {a}, {a}, #{dot.down_bytes if dot.across else dot.right_bytes}"]
        lines += [f"str {a}, [sp, #{STOP}]", f"sub r0, {a}, {b}", f"cmp {a}, {d}", "bne.w 1b"]
    if not dot.across:
        lines += ["5:"]
    if dot.odd and not dot.across:
        lines += [*lone, ".balign 4", "2:", *turn(dot, 1), "bne.w 2b", "5:"]
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
