"""The sections of the configuration as structures: [llm], [cache], [storage], [voice], [retry] and [prices]."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from llmcore.config.schema import PRICE_KEYS

__all__ = ["Cache", "Llm", "Price", "Retry", "Selected", "Voice", "read_price"]

_FREE: Final = Decimal(0)


class Llm(msgspec.Struct, frozen=True):
    """The section [llm]."""

    provider: str
    model: str | None


class Cache(msgspec.Struct, frozen=True):
    """The section [cache]."""

    provider: str
    ttl: float | None
    """TTL in seconds; None if entries stay until they are evicted."""
    namespace: str
    max_size: int | None
    """Maximum size in bytes; with None, the provider decides."""
    memory: int
    """Bytes of the memory tier; 0 turns it off."""
    refresh: float | None
    """The fraction of the TTL after which an entry is refreshed in the background; None for never."""
    on_outage: Literal["memory", "miss"]
    """"memory": the memory tier serves entries during an outage of the cache.

    "miss": every look-up is a miss.
    """


class Selected(msgspec.Struct, frozen=True):
    """The provider that [storage] selects, or the engine that [batch] selects."""

    provider: str | None
    """None if nothing is configured."""


class Voice(msgspec.Struct, frozen=True):
    """The section [voice]."""

    provider: str | None
    """None if nothing is configured."""
    fallback: tuple[str, ...]
    """Providers that are tried in order if `provider` fails."""


class Retry(msgspec.Struct, frozen=True):
    """The section [retry]."""

    attempts: int
    """The maximum number of attempts, including the first."""
    deadline_s: float
    """Seconds for all attempts of a call, including the time to read the answers."""
    idle_s: float
    """Maximum seconds without a received byte."""


class Price(msgspec.Struct, frozen=True):
    """[prices."provider:model"], in USD per million tokens; see `ledger.prices` for the meaning of None."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_12h: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    characters: Decimal | None = None
    """USD per million characters of synthesized text."""


def read_price(table: Mapping[str, Any] | float) -> Price:
    """Return the price of a model. A number stands for the table: 0 means free."""
    if not isinstance(table, Mapping):
        return Price(input=_FREE, output=_FREE, characters=_FREE)
    return Price(**{key: PRICE_KEYS[key].read(value) for key, value in table.items()})
