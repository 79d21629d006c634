"""The cache as calls see it: bytes in, bytes out, and never the reason why a call fails."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

from llmcore.builtin import forks
from llmcore.builtin.memory_cache import MemoryCache
from llmcore.cache.breaker import Breaker
from llmcore.cache.stats import Stats
from llmcore.cache.tier import Tier
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import run
from llmcore.calls.options import scrubbed
from llmcore.calls.steps import Act, Step
from llmcore.errors import CacheError, CacheUnavailable, ConfigError, PluginError
from llmcore.log import logger

__all__ = ["CacheStore"]

_HEAD: Final = struct.Struct("<4sd")
_MAGIC: Final = b"llm1"
_QUIET_S: Final = 60.0
"""Between two lines about a cache that refuses to keep by turns."""


class CacheStore:
    """One configured cache: memory tier, backend, and what is known of its health.

    The backend's failures are counted, logged once a change of state, and outlived.
    """

    def __init__(self, backend: Backend, *, ttl: float | None = None, memory: int = 0) -> None:
        """Prepare it; the backend is created at the first look-up.

        Args:
            backend: Whose it is.
            ttl: Seconds that an entry lives where the caller does not say; None: until it is evicted.
            memory: Bytes of the memory tier; 0 for none.
        """
        self.backend = backend
        self.ttl = ttl
        self.stats = Stats()
        self._memory = memory
        self._tier: Tier | None = None
        self._prepared = False
        self.peek: Callable[[str], bytes | None] = _nothing
        """Returns, uncounted and without waiting, the object that this process's own memory has under a key.

        It is the same object until the key is written anew, and may have the store's head in front of the value. None
        says nothing: `lookup` does. To be taken from here at each use.
        """
        self._lock = threading.Lock()
        self._probed = "probe"
        """The key that failed last: of a Cluster, the other nodes may well answer."""
        self._refusing = False
        self._quiet_until = 0.0
        self._breaker = Breaker(self._answers, self._works)
        forks.renew(self)

    def renewed(self) -> None:
        """See `forks.Renewable`."""
        self._lock = threading.Lock()

    def near(self, key: str) -> bytes | None:
        """Return the value that this process's own memory has, uncounted; None says nothing: `lookup` does."""
        tier = self._tier
        if tier is not None:
            return None if self._breaker.is_open else tier.get(key)
        opened = _opened(self.peek(key))
        return None if opened is None else opened[0]

    def lookup(self, key: str) -> Act[bytes | None]:
        """Return what is kept under *key*, or None: a miss, or a backend that failed."""
        value = None
        if self._ready():
            value = None if self._tier is None else self._tier.get(key)
            if value is None:
                value = yield from self._read(key)
        self.stats.looked_up(hit=value is not None)
        return value

    def lookup_many(self, keys: Sequence[str]) -> Act[dict[str, bytes]]:
        """Return what is kept under *keys*, each of which is counted as by `lookup`.

        The backend is asked once, and only for what the memory tier has not.
        """
        values: dict[str, bytes] = {}
        if self._ready():
            if self._tier is not None:
                values = {key: value for key in keys if (value := self._tier.get(key)) is not None}
            values |= yield from self._read_many([key for key in keys if key not in values])
        for key in keys:
            self.stats.looked_up(hit=key in values)
        return values

    def keep(self, key: str, value: bytes, ttl: float | None = None) -> Act[bool]:
        """Keep *value*; return whether that was done."""
        if not self._ready():
            return False
        ttl = self.ttl if ttl is None else ttl
        expires = time.time() + ttl if ttl is not None else 0.0
        if self._tier is not None:
            self._tier.drop(key)
        epoch = 0 if self._tier is None else self._tier.epoch()
        done = yield from self._attempted("set", key, _HEAD.pack(_MAGIC, expires) + value, ttl)
        if done and self._tier is not None:
            self._tier.put(key, value, expires, self._tier.wrote(epoch))
        return done

    def forget(self, key: str) -> Act[bool]:
        """Delete *key*; return whether it was there."""
        if not self._ready():
            return False
        if self._tier is not None:
            self._tier.drop(key)
        found: list[Any] = []
        yield from self._attempted("delete", key, into=found.append)
        return bool(found and found[0])

    def look(self, key: str) -> Act[bytes | None]:
        """Return what the backend has under *key*, uncounted: for those who wait until it is there."""
        return (yield from self._read(key)) if self._ready() else None

    def look_many(self, keys: Sequence[str]) -> Act[dict[str, bytes]]:
        """Return what the backend has under *keys*, asked once and uncounted."""
        return (yield from self._read_many(keys)) if self._ready() else {}

    def leased(self, name: str, *args: Any) -> Act[bool | None]:
        """Take or give back a lease; return the backend's answer, None where it has no leases or failed."""
        if not self._ready() or self.backend.ability(name) is None:
            return None
        answer: list[bool | None] = []
        yield from self._attempted(name, *args, into=answer.append)
        return answer[0] if answer else None

    def managed(self, name: str, *args: Any) -> Act[Any]:
        """Have the backend do what its manager asked for; return its answer.

        Raises:
            CacheError: It failed; nobody else's call is at stake.
        """
        if self._tier is not None:
            self._tier.clear()
        failure: CacheError
        try:
            return (yield self.backend.must(name)(*args))
        except (CacheError, ConfigError, PluginError):
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's backend
            said = scrubbed(str(error), self.backend.options)
            failure = CacheError(f"cache `{self.backend.name}` failed: {type(error).__name__}: {said}")
        raise failure

    def closing(self) -> Act[None]:
        """Close the backend, the tier and the breaker."""
        self._breaker.close()
        self._tier, self.peek, self._prepared = None, _nothing, False
        closing = self.backend.closing()
        if closing is not None:
            yield closing()

    def _peek(self, key: str) -> bytes | None:
        tier = self._tier
        return None if tier is None or self._breaker.is_open else tier.get(key)

    def _read(self, key: str) -> Act[bytes | None]:
        epoch = 0 if self._tier is None else self._tier.epoch()
        found: list[object] = []
        yield from self._attempted("get", key, into=found.append)
        return self._taken(key, found[0], epoch) if found else None

    def _read_many(self, keys: Sequence[str]) -> Act[dict[str, bytes]]:
        values: dict[str, bytes] = {}
        if len(keys) > 1 and self.backend.ability("get_many") is not None:
            epoch = 0 if self._tier is None else self._tier.epoch()
            found: list[object] = []
            yield from self._attempted("get_many", keys, into=found.append)
            kept = found[0] if found and isinstance(found[0], Mapping) else {}
            for key in keys:
                value = self._taken(key, kept.get(key), epoch)
                if value is not None:
                    values[key] = value
            return values
        for key in keys:
            value = None if self._breaker.is_open else (yield from self._read(key))
            if value is not None:
                values[key] = value
        return values

    def _taken(self, key: str, data: object, epoch: int) -> bytes | None:
        """Return the value in what the backend gave for *key*, which the tier keeps from now on."""
        opened = _opened(data)
        if opened is None:
            return None
        value, expires = opened
        if self._tier is not None:
            self._tier.put(key, value, expires, epoch)
        return value

    def _attempted(
        self, name: str, *args: Any, into: Callable[[Any], None] | None = None
    ) -> Generator[Step, Any, bool]:
        """Ask the backend; return whether it did what it was asked."""
        try:
            result = yield self.backend.must(name)(*args)
        except (ConfigError, PluginError):
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's backend, which must not fail the call
            if name == "set" and isinstance(error, CacheError) and not isinstance(error, CacheUnavailable):
                self._refused(error)
            else:
                self._failed(error, args[0])
            return False
        self._breaker.worked()
        if name == "set":
            self._refusing = False
        if into is not None:
            into(result)
        return True

    def _ready(self) -> bool:
        """Create the backend at its first use; return whether it may be asked."""
        if self._breaker.is_open:
            return False
        return self._prepared or self._prepare()

    def _prepare(self) -> bool:
        with self._lock:
            if self._prepared:
                return True
            try:
                self._tier = Tier.in_front_of(self.backend.provider, self._memory)
            except (ConfigError, PluginError):
                raise
            except Exception as error:  # noqa: BLE001 - as below
                self._failed(error)
                return False
            if self._tier is not None:
                self.peek = self._peek
            elif isinstance(self.backend.provider, MemoryCache):
                self.peek = self.backend.provider.get
            self._prepared = True
            return True

    def _failed(self, error: Exception, at: object = None) -> None:
        """Note what went wrong with the key, or the keys, *at*."""
        self.stats.failed()
        if isinstance(at, str) and not self._breaker.is_open:
            self._probed = at
        if self._breaker.failed(error):
            said = error.message if isinstance(error, CacheError) else f"{type(error).__name__}: {error}"
            said = scrubbed(said, self.backend.options)
            _warn("cache `%s` fails, calls go on without it: %s", self.backend.name, said)

    def _refused(self, error: CacheError) -> None:
        """Note that it answers and does not take what it is to keep: it is full, or the value too large.

        That is told once, and no reason to leave it alone: what it has, it gives.
        """
        self.stats.failed()
        now = time.monotonic()
        if not self._refusing and now >= self._quiet_until:
            self._quiet_until = now + _QUIET_S
            said = scrubbed(error.message, self.backend.options)
            _warn("cache `%s` refuses to keep a value, calls go on: %s", self.backend.name, said)
        self._refusing = True

    def _answers(self) -> bool:
        def asking() -> Act[Any]:
            return (yield self.backend.must("get")(self._probed))

        try:
            run(asking())
        except Exception:  # noqa: BLE001 - it does not answer, however it says so
            return False
        return True

    def _works(self) -> None:
        if self._tier is not None:
            self._tier.clear()
        _warn("cache `%s` works again", self.backend.name)


def _nothing(_: str) -> None:
    """Have nothing in memory."""


def _opened(data: object) -> tuple[bytes, float] | None:
    """Return the value and when its time is over, 0 for never; None where it is, or *data* is not ours."""
    if not isinstance(data, bytes) or len(data) < _HEAD.size:
        return None
    magic, expires = _HEAD.unpack_from(data)
    if magic != _MAGIC or (expires and expires <= time.time()):
        return None
    return data[_HEAD.size :], expires


def _warn(message: str, *args: object) -> None:
    logger(__name__).warning(message, *args)
