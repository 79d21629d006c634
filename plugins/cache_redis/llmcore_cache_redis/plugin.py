"""Declare the cache `redis`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Provider, hookimpl
from llmcore_cache_redis.options import RedisOptions

if TYPE_CHECKING:
    from llmcore_cache_redis.provider import RedisCache

__all__ = ["LLMCORE_API", "RedisOptions"]

LLMCORE_API = 1


def create(options: RedisOptions) -> RedisCache:
    """Return the cache, not yet connected."""
    from llmcore_cache_redis.provider import RedisCache

    return RedisCache(options)


@hookimpl
def llmcore_cache_providers() -> Iterable[Provider]:
    """Yield the provider `redis`."""
    yield Provider(name="redis", options=RedisOptions, create=create)
