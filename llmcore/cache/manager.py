"""CacheManager: what an application calls to keep its own values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from llmcore.cache.codec import Codec
from llmcore.cache.keys import Ttl, seconds
from llmcore.cache.store import CacheStore
from llmcore.cache.typed import Decorator
from llmcore.cache.values import Values
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import arun, run
from llmcore.units import Size

__all__ = ["CacheManager", "Ttl"]


class CacheManager:
    """Keeps values under text keys for a while, in the backend that is named.

    A backend that fails is a miss, counted in `errors`; a value that cannot be kept raises `CacheError` at once, and so
    does managing (`invalidate`, `clear`) that fails. Each blocking method has an async twin with the prefix `a`.
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
            store = CacheStore(_opened(backend, options), ttl=seconds(ttl), memory=Size.parse(memory))
        self._store = store
        self._values = Values(store)
        self._codec = Codec()

    # -- one value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or *default* where there is none."""
        found = run(self._values.look_up(key, self._codec))
        return found.value if found.hit else default

    async def aget(self, key: str, default: Any = None) -> Any:
        """See `get`."""
        found = await arun(self._values.look_up(key, self._codec))
        return found.value if found.hit else default

    def set(self, key: str, value: Any, ttl: Ttl = None, *, tags: str | Iterable[str] | None = None) -> bool:
        """Keep *value*; return whether the backend took it.

        Args:
            key: Any text that is not empty.
            value: Plain data: JSON types, bytes, tuples, sets, dates and times, Decimal, UUID.
            ttl: How long it lives; None takes the cache's.
            tags: What `invalidate(tags=...)` may later forget it by.

        Raises:
            CacheError: The value would not come back as itself.
        """
        return run(self._values.set({key: value}, ttl, tags, self._codec))

    async def aset(
        self, key: str, value: Any, ttl: Ttl = None, *, tags: str | Iterable[str] | None = None
    ) -> bool:
        """See `set`."""
        return await arun(self._values.set({key: value}, ttl, tags, self._codec))

    def delete(self, key: str) -> bool:
        """Forget the key; return whether it was there."""
        return run(self._values.forget(key))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return await arun(self._values.forget(key))

    # -- many

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values that are there, by key, in the order of *keys*."""
        return run(self._values.look_up_many(keys, self._codec))

    async def aget_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """See `get_many`."""
        return await arun(self._values.look_up_many(keys, self._codec))

    def set_many(
        self, values: Mapping[str, Any], ttl: Ttl = None, *, tags: str | Iterable[str] | None = None
    ) -> bool:
        """Keep all *values*, or raise before any is kept; return whether the backend took all. See `set`."""
        return run(self._values.set(values, ttl, tags, self._codec))

    async def aset_many(
        self, values: Mapping[str, Any], ttl: Ttl = None, *, tags: str | Iterable[str] | None = None
    ) -> bool:
        """See `set_many`."""
        return await arun(self._values.set(values, ttl, tags, self._codec))

    def invalidate(self, pattern: str | None = None, *, tags: str | Iterable[str] | None = None) -> int:
        """Forget the keys that match *pattern*, such as "user:*", and what bears one of *tags*.

        Without either, clear the cache's namespace, replies included. Tags take the same time however many values bear
        them.

        Returns:
            How many keys matched the pattern; -1 where there was none and nobody counted.

        Raises:
            CacheError: The backend failed, or cannot tell its keys.
        """
        return run(self._values.invalidate(pattern, tags))

    async def ainvalidate(
        self, pattern: str | None = None, *, tags: str | Iterable[str] | None = None
    ) -> int:
        """See `invalidate`."""
        return await arun(self._values.invalidate(pattern, tags))

    def clear(self) -> None:
        """Forget everything in this cache's namespace, replies included. Raises as `invalidate`."""
        run(self._values.invalidate(None, None))

    async def aclear(self) -> None:
        """See `clear`."""
        await arun(self._values.invalidate(None, None))

    # -- functions

    def cached(
        self,
        ttl: Ttl = None,
        *,
        key: Callable[..., str] | None = None,
        tags: str | Iterable[str] | Callable[..., str | Iterable[str]] | None = None,
        condition: Callable[[Any], object] | None = None,
        refresh: float | None = None,
        name: str | None = None,
    ) -> Decorator:
        """Return a decorator that keeps what a function returns, by its arguments.

        For functions, coroutine functions, generators and async generators, and methods of all these. Identical calls
        at the same time become one. What a function raises is never kept.

        Args:
            ttl: How long a result lives; None takes the cache's.
            key: Makes the key from the arguments, in place of all of them.
            tags: What `invalidate(tags=...)` forgets the results by; or what returns them for the arguments.
            condition: Told a result (of a generator the list of what it yielded), says whether to keep it.
            refresh: Between 0 and 1: after this part of the ttl, one caller has the result made anew in the background
                while all are served the old one.
            name: What the function is called in the cache, in place of its module and qualified name.

        Raises:
            CacheError: An argument, or the function, does not fit.
        """
        from llmcore.cache.decorator import Options, decorator

        return decorator(
            self._values,
            Options(ttl=seconds(ttl), key=key, tags=tags, condition=condition, refresh=refresh, name=name),
        )

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


def _opened(name: str, options: dict[str, Any]) -> Backend:
    from llmcore.config import load_settings
    from llmcore.plugins import Catalogue

    entry = Catalogue().provider("cache", name)
    settings = load_settings({}, arguments={"cache": {"provider": entry.name, entry.name: options}})
    return Backend("cache", entry, settings)
