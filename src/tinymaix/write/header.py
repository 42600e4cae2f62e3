"""A .tmdl as a C header, for firmware that compiles the model in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinymaix.write.tmdl import Tmdl

BYTES_IN_A_LINE = 16


def header_text(tmdl: Tmdl) -> str:
    """C source that defines MDL_BUF_LEN and LBUF_LEN, the bytes for the main buffer and for one layer at a time, and
    mdl_data, the model.

    MDL_BUF_LEN is the whole buffer: the original leaves out the part that is kept for an addition.
    """
    data = tmdl.data
    lines = [data[i : i + BYTES_IN_A_LINE] for i in range(0, len(data), BYTES_IN_A_LINE)]
    return HEADER.format(
        buffer=tmdl.head.buf_size,
        layer_buffer=tmdl.layer_buffer,
        size=len(data),
        rows="\n".join("    " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines),
    )


HEADER = """\
/* A .tmdl model ({size} bytes) for the TinyMaix runtime. Generated; do not edit. */
#ifndef MDL_DATA_H
#define MDL_DATA_H

#include <stdint.h>

#define MDL_BUF_LEN ({buffer})
#define LBUF_LEN ({layer_buffer})

#if defined(__GNUC__)
__attribute__((aligned(8))) /* the runtime reads words out of it */
#endif
const uint8_t mdl_data[{size}] = {{
{rows}
}};

#endif
"""
