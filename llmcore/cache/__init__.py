"""Caches for applications: CacheManager, the shared default, and what calls use underneath."""

from typing import TYPE_CHECKING

from llmcore.cache.store import CacheStore

if TYPE_CHECKING:
    from llmcore.cache.manager import CacheManager
    from llmcore.cache.shared import get_cache

__all__ = ["CacheManager", "CacheStore", "get_cache"]

_HOMES = {"CacheManager": "llmcore.cache.manager", "get_cache": "llmcore.cache.shared"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'llmcore.cache' has no attribute {name!r}")
        from importlib import import_module  # calls need only the store

        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
