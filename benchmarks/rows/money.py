"""The cost of a budget, the ledger and rate limits for a call of `echo`, one at a time and with 200 in flight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.harness import Row, Side, Workshop

UNIT = "us of CPU a call"

PROGRAM = """
import asyncio, json, sys, time
import llmcore

settings = {
    "llm": {"provider": "echo"},
    "cache": {"provider": "memory"},
    "prices": {"echo:default": {"input": 1, "output": 2}},
    **json.loads(sys.argv[1]),
}
IN_FLIGHT = int(sys.argv[2])

async def together(core, many):
    for first in range(0, many, IN_FLIGHT):
        await asyncio.gather(*(core.llm.achat(f"Question {n}", cache=False, max_tokens=20) for n in range(IN_FLIGHT)))

def alone(core, many):
    for number in range(many):
        core.llm.chat(f"Question {number}", cache=False, max_tokens=20)

with llmcore.load(settings) as core:
    def ask(many):
        alone(core, many) if IN_FLIGHT == 1 else asyncio.run(together(core, many))
    ask(400)
    started = time.process_time()
    ask(4000)
    print((time.process_time() - started) / 4000 * 1e6)
"""

NONE = '{"ledger": {"enabled": false}}'
ALL = """{
    "budget": {"limit": 1000, "per": "day"},
    "limits": {"requests_per_minute": 60000000, "tokens_per_minute": 6000000000, "concurrency": 1000}
}"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare the same call without a ledger and with everything."""

    def side(name: str, given: str, in_flight: int, more_us: float | None = None) -> Side:
        return Side(
            name=name,
            environment=shop.host(),
            arguments=("-c", PROGRAM, given, str(in_flight)),
            at_most=None if more_us is None else 1.0,
            limit=more_us,
        )

    yield [
        Row(
            title=title,
            sides=[
                side("no ledger", NONE, in_flight),
                side("budget, ledger and limits", ALL, in_flight, more_us),
            ],
            unit=UNIT,
        )
        for title, in_flight, more_us in (("alone", 1, 150.0), ("200 in flight", 200, 60.0))
    ]
