"""How a text is divided: nothing is lost, nothing is torn, and a sentence is a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.voice.sentences import merge_to_limit, split_sentences, split_to_limit

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from(" .!?\n,\u3002e\u0301"), max_size=200
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One. ", "Two! ", "Three? ", "Four"]),
        ('He said "Stop." Then he left.', ['He said "Stop." ', "Then he left."]),
        ("Dr. Smith met J. R. Tolkien, e.g. in May. Yes.", ["Dr. Smith met J. R. Tolkien, e.g. in May. ", "Yes."]),
        ("It costs 3.50 euros. Or 4.", ["It costs 3.50 euros. ", "Or 4."]),
        ("1. Begin.\n2. End.", ["1. Begin.\n", "2. End."]),
        ("A title\n\nThe text", ["A title\n\n", "The text"]),
        ("Hard wrapped\ntext goes on. So.", ["Hard wrapped\ntext goes on. ", "So."]),
        ("\u4f60\u597d\u3002\u518d\u89c1\uff01", ["\u4f60\u597d\u3002", "\u518d\u89c1\uff01"]),
        ("Wait... what? No.", ["Wait... ", "what? ", "No."]),
        ("Really?! ... Yes.", ["Really?! ... ", "Yes."]),
        ("www.example.com is down. Help!", ["www.example.com is down. ", "Help!"]),
    ],
)  # fmt: skip
def test_a_sentence_is_a_sentence(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@given(TEXTS)
def test_the_sentences_joined_are_the_text(text: str) -> None:
    found = split_sentences(text)
    assert "".join(found) == text
    assert all(any(map(str.isalnum, piece)) for piece in found) or len(found) <= 1


@given(TEXTS, st.integers(min_value=2, max_value=50))
def test_no_piece_is_longer_than_the_limit(text: str, limit: int) -> None:
    pieces = list(split_to_limit(text, limit))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= limit for piece in pieces)


@pytest.mark.slow
@given(st.lists(TEXTS.filter(bool)), st.integers(min_value=1, max_value=300))
def test_packed_pieces_are_as_few_as_the_limit_lets_them_be(pieces: list[str], limit: int) -> None:
    together = merge_to_limit(pieces, limit)
    assert "".join(together) == "".join(pieces)
    assert all(len(each.rstrip()) <= limit or each in pieces for each in together)
    assert len(merge_to_limit(pieces, None)) == min(1, len(pieces))


@pytest.mark.parametrize(
    ("text", "limit", "first"),
    [
        ("one, two and three", 12, "one, two "),
        ("a long clause, then more", 20, "a long clause, "),
        ("abcdefghij", 4, "abcd"),
        ("abce\u0301fg", 4, "abc"),
        ("ab\U0001f469\u200d\U0001f680cd", 4, "ab"),
    ],
)
def test_a_long_piece_is_divided_at_a_pause_a_space_or_between_letters(
    text: str, limit: int, first: str
) -> None:
    assert next(split_to_limit(text, limit)) == first


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["Word. ", "word ", "1. a\n", "x", "...", ".)", "\n ", "\u3002"])
def test_dividing_a_long_text_takes_linear_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))  # with the square of it, this would outlast every time limit
    assert "".join(split_sentences(text)) == text
    assert "".join(split_to_limit(text, 1000)) == text
