"""Four gateways on one PostgreSQL and one Redis, behind a balancer: together they keep what one alone promises."""

from __future__ import annotations

import os
import signal
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

import httpx2
import pytest

import llmcore
from llmcore.cache.lease import LEASE_S
from llmcore.core import Core
from llmcore_testing.free_ports import find_free_port
from llmcore_testing.postgres_server import PostgresServer, find_postgres
from llmcore_testing.redis_server import RedisServer, find_redis_server
from llmcore_testing.simulator import Simulator
from tests.kits.balancer import Balancer
from tests.kits.gateway import KEY, MODEL, Command
from tests.kits.gateway_load import PATIENCE_S, Load, is_ledger_late
from tests.kits.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX"),
    pytest.mark.skipif(find_redis_server() is None, reason="no redis-server"),
    pytest.mark.skipif(find_postgres() is None, reason="no PostgreSQL"),
    pytest.mark.slow,
]

REPLICAS: Final = 4
MANY: Final = 16
CONCURRENCY: Final = 6
RATE: Final = 120
"""Requests a minute for the model RATED. The burst is the amount of a second."""
RATED: Final = "gpt-4o"
TLS: Final = ssl.create_default_context()
"""One for all clients: making it takes longer than a request."""
USD_PER_TOKEN: Final = Decimal("0.000001")
CONFIG: Final = f"""
[llm]
provider = "openai"
model = "{MODEL}"

[llm.openai]
base_url = "{{upstream}}"
api_key = "env:UPSTREAM_KEY"

[llm.slow]
use = "openai"
base_url = "{{slow}}"
api_key = "env:UPSTREAM_KEY"

[models]
rated = "openai:{RATED}"
slow = "slow:{MODEL}"

[prices."openai:{MODEL}"]
input = 1
output = 1

[retry]
attempts = 1

[ledger]
provider = "postgres"
path = "./{{name}}.sqlite3"

[ledger.postgres]
url = "env:LEDGER_URL"
connect_timeout = "60s"
silence = "10m"

[cache]
provider = "redis"

[cache.redis]
url = "env:REDIS_URL"
timeout = "60s"
connect_timeout = "60s"
limit_timeout = "60s"

[limits]
shared = {{{{ use = "redis", lease = "10m" }}}}
concurrency = {CONCURRENCY}

[limits."openai:{RATED}"]
requests_per_minute = {RATE}

[gateway]
models = ["{MODEL}", "rated", "slow"]
drain_delay = "0s"
"""


class Replicas:
    """The gateways, their servers and the balancer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.ports = [find_free_port() for _ in range(REPLICAS)]
        self.commands: dict[int, Command] = {}

    def __enter__(self) -> Self:
        with self._stack:
            enter = self._stack.enter_context
            ledger = enter(PostgresServer.in_reachable_folder())
            self.redis = enter(RedisServer(self._folder / "redis"))
            self.upstream = enter(Simulator())
            self.slow = enter(Simulator())
            variables = enter(pytest.MonkeyPatch.context())
            variables.setenv("UPSTREAM_KEY", KEY)
            variables.setenv("LEDGER_URL", ledger.create_database())
            variables.setenv("REDIS_URL", self.redis.url)
            self._stack.callback(self._close)
            with ThreadPoolExecutor(REPLICAS) as pool:
                list(pool.map(self.start, self.ports))
            self.core: Core = enter(llmcore.load(self._write_config("administrator")))
            self.key = self.create_key("everyone")
            self.balancer = enter(Balancer(self.ports))
            self.balancer.wait_until_in(*self.ports)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, port: int) -> None:
        self.commands[port] = Command(self._write_config(f"replica-{port}"), "--port", str(port))

    def create_key(self, name: str, **options: Any) -> str:
        """Create a key and return its text once every replica has accepted it."""
        _, key = self.core.keys.create(name, **options)
        for command in self.commands.values():
            wait_until(lambda: command.http.get("/v1/models", headers=make_headers(key)).status_code == 200)  # noqa: B023
        return key

    def ask(self, text: str, key: str = "", *, url: str = "", model: str = MODEL) -> httpx2.Response:
        """Send one request through the balancer, or to *url*, on a new connection."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 20}
        with httpx2.Client(base_url=url or self.balancer.url, timeout=PATIENCE_S, verify=TLS) as http:
            while True:
                answer = http.post("/v1/chat/completions", json=body, headers=make_headers(key or self.key))
                if not is_ledger_late(answer):
                    return answer

    def ask_many(self, texts: list[str], key: str = "", *, model: str = MODEL) -> list[httpx2.Response]:
        """Send requests through the balancer at once."""
        with ThreadPoolExecutor(len(texts)) as pool:
            return list(pool.map(lambda text: self.ask(text, key, model=model), texts))

    def count_in_progress(self) -> int:
        """Return the number of chats in progress in all replicas."""
        found = 0
        for command in self.commands.values():
            for line in command.http.get("/metrics", headers=make_headers(self.key)).text.splitlines():
                if line.startswith("llmcore_requests_in_progress "):
                    found += int(line.split()[-1]) - 1  # this one
        return found

    def _write_config(self, name: str) -> Path:
        path = self._folder / f"{name}.toml"
        path.write_text(CONFIG.format(upstream=self.upstream.base_url, slow=self.slow.base_url, name=name))
        return path

    def _close(self) -> None:
        self.upstream.release()
        self.slow.release()
        for command in self.commands.values():
            command.process.send_signal(signal.SIGINT)
        for command in self.commands.values():
            command.close()


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with Replicas(tmp_path_factory.mktemp("replicas")) as made:
        yield made


