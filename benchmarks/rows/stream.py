"""A chunk of a streamed chat, each of which arrives alone: through the host, and through the vendor's typed client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks.harness import Row, Side, Workshop
from benchmarks.upstream import serve

LIMIT_US: Final = 25.0

HOST = """
import sys
import llmcore

settings = {"llm": {"provider": "openai", "model": "gpt-4o-mini"}, "cache": {"provider": "file"}, "budget": {"limit": 1000}}
with llmcore.load(settings) as core:
    deltas = [delta.text for delta in core.llm.stream(f"Stream {sys.argv[1]} words")]
assert deltas.count(" rain") == int(sys.argv[1])
"""

CLIENT = """
import sys
from openai import OpenAI

messages = [{"role": "user", "content": f"Stream {sys.argv[1]} words"}]
stream = OpenAI().chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
deltas = [chunk.choices[0].delta.content for chunk in stream]
assert deltas.count(" rain") == int(sys.argv[1])
"""

AHOST = """
import asyncio, sys
import llmcore

settings = {"llm": {"provider": "openai", "model": "gpt-4o-mini"}, "cache": {"provider": "file"}, "budget": {"limit": 1000}}

async def main():
    async with llmcore.load(settings) as core:
        return [delta.text async for delta in core.llm.astream(f"Stream {sys.argv[1]} words", max_tokens=9000)]

assert asyncio.run(main()).count(" rain") == int(sys.argv[1])
"""

ACLIENT = """
import asyncio, sys
from openai import AsyncOpenAI

async def main():
    messages = [{"role": "user", "content": f"Stream {sys.argv[1]} words"}]
    async with AsyncOpenAI() as client:
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        return [chunk.choices[0].delta.content async for chunk in stream]

assert asyncio.run(main()).count(" rain") == int(sys.argv[1])
"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare what one more chunk costs, against a server in a process of its own."""
    peer = shop.sdk("openai")

    def make_row(title: str, client: str, host: str) -> Row:
        return Row(
            title=f"a chunk of a stream that arrives alone, {title}",
            sides=[
                Side(name="openai", environment=peer, env=env, arguments=("-c", client, "{calls}")),
                Side(
                    name="llmcore",
                    environment=shop.host(),
                    env=env,
                    arguments=("-c", host, "{calls}"),
                    limit=LIMIT_US,
                ),
            ],
            calls=(500, 4500),
        )

    with serve() as address:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": address}
        yield [make_row("sync", CLIENT, HOST), make_row("async", ACLIENT, AHOST)]
