"""One configured backend or instance of any kind, created at its first use."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final, Protocol

import msgspec

from llmcore import forks
from llmcore.calls.abandoned_providers import close_abandoned
from llmcore.calls.backend_errors import adapt_fix, locate_option, rename_provider
from llmcore.calls.bridges import Ability, PieceStream, has_method
from llmcore.calls.lingering_threads import name_lingering_threads
from llmcore.calls.options import describe
from llmcore.calls.steps import Step
from llmcore.config import Settings
from llmcore.errors import LLMCoreError, PluginBroken, PluginError, Timeout
from llmcore.hookspecs import Provider
from llmcore.interrupts import must_propagate
from llmcore.log import configure_pending
from llmcore.plugins import Catalogue
from llmcore.threads import Overdue, acquire_within, arun_bounded, needs_event_loop, run_bounded

__all__ = ["Backend", "OptionsSource", "build_backend", "is_loopback"]

_OWN_MODULES: Final = "llmcore.builtin."
_TIME_LEFT: Final[ContextVar[Callable[[], float] | None]] = ContextVar(
    "llmcore-creation-time-left", default=None
)
"""Returns the seconds until the deadline of the call that runs in this context. Each call has its own deadline."""
_IS_BOUNDED: Final[ContextVar[bool]] = ContextVar("llmcore-creation-is-bounded", default=False)
"""True if this context belongs to a thread that creates a provider while an event loop waits for the thread."""


class OptionsSource(Protocol):
    """Returns the checked options of a provider. `llmcore.config.Settings` is one implementation."""

    def read_options(self, kind: str, provider: Provider) -> object:
        """Return the options of *provider*."""
        ...


def build_backend(kind: str, name: str, settings: Settings, catalogue: Catalogue) -> Backend:
    """Return the backend of a provider, or of an instance: `[llm.local] use = "openai"`.

    Raises:
        PluginError: No plugin offers the provider, or the plugin is broken.
    """
    instances = settings.list_instances(kind)
    used = instances.get(name)
    missing = None if used is not None else catalogue.find_missing(kind, name, instances)
    if missing is not None:
        raise missing
    entry = catalogue.load_provider(kind, used or name)
    return Backend(kind, entry, settings, instance=None if used is None else name)


class Backend:
    """A provider of *kind*, created at its first use and closed once."""

    def __init__(
        self, kind: str, entry: Provider, settings: OptionsSource, *, instance: str | None = None
    ) -> None:
        """Use the provider that *entry* describes.

        *instance* gives the backend another name and other options. Errors then name the instance.
        """
        self.kind = kind
        """llm, cache, storage, voice, ledger or engines."""
        self.entry = entry if instance is None else msgspec.structs.replace(entry, name=instance)
        """The description of the provider by its plugin."""
        self.name = self.entry.name
        """The name of the provider, or of its instance."""
        self.provider_name = entry.name
        """The name of the provider in its plugin."""
        self._settings = settings
        self._lock = forks.lock()
        self._options: object = None
        self._provider: object = None
        self._offline: object = None
        self._finalizer: weakref.finalize[..., Backend] | None = None
        self._abilities: dict[str, Ability | None] = {}
        self._time_left: Callable[[], float] | None = None
        """Returns the seconds until the deadline of the last call that needed the provider. None means no limit."""

    def limit_creation(self, left: Callable[[], float]) -> None:
        """Limit the creation of the provider to *left()* seconds. If *left()* is 0 or less, no limit applies."""
        if self._provider is None:
            self._time_left = left
            _TIME_LEFT.set(left)

    @property
    def keeps_timeouts(self) -> bool:
        """True if the provider promises to keep `timeout_s`, so that its blocking methods run in the caller's thread."""
        return getattr(self.provider, "keeps_timeouts", False) is True

    @property
    def options(self) -> Any:
        """The checked options.

        Raises:
            ConfigError: An option is not valid, or an option contains a reference that cannot be resolved.
        """
        if self._options is None:
            self._options = self._settings.read_options(self.kind, self.entry)
        return self._options

    @property
    def apis(self) -> frozenset[str]:
        """The APIs whose requests the provider accepts; see `Provider.apis`."""
        apis = self.entry.apis
        if callable(apis):
            apis = apis(self.options)
            self.entry = msgspec.structs.replace(self.entry, apis=apis)
        return apis

    @property
    def provider(self) -> Any:
        """Return the provider. The first call creates it.

        Raises:
            PluginBroken: The provider could not be created.
        """
        if self._provider is None:
            with self._hold_lock(self.entry.create):
                if self._provider is None:
                    self._provider = provider = self._create(self.entry.create)
                    self._finalizer = weakref.finalize(self, close_abandoned, provider, weakref.ref(self))
        return self._provider

    @property
    def creation(self) -> Step | None:
        """The step that creates the provider; None if the provider exists. The step does not block an event loop."""
        return None if self._provider is not None else Step(self._ensure_provider, self._acreate)

    @property
    def offline(self) -> Any:
        """The object that counts tokens and prices without the network.

        This is the result of `Provider.offline` if the plugin defines that function, otherwise the provider.

        Raises:
            PluginBroken: The provider could not be created.
        """
        if self.entry.offline is None:
            return self.provider
        if self._offline is None:
            with self._hold_lock(self.entry.offline):
                if self._offline is None:
                    self._offline = self._create(self.entry.offline)
        return self._offline

    def locate(self, *paths: tuple[str, ...]) -> tuple[str, str | None]:
        """Return the place of the first path in *paths* that is set, and the text of its line.

        If no path is set, return the table of this provider's kind.
        """
        locate = getattr(self._settings, "locate", None)
        found: tuple[str, str | None] | None = None if locate is None else locate(paths)
        return found or (f"[{self.kind}] provider", None)

    def get_written(self, path: tuple[str, ...]) -> Any:
        """Return the setting *path* as the file has it, with unresolved references; None if the setting is missing."""
        written = getattr(self._settings, "get_written", None)
        return None if written is None else written(path)

    def format_set_line(self, path: tuple[str, ...], value: str) -> str:
        """Return the line that sets *path* to *value*, ready to paste."""
        line = getattr(self._settings, "format_set_line", None)
        return f"set {'.'.join(path)} to {value}" if line is None else line(path, value)

    def format_command(self, words: str) -> str:
        """Return the command line that runs the command *words* with the configuration of this backend."""
        format_command = getattr(self._settings, "format_command", None)
        return f"llmcore {words}" if format_command is None else str(format_command(words))

    def find_ability(self, name: str) -> Ability | None:
        """Return the provider's method *name*; None if the provider has neither a sync nor an async variant."""
        if name not in self._abilities:
            self._abilities[name] = Ability(self.provider, name) if has_method(self.provider, name) else None
        return self._abilities[name]

    def require(self, name: str) -> Ability:
        """Return the provider's method *name*, which the contract or the caller requires.

        Raises:
            PluginError: The provider has neither the sync nor the async variant.
        """
        found = self.find_ability(name)
        if found is None:
            raise PluginError(
                f"the {self.kind} provider `{self.name}` cannot {name.replace('_', ' ')}",
                expected=f"a method `{name}` or `a{name}` of {type(self.provider).__qualname__}",
                fix=f"llmcore plugins info {self.name}",
            )
        return found

    def open_stream(self, name: str, *args: Any, **named: Any) -> PieceStream:
        """Return the stream of the provider's method *name*.

        The request is sent when the first piece is read.
        """
        return PieceStream(self.provider, name, *args, **named)

    def adapt_error(self, error: LLMCoreError) -> None:
        """Adapt *error* to this backend: its commands then name the current configuration, its texts the instance."""
        if self.name != self.provider_name:
            rename_provider(error, self)
        adapt_fix(error, getattr(self._settings, "format_set_line", None))

    def _get_limit(self) -> Callable[[], float] | None:
        """Return the time limit of the call in this context. Outside of a call, return the limit of the last call."""
        return None if self._time_left is None else _TIME_LEFT.get() or self._time_left

    @contextlib.contextmanager
    def _hold_lock(self, make: Callable[[Any], object]) -> Iterator[None]:
        """Hold the lock for creating the provider. Raise Timeout if another call still holds the lock when the limit passes."""
        if not acquire_within(self._lock, self._get_limit()):
            raise self._make_timeout(make)
        try:
            yield
        finally:
            self._lock.release()

    def _ensure_provider(self) -> None:
        _ = self.provider

    async def _acreate(self) -> None:
        """Create the provider in a thread, within the limit."""
        left = self._get_limit()
        if left is None or self._is_own(self.entry.create):
            return self._ensure_provider()
        token, is_late = _IS_BOUNDED.set(True), False
        try:
            return await arun_bounded(self._ensure_provider, left())
        except Overdue:
            is_late = True
        except RuntimeError as error:
            if not needs_event_loop(error):
                raise
        finally:
            _IS_BOUNDED.reset(token)
        if is_late:
            raise self._make_timeout(self.entry.create)
        return self._ensure_provider()  # this provider needs the event loop of this thread

    @staticmethod
    def _is_own(make: Callable[[Any], object]) -> bool:
        return str(getattr(make, "__module__", "")).startswith(_OWN_MODULES)

    def _make_timeout(self, make: Callable[[Any], object]) -> Timeout:
        return Timeout(
            f"the {self.kind} provider `{self.name}` was still being created when the deadline of the call passed",
            provider=self.name,
            sent=False,
            expected=f"its `{make.__name__}` to return at once, and to connect at the first call; or a longer timeout",
        )

    def _run_create(self, make: Callable[[Any], object], options: Any) -> object:
        left = self._get_limit()
        with name_lingering_threads(f"the {self.kind} provider `{self.name}`", make):
            if left is None or self._is_own(make) or _IS_BOUNDED.get():
                return make(options)
            return run_bounded(lambda: make(options), left())

    def detach_close(self) -> Ability | None:
        """Detach the provider and return its `close` method; None if there is nothing to close.

        A later use creates a new provider. A provider that the application never closes is closed after the garbage collection
        of the Backend, or when Python exits.
        """
        provider, self._provider = self._provider, None
        if self._finalizer is not None:
            self._finalizer.detach()
        self._abilities.clear()
        return Ability(provider, "close") if has_method(provider, "close") else None

    def _create(self, make: Callable[[Any], object]) -> object:
        options = self.options
        cause = ""
        if make is self.entry.create and not self._is_own(make):
            configure_pending()  # a plugin may use `logging` without `llmcore.log`
        try:
            return self._run_create(make, options)
        except Overdue:
            pass
        except LLMCoreError as error:
            self.adapt_error(error)
            locate_option(error, self)
            raise
        except BaseException as error:
            if must_propagate(error) or (needs_event_loop(error) and _IS_BOUNDED.get()):
                raise
            cause = describe(error, options)
        if not cause:
            raise self._make_timeout(make)
        message = f"the {self.kind} provider `{self.name}` could not be created"
        from llmcore.hidden_modules import find_hidden_module

        if hidden := find_hidden_module(make.__module__):
            raise PluginBroken(
                f"{message}: {hidden.message}",
                expected="a module file whose name does not hide another module",
                notes=(cause,),
                fix=hidden.fix,
            )
        raise PluginBroken(
            f"{message}: {cause}",
            expected=f"its `{make.__name__}` to return the provider",
            fix=f"llmcore plugins check {self.name}",
        )


def is_loopback(backend: Backend) -> bool:
    """Return whether the server of *backend* runs on this machine.

    The address is read from the backend's identity.
    """
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    identity = backend.entry.identity
    try:
        address = "" if identity is None else str(identity(backend.options).get("base_url", ""))
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except (LLMCoreError, ValueError):
        return False
