"""CacheManager: the cache API for applications."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Self, get_args

from llmcore.cache.codec import Codec
from llmcore.cache.decorator_types import Decorator
from llmcore.cache.keys import Ttl, parse_ttl
from llmcore.cache.manager_backend import find_backend_folder, open_backend
from llmcore.cache.store import CacheStore, OnOutage
from llmcore.cache.values import Values
from llmcore.calls.argument_names import check_argument_names
from llmcore.calls.drivers import arun, run
from llmcore.errors import ConfigError
from llmcore.process_bound import ProcessBound
from llmcore.units import Size

__all__ = ["CacheManager", "Ttl"]


class CacheManager(ProcessBound):
    """Stores values under text keys with a TTL, in the chosen backend.

    A failure of the backend is a miss, and increases `errors` in `get_stats()`. A value that cannot be stored
    is logged, and increases `errors` too. A failure of `invalidate` or `clear` raises `CacheError`. Each
    blocking method has an async version with the prefix `a`.
    """

    def __init__(
        self,
        backend: str = "file",
        cache_dir: str | PathLike[str] | None = None,
        *,
        ttl: Ttl = 3600,
        memory: int | str = "64MB",
        on_outage: OnOutage = "memory",
        store: CacheStore | None = None,
        **options: Any,
    ) -> None:
        """Open the cache.

        Args:
            backend: "memory", "file" or any installed provider.
            cache_dir: Folder of a cache that stores files; created if missing. None means the default of the
                provider. Providers that do not store files ignore this argument.
            ttl: Default TTL of `set` and `cached`; None if values stay until they are evicted.
            memory: Size of the memory tier in front of the backend; 0 turns it off.
            on_outage: "memory": while the backend is unreachable, the memory tier serves older entries for the first 60
                seconds of the outage, and new entries for their ttl. "miss": every look-up is a miss.
            store: An open store to use in place of *backend*. The TTL of the store then replaces *ttl*.
            options: Options of the provider, such as `max_size="1GB"` or `url="redis://..."`.

        Raises:
            PluginNotFound: No installed plugin provides *backend*.
            ConfigError: An option is unknown or invalid.
        """
        if store is None:
            _check_on_outage(on_outage)
            store = CacheStore(
                open_backend(backend, cache_dir, options),
                ttl=parse_ttl(ttl),
                memory=Size.parse(memory),
                on_outage=on_outage,
            )
        self._store = store
        self.backend = store.backend.name
        """The name of the provider."""
        self._given_folder = cache_dir
        self._values = Values(store)
        self._codec = Codec()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.backend} ttl={self._store.ttl}>"

    @property
    def cache_dir(self) -> Path | None:
        """The folder of a cache that stores files; otherwise the *cache_dir* argument."""
        return find_backend_folder(self._store.backend, self._given_folder)

    # -- one value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value, or *default* if the cache does not have the key."""
        found = run(self._values.look_up(key, self._codec))
        return found.value if found.hit else default

    async def aget(self, key: str, default: Any = None) -> Any:
        """See `get`."""
        found = await arun(self._values.look_up(key, self._codec))
        return found.value if found.hit else default

    @check_argument_names
    def set(self, key: str, value: Any, ttl: Ttl = None, *, tags: str | Iterable[str] | None = None) -> bool:
        """Store *value*. While the backend is unreachable, the memory tier stores the value (`on_outage="memory"`).

        Args:
            key: Text that is not empty.
            value: Plain data: JSON types, bytes, tuples, sets, dates and times, Decimal, UUID.
            ttl: Time to live; None means the TTL of the cache.
            tags: Tags by which `invalidate(tags=...)` removes the value.

        Returns:
            True if the backend stored the value. A value that cannot be encoded is not stored, but logged and counted
            in `errors`.

        Raises:
            CacheError: The key, the ttl or a tag is invalid.
        """
        return run(self._values.set({key: value}, ttl, tags, self._codec))

    @check_argument_names
    async def aset(
        self, key: str, value: Any, ttl: Ttl = None, *, tags: str | Iterable[str] | None = None
    ) -> bool:
        """See `set`."""
        return await arun(self._values.set({key: value}, ttl, tags, self._codec))

    def delete(self, key: str) -> bool:
        """Remove the key; return whether it existed."""
        return run(self._values.forget(key))

    async def adelete(self, key: str) -> bool:
        """See `delete`."""
        return await arun(self._values.forget(key))

    # -- many

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the cached values by key, in the order of *keys*."""
        return run(self._values.look_up_many(keys, self._codec))

    async def aget_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """See `get_many`."""
        return await arun(self._values.look_up_many(keys, self._codec))

    @check_argument_names
    def set_many(
        self, values: Mapping[str, Any], ttl: Ttl = None, *, tags: str | Iterable[str] | None = None
    ) -> bool:
        """Store all *values*; return whether all are stored.

        See `set`. If a value cannot be encoded, nothing is stored.
        """
        return run(self._values.set(values, ttl, tags, self._codec))

    @check_argument_names
    async def aset_many(
        self, values: Mapping[str, Any], ttl: Ttl = None, *, tags: str | Iterable[str] | None = None
    ) -> bool:
        """See `set_many`."""
        return await arun(self._values.set(values, ttl, tags, self._codec))

    @check_argument_names
    def invalidate(self, pattern: str | None = None, *, tags: str | Iterable[str] | None = None) -> int:
        """Remove the keys that match *pattern*, such as "user:*", and the values with at least one of *tags*.

        If both arguments are omitted, remove everything in this cache's namespace, also cached replies of models. Removing a tag takes the
        same time for one value and for a million values.

        Returns:
            The number of keys that matched the pattern; -1 without a pattern, or if the backend does not count.

        Raises:
            CacheError: The backend failed, or cannot list keys. While the backend is unreachable, the values are
                removed from memory at once, and from the backend before its next read (`on_outage="memory"`).
        """
        return run(self._values.invalidate(pattern, tags))

    @check_argument_names
    async def ainvalidate(
        self, pattern: str | None = None, *, tags: str | Iterable[str] | None = None
    ) -> int:
        """See `invalidate`."""
        return await arun(self._values.invalidate(pattern, tags))

    def clear(self) -> None:
        """Remove everything in the namespace of this cache, also cached replies of models. Raises the same errors as `invalidate`."""
        run(self._values.invalidate(None, None))

    async def aclear(self) -> None:
        """See `clear`."""
        await arun(self._values.invalidate(None, None))

    # -- functions

    @check_argument_names
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
        """Return a decorator that caches the results of a function by its arguments.

        The decorator works for functions, coroutine functions, generator functions, async generator functions and
        methods. Identical concurrent calls share one run (single-flight). Exceptions are never cached.

        Args:
            ttl: Time to live of a result; None means the TTL of the cache.
            key: A function that returns the key for the arguments. By default, the key is made from all
                arguments.
            tags: Tags by which `invalidate(tags=...)` removes results, or a function that returns them for
                the arguments.
            condition: Called with a result (for a generator, the list of yielded values); returns whether to
                cache it.
            refresh: Between 0 and 1: after this fraction of the ttl, one caller refreshes the result in the
                background while all callers get the old one (stale-while-revalidate).
            name: The name of the function in keys; default: its module and qualified name.

        Raises:
            CacheError: An argument or the function is invalid.
        """
        from llmcore.cache.decorator import CachedOptions, make_decorator

        return make_decorator(
            self._values,
            CachedOptions(
                ttl=parse_ttl(ttl), key=key, tags=tags, condition=condition, refresh=refresh, name=name
            ),
        )

    # -- statistics and closing

    def get_stats(self) -> dict[str, int | float]:
        """Return hits, misses, errors, hit_rate (0 to 1) and total_requests."""
        return self._store.stats.as_dict()

    def get_unavailable(self) -> dict[str, str]:
        """Return the operations of the backend that do not work, such as "get" or "acquire", each with the reason.

        An operation is in the result if its last call failed, or if the backend itself reports that it does not work.
        """
        return run(self._store.diagnose())

    async def aget_unavailable(self) -> dict[str, str]:
        """See `get_unavailable`."""
        return await arun(self._store.diagnose())

    def clear_stats(self) -> None:
        """Reset all counts to zero."""
        self._store.stats.clear()

    def close(self) -> None:
        """Close the backend. Stored values stay."""
        run(self._store.shut_down())

    async def aclose(self) -> None:
        """See `close`."""
        await arun(self._store.shut_down())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _check_on_outage(given: object) -> None:
    if given not in get_args(OnOutage):
        raise ConfigError(
            f'on_outage must be "memory" or "miss", got {given!r}',
            where="CacheManager(on_outage=...)",
            fix='CacheManager(on_outage="memory")',
        )
