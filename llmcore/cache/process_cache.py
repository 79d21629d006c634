"""The shared cache. Each process has one, which the first call of `get_cache` chooses."""

from __future__ import annotations

from contextlib import suppress
from os import PathLike
from pathlib import Path

from llmcore import forks
from llmcore.cache.manager import CacheManager
from llmcore.cache.store import CacheStore
from llmcore.calls.argument_names import check_argument_names
from llmcore.calls.backend import build_backend
from llmcore.errors import PluginNotFound
from llmcore.log import get_logger
from llmcore.support.home import expand_home

__all__ = ["get_cache"]

_lock = forks.lock()
_shared: CacheManager | None = None


@check_argument_names
def get_cache(backend: str | None = None, cache_dir: str | PathLike[str] | None = None) -> CacheManager:
    """Return the shared cache, the same object at each call.

    The first call chooses the cache. A later call with other arguments gets the same cache and logs a warning.

    Args:
        backend: See `CacheManager`. If this and *cache_dir* are None, the configured cache is used.
        cache_dir: See `CacheManager`.

    Raises:
        ConfigError: The configuration has a fault.
        PluginNotFound: The cache is not installed.
    """
    global _shared
    with _lock:
        if _shared is None:
            if backend is None and cache_dir is None:
                _shared = _open_configured()
            else:
                _shared = _open(backend or "file", cache_dir)
        elif _is_other_cache(_shared, backend, cache_dir):
            get_logger(__name__).warning(
                "get_cache() returns the cache `%s` of its first call, not the one requested now",
                _shared.backend,
            )
        return _shared


def _open(backend: str, cache_dir: str | PathLike[str] | None) -> CacheManager:
    try:
        return CacheManager(backend, cache_dir)
    except PluginNotFound as error:
        if error.fix is not None:
            error.fix = error.fix.replace("CacheManager(", "get_cache(")
        raise


def _open_configured() -> CacheManager:
    from llmcore.config import load_settings
    from llmcore.plugins import Catalogue

    settings = load_settings()
    backend = build_backend("cache", settings.cache.provider, settings, Catalogue())
    store = CacheStore(
        backend, ttl=settings.cache.ttl, memory=settings.cache.memory, on_outage=settings.cache.on_outage
    )
    return CacheManager(store=store)


def _is_other_cache(shared: CacheManager, backend: str | None, cache_dir: str | PathLike[str] | None) -> bool:
    """Return whether the arguments name a cache other than *shared*."""
    if backend is not None and backend.rpartition(":")[2] != shared.backend:
        return True
    if cache_dir is None or shared.cache_dir is None:
        return False
    with suppress(RuntimeError):  # unknown user in ~user
        cache_dir = expand_home(cache_dir)
    return Path(cache_dir).absolute() != shared.cache_dir.absolute()
