"""RV32: 32-bit RISC-V microcontroller cores, named by their instruction set, or by their design where its cycles are
known (cycles.py)."""

from tinymaix.cores.core import Core


def _core(isa: str, abi: str, name: str = "", title: str = "") -> Core:
    letters = isa.removeprefix("rv32").removeprefix("i")
    features = {"mul", "mull", "div"} if "m" in letters else set()
    features |= {"fpu"} if "f" in letters else set()
    return Core(
        name=name or isa,
        family="rv32",
        title=title or isa.upper(),
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
    _core("rv32ec", "ilp32e", "qingke-v2", "WCH QingKe V2 (RV32EC)"),
    _core("rv32imac", "ilp32", "qingke-v3", "WCH QingKe V3 (RV32IMAC)"),
    _core("rv32imac", "ilp32", "qingke-v4", "WCH QingKe V4 (RV32IMAC)"),
    _core("rv32imafc", "ilp32f", "qingke-v4f", "WCH QingKe V4F (RV32IMAFC)"),
    _core("rv32imac", "ilp32", "bumblebee", "Nuclei Bumblebee N200 (RV32IMAC)"),
    _core("rv32imafc", "ilp32f", "e907", "T-Head E907 (RV32IMAFC)"),
    _core("rv32imc", "ilp32", "espressif-c3", "Espressif RV32IMC (ESP32-C2, C3)"),
    _core("rv32imac", "ilp32", "espressif-c6", "Espressif RV32IMAC (ESP32-C6, H2)"),
    _core("rv32imac", "ilp32", "hazard3", "Hazard3 (RV32IMAC)"),
    _core("rv32imc", "ilp32", "ibex", "lowRISC Ibex (RV32IMC)"),
    _core("rv32im", "ilp32", "picorv32", "PicoRV32 (RV32IM)"),
    _core("rv32imac", "ilp32", "e31", "SiFive E31 (RV32IMAC)"),
)
