"""The first token count in a fresh process, and later counts, compared with tiktoken and a local rank file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.clients import TIMED
from benchmarks.harness import Row, Side, Workshop

_ASCII: Final = "Hello world, how are you today?"
_OTHER: Final = "Gr\u00fc\u00dfe aus K\u00f6ln, \u4f60\u597d\uff0c\u4e16\u754c \U0001f600"

_FIRST_STOCK: Final = (
    "import tiktoken; tiktoken.get_encoding('o200k_base').encode({text!a}, disallowed_special=())"
)
_FIRST: Final = "from llmcore_openai_optimized import tokens; tokens.count({text!a}, 'gpt-4o')"

_RANKS: Final = """
import sys
from pathlib import Path
import llmcore_openai_optimized
from llmcore_openai_optimized.tokenizer.table_builder import make_rank_file
from llmcore_openai_optimized.tokenizer.table import Table
table = Table(Path(llmcore_openai_optimized.__file__).parent / "data/o200k_base.table")
Path(sys.argv[1]).write_bytes(make_rank_file(table.iterate_tokens()))
"""
_CACHE_NAME: Final = "fb374d419588a4632f3f557e76b4b70aebbca790"
"""The file name under which tiktoken caches o200k_base: the SHA-1 of its address."""

_TEXTS: Final = """
short = [f"Message {i}: please tell me the weather in town number {i * 7}, thanks!" for i in range(40_000)]
long = "The quick brown fox jumps over the lazy dog. " * 20_000
"""
_STOCK: Final = """
import tiktoken
encode = tiktoken.get_encoding("o200k_base").encode_ordinary
count = lambda text: len(encode(text))
"""
_OURS: Final = """
from llmcore_openai_optimized.tokens import count as counted
count = lambda text: counted(text, "gpt-4o")
"""
_SHORT: Final = """
texts = iter(short)
timed("count(next(texts))", 20_000, count=count, texts=texts)
"""
_REPEATED: Final = """
timed("count(text)", 200_000, count=count, text=short[0])
"""
_LONG: Final = """
timed("count(long)", 10, few=2, count=count, long=long)
"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[list[Row]]:
    """Compare whole processes, then the cost of one count."""
    host, peer = shop.host(), shop.sdk("tiktoken")
    with TemporaryDirectory(prefix="llmcore-bench-ranks-") as ranks:
        done = host.run("-c", _RANKS, str(Path(ranks) / _CACHE_NAME), cwd=Path(ranks))
        if done.returncode:
            raise RuntimeError(done.stderr)
        at_hand = {"TIKTOKEN_CACHE_DIR": ranks}

        def first(title: str, text: str, at_most: float) -> Row:
            stock, ours = _FIRST_STOCK.format(text=text), _FIRST.format(text=text)
            return Row(
                title=title,
                sides=[
                    Side(name="tiktoken", environment=peer, arguments=("-c", stock), env=at_hand),
                    Side(name="llmcore", environment=host, arguments=("-c", ours), at_most=at_most),
                    Side(name="python -c pass", environment=host, arguments=("-c", "pass")),
                ],
            )

        def speed(title: str, work: str) -> Row:
            stock, ours = TIMED + _TEXTS + _STOCK + work, TIMED + _TEXTS + _OURS + work
            return Row(
                title=title,
                sides=[
                    Side(name="tiktoken", environment=peer, arguments=("-c", stock), env=at_hand),
                    Side(name="llmcore", environment=host, arguments=("-c", ours)),
                ],
                unit="us",
                rounds=5,
            )

        yield [
            first("first count, ASCII", _ASCII, 0.10),
            first("first count, other text", _OTHER, 0.15),
            speed("a short message, each another", _SHORT),
            speed("the same message again", _REPEATED),
            speed("a text of 900 KB", _LONG),
        ]
