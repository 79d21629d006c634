"""Estimate the number of requests of a run, their cost and duration, without sending or writing anything."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.calls.steps import Act
from llmcore.errors import BadRequest, BudgetError, LLMCoreError, PluginError
from llmcore.llm.batch.items import Prepared, make_key
from llmcore.llm.batch.queue_price import make_queue_quote
from llmcore.llm.batch.vendor import has_queue
from llmcore.llm.models import count_request
from llmcore.llm.quote import ChatQuote, bound_usage
from llmcore.support.chat_bounds import get_answer_count
from llmcore.support.ledger_rows import RowQuery
from llmcore.support.money import USD, from_nano, to_nano
from llmcore.types import Usage

if TYPE_CHECKING:
    from llmcore.llm.batch.store import RunStore
    from llmcore.llm.call import ChatCall
    from llmcore.pipeline import Services
    from llmcore.pipeline.measurement import Measurement
    from llmcore.support.ledger_values import Charge, Scope

__all__ = ["BudgetRoom", "Estimate", "count_input", "estimate_run"]

_TYPICAL: Final = 256
"""The assumed number of tokens in an answer, for a model without answers in the ledger."""
_SAMPLE: Final = 100
"""The likely length of an answer is the mean length of this many recent answers in the ledger."""
_LEAST_SHARE: Final = 2
"""The factor by which an estimate of tokens may exceed the count of the server."""


class BudgetRoom(msgspec.Struct, frozen=True, kw_only=True):
    """The remaining amount of one budget."""

    name: str
    """The readable name of the budget."""
    left: Decimal
    """The amount in USD that is neither spent nor reserved."""
    requests: int
    """The approximate number of requests that the budget allows at their likely cost."""
    of: int
    """The number of requests in the run to which the budget applies."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The estimate of a run: its requests and their cost. Retries and fallbacks are not included."""

    items: int = 0
    """The number of items that were read."""
    malformed: int = 0
    """Items that cannot be sent. They fail, and cost nothing."""
    answered: int = 0
    """Items that an earlier execution of the run has answered."""
    duplicates: int = 0
    """Items whose request is equal to the request of an earlier item."""
    cached: int = 0
    """Items that the cache answers."""
    requests: int = 0
    """The number of requests that the run would send."""
    characters: int = 0
    """The characters to be spoken, in a batch of speech."""
    input_tokens: int = 0
    """The input tokens of these requests."""
    exact_share: float = 1.0
    """The share of `input_tokens` that is counted exactly, from 0 to 1; the other tokens are estimated."""
    output_least: int = 0
    """The minimum number of output tokens."""
    output_likely: int = 0
    """The likely output tokens, from the mean of the model's last answers in the ledger, or 256 tokens per answer."""
    output_most: int | None = 0
    """The maximum number of output tokens; None if the length of an answer has no limit."""
    cost_least: Decimal | None = Decimal(0)
    """The minimum cost in USD; None if a price is unknown."""
    cost_likely: Decimal | None = Decimal(0)
    """The cost in USD of the likely output tokens; None if a price is unknown."""
    cost_most: Decimal | None = Decimal(0)
    """The maximum cost in USD; None if a price is unknown, or the length of an answer has no limit."""
    has_queue: bool = False
    """True if all models have a queue with known prices. Only then the next three fields are set."""
    queue_least: Decimal | None = Decimal(0)
    """The minimum cost in USD in the lane `queue`; None if a price is unknown."""
    queue_likely: Decimal | None = Decimal(0)
    """The likely cost in USD in the lane `queue`; None if a price is unknown."""
    queue_most: Decimal | None = Decimal(0)
    """The maximum cost in USD in the lane `queue`; None if a price is unknown, or the length of an answer has no limit."""
    unpriced: tuple[str, ...] = ()
    """The models whose prices are unknown."""
    seconds: float | None = None
    """The shortest duration that `[limits]` allows, in seconds; None if the models have no rate limits."""
    budgets: tuple[BudgetRoom, ...] = ()
    """The remaining amount of each budget that applies to the run."""


def estimate_run(
    items: Iterable[Prepared],
    plan: Callable[[Mapping[str, Any]], ChatCall],
    services: Services,
    store: RunStore | None,
    measure: Callable[[Mapping[str, Any]], Act[Measurement]],
) -> Act[Estimate]:
    """Return the estimate of the run of *items*.

    Each different request takes about 100 bytes of memory.

    Args:
        items: All items of the run.
        plan: Returns the call for a request body.
        services: The services of the call.
        store: The file with the answers of earlier executions of the run; None if there is none.
        measure: Measures the body of a text to be embedded or spoken.

    Raises:
        ConfigError, PluginError: An item names a model that is not configured.
        LedgerError: The ledger cannot be read.
    """
    work = _Estimator(plan, services, measure)
    yield from work.read(items, store)
    return work.make_estimate()


