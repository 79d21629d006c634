"""Read OpenAI's cost and usage reports, for `llmcore usage reconcile`.

Source: https://platform.openai.com/docs/api-reference/usage
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import httpx2

from llmcore.errors import BadRequest
from llmcore.support import bills
from llmcore.support.bills import Bill, BillLine, BillUsage
from llmcore.support.http.pages import PageReader, ReportServer, find_report_server
from llmcore_openai_optimized.account import OFFICIAL
from llmcore_openai_optimized.options import BILL_KEY_VARIABLE, BILL_TABLE, OpenAIBillOptions
from llmcore_openai_optimized.transport import Route

__all__ = ["OpenAIBillReader"]

_COSTS: Final = "organization/costs"
_USAGE: Final = {
    "organization/usage/completions": ("project_id", "api_key_id", "model", "batch", "service_tier"),
    "organization/usage/embeddings": ("project_id", "api_key_id", "model"),
    "organization/usage/audio_speeches": ("project_id", "api_key_id", "model"),
}
"""Path of a usage report -> the fields by which its rows are grouped."""
_MOST_COST_DAYS: Final = 180
_MOST_USAGE_DAYS: Final = 31
"""The largest number of days that the vendor returns in one page of the costs and of a usage report."""
_TIMEOUT_S: Final = 60.0
_TIERS: Final = frozenset({"batch", "flex", "priority", "fast"})
_UNIMPORTANT: Final = frozenset({"text", "tokens", "token", "uncached", "30m", "prompt"})
"""Words of a line item that do not change its kind."""
_KINDS: Final[Mapping[frozenset[str], str]] = {
    frozenset(words.split()): kind
    for words, kind in {
        "input": bills.INPUT, "cached input": bills.CACHED_INPUT, "output": bills.OUTPUT,
        "cache write": bills.CACHE_WRITE, "cache write input": bills.CACHE_WRITE,
        "cache write 12h": bills.CACHE_WRITE_LONG, "cache write input 12h": bills.CACHE_WRITE_LONG,
        "audio input": bills.AUDIO_INPUT, "audio cached input": bills.CACHED_INPUT, "audio output": bills.AUDIO_OUTPUT,
        "image input": bills.IMAGE_INPUT, "image cached input": bills.CACHED_INPUT, "image output": bills.IMAGE_OUTPUT,
        "characters": bills.CHARACTERS,
    }.items()
}  # fmt: skip
"""The words of a line item -> its kind. The model, the tier and the words in `_UNIMPORTANT` are left out."""


class OpenAIBillReader:
    """Implements `BillReader` of `llmcore.contracts.bills`."""

    def __init__(self, options: OpenAIBillOptions) -> None:
        self._options = options

    def fetch(self, since: date, until: date) -> Sequence[bytes]:
        """See `BillReader.fetch`."""
        server, route = self._find_server()
        client = httpx2.Client(
            base_url=server.address,
            headers={"authorization": f"Bearer {server.key}"},
            transport=route.make_transport(route.make_ssl_context()),
            timeout=_TIMEOUT_S,
            trust_env=False,
        )
        period = [("start_time", str(_get_start(since))), ("end_time", str(_get_start(until)))]
        period.append(("bucket_width", "1d"))
        groups = {_COSTS: ("project_id", "line_item", "api_key_id"), **_USAGE}
        pages: list[bytes] = []
        with client:
            reader = PageReader(client, server)
            for path, names in groups.items():
                most = _MOST_COST_DAYS if path == _COSTS else _MOST_USAGE_DAYS
                limit = str(min((until - since).days, most))
                pages += reader.read(
                    path, [*period, *(("group_by[]", name) for name in names), ("limit", limit)]
                )
        return pages

    def parse(self, documents: Sequence[Mapping[str, Any]]) -> Bill:
        """See `BillReader.parse`."""
        lines: list[BillLine] = []
        usage: list[BillUsage] = []
        found = list(_read_buckets(documents))
        for day, result in ((day, result) for day, results in found for result in results):
            if result.get("object") == "organization.costs.result":
                lines.append(self._read_line(day, result))
            elif str(result.get("object")).startswith("organization.usage."):
                usage.append(self._read_usage(day, result))
            else:
                raise _make_form_error(f"a result has the unknown object `{result.get('object')}`")
        return Bill(lines=lines, usage=usage, days=frozenset(day for day, _ in found))

    def _find_server(self) -> tuple[ReportServer, Route]:
        server = find_report_server(
            self._options.admin_key,
            (self._options.base_url or OFFICIAL).strip().rstrip("/"),
            provider="openai",
            table=BILL_TABLE,
            key_variable=BILL_KEY_VARIABLE,
            example_key="sk-admin-",
            hint="an owner of the organisation creates the key: platform.openai.com, Settings, Admin keys",
            default_url=OFFICIAL,
        )
        route = Route(server.address)
        server.proxy = route.shown_proxy
        return server, route

    def _is_own(self, result: Mapping[str, Any]) -> bool:
        keys, projects = self._options.api_key_ids, self._options.project_ids
        return (not keys or result.get("api_key_id") in keys) and (
            not projects or result.get("project_id") in projects
        )

    def _read_line(self, day: date, result: Mapping[str, Any]) -> BillLine:
        label, money = result.get("line_item"), result.get("amount")
        amount = bills.parse_amount(money.get("value")) if isinstance(money, Mapping) else None
        if amount is None or not isinstance(money, Mapping):
            raise _make_form_error(f"a cost of {day} has no amount")
        if str(money.get("currency", "usd")).lower() != "usd":
            raise _make_form_error(f"a cost of {day} is in {money['currency']}, not in USD")
        if not isinstance(label, str) and amount:
            raise _make_form_error(
                "the costs must be grouped by line_item, because only then do they name the model"
            )
        model, kind, tier = _split_line_item(label or "")
        return BillLine(
            day=day,
            label=label or "",
            amount=amount,
            resolution=bills.find_resolution(amount),
            model=model,
            kind=kind,
            tier=tier,
            own=self._is_own(result),
            key=result.get("api_key_id"),
            group=result.get("project_id"),
        )

    def _read_usage(self, day: date, result: Mapping[str, Any]) -> BillUsage:
        if not isinstance(result.get("model"), str):
            raise _make_form_error("the usage is not grouped by model")
        tier = "batch" if result.get("batch") is True else bills.normalise_tier(result.get("service_tier"))
        return BillUsage(
            day=day,
            model=result["model"],
            tier=tier,
            own=self._is_own(result),
            key=result.get("api_key_id"),
            group=result.get("project_id"),
            requests=result.get("num_model_requests"),
            amounts={kind: count for kind, count in _count_amounts(result).items() if count},
        )


def _read_buckets(
    documents: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[date, Sequence[Mapping[str, Any]]]]:
    for document in documents:
        for bucket in document.get("data") or ():
            start = bucket.get("start_time") if isinstance(bucket, Mapping) else None
            if not isinstance(start, int):
                raise _make_form_error("a bucket has no `start_time` in seconds")
            yield datetime.fromtimestamp(start, UTC).date(), bucket.get("results") or ()


def _split_line_item(text: str) -> tuple[str | None, str | None, str]:
    """Return model, kind and tier of a line item such as "gpt-6-astra, input_tokens"."""
    model, comma, rest = text.partition(", ")
    words = rest.lower().replace("_", " ").replace("-", " ").split()
    name = model.split()
    found = [word for word in (*words, *(each.lower() for each in name[1:])) if word in _TIERS]
    known = {"cached" if word == "cache" and "write" not in words else word for word in words}
    kind = _KINDS.get(frozenset(known - _UNIMPORTANT - _TIERS))
    if not comma or kind is None or not name:
        return None, None, bills.STANDARD
    return name[0], kind, bills.normalise_tier(found[0] if found else None)


def _count_amounts(result: Mapping[str, Any]) -> dict[str, int]:
    def get(name: str) -> int:
        value = result.get(name)
        return value if isinstance(value, int) else 0

    cached, written = get("input_cached_tokens"), get("input_cache_write_tokens")
    long = min(get("input_cache_write_12h_tokens"), written)
    audio, image = get("input_audio_tokens"), get("input_image_tokens")
    audio_out, image_out = get("output_audio_tokens"), get("output_image_tokens")
    return {
        bills.INPUT: max(get("input_tokens") - cached - written - audio - image, 0),
        bills.CACHED_INPUT: cached,
        bills.CACHE_WRITE: written - long,
        bills.CACHE_WRITE_LONG: long,
        bills.AUDIO_INPUT: audio,
        bills.IMAGE_INPUT: image,
        bills.OUTPUT: max(get("output_tokens") - audio_out - image_out, 0),
        bills.AUDIO_OUTPUT: audio_out,
        bills.IMAGE_OUTPUT: image_out,
        bills.CHARACTERS: get("characters"),
    }


def _get_start(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _make_form_error(what: str) -> BadRequest:
    groups = "&".join(f"group_by[]={name}" for name in ("project_id", "line_item", "api_key_id"))
    return BadRequest(
        f"this report of OpenAI cannot be compared with the ledger: {what}",
        provider="openai",
        expected=f"pages of GET /v1/{_COSTS}?{groups} and of GET /v1/organization/usage/completions, grouped by "
        "api_key_id, model, batch and service_tier",
        fix="llmcore usage reconcile openai --save report.json",
    )
