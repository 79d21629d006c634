"""Declare the cache `memcached`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmcore.hookspecs import Provider, hookimpl
from llmcore_cache_memcached.options import MemcachedOptions

if TYPE_CHECKING:
    from llmcore_cache_memcached.provider import MemcachedCache

__all__ = ["LLMCORE_API", "MemcachedOptions"]

LLMCORE_API = 1


def create(options: MemcachedOptions) -> MemcachedCache:
    """Return the cache, not yet connected."""
    from llmcore_cache_memcached.provider import MemcachedCache

    return MemcachedCache(options)


@hookimpl
def llmcore_cache_providers() -> Iterable[Provider]:
    """Yield the provider `memcached`."""
    yield Provider(name="memcached", options=MemcachedOptions, create=create)
