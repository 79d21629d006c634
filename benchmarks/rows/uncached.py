"""A chat that is not cached: through the host with all its layers, and through the vendor's typed client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.harness import Row, Side, Workshop
from benchmarks.upstream import serve

HOST = """
import sys
import llmcore

settings = {
    "llm": {"provider": "openai", "model": "gpt-4o-mini"},
    "cache": {"provider": "file", "ttl": "1h"},
    "budget": {"limit": 1000, "per": "day"},
}
with llmcore.load(settings) as core:
    for number in range(int(sys.argv[1])):
        reply = core.llm.chat(f"Question {number}", temperature=0.5)
        assert reply.text and reply.cost and not reply.cached
"""

CLIENT = """
import sys
from openai import OpenAI

client = OpenAI()
for number in range(int(sys.argv[1])):
    messages = [{"role": "user", "content": f"Question {number}"}]
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=messages, temperature=0.5)
    assert reply.choices[0].message.content and reply.usage
"""

AHOST = """
import asyncio, sys
import llmcore

settings = {
    "llm": {"provider": "openai", "model": "gpt-4o-mini"},
    "cache": {"provider": "file", "ttl": "1h"},
    "budget": {"limit": 1000, "per": "day"},
}

async def main(calls, in_flight):
    async with llmcore.load(settings) as core:
        async def ask(numbers):
            for number in numbers:
                reply = await core.llm.achat(f"Question {number}", temperature=0.5, max_tokens=200)
                assert reply.text and reply.cost and not reply.cached
        numbers = iter(range(calls))
        await asyncio.gather(*(ask(numbers) for _ in range(in_flight)))

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""

ACLIENT = """
import asyncio, sys
from openai import AsyncOpenAI

async def main(calls, in_flight):
    async with AsyncOpenAI() as client:
        async def ask(numbers):
            for number in numbers:
                messages = [{"role": "user", "content": f"Question {number}"}]
                reply = await client.chat.completions.create(
                    model="gpt-4o-mini", messages=messages, temperature=0.5, max_tokens=200
                )
                assert reply.choices[0].message.content and reply.usage
        numbers = iter(range(calls))
        await asyncio.gather(*(ask(numbers) for _ in range(in_flight)))

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare the cost of one call. The server runs in another process."""
    peer = shop.sdk("openai")

    def row(title: str, client: str, host: str, at_most: float, *more: str) -> Row:
        return Row(
            title=title,
            sides=[
                Side(name="openai", environment=peer, env=env, arguments=("-c", client, "{calls}", *more)),
                Side(
                    name="llmcore",
                    environment=shop.host(),
                    env=env,
                    arguments=("-c", host, "{calls}", *more),
                    at_most=at_most,
                ),
            ],
            calls=(300, 1800),
        )

    with serve() as address:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": address}
        yield [
            row("sync", CLIENT, HOST, 0.50),
            row("async, 32 in flight", ACLIENT, AHOST, 0.35, "32"),
            row("async, 256 in flight", ACLIENT, AHOST, 0.35, "256"),
        ]
