"""RV32: 32-bit RISC-V microcontroller cores, named by their instruction set."""

from tinymaix.cores.core import Core


def _core(isa: str, abi: str) -> Core:
    letters = isa.removeprefix("rv32").removeprefix("i")
    features = {"mul", "mull", "div"} if "m" in letters else set()
    features |= {"fpu"} if "f" in letters else set()
    return Core(
        name=isa,
        family="rv32",
        title=isa.upper(),
        clang=("-target", "riscv32-freestanding", f"-mcpu=generic_rv32+{'+'.join(letters)}", f"-mabi={abi}"),
        gcc_prefix="riscv64-unknown-elf-",
        gcc=(f"-march={isa}", f"-mabi={abi}"),
        emulator="unicorn",
        model="UC_CPU_RISCV32_ANY",
        startup=("riscv.S", "memory.c"),
        features=frozenset(features),
    )


CORES = (
    _core("rv32ec", "ilp32e"),
    _core("rv32im", "ilp32"),
    _core("rv32imc", "ilp32"),
    _core("rv32imac", "ilp32"),
    _core("rv32imafc", "ilp32f"),
)
