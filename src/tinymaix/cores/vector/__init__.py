"""Application cores with vectors, NEON or RISC-V's, as programs of Linux: QEMU emulates them."""

from tinymaix.cores.core import Core


def _core(name: str, title: str, clang: tuple[str, ...], model: str, bits: int) -> Core:
    return Core(
        name=name,
        family="vector",
        title=title,
        clang=clang,
        emulator="qemu",
        model=model,
        startup=("linux.c", "memory.c"),
        memory="linux.ld",
        bits=bits,
        pointer_bytes=bits // 8,
        arena_align=16,
        features=frozenset({"mul", "mull", "div", "unaligned", "fpu"}),
    )


def _rvv(bits: int) -> Core:
    flags = ("-target", "riscv64-freestanding", "-mcpu=generic_rv64+m+a+f+d+c+v+zfh", "-mabi=lp64d")
    model = f"qemu-riscv64 -cpu rv64,v=true,vlen={bits},Zfh=true"
    return _core(f"rv64gcv-vlen{bits}", f"RV64GCV with vectors of {bits} bits", flags, model, 64)


CORES = (
    _core(
        "cortex-a7",
        "Arm Cortex-A7 with NEON",
        ("-target", "arm-freestanding-eabihf", "-mfloat-abi=hard", "-mcpu=cortex_a7"),
        "qemu-arm -cpu cortex-a7",
        32,
    ),
    _core(
        "cortex-a53",
        "Arm Cortex-A53",
        ("-target", "aarch64-freestanding", "-mcpu=cortex_a53"),
        "qemu-aarch64 -cpu cortex-a53",
        64,
    ),
    _rvv(128),
    _rvv(256),
)
