"""A fleet of processes that spend one budget after the other while parts of it fail.

All share a ledger in PostgreSQL and rate limits in Redis. In each run all of them want more than its budget, and some of these
faults happen: the network between a process and a server is cut or swallows what is sent; a process is stopped for
seconds or killed; a server is restarted; a replica is promoted that has lost the last writes. At the end of a run nothing may
be overspent, unbooked or left reserved. `make fleet` makes 1,000 runs, the suite 50.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from llmcore.types import Secret
from llmcore_ledger_postgres.options import PostgresOptions
from llmcore_ledger_postgres.provider import PostgresLedger
from llmcore_testing.postgres_server import PostgresServer
from llmcore_testing.redis_server import RedisServer
from llmcore_testing.simulator import Simulator
from tests.kits.fleet.members import PATIENCE_S, Member, Servers
from tests.kits.fleet.worker import MAX_TOKENS, OUTCOMES, THREADS

__all__ = ["Fleet"]

PROCESSES: Final = 8
NANO_PER_TOKEN: Final = 1000
INPUT_TOKENS: Final = 8
_NOTE_LEASES: Final = """
CREATE TABLE leases (key text PRIMARY KEY, tag text);
CREATE FUNCTION note_lease() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.leases VALUES (NEW.key, NEW.tags[1]) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER note_lease AFTER INSERT ON llmcore.calls FOR EACH ROW WHEN (NEW.kind = 'lease') EXECUTE FUNCTION note_lease();
"""
"""A lease that was returned leaves no row, so a trigger notes the leases that were granted."""
FAILOVER_EVERY: Final = 10
"""The number of runs for each failover."""


class Load(NamedTuple):
    """What the processes want in a run: more than its budget."""

    limit: int
    """The budget in nano-dollars. A request costs about 360,000, and reserves 490,000."""
    rate: int
    """The rate limit in requests a minute. A run wants about four seconds of them."""
    calls: int
    """The maximum number of calls of each thread."""


WITHOUT_LEASES: Final = Load(limit=28_000_000, rate=1200, calls=12)
WITH_LEASES: Final = Load(limit=80_000_000, rate=6000, calls=22)
"""Leases are granted until the budget has less left than 128 times the reserved amount of a request."""


class Fleet:
    """The processes and their servers.

    Args:
        folder: For configuration and logs.
        runs: The maximum number of runs.
        seed: Determines the faults.
        lease: The option `lease` of the ledger.
    """

    def __init__(self, folder: Path, runs: int, seed: int, lease: str) -> None:
        self.figures: Counter[str] = Counter()
        """What happened: outcomes of calls, faults by name, and the leases that were granted."""
        self.freed_s = 0.0
        """The longest time from the end of the faults until nothing was reserved."""
        self._folder = folder
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._lengths = random.Random(seed)  # noqa: S311 - no secret
        self._runs = runs
        self._lease = lease
        self._load = WITHOUT_LEASES if lease == "0s" else WITH_LEASES
        self._lock = threading.Lock()
        self._arrivals: list[float] = []
        self._costs: Counter[str] = Counter()
        self._killed = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            enter = self._stack.enter_context
            self._ledger = enter(PostgresServer.in_reachable_folder())
            self._limits = enter(RedisServer(self._folder))
            upstream = enter(Simulator(routes={"/v1/chat/completions": self._answer}, keep_requests=1))
            self._database = self._ledger.create_database()
            servers = Servers(
                upstream=upstream.base_url,
                ledger=f"127.0.0.1:{self._ledger.port}",
                database=self._database.rpartition("/")[2],
                limits=f"127.0.0.1:{self._limits.port}",
                rate=self._load.rate,
                processes=PROCESSES,
                lease=self._lease,
                budgets="".join(
                    f'\n[[budgets]]\nlimit = "{self._load.limit / 1e9} USD"\ntag = "run-{number}"\n'
                    for number in range(self._runs)
                ),
            )
            self.members = [Member(self._folder / f"process {n}", servers) for n in range(PROCESSES)]
            for member in self.members:
                self._stack.callback(member.close)
                member.start()
            ledger = PostgresLedger(PostgresOptions(url=Secret(self._database)))
            ledger.prepare(PATIENCE_S)
            ledger.close()
            self._ledger.execute(_NOTE_LEASES, url=self._database)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, number: int) -> list[str]:
        """Make one run; return what was wrong."""
        tag = f"run-{number}"
        has_failover = number % FAILOVER_EVERY == FAILOVER_EVERY - 1
        if has_failover:
            self._ledger.take_snapshot()
        self._arrivals.clear()
        self._killed = 0
        names = (
            {"failover"}
            if has_failover
            else set(self._chance.sample(sorted(_FAULTS.keys() - {"failover"}), 3))
        )
        for member in self.members:
            member.begin(tag, self._load.calls)
        wrong: list[str] = []
        self._break(names, wrong, tag)
        outcomes: Counter[str] = Counter()
        for member in self.members:
            outcomes.update(member.finish())
        self.figures.update(outcomes)
        are_cut = not names.isdisjoint({"cut limits", "hang limits", "restart limits"})
        # LC402: a process without Redis may use an eighth of the rate. If a call waited long for the ledger before, its
        # slot in that share may come after its deadline.
        expected = OUTCOMES | {"LC402"} if are_cut else OUTCOMES
        wrong += [f"{name}: {count} calls" for name, count in outcomes.items() if name not in expected]
        self._check_budget(tag, wrong)
        self._check_rate(wrong, are_cut=are_cut)
        statement = f"SELECT count(*) FROM leases WHERE tag = '{tag}'"  # noqa: S608 - ours
        ((leases,),) = self._ledger.execute(statement, url=self._database)
        self.figures["leases"] += int(leases)
        return [f"{tag} ({', '.join(sorted(names))}): {each}" for each in wrong]

    def _break(self, names: set[str], wrong: list[str], tag: str) -> None:
        """Let the faults happen, and end them."""
        endings: list[Callable[[], object]] = []
        for name in sorted(names, key=lambda _: self._chance.random()):
            self.figures[name] += 1
            time.sleep(self._chance.uniform(0.0, 0.4))
            endings.append(_FAULTS[name](self, self._chance.choice(self.members)))
        time.sleep(self._chance.uniform(0.0, 2.5 if "stop" in names else 0.5))
        self._check_open_rows(wrong, tag)
        for end in endings:
            end()

    def _check_open_rows(self, wrong: list[str], tag: str) -> None:
        """Check that only requests in flight have open rows, and a few that have ended and wait for the ledger to settle them."""
        open_rows = self._read(tag)[2]
        most = 2 * PROCESSES * THREADS + self._killed
        if open_rows > most:
            wrong.append(
                f"{open_rows} rows are open, at most {most} can be in flight or wait for their settlement"
            )

    def _check_budget(self, tag: str, wrong: list[str]) -> None:
        begun = time.monotonic()
        while True:
            spent, reserved, open_rows, booked = self._read(tag)
            if not reserved and not open_rows and self._is_rebuilt():
                break
            if time.monotonic() - begun > PATIENCE_S:
                wrong.append(f"{reserved} nano-dollars stay reserved, {open_rows} rows stay open")
                break
            time.sleep(0.1)
        self.freed_s = max(self.freed_s, time.monotonic() - begun)
        limit = self._load.limit
        if spent > limit:
            wrong.append(f"overspent: {spent} of {limit} nano-dollars")
        if spent != booked:
            wrong.append(f"the budget says {spent} nano-dollars, its rows {booked}")
        if spent < self._costs[tag]:
            wrong.append(f"{self._costs[tag]} nano-dollars were used, {spent} are booked")
        if self._costs[tag] > limit:
            wrong.append(f"{self._costs[tag]} nano-dollars were used, the limit is {limit}")

    def _check_rate(self, wrong: list[str], *, are_cut: bool) -> None:
        """Check each window of a second. A process without Redis uses its share besides the rate of the others."""
        most = 2 * self._load.rate / 60 * (2 if are_cut else 1) + PROCESSES * THREADS
        times = sorted(self._arrivals)
        first = 0
        for last, end in enumerate(times):
            while end - times[first] > 1.0:
                first += 1
            if last - first + 1 > most:
                wrong.append(f"{last - first + 1} requests in a second, at most {most:.0f} are allowed")
                return

    def _read(self, tag: str) -> tuple[int, int, int, int]:
        """Return what is spent, reserved, open (leases are not counted) and booked under *tag*.

        A failover may lose the counter. The next reservation creates it from the rows, so they count until then.
        """
        (row,) = self._ledger.execute(
            "SELECT coalesce(counters.spent, calls.booked), coalesce(counters.reserved, calls.reserved),"  # noqa: S608 - ours
            " calls.open, calls.booked"
            f" FROM (SELECT sum(spent) AS spent, sum(reserved) AS reserved FROM llmcore.budgets WHERE tag = '{tag}') counters,"
            " (SELECT count(*) FILTER (WHERE state = 'open' AND kind <> 'lease') AS open,"
            " coalesce(sum(reserved) FILTER (WHERE state = 'open'), 0) AS reserved,"
            " coalesce(sum(cost) FILTER (WHERE state <> 'open'), 0) AS booked"
            f" FROM llmcore.calls WHERE '{tag}' = ANY (tags)) calls",
            url=self._database,
        )
        spent, reserved, open_rows, booked = map(int, row)
        return spent, reserved, open_rows, booked

    def _is_rebuilt(self) -> bool:
        """Return whether the counters belong to this server, and not to the server before a failover."""
        statement = "SELECT timeline = llmcore.current_timeline() FROM llmcore.state"
        (row,) = self._ledger.execute(statement, url=self._database)
        return row[0] == "t"

    def _answer(self, request: Any) -> Any:
        tag = request.body["messages"][-1]["content"].split()[0]
        with self._lock:
            output = self._lengths.randint(MAX_TOKENS * 3 // 4, MAX_TOKENS)
            self._arrivals.append(time.monotonic())
            self._costs[tag] += (INPUT_TOKENS + output) * NANO_PER_TOKEN
        return {
            "id": "chatcmpl-fleet",
            "object": "chat.completion",
            "created": 1,
            "model": request.body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "word " * output},
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": INPUT_TOKENS,
                "completion_tokens": output,
                "total_tokens": INPUT_TOKENS + output,
            },
        }

    # -- faults; each returns what ends it

    def _cut_ledger(self, member: Member) -> Callable[[], object]:
        member.ledger.refuse()
        return member.ledger.heal

    def _hang_ledger(self, member: Member) -> Callable[[], object]:
        member.ledger.hold()
        return member.ledger.heal

    def _cut_limits(self, member: Member) -> Callable[[], object]:
        member.limits.refuse()
        return member.limits.heal

    def _hang_limits(self, member: Member) -> Callable[[], object]:
        member.limits.hold()
        return member.limits.heal

    def _restart_ledger(self, _: Member) -> Callable[[], object]:
        self._ledger.kill()
        self._ledger.start()
        return _do_nothing

    def _restart_limits(self, _: Member) -> Callable[[], object]:
        self._limits.kill()
        self._limits.start()
        return _do_nothing

    def _fail_over(self, _: Member) -> Callable[[], object]:
        self._ledger.replace_by_snapshot()
        return _do_nothing

    def _stop(self, member: Member) -> Callable[[], object]:
        member.stop()
        return member.resume

    def _kill(self, member: Member) -> Callable[[], object]:
        if member.is_stopped:
            return _do_nothing
        self._killed += THREADS
        member.kill()

        def replace() -> None:
            member.ledger.heal()
            member.limits.heal()
            member.start()
            member.begin("", 0)  # it has nothing to do in this run

        return replace


def _do_nothing() -> None:
    pass


_FAULTS: Final = {
    "cut ledger": Fleet._cut_ledger,
    "hang ledger": Fleet._hang_ledger,
    "cut limits": Fleet._cut_limits,
    "hang limits": Fleet._hang_limits,
    "restart ledger": Fleet._restart_ledger,
    "restart limits": Fleet._restart_limits,
    "failover": Fleet._fail_over,
    "stop": Fleet._stop,
    "kill": Fleet._kill,
}
