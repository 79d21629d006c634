"""Measure batches with many items: `python -m tests.batch_figures NAME`.

- `million`: items of which 30 % are duplicates and 20 % are cached: requests, memory and CPU time (`--items N`). The cache has space for all
  answers; with `--cache 1GB`, a million do not fit, and answers are evicted before their items come.
- `budget`: a run of $3 with a budget of $1, in both lanes.
- `pace`: adaptive concurrency against fixed values, for a server that answers a fixed number of requests at once.
- `bad`: 200 malformed lines in 10,000.
- `kills`: 100 kills of runs in both lanes, at random moments (`--items N` of the lane `now`, `--kills N`).
- `engines`: items of 0.1 s on four workers of each engine (`--items N`, `--engines NAME ...`), with the ledger `sqlite`, or with
  `--ledger postgres` and a PostgreSQL that is started for it. An engine that is not in
  .venv has its own environment: `.cache/ray/bin/python -m tests.batch_figures engines --engines ray`.

Each prints one line of JSON. The server is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final
from urllib.request import urlopen

import llmcore
from llmcore.errors import BudgetExceeded
from llmcore_testing.postgres_server import PostgresServer
from tests.batch_kills import measure_kills

WORKERS: Final = 4
CONCURRENCY: Final = 10
"""The requests in flight for each worker of an engine."""
LATENCY_S: Final = 0.1
"""The duration of each of their requests."""
SERVER: Final = (sys.executable, "-m", "llmcore_testing.simulator")
DUPLICATES: Final = 0.3
CACHED: Final = 0.2
WINDOW: Final = 100_000
"""A duplicate repeats one of so many items before it."""
ENTRY_BYTES: Final = 4096
"""More than the space that one of these answers takes in the file of the cache."""
ALLOCATIONS: Final = 100_000
"""Python collects garbage after so many objects, as in the process of the command line."""


@contextlib.contextmanager
def start_simulator(*options: str) -> Iterator[str]:
    """Give the address of a simulator in a process of its own."""
    with subprocess.Popen([*SERVER, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


def read_counts(address: str) -> dict[str, int]:
    """Return what a simulator has counted."""
    with urlopen(f"{address.removesuffix('/v1')}/_simulator/counts") as answer:  # noqa: S310 - http
        counts: dict[str, int] = json.loads(answer.read())["counts"]
        return counts


def read_memory() -> float:
    """Return the megabytes of this process, without the pages of mapped files such as those of the file cache."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        (line,) = (line for line in file if line.startswith("RssAnon"))
    return round(int(line.split()[1]) / 1024, 1)


def make_config(address: str, **tables: Any) -> dict[str, Any]:
    """Return a configuration that uses the server."""
    openai = {"base_url": address, "api_key": "sk-test"}
    return {"llm": {"provider": "openai", "model": "gpt-4o-mini", "openai": openai}, **tables}


def measure_million(items: int, cache_size: str | None = None) -> dict[str, Any]:
    """Run *items* prompts with a cache of *cache_size*, or one that has space for all answers."""
    own = int(items * (1 - DUPLICATES))
    warm = int(items * CACHED)
    cache = {"file": {"max_size": cache_size or max(10**9, items * ENTRY_BYTES)}}

    def iterate() -> Iterator[str]:
        chance = random.Random(1)  # noqa: S311 - no secrets
        sent = 0
        for number in range(items):
            if sent < own and (sent == 0 or chance.random() * (items - number) < own - sent):
                yield f"prompt {sent}"
                sent += 1
            else:
                yield f"prompt {chance.randrange(max(0, sent - WINDOW), sent)}"

    with start_simulator() as address, llmcore.load(make_config(address, cache=cache)) as core:
        for _ in core.llm.batch(f"prompt {number * own // warm}" for number in range(warm)):
            pass
        before, began, cpu = read_counts(address)["chat"], time.monotonic(), time.process_time()
        run = core.llm.batch(iterate())
        done = sum(item.reply is not None for item in run)
        cpu, wall = time.process_time() - cpu, time.monotonic() - began
        memory = read_memory()
        sent = read_counts(address)["chat"] - before
        began = time.monotonic()
        again = sum(item.reply is not None for item in core.llm.resume_batch(run.id))
        scan = time.monotonic() - began
    return {
        "items": items,
        "answered": done,
        "upstream": sent,
        "cached_before": before,
        "cpu_ms_per_item": round(cpu * 1000 / items, 3),
        "memory_mb": memory,
        "with_mapped_files_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "wall_s": round(wall, 1),
        "resumed": again,
        "scan_s": round(scan, 1),
    }


