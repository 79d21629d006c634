"""A chat that no cache knows, blocking: through the host with all that it does, and through the vendor's typed client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import Row, Side, Workshop
from benchmarks.upstream import serving

HOST = """
import sys
import llmcore

settings = {
    "llm": {"provider": "openai", "model": "gpt-4o-mini"},
    "cache": {"provider": "file", "ttl": "1h"},
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


@contextmanager
def prepare(shop: Workshop) -> Iterator[Row]:
    """Compare what one call costs, against a server in a process of its own."""
    peer = shop.peer(f"openai=={shop.version('openai')}")
    with serving() as address:
        env = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": address}
        yield Row(
            title="uncached chat, sync",
            sides=[
                Side(name="openai", environment=peer, env=env, arguments=("-c", CLIENT, "{calls}")),
                Side(
                    name="llmcore",
                    environment=shop.host(),
                    env=env,
                    arguments=("-c", HOST, "{calls}"),
                    at_most=0.55,
                ),
            ],
            calls=(20, 1520),
        )