def make_headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_key_is_accepted_by_all_until_it_is_revoked(replicas: Replicas) -> None:
    def get_statuses(key: str) -> set[int]:
        return {
            command.http.get("/v1/models", headers=make_headers(key)).status_code
            for command in replicas.commands.values()
        }

    key = replicas.create_key("ann")
    assert get_statuses(key) == {200}
    replicas.core.keys.revoke("ann")
    wait_until(lambda: get_statuses(key) == {401})
    wait_until(lambda: get_statuses("unknown") == {401})


def test_a_budget_holds_over_all(replicas: Replicas) -> None:
    limit = Decimal("0.0003")
    key = replicas.create_key("bob", budget=limit)
    first = replicas.ask("First", key)
    before = replicas.upstream.counts["requests"]
    answers = replicas.ask_many([f"Budget {number}" for number in range(2 * MANY)], key)
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert replicas.upstream.counts["requests"] - before == statuses[200]
    assert all(replicas.balancer.accepted.values()), "the requests went to all replicas"
    billed = USD_PER_TOKEN * sum(
        answer.json()["usage"]["total_tokens"] for answer in (first, *answers) if answer.status_code == 200
    )

    def find_row() -> Any:
        (row,) = [row for row in replicas.core.usage.by("user") if row.name == "bob"]
        return row

    wait_until(lambda: not find_row().unsettled)
    row = find_row()
    assert row.cost == billed <= limit
    assert row.uncertain == 0


def test_the_rate_of_a_key_holds_over_all(replicas: Replicas) -> None:
    begun = time.monotonic()
    key = replicas.create_key("eve", requests_per_minute=MANY // 2)  # takes a request of each replica
    answers = replicas.ask_many([f"Rate {number}" for number in range(MANY)], key)
    statuses = Counter(answer.status_code for answer in answers)
    refilled = (time.monotonic() - begun) * (MANY // 2) / 60
    assert set(statuses) <= {200, 429}
    assert statuses[200] + REPLICAS <= MANY // 2 + refilled


def test_concurrency_holds_over_all(replicas: Replicas) -> None:
    before = replicas.upstream.counts["requests"]
    replicas.upstream.hold()
    with ThreadPoolExecutor(1) as pool:
        try:
            asking = pool.submit(replicas.ask_many, [f"Concurrent {number}" for number in range(MANY)])
            wait_until(
                lambda: (
                    replicas.redis.ask("ZCARD", "llmcore:default:rate:{openai}:queue") == MANY - CONCURRENCY
                )
            )
            replicas.upstream.wait_for(lambda: replicas.upstream.in_flight == CONCURRENCY)
            assert replicas.upstream.counts["requests"] - before == CONCURRENCY
        finally:
            replicas.upstream.release()
        assert {answer.status_code for answer in asking.result()} == {200}
    assert replicas.upstream.max_in_flight == CONCURRENCY


def test_a_rate_limit_holds_over_all(replicas: Replicas) -> None:
    burst = RATE // 60
    count = REPLICAS * burst
    begun = time.monotonic()
    answers = replicas.ask_many([f"Limited {number}" for number in range(count)], model="rated")
    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - begun > (count - burst) * 60 / RATE * 0.9


def test_an_answer_that_one_has_paid_is_a_hit_at_the_others(replicas: Replicas) -> None:
    before = replicas.upstream.counts["requests"]
    cached = [
        replicas.ask("Paid once", url=command.url).headers["x-llmcore-cached"]
        for command in replicas.commands.values()
    ]
    assert cached == ["false"] + ["true"] * (REPLICAS - 1)
    assert replicas.upstream.counts["requests"] - before == 1


def test_identical_requests_at_once_are_one_request_upstream(replicas: Replicas) -> None:
    """On a machine that stops for longer than the TTL of a lease, another replica may ask too: try again then."""
    sent, took = 0, LEASE_S
    for attempt in range(10):
        before, begun = replicas.upstream.counts["requests"], time.monotonic()
        replicas.upstream.hold()
        with ThreadPoolExecutor(1) as pool:
            try:
                asking = pool.submit(replicas.ask_many, [f"The same {attempt}"] * MANY)
                wait_until(lambda: replicas.count_in_progress() >= MANY)
                replicas.upstream.wait_for_requests(before + 1)
            finally:
                replicas.upstream.release()
            answers = asking.result()
        sent, took = replicas.upstream.counts["requests"] - before, time.monotonic() - begun
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["choices"][0]["message"]["content"] for answer in answers}) == 1
        if sent == 1 or took < LEASE_S:
            break
    assert sent == 1


def test_a_rolling_restart_fails_no_request(replicas: Replicas) -> None:
    """Each replica streams a long answer when it receives the signal to stop, and ends after it."""
    load = Load(lambda: replicas.balancer.url, 50, make_headers(replicas.key))
    try:
        for number, port in enumerate(replicas.ports):
            load.wait_for(5)
            old = replicas.commands[port]
            replicas.slow.hold()
            with ThreadPoolExecutor(1) as pool:
                try:
                    asking = pool.submit(replicas.ask, f"Long {number}", url=old.url, model="slow")
                    replicas.slow.wait_for_requests(number + 1)
                    old.process.send_signal(signal.SIGTERM)
                    replicas.balancer.wait_until_out(port)
                    load.wait_for(5)
                finally:
                    replicas.slow.release()
                assert asking.result().status_code == 200
            assert old.process.wait(PATIENCE_S) == 0
            old.close()
            replicas.start(port)
            replicas.balancer.wait_until_in(port)
        load.wait_for(5)
    finally:
        load.stop()
    assert set(load.outcomes) == {"whole"}
