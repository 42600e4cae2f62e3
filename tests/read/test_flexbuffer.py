"""The reader of custom operators' options against the flatbuffers package, and against damage."""

from __future__ import annotations

import contextlib

import pytest
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st

from tinymaix.graph import ModelError
from tinymaix.read.flexbuffer import NamedNumbers

NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False, width=32) | st.booleans()
NAMES = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=12)


@given(st.dictionaries(NAMES, NUMBERS, max_size=12))
def test_what_is_written_is_read(options: dict[str, int | float]) -> None:
    assert NamedNumbers(bytes(flexbuffers.Dumps(options))).values == options


@given(st.binary(min_size=1, max_size=40))
def test_damage_is_a_sentence(data: bytes) -> None:
    with contextlib.suppress(ModelError):
        NamedNumbers(data)


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_is_a_sentence_or_another_number(place: int, value: int) -> None:
    data = bytearray(flexbuffers.Dumps({"num_channels": 40, "scale": 2.5, "names": ["a"], "shift": -300}))
    data[place % len(data)] = value
    with contextlib.suppress(ModelError):
        NamedNumbers(bytes(data))


def test_options_by_name() -> None:
    numbers = NamedNumbers(bytes(flexbuffers.Dumps({"shift": 3, "scale": 2.5, "text": "x"})))
    assert numbers.integer("shift") == 3
    assert numbers.real("scale") == 2.5
    assert numbers.integer("other", 7) == 7
    with pytest.raises(ModelError, match="'text' is missing; it has scale, shift"):
        numbers.integer("text")
    with pytest.raises(ModelError, match="must be whole"):
        numbers.integer("scale")
    assert NamedNumbers(b"").values == {}
