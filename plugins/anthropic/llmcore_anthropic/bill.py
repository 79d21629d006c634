"""Read Anthropic's cost and usage reports, for `llmcore usage reconcile`.

Source: https://platform.claude.com/docs/en/api/admin/cost_report and .../usage_report/retrieve_messages
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import httpx2
import msgspec

from llmcore.errors import BadRequest
from llmcore.support import bills
from llmcore.support.bills import Bill, BillLine, BillUsage
from llmcore.support.http.pages import PageReader, ReportServer, find_report_server
from llmcore_anthropic.client import Route
from llmcore_anthropic.options import BILL_KEY_VARIABLE, BILL_TABLE, OFFICIAL, AnthropicBillOptions

__all__ = ["AnthropicBillReader"]

_COSTS: Final = "/v1/organizations/cost_report"
_USAGE: Final = "/v1/organizations/usage_report/messages"
_GROUPS: Final = {
    _COSTS: ("workspace_id", "description"),
    _USAGE: ("api_key_id", "workspace_id", "model", "service_tier", "context_window"),
}
_MOST_DAYS: Final = 31
"""The largest number of days that the vendor returns in one page."""
_TIMEOUT_S: Final = 60.0
_CENTS: Final = Decimal("0.01")
_VERSION: Final = {"anthropic-version": "2023-06-01"}
_BY_CONTRACT: Final = "priority"
"""The tier that is paid by contract: its usage is in the usage report, but its cost is not in the cost report."""
_KINDS: Final[Mapping[str, str]] = {
    "uncached_input_tokens": bills.INPUT,
    "cache_read_input_tokens": bills.CACHED_INPUT,
    "cache_creation.ephemeral_5m_input_tokens": bills.CACHE_WRITE,
    "cache_creation.ephemeral_1h_input_tokens": bills.CACHE_WRITE_LONG,
    "output_tokens": bills.OUTPUT,
}
"""Name -> kind of token. The name is the `token_type` of a cost, and the path of the count in a usage result."""


class _Place(NamedTuple):
    """The fields by which a cost is matched with its usage. The API key is not one of them, because costs do not name it."""

    day: date
    model: str | None
    tier: str
    workspace: str | None
    window: str | None


class AnthropicBillReader:
    """Implements `BillReader` of `llmcore.contracts.bills`."""

    def __init__(self, options: AnthropicBillOptions) -> None:
        self._options = options

    def fetch(self, since: date, until: date) -> Sequence[bytes]:
        """See `BillReader.fetch`."""
        server, route = self._find_server()
        client = httpx2.Client(
            base_url=server.address,
            headers={"x-api-key": server.key, **_VERSION},
            timeout=_TIMEOUT_S,
            **route.make_settings(),
        )
        period = [("starting_at", f"{since}T00:00:00Z"), ("ending_at", f"{until}T00:00:00Z")]
        period += [("bucket_width", "1d"), ("limit", str(min((until - since).days, _MOST_DAYS)))]
        pages: list[bytes] = []
        with client:
            reader = PageReader(client, server)
            for path, names in _GROUPS.items():
                pages += reader.read(path, [*period, *(("group_by[]", name) for name in names)])
        return pages

    def parse(self, documents: Sequence[Mapping[str, Any]]) -> Bill:
        """See `BillReader.parse`. A cost is divided among API keys in proportion to their tokens."""
        found = list(_read_buckets(documents))
        costs: list[tuple[date, Mapping[str, Any]]] = []
        usage: list[BillUsage] = []
        counted: dict[tuple[_Place, str], list[BillUsage]] = defaultdict(list)
        for day, result in ((day, result) for day, results in found for result in results):
            if "amount" in result:
                costs.append((day, result))
            elif "uncached_input_tokens" in result:
                if result.get("service_tier") == _BY_CONTRACT:
                    continue
                row = self._read_usage(day, result)
                usage.append(row)
                for kind in row.amounts:
                    counted[_find_place(day, result), kind].append(row)
            else:
                raise _make_form_error(f"a result of {day} has neither `amount` nor `uncached_input_tokens`")
        lines = [line for day, result in costs for line in self._read_lines(day, result, counted)]
        return Bill(lines=lines, usage=usage, days=frozenset(day for day, _ in found))

    def _find_server(self) -> tuple[ReportServer, Route]:
        server = find_report_server(
            self._options.admin_key,
            (self._options.base_url or OFFICIAL).strip().rstrip("/").removesuffix("/v1"),
            provider="anthropic",
            table=BILL_TABLE,
            key_variable=BILL_KEY_VARIABLE,
            example_key="sk-ant-admin-",
            hint="an admin creates the key: platform.claude.com, Settings, Admin keys",
            default_url=OFFICIAL,
        )
        route = Route(server.address)
        server.proxy = route.shown_proxy
        return server, route

    def _is_own(self, key: Any, workspace: Any, *, has_key: bool = True) -> bool:
        keys, workspaces = self._options.api_key_ids, self._options.workspace_ids
        return (not keys or not has_key or key in keys) and (
            not workspaces or (workspace or "") in workspaces
        )

    def _read_usage(self, day: date, result: Mapping[str, Any]) -> BillUsage:
        if not isinstance(result.get("model"), str):
            raise _make_form_error("the usage is not grouped by model")
        counts = {kind: _get_count(result, path) for path, kind in _KINDS.items()}
        return BillUsage(
            day=day,
            model=result["model"],
            tier=bills.normalise_tier(result.get("service_tier")),
            own=self._is_own(result.get("api_key_id"), result.get("workspace_id")),
            key=result.get("api_key_id"),
            group=result.get("workspace_id"),
            amounts={kind: count for kind, count in counts.items() if count},
        )

    def _read_lines(
        self, day: date, result: Mapping[str, Any], counted: Mapping[tuple[_Place, str], list[BillUsage]]
    ) -> Iterator[BillLine]:
        """Yield the lines of one cost: one line for each API key that used this kind of token."""
        cents = bills.parse_amount(result["amount"])
        if cents is None:
            raise _make_form_error(f"a cost of {day} has the amount {result['amount']!r}")
        if str(result.get("currency", "USD")).upper() != "USD":
            raise _make_form_error(f"a cost of {day} is in {result['currency']}, not in USD")
        if result.get("description") is None and cents:
            raise _make_form_error(
                "the costs must be grouped by description, because only then do they name the model"
            )
        place, workspace = _find_place(day, result), result.get("workspace_id")
        kind = _KINDS.get(result.get("token_type") or "") if place.model else None
        users = [] if kind is None else counted.get((place, kind), [])
        line = BillLine(
            day=day,
            label=result.get("description") or "",
            amount=cents * _CENTS,
            resolution=bills.find_resolution(cents) * _CENTS,
            model=None if kind is None else place.model,
            kind=kind,
            tier=place.tier,
            own=self._is_own(None, workspace, has_key=False),
            group=workspace,
        )
        if kind is None or not users:
            yield line
            return
        parts = bills.divide(line.amount, [row.amounts[kind] for row in users])
        for row, amount in zip(users, parts, strict=True):
            yield msgspec.structs.replace(line, amount=amount, own=row.own, key=row.key)


def _read_buckets(
    documents: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[date, Sequence[Mapping[str, Any]]]]:
    for document in documents:
        for bucket in document.get("data") or ():
            start = bucket.get("starting_at") if isinstance(bucket, Mapping) else None
            try:
                moment = datetime.fromisoformat(start) if isinstance(start, str) else None
            except ValueError:
                moment = None
            if moment is None:
                raise _make_form_error("a bucket has no `starting_at` in the form of RFC 3339")
            yield moment.astimezone(UTC).date(), bucket.get("results") or ()


def _find_place(day: date, result: Mapping[str, Any]) -> _Place:
    return _Place(
        day,
        result.get("model"),
        bills.normalise_tier(result.get("service_tier")),
        result.get("workspace_id"),
        result.get("context_window"),
    )


def _get_count(result: Mapping[str, Any], path: str) -> int:
    value: Any = result
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int) else 0


def _make_form_error(what: str) -> BadRequest:
    costs, usage = ("&".join(f"group_by[]={name}" for name in names) for names in _GROUPS.values())
    return BadRequest(
        f"this report of Anthropic cannot be compared with the ledger: {what}",
        provider="anthropic",
        expected=f"pages of GET {_COSTS}?{costs} and of GET {_USAGE}?{usage}",
        fix="llmcore usage reconcile anthropic --save report.json",
    )