class _Load:
    """The requests to one model."""

    def __init__(self, charge: Charge, likely: int, *, has_queue: bool) -> None:
        self.charge = charge
        self.has_queue = has_queue
        self.likely = likely
        """The likely number of tokens in an answer."""
        self.requests = 0
        self.tokens = 0
        self.cost: Decimal | None = Decimal(0)
        """The likely cost; None if the price is unknown."""


class _Estimator:
    def __init__(
        self,
        plan: Callable[[Mapping[str, Any]], ChatCall],
        services: Services,
        measure: Callable[[Mapping[str, Any]], Act[Measurement]],
    ) -> None:
        self._plan = plan
        self._measure = measure
        self._services = services
        self._seen: set[int] = set()
        self._loads: dict[tuple[str, str], _Load] = {}
        self._sums: dict[str, Any] = dict.fromkeys(
            (
                "items",
                "malformed",
                "answered",
                "duplicates",
                "cached",
                "requests",
                "input_tokens",
                "characters",
            ),
            0,
        )
        self._exact = self._output_least = self._output_likely = 0
        self._output_most: int | None = 0
        self._now: list[Decimal | None] = [Decimal(0)] * 3
        """The minimum, likely and maximum cost in the lane `now`."""
        self._queue: list[Decimal | None] = [Decimal(0)] * 3

    def read(self, items: Iterable[Prepared], store: RunStore | None) -> Generator[Any, Any, None]:
        """Count *items*."""
        for item in items:
            self._sums["items"] += 1
            try:
                if item.body is None:
                    kind = "malformed"
                else:
                    kind = yield from self._sort(item.body, store)
            except BadRequest:
                kind = "malformed"
            self._sums[kind] += 1

    def _sort(self, body: Mapping[str, Any], store: RunStore | None) -> Act[str]:
        """Return the counter for *body*: answered, duplicates, cached or requests.

        For "requests", add the tokens and the cost of the request to the sums.
        """
        own = make_key(body)
        if store is not None and store.has_answer(own):
            return "answered"
        if "messages" not in body:
            return (yield from self._sort_text(body))
        call = self._plan(body)
        mark = hash(call.key or own)
        if mark in self._seen:
            return "duplicates"
        self._seen.add(mark)
        if call.key is not None and call.reads:
            data = yield from self._services.cache.lookup(call.key)
            if data is not None and call.kind.decode(call, data) is not None:
                return "cached"
        self._add(call)
        return "requests"

    def _sort_text(self, body: Mapping[str, Any]) -> Act[str]:
        """Return the counter for the body of a text to be embedded or spoken; see `_sort`."""
        found = yield from self._measure(body)
        mark = hash(found.key)
        if mark in self._seen:
            return "duplicates"
        self._seen.add(mark)
        if found.is_cached:
            return "cached"
        charge = found.charge
        load = self._loads.setdefault((charge.provider, charge.model), _Load(charge, 0, has_queue=False))
        load.requests += 1
        load.tokens += found.tokens
        load.cost = _add(load.cost, found.costs[1])
        self._sums["input_tokens"] += found.tokens
        self._sums["characters"] += found.characters
        self._exact += found.tokens if found.is_exact else 0
        self._now = [_add(total, part) for total, part in zip(self._now, found.costs, strict=True)]
        return "requests"

    def _add(self, call: ChatCall) -> None:
        load = self._find_load(call)
        tokens, is_exact = count_input(call)
        answers = get_answer_count(call.request.parameters)
        bound = bound_usage(call.backend, call.request, exact=True)
        likely = load.likely * answers if bound is None else min(load.likely * answers, bound.output_tokens)
        self._sums["input_tokens"] += tokens
        self._exact += tokens if is_exact else 0
        self._output_least += answers
        self._output_likely += likely
        self._output_most = _add(self._output_most, None if bound is None else bound.output_tokens)
        load.requests += 1
        load.tokens += tokens + likely
        fewest = tokens if is_exact else tokens // _LEAST_SHARE
        usages = (
            Usage(input_tokens=tokens, output_tokens=likely),
            [
                Usage(input_tokens=fewest, output_tokens=answers, cached_tokens=cached)
                for cached in (0, fewest)  # none or all of the prompt is in the vendor's cache
            ],
        )
        costs = _price(ChatQuote(call.backend, call.request, self._services.prices), *usages)
        load.cost = _add(load.cost, costs[1])
        self._now = [_add(total, part) for total, part in zip(self._now, costs, strict=True)]
        if load.has_queue:
            queue = _price(make_queue_quote(call, self._services.prices), *usages)
            self._queue = [_add(total, part) for total, part in zip(self._queue, queue, strict=True)]

    def _find_load(self, call: ChatCall) -> _Load:
        name = call.backend.name, call.request.model
        if name not in self._loads:
            charge, likely = call.kind.charge(call), self._read_likely(*name)
            self._loads[name] = _Load(charge, likely, has_queue=_has_queue(call))
        return self._loads[name]

    # -- the ledger

    def _read_likely(self, provider: str, model: str) -> int:
        """Return the mean length of the last answers of the model, in tokens."""
        query = RowQuery(
            filters={"kind": "llm", "provider": provider, "model": f"{provider}:{model}"},
            states=("done",),
            newest_first=True,
            limit=_SAMPLE,
        )
        rows = self._read("iterate_rows", query)
        lengths = [row.output_tokens for row in rows]
        return max(1, round(sum(lengths) / len(lengths))) if lengths else _TYPICAL

    def _read(self, operation: str, *args: Any) -> list[Any]:
        """Return the result of *operation* of the ledger; an empty list if the ledger is disabled."""
        spending = self._services.spending()
        return spending.read(operation, *args) if spending.is_enabled else []

    # -- the result

    def make_estimate(self) -> Estimate:
        """Return the estimate of all counted items."""
        loads = self._loads
        tokens = self._sums["input_tokens"]
        return Estimate(
            **self._sums,
            exact_share=self._exact / tokens if tokens else 1.0,
            output_least=self._output_least,
            output_likely=self._output_likely,
            output_most=self._output_most,
            cost_least=self._now[0],
            cost_likely=self._now[1],
            cost_most=self._now[2],
            has_queue=bool(loads)
            and all(load.has_queue for load in loads.values())
            and self._queue[1] is not None,
            queue_least=self._queue[0],
            queue_likely=self._queue[1],
            queue_most=self._queue[2],
            unpriced=tuple(":".join(name) for name, load in loads.items() if load.cost is None),
            seconds=self._services.limits.compute_duration(
                {name: (load.requests, load.tokens) for name, load in loads.items()}
            ),
            budgets=tuple(self._make_rooms()),
        )

    def _make_rooms(self) -> Iterable[BudgetRoom]:
        import time

        spending, at = self._services.spending(), time.time()
        counted: dict[Scope, list[_Load]] = {}
        limits = {}
        for load in self._loads.values():
            for limit in spending.find_limits(load.charge):
                if limit.refuses and limit.scope.unit == USD:
                    counted.setdefault(limit.scope, []).append(load)
                    limits[limit.scope] = limit
        for scope, loads in counted.items():
            counters = self._read("read_budgets", [scope], at)
            used = sum(each.spent + each.reserved for each in counters if each.scope == scope)
            left = max(0, limits[scope].amount - used)
            requests = sum(load.requests for load in loads)
            cost = sum(to_nano(load.cost) for load in loads if load.cost is not None)
            priced = sum(load.requests for load in loads if load.cost is not None)
            allowed = priced if cost <= left else int(priced * left / cost)
            yield BudgetRoom(name=scope.name, left=from_nano(left), requests=allowed, of=requests)


def count_input(call: ChatCall) -> tuple[int, bool]:
    """Return the number of prompt tokens, and True if the number is exact."""
    try:
        count = count_request(call.backend, call.request)
    except PluginError:  # the provider cannot count
        count = None
    if count is not None:
        return int(count), count.exact
    size = len(msgspec.json.encode(call.request.messages, enc_hook=repr))
    return size // 4 + 1, False


def _price(quote: ChatQuote, likely: Usage, least: list[Usage]) -> list[Decimal | None]:
    """Return the minimum, likely and maximum cost.

    A cost is None if the price is unknown. The maximum cost is also None if the usage has no upper bound.
    """
    known = [price for price in map(quote.compute_price, least) if price is not None]
    try:
        most: Decimal | None = quote.compute_maximum(exact=True)
    except BudgetError:  # there is no price or no upper bound
        most = None
    return [min(known) if len(known) == len(least) else None, quote.compute_price(likely), most]


def _has_queue(call: ChatCall) -> bool:
    try:
        return has_queue(call.backend)
    except LLMCoreError:  # the provider cannot be created, for example without a key
        return False


def _add(total: Any, part: Any) -> Any:
    """Return the sum; None if one of the two numbers is unknown."""
    return None if total is None or part is None else total + part
