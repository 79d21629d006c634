"""The shared default: one cache for a whole process, as the configuration says."""

from __future__ import annotations

import threading

from llmcore.cache.manager import CacheManager
from llmcore.cache.store import CacheStore
from llmcore.calls.backend import Backend

__all__ = ["get_cache"]

_lock = threading.Lock()
_shared: CacheManager | None = None


def get_cache() -> CacheManager:
    """Return the shared cache; the same object at each call.

    Raises:
        ConfigError: The configuration has a fault.
        PluginNotFound: It names a cache that is not installed.
    """
    global _shared
    with _lock:
        if _shared is None:
            from llmcore.config import load_settings
            from llmcore.plugins import Catalogue

            settings = load_settings()
            backend = Backend("cache", Catalogue().provider("cache", settings.cache.provider), settings)
            _shared = CacheManager(
                store=CacheStore(backend, ttl=settings.cache.ttl, memory=settings.cache.memory)
            )
        return _shared
