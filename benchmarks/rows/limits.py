"""Rate limits: their cost for a call that does not wait, and the rate that they permit under load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.clients import TIMED
from benchmarks.harness import Row, Side, Workshop
from benchmarks.peers import AIOLIMITER

BARE = f"""
{TIMED}
import threading

class Rate:
    def __init__(self, interval):
        self.interval, self.full_at, self.lock = interval, 0.0, threading.Lock()

    def take(self, clock=time.monotonic):
        with self.lock:
            now = clock()
            start = self.full_at if self.full_at > now else now
            self.full_at = start + self.interval
            return start - now

timed("take()", 1_000_000, take=Rate(1e-9).take)
"""

OURS = f"""
{TIMED}
from llmcore.calls.drivers import run
from llmcore.calls.limits import Limits
from llmcore.config import LimitRule

rule = {{name: int(number) for name, number in (word.split("=") for word in sys.argv[1:])}}
limits = Limits({{"openai" if rule else "anthropic": LimitRule(**rule)}})

def one():
    turn = yield from limits.acquire("openai", "gpt-6-sol", 1000, lambda: 600.0)
    limits.release(turn, 400)

timed("run(one())", 300_000, one=one, run=run)
"""

ASYNC = """
import asyncio, time
from aiolimiter import AsyncLimiter

async def main(many):
    limiter = AsyncLimiter(1e9, 1)
    await calls(limiter, many // 10)
    started = time.process_time()
    await calls(limiter, many)
    print((time.process_time() - started) / many * 1e6)

async def calls(limiter, many):
    for _ in range(many):
        async with limiter:
            pass

asyncio.run(main(100_000))
"""

UNDER_PRESSURE = """
import asyncio, sys, time

RATE, SECONDS, WAITERS = 500, 3, int(sys.argv[1])
%(imports)s

async def waiter(ends, sent):
    while True:
        %(turn)s
        if time.monotonic() > ends:
            return
        sent.append(time.monotonic())

async def main():
    sent, began = [], time.monotonic()
    await asyncio.gather(*(waiter(began + SECONDS, sent) for _ in range(WAITERS)))
    # What the first second allows besides is the burst; from then on it is the rate alone.
    later = [at for at in sent if at > began + 1]
    print(100 * len(later) / (RATE * (SECONDS - 1)))

asyncio.run(main())
"""
LIMITS = {
    "imports": "from llmcore.calls.drivers import arun; from llmcore.calls.limits import Limits\n"
    "from llmcore.config import LimitRule; limits = Limits({'': LimitRule(requests_per_minute=60 * RATE)})",
    "turn": "limits.release(await arun(limits.acquire('openai', 'm', 0, lambda: 60.0)), 0)",
}
AIO = {
    "imports": "from aiolimiter import AsyncLimiter; limiter = AsyncLimiter(RATE, 1)",
    "turn": "await limiter.acquire()",
}


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare with a minimal rate limit, and with another library."""
    host, peer = shop.host(), shop.rival(*AIOLIMITER)

    def ours(name: str, *rules: str, **more: float) -> Side:
        return Side(name=name, environment=host, arguments=("-c", OURS, *rules), **more)  # type: ignore[arg-type]

    requests, tokens, places = (
        "requests_per_minute=1000000000",
        "tokens_per_minute=1000000000000",
        "concurrency=64",
    )
    yield [
        Row(
            title="a turn, and its end",
            unit="us of CPU a call",
            sides=[
                Side(name="one rate and a lock, no refund", environment=host, arguments=("-c", BARE)),
                ours("llmcore, another provider's rule"),
                ours("llmcore, requests", requests, limit=3.0),
                ours("llmcore, requests, tokens and places", requests, tokens, places, limit=4.0),
                Side(name="aiolimiter", environment=peer, arguments=("-c", ASYNC), peer=True),
            ],
        ),
        *(
            Row(
                title=f"500 a second asked for by {waiters} waiters",
                unit="% of the rate, after the first second",
                rounds=3,
                exact=True,
                sides=[
                    Side(
                        name="llmcore",
                        environment=host,
                        arguments=("-c", UNDER_PRESSURE % LIMITS, str(waiters)),
                    ),
                    Side(
                        name="aiolimiter(500, 1)",
                        environment=peer,
                        arguments=("-c", UNDER_PRESSURE % AIO, str(waiters)),
                        peer=True,
                    ),
                ],
            )
            for waiters in (20, 1000)
        ),
    ]
