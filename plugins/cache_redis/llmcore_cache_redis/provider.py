"""The cache `redis`, in both colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from llmcore.errors import CacheError, ConfigError
from llmcore_cache_redis import values
from llmcore_cache_redis.address import Address, parse
from llmcore_cache_redis.drivers import Asynchronous, Blocking
from llmcore_cache_redis.faults import Broken, ReplyError, refusal, too_large
from llmcore_cache_redis.names import Names
from llmcore_cache_redis.operations import Operations, first_look, writing
from llmcore_cache_redis.plugin import RedisOptions
from llmcore_cache_redis.routes import Plan, route_of
from llmcore_cache_redis.watch import Watcher
from llmcore_cache_redis.wire import Step

__all__ = ["RedisCache"]

T = TypeVar("T")
_SMALL: Final = 2**16


class RedisCache:
    """Keeps `CacheProvider` of `llmcore.contracts`, its async twin, and every ability but `CacheVersion`.

    Nothing is connected before the first call, and no call is tried twice: who calls knows when to try again.

    Args:
        options: Where the server is, and bounds.

    Raises:
        ConfigError: An option is out of bounds, or the address cannot be read.
    """

    def __init__(self, options: RedisOptions | None = None) -> None:
        options = options or RedisOptions()
        _check(options)
        self._target = parse(options)
        self._max_value = int(options.max_value)
        self._names = Names(options.namespace)
        self._route = route_of(self._target, float(options.connect_timeout))
        self._timeout = float(options.timeout)
        self._operations = Operations(self._route, self._names, self._timeout, self._max_value)
        self._blocking = Blocking(self._target, options)
        self._asynchronous = Asynchronous(self._target, options)
        self._watcher: Watcher | None = None

    def get(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        name = self._names.of(key)
        data = self._quick(name, first_look(name))
        value = values.unpack(data, name)
        if value is not None or data == b"":
            return value
        return self._run(self._operations.get(name, data))

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        if len(value) > self._max_value:
            raise too_large(len(value), self._max_value)
        name = self._names.of(key)
        if len(value) > _SMALL or self._quick(name, writing(name, value, ttl)) != b"OK":
            self._run(self._operations.set(name, value, ttl))

    def delete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        return self._run(self._operations.delete(self._names.of(key)))

    def clear(self) -> None:
        """See `CacheProvider.clear`: batch by batch, on every master."""
        self._run(self._operations.clear())

    def keys(self) -> Iterator[str]:
        """See `CacheKeys.keys`."""
        seen: set[str] = set()
        for address in self._run(self._route.masters()):
            cursor = b"0"
            while True:
                cursor, keys = self._run(self._operations.keys(address, cursor))
                fresh = [key for key in dict.fromkeys(keys) if key not in seen]
                seen.update(fresh)
                yield from fresh
                if cursor == b"0":
                    break

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """See `CacheBatches.get_many`."""
        return self._run(self._operations.get_many(keys))

    def delete_matching(self, pattern: str) -> int:
        """See `CacheMatching.delete_matching`."""
        return self._run(self._operations.delete_matching(pattern))

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        """See `CacheLeases.acquire`."""
        return self._run(self._operations.acquire(key, holder, ttl))

    def release(self, key: str, holder: str) -> None:
        """See `CacheLeases.release`."""
        self._run(self._operations.release(key, holder))

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> bool:
        """See `CacheChanges.watch`. A Cluster tells nothing; of several watchers the last one is told."""
        if self._target.kind == "cluster":
            return False
        if self._watcher is not None:
            self._watcher.close()
        watcher = Watcher(
            self._tracking_address, self._route.doubt, self._blocking.link, self._names, changed
        )
        watcher.start()
        self._watcher = watcher  # only now: whoever closes meanwhile cannot end a thread that has not begun
        return True

    async def aget(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        name = self._names.of(key)
        data = await self._aquick(name, first_look(name))
        value = values.unpack(data, name)
        if value is not None or data == b"":
            return value
        return await self._arun(self._operations.get(name, data))

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        if len(value) > self._max_value:
            raise too_large(len(value), self._max_value)
        name = self._names.of(key)
        if len(value) > _SMALL or await self._aquick(name, writing(name, value, ttl)) != b"OK":
            await self._arun(self._operations.set(name, value, ttl))

    async def adelete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        return await self._arun(self._operations.delete(self._names.of(key)))

    async def aclear(self) -> None:
        """See `clear`."""
        await self._arun(self._operations.clear())

    async def aget_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """See `CacheBatches.get_many`."""
        return await self._arun(self._operations.get_many(keys))

    async def adelete_matching(self, pattern: str) -> int:
        """See `CacheMatching.delete_matching`."""
        return await self._arun(self._operations.delete_matching(pattern))

    async def aacquire(self, key: str, holder: str, ttl: float) -> bool:
        """See `CacheLeases.acquire`."""
        return await self._arun(self._operations.acquire(key, holder, ttl))

    async def arelease(self, key: str, holder: str) -> None:
        """See `CacheLeases.release`."""
        await self._arun(self._operations.release(key, holder))

    def close(self) -> None:
        """End the watching and every blocking connection."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
        self._blocking.close()

    async def aclose(self) -> None:
        """Do what `close` does, and end the connections of the running event loop."""
        self.close()
        await self._asynchronous.aclose()

    def __repr__(self) -> str:
        return f"RedisCache({self._target.shown!r})"

    def _tracking_address(self) -> Address:
        return self._blocking.run(self._route.masters())[0]

    def _quick(self, name: bytes, payload: bytes) -> Any:
        """Return the reply of a server known to hold *name*; None where it takes more than that to get one."""
        address = self._route.at(name)
        if address is None:
            return None
        try:
            reply = self._blocking.ask(Step(address, payload))[0]
        except (Broken, ReplyError) as error:
            fault = self._fault(error, address)
        else:
            return None if isinstance(reply, ReplyError) else reply
        if fault is not None:
            raise fault
        return None

    async def _aquick(self, name: bytes, payload: bytes) -> Any:
        address = self._route.at(name)
        if address is None:
            return None
        try:
            reply = (await self._asynchronous.ask(Step(address, payload)))[0]
        except (Broken, ReplyError) as error:
            fault = self._fault(error, address)
        else:
            return None if isinstance(reply, ReplyError) else reply
        if fault is not None:
            raise fault
        return None

    def _run(self, plan: Plan[T]) -> T:
        try:
            return self._blocking.run(plan)
        except (Broken, ReplyError) as error:
            fault = self._told(error)
        # Outside the block above, so that nothing foreign hangs on ours.
        raise fault

    async def _arun(self, plan: Plan[T]) -> T:
        try:
            return await self._asynchronous.run(plan)
        except (Broken, ReplyError) as error:
            fault = self._told(error)
        raise fault

    def _fault(self, error: Broken | ReplyError, address: Address) -> CacheError | None:
        """Return what to tell of a server that failed; None where it had only closed an idle connection."""
        self._route.doubt(address)
        return None if isinstance(error, Broken) and error.stale else self._told(error)

    def _told(self, error: Broken | ReplyError) -> CacheError:
        shown = self._target.shown
        return error.fault(shown) if isinstance(error, Broken) else refusal(error, shown)


def _check(options: RedisOptions) -> None:
    for name in ("timeout", "connect_timeout", "max_connections"):
        if getattr(options, name) <= 0:
            raise ConfigError(
                f"`{name}` of the cache is not above 0",
                where=f"{name} in [cache.redis]",
                expected="more than 0",
                fix=f"llmcore config unset cache.redis.{name}",
            )
