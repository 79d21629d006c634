"""The Core of one application: creates the configured backends and closes them together."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from llmcore.calls.argument_names import check_argument_names
from llmcore.calls.backend import Backend, build_backend
from llmcore.calls.bills import make_bill_reader
from llmcore.calls.drivers import arun, run
from llmcore.calls.parts import Part, PartOwner
from llmcore.calls.public_call import PUBLIC_CALL
from llmcore.calls.steps import Act
from llmcore.config import Settings, load_settings
from llmcore.config.layers import MISSING
from llmcore.config.names import require_names
from llmcore.ledger.meter import Meter
from llmcore.ledger.usage import UsageBook
from llmcore.plugins import Catalogue
from llmcore.process_bound import ProcessBound

if TYPE_CHECKING:
    from llmcore.cache import CacheManager, CacheStore
    from llmcore.cache.lease import Leases
    from llmcore.cache.refresh import Refresher
    from llmcore.calls.limits import RateLimiter
    from llmcore.calls.single_flight import Flights
    from llmcore.content_log.observer import ContentLog
    from llmcore.contracts.bills import BillReader
    from llmcore.ledger.api_keys import ApiKeys
    from llmcore.ledger.events import Events
    from llmcore.ledger.hits import Hits
    from llmcore.ledger.spending import Spending
    from llmcore.ledger.spool import Spool
    from llmcore.llm.client import LLMClient
    from llmcore.pipeline import Services
    from llmcore.storage import StorageClient
    from llmcore.voice import VoiceClient

__all__ = ["Core", "load"]

_EMBEDDED: Final = {"storage": "fs", "voice": "espeak"}
"""Kind -> the provider to use if its plugin is installed and the configuration names no provider of the kind."""


@check_argument_names
def load(
    source: str | PathLike[str] | Mapping[str, Any] | None = None,
    *,
    profile: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Core:
    """Return a Core for the configuration.

    To check the names of models, this function imports the plugins whose models the configuration names. An import has
    no time limit, but the log names a plugin whose import takes more than 5 seconds.

    Args:
        source: A file, or a dict of the same structure; if None, search for `llmcore.toml` from the working
            directory upwards.
        profile: A name of `[profiles]`; None means LLMCORE_PROFILE.
        arguments: A dict of the same structure that overrides all files and variables.

    Raises:
        ConfigError: The configuration has faults; the error lists every fault with its line.
        PluginNotFound: The configuration names a provider that is not installed.
    """
    with PUBLIC_CALL:
        return Core(load_settings(source, profile=profile, arguments=arguments), Catalogue())


class Core(PartOwner, ProcessBound):
    """One application's language models, cache, storage and voice.

    Threads, tasks and event loops may share it. A backend is created at its first use. A Core can be used
    with `with`, with `async with`, or without a block.
    """

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self.settings = settings
        """The checked configuration."""
        self.catalogue = catalogue
        """The installed providers."""
        self.usage = UsageBook(Meter(), lambda: self._spending)
        """`usage.totals()` returns the usage of this Core; `usage.by("day")` reads the whole ledger."""
        self._backends: dict[tuple[str, str], Backend] = {}
        super().__init__()
        require_names(settings, catalogue)

    def __repr__(self) -> str:
        kinds = ("llm", "cache", "storage", "voice")
        names = " ".join(f"{kind}={self._get_configured_name(kind)}" for kind in kinds)
        return f"<{type(self).__name__} {names}>"

    def backend(self, kind: str, name: str | None = None) -> Backend:
        """Return the backend of *kind* called *name*. If *name* is None, return the configured backend."""
        name = name or self._get_configured_name(kind)
        found = self._backends.get((kind, name))
        if found is None:
            # not under the lock: importing a plugin may take long, and calls that wait for the lock have deadlines
            built = build_backend(kind, name, self.settings, self.catalogue)
            with self._lock:
                found = self._backends.setdefault((kind, name), built)
        return found

    def table(self, name: str) -> Any:
        """Return the table [name] that a plugin declares, as an instance of its options.

        Raises:
            ConfigError: The table has faults; the attribute `faults` lists all errors.
            PluginNotFound: No installed plugin declares the table.
        """
        with PUBLIC_CALL:
            return self.settings.read_table(self.catalogue.load_table(name))

    def bill_reader(self, name: str) -> BillReader:
        """Return the object that reads the vendor's bill. *name* is an llm provider, or an instance of one.

        Raises:
            ConfigError: The table of the bill, such as `[openai_bill]`, has faults.
            PluginError: The provider is not installed, or its plugin reads no bills.
        """
        with PUBLIC_CALL:
            return make_bill_reader(self.settings, self.catalogue, name)

    def close(self) -> None:
        """Close every backend that was created. A second call has no effect."""
        run(self._close())

    async def aclose(self) -> None:
        """See `close`."""
        await arun(self._close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- parts

    @Part
    def llm(self) -> LLMClient:
        """The client for language models."""
        from llmcore.config.model_names import ModelNames
        from llmcore.llm.client import LLMClient
        from llmcore.llm.models import Models

        settings = self.settings
        models = Models(
            lambda name: self.backend("llm", name),
            provider=settings.llm.provider,
            model=settings.llm.model,
            aliases=settings.models,
            names=ModelNames(settings, self.catalogue),
            namespace=settings.cache.namespace,
        )

        def get_engines() -> Any:
            from llmcore.batch_worker import make_engines

            return make_engines(self)

        client = LLMClient(models, self._services, refresh=settings.cache.refresh)
        client.set_engines(get_engines)
        return client

    @Part
    def _services(self) -> Services:
        from llmcore.calls.attempts import RetryPolicy
        from llmcore.pipeline import Services

        retry = self.settings.retry
        return Services(
            cache=self._store,
            policy=RetryPolicy(attempts=retry.attempts, deadline_s=retry.deadline_s, idle_s=retry.idle_s),
            prices=self.settings.prices,
            events=self._events,
            get_flights=lambda: self._flights,
            get_leases=lambda: self._leases,
            get_refresher=lambda: self._refresher,
            get_limits=lambda: self._limits,
            spending=lambda: self._spending,
        )

    @Part
    def _flights(self) -> Flights:
        from llmcore.calls.single_flight import Flights

        return Flights()

    @Part
    def _limits(self) -> RateLimiter:
        if self.settings.shared_limits is not None and self.settings.limits:
            from llmcore.calls.shared_backend import make_shared_limits

            return make_shared_limits(self.settings, self.catalogue)
        from llmcore.calls.limits import Limits

        return Limits(self.settings.limits)

    @Part
    def _spending(self) -> Spending:
        """The ledger and the budgets.

        Created when the first request is about to be sent, because opening the database takes time.
        """
        from llmcore.ledger.spending import Spending

        settings = self.settings
        return Spending(
            self._create_ledger,
            settings.ledger,
            settings.budgets,
            hits=self._hits,
            spool=self._spool,
            observers=self._observers(),
            get_smtp=lambda: self.table("smtp"),
        )

    def _create_ledger(self) -> Any:
        """Return the ledger.

        The Core does not close the ledger. `Spending` does, because it writes rows of unfinished requests after `Core.close`.
        """
        backend = self.backend("ledger")
        ledger = backend.provider
        backend.detach_close()
        return ledger

    @Part
    def _spool(self) -> Spool | None:
        from llmcore.ledger.spool import make_spool

        return make_spool(self.settings.ledger, lambda: self.backend("ledger").provider.location)

    @Part
    def _hits(self) -> Hits:
        from llmcore.ledger.hits import Hits

        return Hits(self._spool)

    @Part
    def _events(self) -> Events:
        from llmcore.ledger.events import Events

        return Events(self.usage.meter, self._hits, self._observers())

    def _observers(self) -> list[Any]:
        chosen = [self.backend("observers", name).provider for name in self.settings.observers]
        log = self._content_log
        return [*chosen, log] if log else chosen

    @Part
    def _content_log(self) -> ContentLog | Literal[False]:
        """The observer that writes prompts and answers to the log; False while `[log] content` is off."""
        if self.settings.get(("log",)) is MISSING:
            return False
        options: Any = self.settings.read_table(self.catalogue.load_table("log"))
        if not options.content:
            return False
        from llmcore.content_log.observer import make_content_log

        return make_content_log(self.settings, options)

    @Part
    def _leases(self) -> Leases:
        from llmcore.cache.lease import Leases

        return Leases(self._store)

    @Part
    def _refresher(self) -> Refresher:
        from llmcore.cache.refresh import Refresher

        return Refresher(self._store, self._leases)

    @Part
    def _store(self) -> CacheStore:
        from llmcore.cache.store import CacheStore

        cache = self.settings.cache
        return CacheStore(
            self.backend("cache"), ttl=cache.ttl, memory=cache.memory, on_outage=cache.on_outage
        )

    @Part
    def keys(self) -> ApiKeys:
        """The API keys of a gateway's clients, which the ledger stores."""
        return self.usage.keys()

    @Part
    def cache(self) -> CacheManager:
        """The cache, for an application's own values. llmcore stores replies in the same cache."""
        from llmcore.cache import CacheManager

        return CacheManager(store=self._store)

    @Part
    def storage(self) -> StorageClient:
        """The client for storages."""
        from llmcore.storage import StorageClient

        return StorageClient(lambda: self.backend("storage"))

    @Part
    def voice(self) -> VoiceClient:
        """The client for voices."""
        from llmcore.voice import VoiceClient

        return VoiceClient(
            lambda name: self.backend("voice", name),
            self.settings.voice.fallback,
            self._services,
            namespace=self.settings.cache.namespace,
        )

    def _get_configured_name(self, kind: str) -> str:
        name: str | None = getattr(self.settings, kind).provider
        return name or _EMBEDDED[kind]

    def _close(self) -> Act[None]:
        with self._lock:
            backends, self._backends = list(self._backends.values()), {}
            store: CacheStore | None = self._parts.pop("_store", None)
            leases: Leases | None = self._parts.pop("_leases", None)
            hits: Hits | None = self._parts.pop("_hits", None)
            spending: Spending | None = self._parts.pop("_spending", None)
            refresher: Refresher | None = self._parts.pop("_refresher", None)
            limits: RateLimiter | None = self._parts.pop("_limits", None)
            log: ContentLog | Literal[False] = self._parts.pop("_content_log", False)
            self._parts.clear()
        if refresher is not None:
            refresher.close()
        if leases is not None:
            leases.close()
        if hits is not None:
            hits.write()
        if spending is not None:
            yield from spending.shut_down()
        if store is not None:
            yield from store.shut_down()
        if limits is not None:
            yield from limits.shut_down()
        if log:
            log.close()
        for backend in backends:
            closing = backend.detach_close()
            if closing is not None:
                yield closing()
