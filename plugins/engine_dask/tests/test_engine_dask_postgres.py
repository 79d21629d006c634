"""`llmcore batch run --engine dask` as on a fleet: a scheduler, two workers, and the ledger in PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import llmcore
from llmcore_testing.conformance.large_values import are_equal
from llmcore_testing.postgres_server import PostgresServer
from llmcore_testing.simulator import Simulator
from tests.kits.dask_processes import start_scheduler, start_worker, stop
from tests.kits.engines import KEY, RunsTwice
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.slow

COUNT = 160
"""The different prompts of a run. Each of them is in two lines."""
WIDTH = 8
"""The concurrency of a run: each of the two workers has two chunks with two requests."""
COST = Decimal("0.000011")
MOST = Decimal("0.00002")
"""The cost of an answer, and the amount that is reserved for it."""


def answer(body: Mapping[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": body["messages"][-1]["content"]}
    usage = {"prompt_tokens": 9, "completion_tokens": 11, "total_tokens": 20}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


class Fleet:
    """The machines of a batch, and the user who starts it."""

    def __init__(self, folder: Path, upstream: Simulator, address: str) -> None:
        self.folder = folder
        self.upstream = upstream
        self.address = address
        self.workers = [start_worker(address) for _ in range(2)]
        self.commands: list[subprocess.Popen[str]] = []
        (folder / "llmcore.toml").write_text(
            '[llm]\nprovider = "openai"\nmodel = "gpt-4o-mini"\n'
            f'[llm.openai]\nbase_url = "{upstream.base_url}"\napi_key = "env:{KEY}"\n'
            '[cache]\nprovider = "memory"\n[retry]\nattempts = 1\n'
            '[prices."openai:gpt-4o-mini"]\ninput = 0\noutput = 1\n'
            '[ledger]\nprovider = "postgres"\npath = "./driver.sqlite3"\n'
            '[ledger.postgres]\nurl = "env:DATABASE_URL"\nconnect_timeout = "60s"\n'
            '[budget]\nlimit = "9 USD"\n'
        )

    def start(self, name: str, *options: str, folder: Path | None = None) -> subprocess.Popen[str]:
        """Start the run *name*, in *folder* if it is given."""
        source, output = (self.folder / f"{name}{ending}" for ending in (".jsonl", ".out.jsonl"))
        lines = [
            {"prompt": f"{name} {number % COUNT}", "id": str(number), "max_tokens": 20}
            for number in range(2 * COUNT)
        ]
        source.write_text("".join(json.dumps(line) + "\n" for line in lines))
        process = subprocess.Popen(
            [
                sys.executable, "-m", "llmcore", "--config", str(self.folder / "llmcore.toml"),
                "batch", "run", str(source), "-o", str(output),
                "--engine", "dask", "--engine-address", self.address, "--concurrency", str(WIDTH), *options,
            ],
            cwd=folder or self.folder, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.commands.append(process)
        return process

    def run(self, name: str, *options: str, folder: Path | None = None) -> tuple[int, str]:
        """Return the exit code of the command, and what it wrote to stderr."""
        process = self.start(name, *options, folder=folder)
        _, errors = process.communicate(timeout=240)
        return process.returncode, errors

    def check(self, name: str, requests: int) -> None:
        """Check the lines of a finished run, its rows in PostgreSQL, and the counter of the budget.

        *requests* is the number that the simulator received.
        """
        text = (self.folder / f"{name}.out.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        expected = [f"{number}: {name} {number % COUNT}" for number in range(2 * COUNT)]
        assert are_equal([f"{line['id']}: {line['answer']}" for line in lines], expected)
        with llmcore.load(self.folder / "llmcore.toml") as core:
            wait_until(lambda: not any(state.reserved for state in core.usage.budgets()))
            rows = list(core.usage.export())
            spent = next(state.spent for state in core.usage.budgets() if state.tag is None)
        assert spent == sum(Decimal(row["cost"]) for row in rows), "the counter is the sum of the rows"
        own = [row for row in rows if row["tags"][0].startswith(f"batch:{name}-")]
        found = Counter((row["state"], Decimal(row["cost"])) for row in own)
        assert set(found) <= {("done", COST), ("lost", MOST)}
        assert COUNT <= found["done", COST] <= requests <= found.total(), (
            "each request that was paid has a row"
        )


@pytest.fixture(scope="module")
def fleet(llmcore_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with (
        pytest.MonkeyPatch.context() as variables,
        Simulator(latency_s=0.05, reply=answer) as upstream,
    ):
        variables.setenv(KEY, "sk-test")
        variables.setenv("DATABASE_URL", llmcore_postgres.create_database())
        scheduler, address = start_scheduler(folder / "scheduler")
        fleet = Fleet(folder, upstream, address)
        try:
            yield fleet
        finally:
            processes: list[subprocess.Popen[Any]] = [*fleet.commands, *fleet.workers, scheduler]
            for process in processes:
                stop(process)


@pytest.fixture
def requests(fleet: Fleet) -> Callable[[], int]:
    """Return a function that counts the requests of this test."""
    before = fleet.upstream.counts["requests"]
    return lambda: fleet.upstream.counts["requests"] - before


def test_a_killed_command_is_resumed_by_the_same_command_in_another_folder(
    fleet: Fleet, requests: Callable[[], int], tmp_path: Path
) -> None:
    killed = fleet.start("driver")
    assert fleet.upstream.wait_for(lambda: requests() >= 30, 200)
    killed.kill()
    killed.communicate()
    code, errors = fleet.run("driver", folder=tmp_path)
    assert code == 0, errors
    assert requests() == COUNT, "the workers completed their chunks, and nothing was sent again"
    fleet.check("driver", requests())


def test_a_killed_worker_costs_its_requests_in_flight(fleet: Fleet, requests: Callable[[], int]) -> None:
    running = fleet.start("worker")
    assert fleet.upstream.wait_for(lambda: requests() >= 30, 200)
    stop(fleet.workers.pop(0))
    fleet.workers.append(start_worker(fleet.address))
    _, errors = running.communicate(timeout=240)
    assert running.returncode == 0, errors
    # more than the four requests of the dead worker only if a living one was stopped for 20 s
    assert requests() <= COUNT + 3 * WIDTH
    fleet.check("worker", requests())


def test_workers_share_a_budget_and_a_resumed_run_has_another(
    fleet: Fleet, requests: Callable[[], int]
) -> None:
    limit = COST * COUNT / 2
    code, errors = fleet.run("budget", "--budget", f"{limit} USD")
    assert code == 5, errors
    with llmcore.load(fleet.folder / "llmcore.toml") as core:
        wait_until(lambda: not any(state.reserved for state in core.usage.budgets()))
        (state,) = [state for state in core.usage.budgets() if state.tag is not None]
    assert limit - WIDTH * MOST <= state.spent <= limit
    code, errors = fleet.run("budget")
    assert code == 0, errors
    assert requests() == COUNT
    fleet.check("budget", requests())


def test_a_task_that_runs_twice_is_paid_once(fleet: Fleet, requests: Callable[[], int]) -> None:
    options = {"batch": {"engine": "dask"}, "engines": {"dask": {"address": fleet.address}}}
    with llmcore.load(fleet.folder / "llmcore.toml", arguments=options) as core:
        backend = core.backend("engines")
        backend._provider = twice = RunsTwice(backend.provider)
        assert all(item.reply for item in core.llm.batch(f"twice {number}" for number in range(200)))
        for future in twice.futures:
            future.result(60)
    assert requests() == 200
