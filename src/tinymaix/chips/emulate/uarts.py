"""Where common chips print to: the data registers of their UARTs, and what a UART that is ready says.

Addresses and offsets are those of the vendors' reference manuals; a chip is told by how its name begins. A core without
a chip has the UART of the boards that emulators know: Arm's MPS2, and RISC-V's "virt".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """The registers of one kind of UART, as offsets."""

    data: int
    """Takes the byte to send."""
    ready: Mapping[int, int] = field(default_factory=dict)
    """Registers that say that there is room, and what they read as."""
    dma: tuple[int, int, int] | None = None
    """Registers that start a transfer from memory, and that hold its address and its length."""
    size: int = 0x400
    """Bytes of all its registers; the others read as what was written."""


LAYOUTS: Mapping[str, Layout] = {
    "stm32, first": Layout(0x04, {0x00: 0xC0}),  # SR: TXE, TC
    "stm32, second": Layout(0x28, {0x1C: 0x6000C0}),  # ISR: TXE, TC, TEACK, REACK
    "pl011": Layout(0x00, {0x18: 0x90}, size=0x1000),  # UARTFR: TXFE, RXFE
    "nrf": Layout(0x51C, {0x11C: 1, 0x120: 1, 0x158: 1}, (0x008, 0x544, 0x548), 0x1000),  # TXDRDY, ENDTX, TXSTOPPED
    "sercom": Layout(0x28, {0x18: 0x03}),  # INTFLAG: DRE, TXC
    "esp": Layout(0x00),
    "esp, usb": Layout(0x00, {0x04: 0x02}),  # EP1_CONF: room for data
    "lpuart": Layout(0x1C, {0x14: 0xC00000}),  # STAT: TDRE, TC
    "flexcomm": Layout(0xE20, {0xE04: 0x30}, size=0x1000),  # FIFOSTAT: TXEMPTY, TXNOTFULL
    "16550, words": Layout(0x00, {0x14: 0x60}),  # LSR: THRE, TEMT
    "sci": Layout(0x03, {0x04: 0x84}, size=0x20),  # SSR: TDRE, TEND
    "16550, bytes": Layout(0x00, {0x05: 0x60}, size=8),
    "sifive": Layout(0x00),
    "cmsdk": Layout(0x00),
    "sam": Layout(0x1C, {0x14: 0x202}),  # SR: TXRDY, TXEMPTY
    "scb": Layout(0x240),
    "eusci": Layout(0x0E, {0x1C: 0x02}),  # IFG: TXIFG
}

STM32_APB = (0x40004400, 0x40004800, 0x40004C00, 0x40005000, 0x40008000, 0x40013800)
"""USART2 to 5, LPUART1 and USART1 of most families."""
STM32_H = (0x40004400, 0x40004800, 0x40004C00, 0x40005000, 0x40011000, 0x40011400, 0x58000C00, 0x44002400)
SAM_D51 = (0x40003000, 0x40003400, 0x41012000, 0x41014000, 0x43000000, 0x43000400, 0x43000800, 0x43000C00)

CHIPS: Sequence[tuple[tuple[str, ...], str, Sequence[int]]] = (
    (("stm32f1", "stm32l1", "gd32", "ch32", "at32", "apm32f1"), "stm32, first", STM32_APB),
    (("stm32f2", "stm32f4"), "stm32, first", (0x40004400, 0x40004800, 0x40004C00, 0x40005000, 0x40011000, 0x40011400)),
    (("stm32f7", "stm32h7"), "stm32, second", STM32_H),
    (("stm32h5", "stm32u5", "stm32l5"), "stm32, second", (*STM32_APB, 0x44002400, 0x46002400)),
    (("stm32f0", "stm32f3", "stm32c", "stm32g", "stm32l0", "stm32l4", "stm32w"), "stm32, second", STM32_APB),
    (("apm32f0",), "stm32, second", STM32_APB),
    (("rp2040",), "pl011", (0x40034000, 0x40038000)),
    (("rp2350",), "pl011", (0x40070000, 0x40078000)),
    (("apollo3",), "pl011", (0x4001C000, 0x4001D000)),
    (("tm4c",), "pl011", tuple(0x4000C000 + 0x1000 * i for i in range(8))),
    (("nrf51", "nrf52"), "nrf", (0x40002000, 0x40028000)),
    (("nrf53", "nrf91"), "nrf", tuple(base + 0x1000 * i for base in (0x40008000, 0x50008000) for i in range(4))),
    (("samd21",), "sercom", tuple(0x42000800 + 0x400 * i for i in range(6))),
    (("samd51",), "sercom", SAM_D51),
    (("sam3x", "same70"), "sam", (0x400E0800, 0x40098000, 0x4009C000, 0x400A0000)),
    (("esp32",), "esp", (0x60000000, 0x60010000)),
    (("esp32c3",), "esp, usb", (0x60043000,)),
    (("esp32c6", "esp32h2"), "esp, usb", (0x6000F000,)),
    (("mimxrt1",), "lpuart", tuple(0x40184000 + 0x4000 * i for i in range(8))),
    (("lpc55",), "flexcomm", tuple(0x40086000 + 0x1000 * i for i in range(5))),
    (("lpc17",), "16550, words", (0x4000C000, 0x40010000, 0x40098000, 0x4009C000)),
    (("lpc43",), "16550, words", (0x40081000, 0x40082000, 0x400C1000, 0x400C2000)),
    (("ra4m1",), "sci", tuple(0x40070000 + 0x20 * i for i in range(10))),
    (("ra6", "ra8"), "sci", tuple(base + 0x100 * i for base in (0x40118000, 0x40358000) for i in range(10))),
    (("fe310", "e31"), "sifive", (0x10013000, 0x10023000)),
    (("rv32", "rv64"), "16550, bytes", (0x10000000,)),
    (("cortex-m",), "cmsdk", (0x40004000, 0x40005000)),
    (("k210",), "sifive", (0x38000000,)),
    (("psoc6",), "scb", tuple(0x40600000 + 0x10000 * i for i in range(8))),
    (("msp432",), "eusci", tuple(0x40001000 + 0x400 * i for i in range(4))),
)


def uarts_of(chip: str) -> Iterator[tuple[int, Layout]]:
    """Base address and registers of each UART of a chip, by the chip's name."""
    for starts, layout, bases in CHIPS:
        if chip.startswith(starts):
            for base in bases:
                yield base, LAYOUTS[layout]
