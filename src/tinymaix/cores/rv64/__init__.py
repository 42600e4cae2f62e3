"""RV64: 64-bit RISC-V cores of microcontroller-class chips."""

from tinymaix.cores.core import Core

CORES = (
    Core(
        name="rv64gc",
        family="rv64",
        title="RV64GC",
        clang=("-target", "riscv64-freestanding", "-mcpu=generic_rv64+m+a+f+d+c", "-mabi=lp64d"),
        gcc_prefix="riscv64-unknown-elf-",
        gcc=("-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany"),
        emulator="unicorn",
        model="UC_CPU_RISCV64_ANY",
        startup=("riscv.S", "memory.c"),
        bits=64,
        pointer_bytes=8,
        features=frozenset({"mul", "mull", "div", "fpu"}),
    ),
)
