"""The cache `redis`, sync and async."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, TypeVar

from llmcore.errors import CacheError, ConfigError
from llmcore.support.errors import raise_unchained
from llmcore.support.limit_values import PermitAnswer, PermitRequest, PermitReturn, ProcessReport
from llmcore_cache_redis import entry_codec
from llmcore_cache_redis.address import Address, parse
from llmcore_cache_redis.diagnosis import find_unavailable
from llmcore_cache_redis.drivers import Asynchronous, Blocking, Servers
from llmcore_cache_redis.errors import Broken, ReplyError, make_refusal, make_too_large_error
from llmcore_cache_redis.leases import Leases
from llmcore_cache_redis.limit_store import LimitStore
from llmcore_cache_redis.names import Names
from llmcore_cache_redis.operations import Operations, pack_first_read, pack_write
from llmcore_cache_redis.options import RedisOptions
from llmcore_cache_redis.server_finder import Plan, make_finder
from llmcore_cache_redis.watcher import Watcher
from llmcore_cache_redis.wire import ServerCommands

__all__ = ["RedisCache"]

T = TypeVar("T")
_SMALL: Final = 2**16


class RedisCache:
    """Implements `CacheProvider` of `llmcore.contracts`, sync and async, and every ability except `CacheVersion`.

    The first call connects. A failed call is not retried, except if the server had only closed an idle connection. The
    caller decides whether to repeat a failed call.

    Args:
        options: The address of the server, and limits.

    Raises:
        ConfigError: An option is invalid, or the address cannot be read.
    """

    def __init__(self, options: RedisOptions | None = None) -> None:
        options = options or RedisOptions()
        _check(options)
        self._target = parse(options)
        self._max_value = int(options.max_value)
        self._names = Names(options.namespace)
        servers = Servers(self._target, options)
        self._finder = make_finder(self._target, servers.connect_timeouts.whole)
        self._timeout = servers.timeout
        self._leases = Leases(self._finder, self._names.name_lease, self._translate_error)
        self._operations = Operations(self._finder, self._names, self._timeout, self._max_value)
        self._blocking = Blocking(servers)
        self._asynchronous = Asynchronous(servers)
        self._watcher: Watcher | None = None
        self._options = options

    def get(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        name = self._names.name_entry(key)
        data = self._try_at_once(name, pack_first_read(name))
        value = entry_codec.unpack(data, name)
        if value is not None or data == b"":
            return value
        return self._run(self._operations.get(name, data))

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        if len(value) > self._max_value:
            raise make_too_large_error(len(value), self._max_value)
        name = self._names.name_entry(key)
        if len(value) > _SMALL or self._try_at_once(name, pack_write(name, value, ttl)) != b"OK":
            self._run(self._operations.set(name, value, ttl))

    def delete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        return self._run(self._operations.delete(self._names.name_entry(key)))

    def clear(self) -> None:
        """See `CacheProvider.clear`. Deletes the entries in batches, on every master."""
        self._run(self._operations.clear())

    def keys(self) -> Iterator[str]:
        """See `CacheKeys.keys`."""
        seen: set[str] = set()
        for address in self._run(self._finder.find_masters()):
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
        return self._run(self._leases.acquire(key, holder, ttl))

    def release(self, key: str, holder: str) -> None:
        """See `CacheLeases.release`."""
        self._run(self._leases.release(key, holder))

    def request_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:
        """See `CacheRateLimits.request_permit`.

        The server must answer within the smaller of *timeout* and the option `limit_timeout`.
        """
        return self._limit_store.request_permit(request, timeout)

    def return_permits(self, returns: Sequence[PermitReturn]) -> None:
        """See `CacheRateLimits.return_permits`."""
        self._limit_store.return_permits(returns)

    def report_process(self, report: ProcessReport) -> int:
        """See `CacheRateLimits.report_process`."""
        return self._limit_store.report_process(report)

    def watch(self, changed: Callable[[Sequence[str] | None], None]) -> bool:
        """See `CacheChanges.watch`. For a Cluster, return False. A new callback replaces the old one."""
        if self._target.kind == "cluster":
            return False
        if self._watcher is not None:
            self._watcher.close()
        watcher = Watcher(
            self._find_tracking_address,
            self._finder.doubt,
            self._blocking.connect,
            self._names,
            changed,
            translate_error=self._translate_error,
        )
        if not watcher.start():
            return False
        self._watcher = watcher  # set after the start, because `close` waits for the thread of the watcher
        return True

    def unavailable(self) -> Mapping[str, str]:
        """See `CacheDiagnosis.unavailable`.

        For a Cluster, the result never contains `watch`: this cache does not watch a Cluster, so it needs no permission
        for that.
        """
        return self._run(self._diagnose())

    async def aget(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        name = self._names.name_entry(key)
        data = await self._atry_at_once(name, pack_first_read(name))
        value = entry_codec.unpack(data, name)
        if value is not None or data == b"":
            return value
        return await self._arun(self._operations.get(name, data))

    async def aset(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`."""
        if len(value) > self._max_value:
            raise make_too_large_error(len(value), self._max_value)
        name = self._names.name_entry(key)
        if len(value) > _SMALL or await self._atry_at_once(name, pack_write(name, value, ttl)) != b"OK":
            await self._arun(self._operations.set(name, value, ttl))

    async def adelete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        return await self._arun(self._operations.delete(self._names.name_entry(key)))

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
        return await self._arun(self._leases.acquire(key, holder, ttl))

    async def arelease(self, key: str, holder: str) -> None:
        """See `CacheLeases.release`."""
        await self._arun(self._leases.release(key, holder))

    async def arequest_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:  # noqa: ASYNC109 - the sync method has the same parameter
        """See `request_permit`."""
        return await self._limit_store.arequest_permit(request, timeout)

    async def aunavailable(self) -> Mapping[str, str]:
        """See `unavailable`."""
        return await self._arun(self._diagnose())

    def close(self) -> None:
        """Stop watching and close every blocking connection."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
        self._blocking.close()
        if "_limit_store" in self.__dict__:
            self._limit_store.close()

    async def aclose(self) -> None:
        """Close as `close` does, and also the connections of the running event loop."""
        self.close()
        await self._asynchronous.aclose()
        if "_limit_store" in self.__dict__:
            await self._limit_store.aclose()

    def __repr__(self) -> str:
        return f"RedisCache({self._target.shown!r})"

    @cached_property
    def _limit_store(self) -> LimitStore:
        """The rate limits, created at their first use, because most caches do not share limits."""
        return LimitStore(self._target, self._options, self._names, self._translate_error)

    def _diagnose(self) -> Plan[dict[str, str]]:
        return find_unavailable(
            self._finder, self._names, self._translate_error, watches=self._target.kind != "cluster"
        )

    def _find_tracking_address(self) -> Address:
        return self._blocking.run(self._finder.find_masters())[0]

    def _try_at_once(self, name: bytes, payload: bytes) -> Any:
        """Send one request to the server that is known to have *name*, and return its reply.

        Return None if the caller must run the whole operation with `_run`, for example if the server is not
        known.
        """
        address = self._finder.get_address(name)
        if address is None:
            return None
        try:
            reply = self._blocking.ask(ServerCommands(address, payload))[0]
        except (Broken, ReplyError) as error:
            fault = self._make_fault(error, address)
            if fault is not None:
                raise_unchained(fault)
            return None
        return None if isinstance(reply, ReplyError) else reply

    async def _atry_at_once(self, name: bytes, payload: bytes) -> Any:
        address = self._finder.get_address(name)
        if address is None:
            return None
        try:
            reply = (await self._asynchronous.ask(ServerCommands(address, payload)))[0]
        except (Broken, ReplyError) as error:
            fault = self._make_fault(error, address)
            if fault is not None:
                raise_unchained(fault)
            return None
        return None if isinstance(reply, ReplyError) else reply

    def _run(self, plan: Plan[T]) -> T:
        try:
            return self._blocking.run(plan)
        except (Broken, ReplyError) as error:
            raise_unchained(self._translate_error(error))

    async def _arun(self, plan: Plan[T]) -> T:
        try:
            return await self._asynchronous.run(plan)
        except (Broken, ReplyError) as error:
            raise_unchained(self._translate_error(error))

    def _make_fault(self, error: Broken | ReplyError, address: Address) -> CacheError | None:
        """Return the error for a failed request; None if only an idle connection was closed, so the caller must try again."""
        self._finder.doubt(address)
        return None if isinstance(error, Broken) and error.stale else self._translate_error(error)

    def _translate_error(self, error: Broken | ReplyError) -> CacheError:
        if isinstance(error, Broken):
            return error.make_error(self._target.shown)
        return make_refusal(error, self._target, self._names.pattern)


def _check(options: RedisOptions) -> None:
    for name in ("timeout", "connect_timeout", "tls_timeout", "limit_timeout", "max_connections"):
        if getattr(options, name) <= 0:
            raise ConfigError(
                f"{name} must be greater than 0, got {getattr(options, name):g}",
                where=f"{name} in [cache.redis]",
                expected="a value greater than 0",
                fix=f"llmcore config unset cache.redis.{name}",
            )
