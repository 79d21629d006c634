"""A row of a ledger, for reports, exports and imports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["LedgerRow", "ReportQuery", "ReportRow", "RowQuery"]


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request, the hits of one second, or a sum of pruned rows; see `ledger_sums`."""

    id: int = 0
    """A number that increases with time; unique in its ledger."""
    at: float
    """Seconds since 1970."""
    call: str = ""
    """The id of the call, which the rows of all its attempts and fallbacks share."""
    attempt: int = 0
    """The number of the attempt, from 1; 0 for hits and sums."""
    state: str
    """open, done, failed, lost (its owner died) or hit (answered by the cache)."""
    count: int = 1
    """The number of requests or hits. More than 1 only for hits, which are recorded in bulk, and for sums."""
    kind: str
    """llm, voice, ..."""
    provider: str
    """The name of the provider."""
    model: str
    """The requested model."""
    served: str | None = None
    """The model that answered, as the backend names it."""
    reserved: int = 0
    """The reserved nano-dollars. `cost` and `saved` are nano-dollars too."""
    cost: int | None = None
    """None if unknown."""
    uncertain: bool = False
    """True if the outcome is unknown. The cost is then the maximum cost."""
    estimated: bool = False
    """True if the backend reported no usage, so that the tokens were counted locally."""
    saved: int | None = None
    """Nano-dollars that the cache saved; None if unknown."""
    input_tokens: int = 0
    """All input tokens, including cached tokens."""
    output_tokens: int = 0
    """All output tokens, including reasoning."""
    cached_tokens: int = 0
    """See `Usage.cached_tokens`. The next fields, up to `image_output_tokens`, are those of `Usage` too."""
    cache_write_tokens: int = 0
    cache_write_12h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    characters: int = 0
    """Characters of synthesized text."""
    latency_ms: float | None = None
    """The time from the request to the end of its answer."""
    first_token_ms: float | None = None
    """The time until the first content of a stream; None for an answer that was not streamed."""
    tier_asked: str | None = None
    """The requested service tier."""
    tier: str | None = None
    """The service tier that served the request, as the backend names it."""
    request_id: str | None = None
    """The backend's id of the request."""
    error: str | None = None
    """Code and class name of the error; None if the request was answered."""
    user: str | None = None
    """The `user` of the call."""
    tags: tuple[str, ...] = ()
    """The `tags` of the call."""
    owner: str | None = None
    """The owner of an open row: a process, or the run of a vendor's batch; see `ledger_owners`."""
    cost_source: str | None = None
    """server (the billed amount), config ([prices]) or provider (its price table)."""


class RowQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The rows to return."""

    since: float = 0.0
    """The first matching time, in seconds since 1970."""
    until: float = math.inf
    """The end of the matching times, exclusive, in seconds since 1970."""
    filters: Mapping[str, str] = {}
    """The value that a row must have, by name: `kind`, `provider`, `model`, `user`, `key`, `tag` or `error`.

    The value of `model` may be written with or without the provider. An empty `user` means rows without a user, and an
    empty `tag` means rows without tags. `key` means rows whose user is the API key of that name.
    """
    states: tuple[str, ...] | None = None
    """The states of the matching rows; None for all states."""
    newest_first: bool = False
    """True to return the newest rows first."""
    limit: int | None = None
    """The maximum number of rows; None for all."""


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The rows to sum, and their groups."""

    dimensions: tuple[str, ...]
    """The dimensions, from `total`, `hour`, `day`, `week`, `month`, `model`, `provider`, `kind`, `user`, `key`, `tag`, `error`. A row with two
    tags counts for both; with `error`, only rows with an error count.
    """
    since: float = 0.0
    """The first matching time, in seconds since 1970."""
    until: float = math.inf
    """The end of the matching times, exclusive, in seconds since 1970."""
    filters: Mapping[str, str] = {}
    """The filters, as in `RowQuery`."""
    offsets: tuple[tuple[int, int], ...] = ((0, 0),)
    """The time zone. Each pair has a moment, in seconds since 1970, and the offset from that moment on.

    An offset is the number of seconds that local time is ahead of UTC. The latest moment comes first. The offset of
    the earliest moment also applies to all times before it.
    """
    percentiles: bool = False
    """True to compute `ReportRow.percentiles`."""


class ReportRow(msgspec.Struct, frozen=True):
    """The sums of one group."""

    key: tuple[Any, ...]
    """The value of each dimension, by which the rows are sorted. `total` is "all". An hour is the moment at which it
    begins. A day is the number of days since 1970-01-01 in local time, and a week is the number of Mondays since then.
    A month is text such as `2026-11`. All other dimensions are text; a model is `provider:model`.
    """
    requests: int
    """The number of rows that are not hits. Each attempt counts."""
    failures: int
    """The number of rows with an error."""
    cached: int
    """The number of hits, as the sum of `count`."""
    unsettled: int
    """The number of open and lost rows."""
    input_tokens: int
    """All input tokens, including cached tokens."""
    output_tokens: int
    """All output tokens, including reasoning."""
    cached_tokens: int
    """Part of `input_tokens`."""
    reasoning_tokens: int
    """Part of `output_tokens`."""
    characters: int
    """The characters of rows that are neither open nor uncertain."""
    cost: int
    """Nano-dollars of rows that are not uncertain."""
    uncertain: int
    """Nano-dollars of uncertain rows."""
    saved: int
    """Nano-dollars that the cache saved."""
    unpriced: int
    """The number of done and lost rows without a cost."""
    percentiles: tuple[float | None, ...] = (None,) * 4
    """The interpolated percentiles of answered requests: `latency_ms` 50 and 95, `first_token_ms` 50 and 95."""
