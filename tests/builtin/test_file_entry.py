"""An entry of the file cache is read exactly as it was written, or it is a miss."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.builtin import file_entry

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
NAME = file_entry.make_prefix("tests") + b"key"


def test_every_truncation_is_a_miss() -> None:
    data = file_entry.pack(NAME, b"value " * 20, NOW, NOW + SECOND)
    assert file_entry.unpack(data, NAME, NOW) == b"value " * 20
    for length in range(len(data)):
        assert file_entry.unpack(data[:length], NAME, NOW) is None, length
        assert file_entry.unpack(data[len(data) - length :], NAME, NOW) is None, length


def test_every_flipped_bit_is_a_miss() -> None:
    data = file_entry.pack(NAME, b"value " * 20, NOW, NOW + SECOND)
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            assert file_entry.unpack(bytes(flipped), NAME, NOW) is None, (at, bit)


@given(st.binary(max_size=300), st.binary(max_size=40), st.binary(max_size=40))
def test_a_value_can_be_read_under_its_name_only(value: bytes, name: bytes, other: bytes) -> None:
    name, other = NAME + name, NAME + other
    data = file_entry.pack(name, value, NOW, 0)
    assert file_entry.unpack(data, name, NOW) == value
    assert file_entry.read_head(data) == (NOW, 0, name)
    assert file_entry.read_head(memoryview(data)) == (NOW, 0, name)
    if other != name:
        assert file_entry.unpack(data, other, NOW) is None


@given(st.binary(max_size=200))
def test_data_that_is_not_an_entry_is_a_miss_and_never_an_error(data: bytes) -> None:
    assert file_entry.unpack(data, NAME, NOW) is None
    file_entry.read_head(data)


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(1, 60))
def test_a_zeroed_or_replaced_stretch_is_a_miss(value: bytes, at: int, length: int) -> None:
    data = file_entry.pack(NAME, value, NOW, NOW + SECOND)
    torn = data[:at] + b"\0" * len(data[at : at + length]) + data[at + length :]
    assert torn == data or file_entry.unpack(torn, NAME, NOW) is None


def test_an_entry_expires_to_the_nanosecond() -> None:
    data = file_entry.pack(NAME, b"value", NOW, NOW + 5)
    assert [file_entry.unpack(data, NAME, NOW + late) is None for late in (0, 4, 5, 6)] == [
        False,
        False,
        True,
        True,
    ]


def test_an_entry_with_a_ttl_that_was_written_in_the_future_has_expired() -> None:
    data = file_entry.pack(NAME, b"value", NOW, NOW + 100 * SECOND)
    assert file_entry.unpack(data, NAME, NOW - 86_400 * SECOND) is None, "the clock was set back a day"
    assert file_entry.unpack(data, NAME, NOW - SECOND // 2) == b"value", "clocks are set right all the time"
    for_ever = file_entry.pack(NAME, b"value", NOW, 0)
    assert file_entry.unpack(for_ever, NAME, NOW - 86_400 * SECOND) == b"value", (
        "nothing ends that has no end"
    )
