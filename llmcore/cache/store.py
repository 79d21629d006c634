"""The cache as calls see it: bytes in, bytes out, and never the reason why a call fails."""

from __future__ import annotations

import logging
from typing import Final

from llmcore.cache.stats import Stats
from llmcore.calls.backend import Backend
from llmcore.calls.steps import Act
from llmcore.errors import CacheError, ConfigError, PluginError

__all__ = ["CacheStore"]

_log: Final = logging.getLogger(__name__)


class CacheStore:
    """One configured cache. Its backend's failures are counted, logged once a change of state, and outlived."""

    def __init__(self, backend: Backend, *, ttl: float | None = None) -> None:
        self.backend = backend
        self.ttl = ttl
        """Seconds that an entry lives where the caller does not say; None: until it is evicted."""
        self.stats = Stats()
        self._failing = False

    def lookup(self, key: str) -> Act[bytes | None]:
        """Return what is kept under *key*, or None: a miss, or a backend that failed."""
        try:
            value: bytes | None = yield self.backend.must("get")(key)
        except (ConfigError, PluginError):
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's backend, which must not fail the call
            self._failed(error)
            self.stats.looked_up(hit=False)
            return None
        self._works()
        self.stats.looked_up(hit=value is not None)
        return value

    def keep(self, key: str, value: bytes, ttl: float | None = None) -> Act[bool]:
        """Keep *value*; return whether that was done."""
        try:
            yield self.backend.must("set")(key, value, self.ttl if ttl is None else ttl)
        except (ConfigError, PluginError):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            return False
        self._works()
        return True

    def forget(self, key: str) -> Act[bool]:
        """Delete *key*; return whether it was there."""
        try:
            found: bool = yield self.backend.must("delete")(key)
        except (ConfigError, PluginError):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
            return False
        self._works()
        return bool(found)

    def _failed(self, error: Exception) -> None:
        self.stats.failed()
        if not self._failing:
            self._failing = True
            message = error.message if isinstance(error, CacheError) else f"{type(error).__name__}: {error}"
            _log.warning("cache `%s` fails, calls go on without it: %s", self.backend.name, message)

    def _works(self) -> None:
        if self._failing:
            self._failing = False
            _log.warning("cache `%s` works again", self.backend.name)