def measure_budget() -> dict[str, Any]:
    """Run for $3 with a budget of $1."""
    found: dict[str, Any] = {}
    for lane in ("now", "queue"):
        # an answer to "q1234" has 10 tokens; a live one costs $0.003, one of the queue half of it
        rate = 300 if lane == "now" else 600
        prices = {"openai:gpt-4o-mini": {"input": 0, "output": rate}}
        with start_simulator() as address, llmcore.load(make_config(address, prices=prices)) as core:
            run = core.llm.batch(
                (f"q{number:04}" for number in range(1112)),
                lane=lane,
                budget="1 USD",
                max_tokens=12,
            )
            with contextlib.suppress(BudgetExceeded):
                for _ in run:
                    pass
            rows = [row for row in core.usage.export() if row["state"] != "hit"]
            found[lane] = {
                "usd": float(run.summary.cost),
                "answered": run.summary.done,
                "open_rows": sum(row["state"] == "open" for row in rows),
            }
    return found


@contextlib.asynccontextmanager
async def start_bounded_server(capacity: int, latency_s: float, counts: dict[str, int]) -> AsyncIterator[str]:
    """Give the address of a server that answers *capacity* requests at once, and refuses more with 429."""
    body = json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "gpt-4o-mini",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        }
    ).encode()
    busy = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                counts["requests"] += 1
                if busy >= capacity:
                    counts["refused"] += 1
                    writer.write(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}")
                    continue
                busy += 1
                await asyncio.sleep(latency_s)
                busy -= 1
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(body), body)
                )

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def measure_pace() -> dict[str, Any]:
    """Compare adaptive concurrency with fixed values."""
    return asyncio.run(_measure_pace())


async def _measure_pace(capacity: int = 24, latency_s: float = 0.4, items: int = 1800) -> dict[str, Any]:
    found: dict[str, Any] = {"capacity": capacity}
    for width in (20, 24, None):
        counts = {"requests": 0, "refused": 0}
        async with start_bounded_server(capacity, latency_s, counts) as address:
            config = make_config(address, cache={"provider": "memory"}, retry={"attempts": 8})
            async with llmcore.load(config) as core:
                began, done = time.monotonic(), 0
                async for item in core.llm.batch(map(str, range(items)), concurrency=width):
                    done += item.reply is not None
                seconds = time.monotonic() - began
        share = counts["refused"] / counts["requests"]
        found[str(width or "adaptive")] = {
            "per_s": round(done / seconds, 1),
            "refused": f"{share:.2%}",
            "answered": done,
        }
    return found


