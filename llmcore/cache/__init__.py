"""Caches: `CacheManager` and the shared cache for applications, and `CacheStore` for llmcore's own calls."""

from typing import TYPE_CHECKING

from llmcore.cache.store import CacheStore

if TYPE_CHECKING:
    from llmcore.cache.manager import CacheManager
    from llmcore.cache.process_cache import get_cache

__all__ = ["CacheManager", "CacheStore", "get_cache"]

_MODULES = {"CacheManager": "llmcore.cache.manager", "get_cache": "llmcore.cache.process_cache"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module 'llmcore.cache' has no attribute {name!r}")
        from importlib import import_module  # imported lazily, because calls need only the store

        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value
