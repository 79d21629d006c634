"""The mapped table counts as tiktoken does, for every text, and passes unsuitable texts to it."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

import llmcore_openai_optimized
from llmcore.errors import PluginBroken, ProviderError
from llmcore_openai_optimized.tokenizer import (
    Counter,
    counters,
    get_counter,
    table_builder,
    tiktoken_encoding,
)
from llmcore_openai_optimized.tokenizer.table import Table
from llmcore_openai_optimized.tokenizer.tiktoken_encoding import build

DATA = Path(llmcore_openai_optimized.__file__).parent / "data"
NAMES = ("o200k_base", "cl100k_base")
SHA256 = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
"""Of the rank files, as tiktoken itself expects them."""

SPACES = st.sampled_from(list(" \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u2003\u2028\u3000"))
WORDS = st.sampled_from(
    [
        "don't",
        "I'LL",
        "we'Ve",
        "HTTPServer",
        "camelCase",
        "1234567",
        "3.14",
        "naïve",
        "Straße",
        "你好世界",
        "مرحبا",
        "हिन्दी",
        "Ǆungla",
        "\u017fo",
        "K\u2019s",
        "----",
        "//\r\n",
        "😀👨\u200d👩\u200d👧",
        "İ",
        "ⅷ",
        "²",
    ]
)
MIXED = st.lists(WORDS | SPACES | st.text(max_size=6), max_size=12).map("".join)
ASCII = st.text(st.characters(max_codepoint=127), max_size=60) | st.lists(
    st.sampled_from(
        ["'s", "'LL", "a", "B", "7", " ", "  ", "\n", "\r\n", "/", "!", "\t", "_", "\x1d", "word", "WORD"]
    ),
    max_size=20,
).map("".join)


@functools.cache
def load_encoding(name: str) -> tiktoken.Encoding:
    """Return the encoding with tiktoken's own pattern."""
    from llmcore_openai_optimized.tokenizer.patterns import TIKTOKEN

    ranks = dict(Table(DATA / f"{name}.table").iterate_tokens())
    return tiktoken.Encoding(name, pat_str=TIKTOKEN[name], mergeable_ranks=ranks, special_tokens={})


REFERENCES = {name: build(name, Table(DATA / f"{name}.table")) for name in NAMES}


class Subject(Counter):
    """Passes every text to the reference."""

    def load_tiktoken(self) -> tiktoken.Encoding:
        return REFERENCES[self.name]


SUBJECTS = {name: Subject(name) for name in NAMES}


def check_that_both_agree(text: str) -> None:
    for name in NAMES:
        SUBJECTS[name]._left = 1_000_000
        assert SUBJECTS[name].count(text) == len(REFERENCES[name].encode_ordinary(text)), (name, text)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_holds_the_ranks_that_tiktoken_expects(name: str) -> None:
    made = Table(DATA / f"{name}.table")
    ranks = dict(made.iterate_tokens())
    assert hashlib.sha256(table_builder.make_rank_file(ranks.items())).hexdigest() == SHA256[name]
    assert table_builder.read_ranks(table_builder.make_rank_file(ranks.items())) == ranks
    assert table_builder.make_table(ranks, made.get_settled_ends()) == (DATA / f"{name}.table").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_patterns_are_those_of_tiktoken(name: str) -> None:
    openai_public = import_module("tiktoken_ext.openai_public")
    from llmcore_openai_optimized.tokenizer.patterns import TIKTOKEN

    source = Path(str(openai_public.__file__)).read_text(encoding="utf-8")
    for part in TIKTOKEN[name].split("|"):
        assert part in source or part.replace("++$", r"++$") in source, part


@pytest.mark.parametrize("name", NAMES)
def test_installed_engines_split_texts_alike(name: str) -> None:
    table, alike = Table(DATA / f"{name}.table"), table_builder.find_agreed_characters()
    settled = {number for number in range(0x110000) if table.is_settled(chr(number))}
    assert settled <= alike
    assert len(settled) > 250_000
    for contested in ("\u017f", "\u212a", "\ud800", "\U0001fae8", "\u0378"):
        assert ord(contested) not in settled


@settings(deadline=None, max_examples=300)
@given(MIXED)
def test_any_text_has_as_many_tokens_as_tiktoken_finds(text: str) -> None:
    check_that_both_agree(text)


@settings(deadline=None, max_examples=300)
@given(ASCII)
def test_ascii_texts_have_as_many_tokens_as_tiktoken_finds(text: str) -> None:
    check_that_both_agree(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 20_000, "a" * 1_000_000, "ab" * 200, " " * 5_000, "\n" * 399, "你" * 130, "你" * 1_000, "!" * 401, "x" * 400,
        "The quick brown fox. " * 2_000, "\U0001fae8 new", "a\ud800b", "", "\r\n \r\n", "word \n", "'s 'S '\u017f", "<|endoftext|>",
    ],
    ids=lambda text: f"{text[:8]!a} x {len(text)}",
)  # fmt: skip
def test_long_odd_and_new_texts_are_counted_too(text: str) -> None:
    check_that_both_agree(text)


