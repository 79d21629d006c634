"""CacheManager: what an application calls to keep its own values."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, ParamSpec, Self, TypeVar

from llmcore.cache.codec import Codec
from llmcore.cache.store import CacheStore
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import CacheError
from llmcore.units import Duration, Size

__all__ = ["CacheManager", "Ttl"]

P = ParamSpec("P")
R = TypeVar("R")

Ttl = float | str | timedelta | None
"""How long a value lives: seconds, "1h", a timedelta; None takes the configured time."""

PREFIX: Final = "v:"
"""In front of users' keys in the backend, which also keeps replies."""
_LONGEST: Final = 400
_MISS: Final = object()


class CacheManager:
    """Keeps values under text keys for a while, in the backend that is named.

    A backend that fails is a miss, counted in `errors`; a value that cannot be kept raises `CacheError` at once.
    Each blocking method has an async twin with the prefix `a`.
    """

    def __init__(
        self,
        backend: str = "file",
        *,
        ttl: Ttl = None,
        memory: int | str = "64MB",
        store: CacheStore | None = None,
        **options: Any,
    ) -> None:
        """Open the cache.

        Args:
            backend: "memory", "file" or any installed provider.
            ttl: How long values live where `set` does not say; None: until they are evicted.
            memory: Size of the memory tier in front of the backend; 0 turns it off.
            store: An open one to share, in place of *backend*.
            options: The provider's own, such as `cache_dir="./cache"` or `url="redis://..."`.

        Raises:
            PluginNotFound: No installed plugin offers *backend*.
            ConfigError: An option is unknown or does not fit.
        """
        if store is None:
            store = CacheStore(_opened(backend, options), ttl=_seconds(ttl), memory=Size.parse(memory))
        self._store = store
        self._codec = Codec()

    # -- one value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or *default* where there is none."""
        return _or(run(self.look_up(key, self._codec)), default)

    async def aget(self, key: str, default: Any = None) -> Any:
        """See `get`."""
        return _or(await arun(self.look_up(key, self._codec)), default)

    def set(self, key: str, value: Any, ttl: Ttl = None) -> bool:
        """Keep *value*; return whether the backend took it.

        Raises:
            CacheError: The value would not come back as itself.
        """
        return run(self.keep(key, value, ttl, self._codec))

    async def aset(self, key: str, value: Any, ttl: Ttl = None) -> bool:
        """See `set`."""
        return await arun(self.keep(key, value, ttl, self._codec))

    def delete(self, key: str) -> bool:
        """Forget the key; return whether it was there."""
        return run(self._store.forget(_backend_key(key)))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return await arun(self._store.forget(_backend_key(key)))

    # -- many

    def invalidate(self, pattern: str | None = None) -> int:
        """Forget the keys that match *pattern*, such as "user:*"; without one, clear the cache's namespace.

        Returns:
            How many keys were forgotten; -1 where everything was cleared and nobody counted.

        Raises:
            CacheError: The backend failed, or cannot tell its keys.
        """
        return run(self._invalidate(pattern))

    async def ainvalidate(self, pattern: str | None = None) -> int:
        """See `invalidate`."""
        return await arun(self._invalidate(pattern))

    def clear(self) -> None:
        """Forget everything in this cache's namespace, replies included."""
        run(self._invalidate(None))

    async def aclear(self) -> None:
        """See `clear`."""
        await arun(self._invalidate(None))

    # -- functions

    def cached(
        self, ttl: Ttl = None, *, key: Callable[..., str] | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator that keeps what a function or coroutine function returns.

        Args:
            ttl: How long a result lives; None takes the cache's.
            key: Makes the key from the arguments, in place of all of them.
        """
        from llmcore.cache.decorator import cached

        return cached(self, ttl=ttl, key=key)

    # -- statistics, end

    def get_stats(self) -> dict[str, int | float]:
        """Return hits, misses, errors, hit_rate (0 to 1) and total_requests."""
        return self._store.stats.as_dict()

    def clear_stats(self) -> None:
        """Begin counting at zero."""
        self._store.stats.clear()

    def close(self) -> None:
        """Close the backend; nothing that was kept is lost."""
        run(self._store.closing())

    async def aclose(self) -> None:
        """See `close`."""
        await arun(self._store.closing())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- once for both colours

    def look_up(self, key: str, codec: Codec) -> Act[tuple[bool, Any]]:
        """Return (True, value), or (False, None) for a miss."""
        data = yield from self._store.lookup(_backend_key(key))
        return (False, None) if data is None else codec.decode(data)

    def keep(self, key: str, value: Any, ttl: Ttl, codec: Codec) -> Act[bool]:
        """Encode and keep *value*."""
        return (yield from self._store.keep(_backend_key(key), codec.encode(value), _seconds(ttl)))

    def _invalidate(self, pattern: str | None) -> Act[int]:
        if pattern is None:
            yield from self._store.managed("clear")
            return -1
        if self._store.backend.ability("delete_matching") is not None:
            gone: int = yield from self._store.managed("delete_matching", PREFIX + pattern)
            return gone
        keys = yield from self._store.managed("keys")
        gone = 0
        for key in [key for key in keys if fnmatch.fnmatchcase(key, PREFIX + pattern)]:
            gone += bool((yield from self._store.managed("delete", key)))
        return gone


def _or(found: tuple[bool, Any], default: Any) -> Any:
    return found[1] if found[0] else default


def _seconds(ttl: Ttl) -> float | None:
    if ttl is None:
        return None
    seconds = 0.0
    with contextlib.suppress(ValueError):
        seconds = float(Duration.parse(ttl))
    if not seconds:
        raise CacheError(
            f"not a time to live: {ttl!r}", code="LC702", expected=f"above zero: {Duration.expected}"
        )
    return seconds


def _backend_key(key: str) -> str:
    if not isinstance(key, str) or not key:
        raise CacheError(f"not a key: {key!r}", code="LC703", expected="a text that is not empty")
    if len(key) > _LONGEST:
        key = f"{key[:_LONGEST]}#{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return PREFIX + key


def _opened(name: str, options: dict[str, Any]) -> Backend:
    from llmcore.config import load_settings
    from llmcore.plugins import Catalogue

    entry = Catalogue().provider("cache", name)
    settings = load_settings({}, arguments={"cache": {"provider": entry.name, entry.name: options}})
    return Backend("cache", entry, settings)
