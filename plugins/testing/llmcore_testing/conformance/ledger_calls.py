"""The base class of the ledger kit: its fixtures, its sync and async calls on one event loop, and its test requests."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only by tests
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

import pytest

from llmcore.support.ledger_owners import make_key
from llmcore.support.ledger_rows import LedgerRow, RowQuery
from llmcore.support.ledger_values import (
    Charge,
    Counter,
    Limit,
    Outcome,
    Refusal,
    Reserved,
    ReserveRequest,
    Scope,
    Settlement,
)
from llmcore_testing.conformance.base import Conformance
from llmcore_testing.conformance.caller import Call

__all__ = ["ALL", "NANO", "TIMEOUT_S", "LedgerCalls", "await_method", "limit", "make_request", "open_again"]

TIMEOUT_S: Final = 30.0
NANO: Final = Decimal(10) ** -9
ALL: Final = Scope("total")
_numbers: Final = itertools.count(1)


class LedgerCalls(Conformance):
    """The fixtures and calls of the kit."""

    kind: ClassVar[str] = "ledger"
    must: ClassVar[tuple[str, ...]] = (
        "prepare", "reserve", "settle", "recover", "record", "read_budgets", "claim_alert", "aggregate", "iterate_rows",
        "prune", "read_pruned", "close",
    )  # fmt: skip
    example: ClassVar[str] = "MyLedger(tmp_path)"
    recovery_s: ClassVar[float] = 60.0
    """The maximum time in seconds until the rows of a dead process are settled."""

    @pytest.fixture
    def opener(self) -> Callable[[], Any] | None:
        """Return a function that opens the ledger of `provider` again, or None if only one process can use the ledger."""
        return None

    @pytest.fixture(params=["sync", "async"])
    def variant(self, request: pytest.FixtureRequest) -> Any:
        """Return "sync" or "async". An async test calls the async variants of the ledger."""
        return request.param

    @pytest.fixture(autouse=True)
    def _make_caller(self, provider: Any, variant: Any) -> Iterator[None]:
        missing = [name for name in self.must if not callable(getattr(provider, name, None))]
        if missing:
            pytest.fail(
                f"{type(provider).__name__} is not a ledger: define {', '.join(missing)}", pytrace=False
            )
        if variant == "async" and not callable(getattr(provider, "areserve", None)):
            pytest.skip(f"{type(provider).__name__} has no async variant: it does not define areserve")
        self._ledger, self._variant = provider, variant
        with asyncio.Runner() as self._runner:
            self.do("prepare", TIMEOUT_S)
            yield
            provider.close()

    def make_call(self) -> Call:
        """Return a call that succeeds."""
        return "recover", TIMEOUT_S

    def do(self, name: str, *args: Any, ledger: Any = None) -> Any:
        """Call the method *name*. An async test calls the async variant, if the ledger has one."""
        ledger = ledger or self._ledger
        awaiting = getattr(ledger, f"a{name}", None)
        if self._variant == "async" and awaiting is not None:
            return self._runner.run(await_method(awaiting, *args))
        return getattr(ledger, name)(*args)

    def reserve(self, request: ReserveRequest, ledger: Any = None) -> Any:
        """Call `reserve`, and check the type of the answer."""
        answer = self.do("reserve", request, TIMEOUT_S, ledger=ledger)
        assert isinstance(answer, Reserved | Refusal), (
            f"reserve must return Reserved or Refusal, got {answer!r}"
        )
        return answer

    def settle(
        self, request: ReserveRequest, reserved: Reserved, ledger: Any = None, **outcome: Any
    ) -> Sequence[Counter]:
        """Settle one request."""
        settlement = Settlement(request, reserved.row, reserved.at, Outcome(**outcome))
        counters: Sequence[Counter] = self.do("settle", [settlement], TIMEOUT_S, ledger=ledger)
        return counters

    def read(self, *scopes: Scope) -> dict[Scope, tuple[int, int]]:
        """Return the spent and the reserved amount of each scope."""
        counters = self.do("read_budgets", scopes, time.time(), TIMEOUT_S)
        return {counter.scope: (counter.spent, counter.reserved) for counter in counters}

    def rows(self, **query: Any) -> list[LedgerRow]:
        """Return the rows that match *query*."""
        return list(self._ledger.iterate_rows(RowQuery(**query), TIMEOUT_S))


async def await_method(method: Callable[..., Any], *args: Any) -> Any:
    """Await an async method. `asyncio.Runner.run` requires a coroutine, but *method* may return any awaitable."""
    return await method(*args)


def open_again(opener: Callable[[], Any]) -> Any:
    """Open the ledger again, as another process would, and prepare it."""
    other = opener()
    other.prepare(TIMEOUT_S)
    return other


def make_request(
    maximum: int,
    *limits: Limit,
    provider: str = "p",
    model: str = "a",
    user: str | None = None,
    tags: tuple[str, ...] = (),
    characters: int = 0,
    owner: str | None = None,
) -> ReserveRequest:
    """Return a unique request that is counted against *limits*."""
    number = next(_numbers)
    charge = Charge(
        kind="llm",
        provider=provider,
        model=model,
        call=f"call {number}",
        user=user,
        tags=tags,
        characters=characters,
        owner=owner,
    )
    key = f"{os.getpid()}-{number}" if owner is None else make_key(owner, charge.call)
    return ReserveRequest(key=key, charge=charge, at=time.time(), maximum=maximum, limits=limits)


def limit(scope: Scope, amount: int, *, refuses: bool = True) -> Limit:
    """Return a limit of *amount* nano-dollars or characters."""
    return Limit(scope, amount, refuses)