def measure_bad(lines: int = 10_000, bad: int = 200) -> dict[str, Any]:
    """Run *lines* of which *bad* are malformed or refused, in the working folder."""
    kinds: list[Callable[[int], Any]] = [
        lambda number: "{not json" + str(number),
        lambda number: json.dumps({"id": number}),
        lambda number: json.dumps({"prompt": number}),
        lambda number: json.dumps({"prompt": f"p{number}", "max_tokens": "many"}),
        lambda number: json.dumps({"messages": [{"rol": "user"}], "id": number}),
    ]
    wrong = set(random.Random(3).sample(range(lines), bad))  # noqa: S311 - no secrets
    texts = [
        kinds[number % len(kinds)](number) if number in wrong else json.dumps({"prompt": f"q{number}"})
        for number in range(lines)
    ]
    with start_simulator() as address:
        with open("in.jsonl", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write("\n".join(texts))
        with open("llmcore.toml", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(
                f'[llm]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n[llm.openai]\nbase_url = "{address}"\napi_key = "env:KEY"\n'
            )
        command = [sys.executable, "-m", "llmcore", "batch", "run", "in.jsonl", "-o", "out.jsonl"]
        done = subprocess.run(command, env={**os.environ, "KEY": "sk-test"}, capture_output=True, check=False)
    with open("out.jsonl.errors.jsonl", encoding="utf-8") as file:  # noqa: PTH123
        errors = [json.loads(line) for line in file]
    with open("out.jsonl", encoding="utf-8") as file:  # noqa: PTH123
        answered = sum(json.loads(line)["answer"] is not None for line in file)
    places = {error["line"] - 1 for error in errors}
    return {
        "code": done.returncode,
        "errors": len(errors),
        "at_the_right_lines": places == wrong,
        "with_a_reason": all(error["code"] and error["error"] for error in errors),
        "answered": answered,
    }


@contextlib.contextmanager
def configure_ledger(provider: str) -> Iterator[dict[str, Any]]:
    """Give the table [ledger] for *provider*. The server of `postgres` runs in the block."""
    if provider == "sqlite":
        yield {}
        return
    with PostgresServer.in_reachable_folder(fsync="on") as server:
        os.environ["FIGURES_URL"] = server.create_database()
        yield {"provider": "postgres", "postgres": {"url": "env:FIGURES_URL"}}


def measure_engines(items: int, names: Sequence[str], ledger: dict[str, Any]) -> dict[str, Any]:
    """Run *items* prompts on four workers of each engine. The start of the workers is measured by itself."""
    os.environ["FIGURES_KEY"] = "sk-test"  # workers receive no secret
    found: dict[str, Any] = {}
    for name in names:
        tables = {
            "batch": {"engine": name},
            "engines": {name: {"workers": WORKERS}},
            "cache": {"provider": "memory"},
            "ledger": ledger,
        }
        with start_simulator("--latency", str(LATENCY_S)) as address:
            config = make_config(address, **tables)
            config["llm"]["openai"]["api_key"] = "env:FIGURES_KEY"
            with llmcore.load(config) as core:
                began = time.monotonic()
                for _ in core.llm.batch(
                    (f"start {number}" for number in range(WORKERS)), concurrency=WORKERS
                ):
                    pass
                start = time.monotonic() - began
                before, began = read_counts(address)["chat"], time.monotonic()
                run = core.llm.batch(
                    (f"prompt {number}" for number in range(items)), concurrency=WORKERS * CONCURRENCY
                )
                answered = sum(item.reply is not None for item in run)
                wall = time.monotonic() - began
                upstream = read_counts(address)["chat"] - before
        found[name] = {
            "answered": answered,
            "upstream": upstream,
            "start_s": round(start, 1),
            "wall_s": round(wall, 1),
            "against_ideal": round(wall / (items * LATENCY_S / WORKERS / CONCURRENCY), 2),
            "load": round(os.getloadavg()[0], 1),
        }
    return found


def main() -> None:
    """Measure one figure in an empty home."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=("million", "budget", "pace", "bad", "kills", "engines"))
    parser.add_argument("--items", type=int)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--engines", nargs="+", default=["local", "dask"], metavar="NAME")
    parser.add_argument("--ledger", choices=("sqlite", "postgres"), default="sqlite", help="for `engines`")
    parser.add_argument("--cache", metavar="SIZE", help="the size of the file cache, for `million`")
    options = parser.parse_args()
    gc.set_threshold(ALLOCATIONS, *gc.get_threshold()[1:])
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        os.environ.update(
            HOME=home, XDG_STATE_HOME=f"{home}/state", XDG_CACHE_HOME=f"{home}/cache", XDG_CONFIG_HOME=home
        )
        if options.name == "million":
            found = measure_million(options.items or 1_000_000, options.cache)
        elif options.name == "kills":
            found = measure_kills(options.items or 10_000, options.kills)
        elif options.name == "engines":
            with configure_ledger(options.ledger) as ledger:
                found = measure_engines(options.items or 10_000, options.engines, ledger)
        else:
            found = {"budget": measure_budget, "pace": measure_pace, "bad": measure_bad}[options.name]()
        sys.stdout.write(json.dumps({options.name: found}) + "\n")
        os.chdir("/")


if __name__ == "__main__":
    main()
