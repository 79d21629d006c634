"""The cache for calls. The store contains bytes. A failure of the cache is a miss and never fails a call."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from llmcore import forks
from llmcore.cache.breaker import Breaker, is_unreachable
from llmcore.cache.health import Health
from llmcore.cache.invalidation import Invalidation
from llmcore.cache.outage_backend import OutageBackend
from llmcore.cache.stats import Stats
from llmcore.cache.tier import Tier
from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import translate_error
from llmcore.calls.drivers import run
from llmcore.calls.options import describe, scrub
from llmcore.calls.steps import Act, Expired, Step
from llmcore.errors import CacheError, ConfigError, LLMCoreError, PluginError
from llmcore.interrupts import must_propagate
from llmcore.log import get_logger
from llmcore.support.bounded_entries import BoundedEntries

__all__ = ["CacheStore", "OnOutage"]

OnOutage: TypeAlias = Literal["memory", "miss"]
"""The behaviour while the backend is unreachable; `[cache] on_outage`."""

_HEADER: Final = struct.Struct("<4sd")
_MAGIC: Final = b"llm1"
_POSTPONED: Final = "the entries were removed from memory; the backend removes them before its next read"


class CacheStore:
    """One configured cache: memory tier, backend, circuit breaker and health.

    A failure of the backend is counted, and logged if its cause is new. Calls continue.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        ttl: float | None = None,
        memory: int = 0,
        on_outage: OnOutage = "memory",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the store. The backend is created at the first look-up.

        Args:
            backend: The backend that stores the entries.
            ttl: Default TTL in seconds; None if entries stay until they are evicted.
            memory: Bytes of the memory tier; 0 for none.
            on_outage: "memory" serves and stores entries in the memory tier while the backend is unreachable,
                see `Outage`; with "miss" every look-up is a miss.
            clock: Returns monotonic seconds, for outages and entries in memory.
        """
        self.backend = backend
        self.ttl = ttl
        self.stats = Stats()
        self._memory = memory
        self._clock = clock
        self._tier: Tier | None = None
        self._prepared = False
        self.peek: Callable[[str], bytes | None] = _peek_nothing
        """Return the bytes object that the memory of this process has for a key, without counting or waiting.

        The same object is returned until the key is written again. The bytes may start with the header of the
        store. If the result is None, the backend may still have the key: call `lookup`. Read this attribute at each
        use, because it is replaced when the memory tier changes.
        """
        self._lock = forks.lock()
        self._probe_key = "probe"
        """The key whose operation failed last. Probes read this key: in a cluster, perhaps only its node is down."""
        self._health = Health(clock)
        self._outage = OutageBackend(backend, is_enabled=on_outage == "memory")
        self._breaker = Breaker(
            self._probe_backend,
            self._report_recovery,
            on_open=lambda: self._outage.begin(self._tier),
            may_close=lambda: self._outage.end(self._tier),
            clock=clock,
        )

    def get_from_memory(self, key: str) -> bytes | None:
        """Return the value in memory without counting.

        If the result is None, the backend may have the key: call `lookup`.
        """
        if self._breaker.is_open:
            return self._outage.get(key)
        tier = self._tier
        if tier is not None:
            return tier.get(key)
        opened = _unpack(self.peek(key))
        return None if opened is None else opened[0]

    def lookup(self, key: str) -> Act[bytes | None]:
        """Return the value of *key*; None for a miss or a failure of the backend."""
        if self._prepare_backend():
            value, epoch = (None, 0) if self._tier is None else self._tier.look_up(key)
            if value is None:
                value = yield from self._read(key, epoch)
        else:
            value = self._outage.get(key)
        self.stats.record_lookup(hit=value is not None)
        return value

    def lookup_many(self, keys: Sequence[str]) -> Act[dict[str, bytes]]:
        """Return the values of *keys*.

        Each key is counted as by `lookup`. One call of the backend looks up the keys that are not in the memory tier.
        """
        values: dict[str, bytes] = {}
        if self._prepare_backend() and self._tier is not None:
            values = {key: value for key in keys if (value := self._tier.get(key)) is not None}
        values |= yield from self.read_many([key for key in keys if key not in values])
        for key in keys:
            self.stats.record_lookup(hit=key in values)
        return values

    def keep(self, key: str, value: bytes, ttl: float | None = None, *, replaces: bool = False) -> Act[bool]:
        """Store *value*; return whether the backend stored it.

        During an outage the value is stored in memory. With *replaces*, an older value in the backend is deleted when the
        backend answers again.
        """
        ttl = self.ttl if ttl is None else ttl
        if self._prepare_backend():
            expires = time.time() + ttl if ttl is not None else 0.0
            if self._tier is not None:
                self._tier.drop(key)
            epoch = 0 if self._tier is None else self._tier.get_epoch()
            if (yield from self._try_operation("set", key, _HEADER.pack(_MAGIC, expires) + value, ttl)):
                if self._tier is not None:
                    self._tier.put(key, value, expires, self._tier.record_write(epoch))
                return True
        if replaces:
            self._outage.postpone(Invalidation("key", key), self._breaker, is_requested=False)
        self._outage.put(key, value, ttl)
        return False

    def forget(self, key: str) -> Act[bool]:
        """Delete *key*; return whether it existed. In an outage, the deletion waits until the backend answers."""
        invalidation = Invalidation("key", key)
        was_served = self._outage.get(key) is not None
        if self._outage.postpone(invalidation, self._breaker) is not None:
            return was_served
        if not self._prepare_backend():
            return False
        if self._tier is not None:
            self._tier.drop(key)
        found: list[Any] = []
        if not (yield from self._try_operation("delete", key, into=found.append)):
            self._outage.postpone(invalidation, self._breaker)
        return bool(found and found[0])

    def pin(self, key: str) -> None:
        """During an outage, keep the value of *key* in memory until the outage ends.

        An entry that is stored during the outage may depend on it, for example on the stamp of a tag.
        """
        self._outage.pin(key)

    def read(self, key: str) -> Act[bytes | None]:
        """Return the value of *key* in the backend without counting, for callers that poll for the value."""
        if not self._prepare_backend():
            return self._outage.get(key)
        return (yield from self._read(key, 0 if self._tier is None else self._tier.get_epoch()))

    def read_many(self, keys: Sequence[str]) -> Act[dict[str, bytes]]:
        """Return the values of *keys* in the backend, in one call and without counting."""
        return (yield from self._read_many(keys)) if self._prepare_backend() else self._outage.get_many(keys)

    @property
    def has_leases(self) -> bool:
        """True if the backend has leases; known only after the backend was used."""
        return self._prepared and self.backend.find_ability("acquire") is not None

    def call_lease_operation(self, name: str, *args: Any) -> Act[bool | None]:
        """Acquire or release a lease; return the backend's answer, or None if the backend failed or has no leases."""
        if not self._prepare_backend() or self.backend.find_ability(name) is None:
            return None
        answer: list[bool | None] = []
        yield from self._try_operation(name, *args, into=answer.append)
        return answer[0] if answer else None

    def invalidate(self, *invalidations: Invalidation) -> Act[int]:
        """Remove entries from memory and the backend.

        Return the number of entries that the last invalidation removed, -1 if unknown. During an outage,
        memory removes the entries at once, and the backend removes them before it is read again.

        Raises:
            CacheError: The backend failed. Other processes may still get the entries.
        """
        self._prepare_backend()  # this creates the memory tier, which is needed if an outage begins here
        count = -1
        failure: LLMCoreError | None = None
        numbers = {each: self._outage.postpone(each, self._breaker) for each in invalidations}
        if self._tier is not None:
            self._tier.clear()
        for each in invalidations:
            if failure is not None:  # the backend is unreachable, so another attempt would fail too
                self._outage.postpone(each, self._breaker)
                continue
            try:
                count = yield from each.carry_out(self.backend)
            except BaseException as error:
                if must_propagate(error):
                    raise
                failure = translate_error(self.backend, error, CacheError)
                if is_unreachable(error):
                    self._record_failure(error, "invalidate")
                    if self._outage.postpone(each, self._breaker) is not None:
                        failure.notes += (_POSTPONED,)
                    continue
            self._outage.settle(each, numbers[each])
            if failure is not None:
                break
        if failure is not None:
            raise failure
        return count

    def diagnose(self) -> Act[dict[str, str]]:
        """Return the operations that do not work, each with the reason.

        These are the operations whose last call failed, and those that the backend reports
        (`CacheDiagnosis`).
        """
        named: list[Any] = []
        if self._prepare_backend() and self.backend.find_ability("unavailable") is not None:
            yield from self._try_operation("unavailable", into=named.append)
        found = self._health.as_dict()
        return found | dict(named[0]) if named and isinstance(named[0], Mapping) else found

    def shut_down(self) -> Act[None]:
        """Close the backend, the tier and the breaker."""
        self._breaker.close()
        self._outage.close()
        self._tier, self.peek, self._prepared = None, _peek_nothing, False
        closing = self.backend.detach_close()
        if closing is not None:
            yield closing()

    def _peek(self, key: str) -> bytes | None:
        if self._breaker.is_open:
            return self._outage.get(key)
        tier = self._tier
        return None if tier is None else tier.get(key)

    def _read(self, key: str, epoch: int | None) -> Act[bytes | None]:
        """Return the value of *key* in the backend. See `Tier.put` for *epoch*."""
        found: list[object] = []
        if not (yield from self._try_operation("get", key, into=found.append)):
            return self._outage.get(key)
        return self._keep_in_tier(key, found[0], epoch)

    def _read_many(self, keys: Sequence[str]) -> Act[dict[str, bytes]]:
        values: dict[str, bytes] = {}
        if len(keys) > 1 and self.backend.find_ability("get_many") is not None:
            epoch = 0 if self._tier is None else self._tier.get_epoch()
            found: list[object] = []
            if (yield from self._try_operation("get_many", keys, into=found.append)):
                kept = found[0] if isinstance(found[0], Mapping) else {}
                for key in keys:
                    value = self._keep_in_tier(key, kept.get(key), epoch)
                    if value is not None:
                        values[key] = value
                return values
        for key in keys:  # one by one, also if the server refused only `get_many`
            value = yield from self.read(key)
            if value is not None:
                values[key] = value
        return values

    def _keep_in_tier(self, key: str, data: object, epoch: int | None) -> bytes | None:
        """Return the value in *data* from the backend, and put it into the memory tier."""
        opened = _unpack(data)
        if opened is None:
            if self._tier is not None:
                self._tier.drop(key)
            return None
        value, expires = opened
        if self._tier is not None:
            self._tier.put(key, value, expires, epoch)
        return value

    def _try_operation(
        self, name: str, *args: Any, into: Callable[[Any], None] | None = None
    ) -> Generator[Step, Any, bool]:
        """Call the operation *name* of the backend; return whether it succeeded."""
        try:
            result = yield self.backend.require(name)(*args)
        except (ConfigError, PluginError, Expired):
            raise
        except BaseException as error:
            if must_propagate(error):
                raise
            self._record_failure(error, name, args[0] if args else None)
            return False
        self._breaker.record_success(name)
        self._health.record_success(name)
        if into is not None:
            into(result)
        return True

    def _prepare_backend(self) -> bool:
        """Create the backend at its first use; return whether it can be used."""
        if self._breaker.is_open:
            return False
        return self._prepared or self._prepare()

    def _prepare(self) -> bool:
        with self._lock:
            if self._prepared:
                return True
            try:
                self._tier = Tier.make(
                    self.backend.provider,
                    self._memory,
                    outages=self._outage.is_enabled,
                    clock=self._clock,
                )
            except (ConfigError, PluginError):
                raise
            except BaseException as error:
                if must_propagate(error):
                    raise
                self._record_failure(error, "create")
                return False
            if self._tier is not None:
                self.peek = self._peek
            elif isinstance(self.backend.provider, BoundedEntries):
                self.peek = self.backend.provider.get
            self._prepared = True
            self._breaker.record_success("create")
            self._health.record_success("create")
            return True

    def _record_failure(self, error: BaseException, operation: str, key: object = None) -> None:
        """Record that *operation* failed for one key or several keys, and log each cause once."""
        self.stats.record_error()
        if isinstance(key, str) and not self._breaker.is_open:
            self._probe_key = key
        options = self.backend.options
        cause = scrub(error.message, options) if isinstance(error, CacheError) else describe(error, options)
        name, is_away = self.backend.name, is_unreachable(error)
        is_new = self._health.record_failure("connect" if is_away else operation, cause)
        has_opened = self._breaker.record_failure(error, operation)
        if is_away:  # every operation fails now, so log only the change of state
            if has_opened:
                _warn("cache `%s` fails, calls go on without it: %s", name, cause)
        elif is_new and operation == "set" and isinstance(error, CacheError):
            _warn("cache `%s` refuses to store a value, calls go on: %s", name, cause)
        elif is_new:
            at = "" if operation == "create" else f" at `{operation}`"
            _warn("cache `%s` fails%s, calls go on without it: %s", name, at, cause)

    def _probe_backend(self) -> bool:
        def probe() -> Act[Any]:
            yield self.backend.require("get")(self._probe_key)
            yield from self._outage.repeat_invalidations()

        try:
            run(probe())
        except BaseException as error:
            if must_propagate(error):
                raise
            return False
        return True

    def _report_recovery(self) -> None:
        for operation in ("connect", "get"):
            self._health.record_success(operation)
        _warn("cache `%s` works again", self.backend.name)


def _peek_nothing(_: str) -> None:
    """Return None, because the store has no memory tier."""


def _unpack(data: object) -> tuple[bytes, float] | None:
    """Return the value and its expiry time (0 for never); None if the value has expired or *data* has another format."""
    if not isinstance(data, bytes) or len(data) < _HEADER.size:
        return None
    magic, expires = _HEADER.unpack_from(data)
    if magic != _MAGIC or (expires and expires <= time.time()):
        return None
    return data[_HEADER.size :], expires


def _warn(message: str, *args: object) -> None:
    get_logger(__name__).warning(message, *args)
