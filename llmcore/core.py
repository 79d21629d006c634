"""Core: the selected backends, put together for one application, and closed together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from llmcore.calls.attempts import RetryPolicy
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.config import Settings, load_settings
from llmcore.errors import PluginNotFound
from llmcore.ledger.meter import Meter
from llmcore.ledger.usage import UsageBook
from llmcore.plugins import Catalogue

if TYPE_CHECKING:
    from llmcore.cache import CacheManager, CacheStore
    from llmcore.cache.lease import Leases
    from llmcore.cache.refresh import Refresher
    from llmcore.ledger.hits import Hits
    from llmcore.ledger.paying import Paying
    from llmcore.ledger.spending import Spending
    from llmcore.ledger.told import Told
    from llmcore.llm.client import LLMClient
    from llmcore.storage import StorageClient
    from llmcore.voice import VoiceClient

__all__ = ["Core", "load"]

T = TypeVar("T")

EMBEDDED: Final = {"storage": "fs", "voice": "espeak"}
"""What serves where nothing is configured and its plugin is installed."""


def load(
    source: str | PathLike[str] | Mapping[str, Any] | None = None,
    *,
    profile: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Core:
    """Return a Core as the configuration says.

    Args:
        source: A file, or a dict of the same shape in its place; None looks for `llmcore.toml` from the working
            directory upwards.
        profile: Of `[profiles]`; None takes LLMCORE_PROFILE.
        arguments: A dict of the same shape that wins over every file and variable.

    Raises:
        ConfigError: The configuration has faults: all of them, each with its line.
        PluginNotFound: It names a provider that is not installed.
    """
    return Core(load_settings(source, profile=profile, arguments=arguments), Catalogue())


class Core:
    """One application's language models, cache, storage and voice. Threads, tasks and event loops may share it.

    A backend is created at its first use. Works with `with`, `async with`, or neither.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.usage = UsageBook(Meter(), lambda: self._part("spending", self._spending))
        """What the calls of this Core came to, `usage.totals()`, and what the ledger has: `usage.by("day")`."""
        self._lock = threading.RLock()
        self._backends: dict[tuple[str, str], Backend] = {}
        self._parts: dict[str, Any] = {}
        self._check_names()

    @property
    def llm(self) -> LLMClient:
        """The client for language models."""
        return self._part("llm", self._llm)

    @property
    def cache(self) -> CacheManager:
        """The cache, for an application's own values; replies are kept in the same one."""
        return self._part("cache", self._cache)

    @property
    def storage(self) -> StorageClient:
        """The client for storages."""
        return self._part("storage", self._storage)

    @property
    def voice(self) -> VoiceClient:
        """The client for voices."""
        return self._part("voice", self._voice)

    def backend(self, kind: str, name: str | None = None) -> Backend:
        """Return the backend of *kind* called *name*; None is the configured one."""
        name = name or self._configured(kind)
        with self._lock:
            found = self._backends.get((kind, name))
            if found is None:
                found = Backend(kind, self.catalogue.provider(kind, name), self.settings)
                self._backends[kind, name] = found
            return found

    def close(self) -> None:
        """Close every backend that was created. Closing twice is fine."""
        run(self._closed())

    async def aclose(self) -> None:
        """See `close`."""
        await arun(self._closed())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- putting together

    def _part(self, name: str, make: Callable[[], T]) -> T:
        part: T | None = self._parts.get(name)
        if part is None:
            with self._lock:
                part = self._parts.get(name)
                if part is None:
                    part = self._parts[name] = make()
        return part

    def _llm(self) -> LLMClient:
        from llmcore.absence import KNOWN
        from llmcore.cache.refresh import Refresher
        from llmcore.calls.flight import Flights
        from llmcore.llm.call import House
        from llmcore.llm.client import LLMClient
        from llmcore.llm.models import Models

        settings = self.settings
        store = self._part("store", self._store)
        leases = self._part("leases", self._leases)
        house = House(
            cache=store,
            flights=Flights(),
            leases=leases,
            refresher=self._part("refresher", lambda: Refresher(store, leases)),
            policy=self._policy(),
            prices=settings.prices,
            paying=self._part("paying", self._paying),
            told=self._part("told", self._told),
        )
        models = Models(
            lambda name: self.backend("llm", name),
            provider=settings.llm.provider,
            model=settings.llm.model,
            aliases=settings.models,
            known_providers=[*self.catalogue.names("llm"), *(name for kind, name in KNOWN if kind == "llm")],
            namespace=settings.cache.namespace,
        )
        return LLMClient(models, house, refresh=settings.cache.refresh)

    def _paying(self) -> Paying:
        from llmcore.calls.limits import Limits
        from llmcore.ledger.paying import Paying

        return Paying(
            limits=Limits(self.settings.limits),
            spending=lambda: self._part("spending", self._spending),
            told=self._part("told", self._told),
        )

    def _spending(self) -> Spending:
        """Return the ledger and the budgets. What needs a database is imported when a call is about to be sent."""
        from llmcore.ledger.spending import Spending

        settings = self.settings
        return Spending(
            settings.ledger,
            settings.budgets,
            hits=self._part("hits", self._hits),
            observers=self._observers(),
        )

    def _hits(self) -> Hits:
        from llmcore.ledger.hits import Hits

        ledger = self.settings.ledger
        return Hits(Path(ledger.path) if ledger.enabled and ledger.path else None)

    def _told(self) -> Told:
        from llmcore.ledger.told import Told

        return Told(self.usage.meter, self._part("hits", self._hits), self._observers())

    def _observers(self) -> list[Any]:
        return [self.backend("observers", name).provider for name in self.settings.observers]

    def _policy(self) -> RetryPolicy:
        retry = self.settings.retry
        return RetryPolicy(attempts=retry.attempts, deadline_s=retry.deadline_s, idle_s=retry.idle_s)

    def _leases(self) -> Leases:
        from llmcore.cache.lease import Leases

        return Leases(self._part("store", self._store))

    def _store(self) -> CacheStore:
        from llmcore.cache.store import CacheStore

        return CacheStore(
            self.backend("cache"), ttl=self.settings.cache.ttl, memory=self.settings.cache.memory
        )

    def _cache(self) -> CacheManager:
        from llmcore.cache import CacheManager

        return CacheManager(store=self._part("store", self._store))

    def _storage(self) -> StorageClient:
        from llmcore.storage import StorageClient

        return StorageClient(lambda: self.backend("storage"))

    def _voice(self) -> VoiceClient:
        from llmcore.calls.flight import Flights
        from llmcore.voice import VoiceClient
        from llmcore.voice.exchange import House

        house = House(
            cache=self._part("store", self._store),
            flights=Flights(),
            leases=self._part("leases", self._leases),
            policy=self._policy(),
            prices=self.settings.prices,
            paying=self._part("paying", self._paying),
            told=self._part("told", self._told),
            namespace=self.settings.cache.namespace,
        )
        return VoiceClient(lambda name: self.backend("voice", name), self.settings.voice.fallback, house)

    def _configured(self, kind: str) -> str:
        name: str | None = getattr(self.settings, kind).provider
        return name or EMBEDDED[kind]

    def _check_names(self) -> None:
        """Refuse, from metadata alone, a configuration that names what is not installed."""
        for kind in ("llm", "cache", "storage", "voice"):
            name = getattr(self.settings, kind).provider
            self._check_name(kind, f"{kind}.provider", name)
        for name in self.settings.voice.fallback:
            self._check_name("voice", "voice.fallback", name)

    def _check_name(self, kind: str, key: str, name: str | None) -> None:
        if name is None or ":" in name or name in self.catalogue.names(kind):
            return
        try:
            self.catalogue.provider(kind, name)
        except PluginNotFound as error:
            fault = self.settings.fault(key, error.message, suggestion=error.suggestion)
            error.where, error.excerpt = fault.where, fault.excerpt
            error.fix = fault.fix or error.fix
            raise

    def _closed(self) -> Act[None]:
        with self._lock:
            backends, self._backends = list(self._backends.values()), {}
            store: CacheStore | None = self._parts.pop("store", None)
            leases: Leases | None = self._parts.pop("leases", None)
            hits: Hits | None = self._parts.pop("hits", None)
            spending: Spending | None = self._parts.pop("spending", None)
            refresher: Refresher | None = self._parts.pop("refresher", None)
            self._parts.clear()
        if refresher is not None:
            refresher.close()
        if leases is not None:
            leases.close()
        if hits is not None:
            hits.note()
        if spending is not None:
            spending.close()
        if store is not None:
            yield from store.closing()
        for backend in backends:
            closing = backend.closing()
            if closing is not None:
                yield closing()