def test_a_process_that_counts_much_switches_to_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "_MOST", 1_000)
    subject = Counter("o200k_base")
    texts = [f"Message {number}: {'lorem ipsum ' * 20}" for number in range(10)]
    assert [subject.count(text) for text in texts] == [
        len(REFERENCES["o200k_base"].encode_ordinary(text)) for text in texts
    ]
    assert subject._tiktoken is not None


def test_short_ascii_texts_need_neither_regex_nor_tiktoken_nor_msgspec() -> None:
    program = (
        "import sys\n"
        "from llmcore_openai_optimized import tokens\n"
        "print(int(tokens.count('Hello world, it is 2026!', 'gpt-4o')), tokens.count('Hello', 'gpt-4').exact)\n"
        "print(sorted({'tiktoken', 'regex', 'msgspec', 'openai'} & sys.modules.keys()))\n"
        "print(int(tokens.count('Grüße', 'gpt-4o')), sorted({'tiktoken', 'regex'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    expected = len(REFERENCES["o200k_base"].encode_ordinary("Grüße"))
    assert done.stdout.splitlines() == ["9 True", "[]", f"{expected} ['regex']"]


def test_threads_share_one_counter() -> None:
    subject = Counter("o200k_base")
    texts = [f"Thread {number} said: {'naïve words ' * number}" for number in range(64)] + ["y" * 50_000]
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(subject.count, texts))
    assert counted == [len(REFERENCES["o200k_base"].encode_ordinary(text)) for text in texts]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_counts_though_a_thread_of_its_parent_was_loading() -> None:
    program = (
        "import os, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from llmcore_openai_optimized.tokenizer import get_counter\n"
        "subject = get_counter('o200k_base')\n"
        "subject._lock.acquire()\n"  # as a thread does while it loads
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if subject.count('z' * 50_000) > 0 else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "0\n"


def _cut(content: bytes) -> bytes:
    return content[:-1]


def _flip_bit(content: bytes) -> bytes:
    return content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:]


@pytest.mark.parametrize(
    "damage",
    [_cut, _flip_bit, lambda _: b"", lambda _: b"short", lambda content: b"X" + content[1:], None],
    ids=["cut", "flipped", "empty", "short", "another", "missing"],
)
def test_a_damaged_table_is_reported_and_not_used(
    tmp_path: Path, damage: Callable[[bytes], bytes] | None
) -> None:
    if damage is not None:
        (tmp_path / "o200k_base.table").write_bytes(damage((DATA / "o200k_base.table").read_bytes()))
    with pytest.raises(PluginBroken, match="missing or damaged") as caught:
        Counter("o200k_base", tmp_path)
    assert caught.value.fix == "install llmcore-openai-optimized again"


def test_the_encoding_that_takes_over_is_tiktokens() -> None:
    assert isinstance(get_counter("cl100k_base").load_tiktoken(), tiktoken.Encoding)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("before", "blank", "after"), [("x", " ", "hi"), ("!\n", " \t", ""), ("7", "\xa0", "\u0301")], ids=ascii
)
def test_a_million_blanks_are_counted_exactly_and_tiktoken_does_not_panic(
    name: str, before: str, blank: str, after: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a run of *n* blanks, tokens grow by the same number for each further part of it: see the shorter ones."""
    subject = Counter(name)
    reference = load_encoding(name)

    def tokens(number: int) -> int:
        return len(reference.encode_ordinary(before + blank * number + after))

    step = 11_520 // len(blank)  # a multiple of each number of blanks that is one token
    grown = tokens(4 * step) - tokens(3 * step)
    assert tokens(3 * step) - tokens(2 * step) == grown
    assert subject.count(before + blank * (100 * step) + after) == tokens(4 * step) + 96 * grown
    assert capfd.readouterr().err == ""


@settings(deadline=None, max_examples=300)
@given(st.lists(WORDS | SPACES | st.sampled_from(["     ", "\n\n", "/", "!", "a"]), max_size=14).map("".join))
def test_a_text_that_is_split_around_runs_has_as_many_tokens_as_the_whole(text: str) -> None:
    for name in NAMES:
        parts = tiktoken_encoding.split(text, 4)
        assert "".join(parts) == text
        counted = sum(len(REFERENCES[name].encode_ordinary(part)) for part in parts)
        assert counted == len(load_encoding(name).encode_ordinary(text)), (name, text)


def test_a_panic_of_tiktoken_is_an_llmcore_error_and_the_bound_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Panic(BaseException):
        """As pyo3 raises it."""

    class Panicking:
        def encode_ordinary(self, text: str) -> list[int]:
            raise Panic(f"{len(text)} are too many")

    monkeypatch.setattr(Counter, "load_tiktoken", lambda _: Panicking())
    with pytest.raises(
        ProviderError, match="tiktoken cannot count a text of 50,000 characters: Panic"
    ) as caught:
        Counter("o200k_base").count("z" * 50_000)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
