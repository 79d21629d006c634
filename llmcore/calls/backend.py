"""One configured backend of any kind, created at its first use."""

from __future__ import annotations

import _thread
import contextlib
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from llmcore.builtin import forks
from llmcore.calls.bridges import Ability, Source, can
from llmcore.calls.drivers import run
from llmcore.calls.options import scrubbed
from llmcore.calls.steps import Act
from llmcore.errors import LLMCoreError, PluginBroken, PluginError
from llmcore.hookspecs import Provider
from llmcore.log import logger

__all__ = ["Backend", "OptionsSource"]


class OptionsSource(Protocol):
    """Gives a provider its checked options; `llmcore.config.Settings` is one."""

    def options(self, kind: str, provider: Provider) -> object:
        """Return the options of *provider*."""
        ...


class Backend:
    """A provider of *kind* that is created when it is first needed, and closed once."""

    def __init__(self, kind: str, entry: Provider, settings: OptionsSource) -> None:
        self.kind = kind
        self.entry = entry
        self.name = entry.name
        self._settings = settings
        self._lock = threading.Lock()
        self._options: object = None
        self._provider: object = None
        self._offline: object = None
        self._finalizer: weakref.finalize[..., Backend] | None = None
        self._abilities: dict[str, Ability | None] = {}
        forks.renew(self)

    def renewed(self) -> None:
        """See `forks.Renewable`."""
        self._lock = threading.Lock()

    @property
    def options(self) -> Any:
        """The checked options.

        Raises:
            ConfigError: They do not fit, or a reference in them leads nowhere.
        """
        if self._options is None:
            self._options = self._settings.options(self.kind, self.entry)
        return self._options

    @property
    def provider(self) -> Any:
        """The provider itself.

        Raises:
            PluginBroken: It could not be created.
        """
        if self._provider is None:
            with self._lock:
                if self._provider is None:
                    self._provider = provider = self._made(self.entry.create)
                    self._finalizer = weakref.finalize(self, _closed_late, provider, weakref.ref(self))
        return self._provider

    @property
    def offline(self) -> Any:
        """What counts and prices without the network: the provider itself, where it has nothing lighter.

        Raises:
            PluginBroken: It could not be created.
        """
        if self.entry.offline is None:
            return self.provider
        if self._offline is None:
            self._offline = self._made(self.entry.offline)
        return self._offline

    def ability(self, name: str) -> Ability | None:
        """Return the provider's method *name* in both colours, or None where it has neither."""
        if name not in self._abilities:
            self._abilities[name] = Ability(self.provider, name) if can(self.provider, name) else None
        return self._abilities[name]

    def must(self, name: str) -> Ability:
        """Return the provider's method *name*, which its contract demands or the caller asked for.

        Raises:
            PluginError: The provider has it in neither colour.
        """
        found = self.ability(name)
        if found is None:
            raise PluginError(
                f"the {self.kind} provider `{self.name}` cannot {name.replace('_', ' ')}",
                expected=f"a method `{name}` or `a{name}` of {type(self.provider).__qualname__}",
                fix=f"llmcore plugins info {self.name}",
            )
        return found

    def source(self, name: str, *args: Any, **named: Any) -> Source:
        """Return the pieces of the provider's streaming method *name*."""
        return Source(self.provider, name, *args, **named)

    def closing(self) -> Ability | None:
        """Return how to close the provider; None where it was never created or holds nothing.

        A later use creates another. One that is never closed is closed soon after the Backend has gone, or when Python ends.
        """
        provider, self._provider = self._provider, None
        if self._finalizer is not None:
            self._finalizer.detach()
        self._abilities.clear()
        return Ability(provider, "close") if can(provider, "close") else None

    def _made(self, make: Callable[[Any], object]) -> object:
        options = self.options
        cause = ""
        try:
            return make(options)
        except LLMCoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's code
            cause = f"{type(error).__name__}: {scrubbed(str(error), options)}"
        raise PluginBroken(
            f"the {self.kind} provider `{self.name}` could not be created: {cause}",
            expected=f"its `{make.__name__}` to return it",
            fix=f"llmcore plugins check {self.name}",
        )


def _closed_late(provider: object, backend: weakref.ref[Backend]) -> None:
    """Close what nobody closed: now where Python ends, else in a thread of its own.

    The garbage collector may run in the middle of any work of any thread: whatever closing waits for, a lock or an event
    loop, that very thread may hold. `threading.Thread` itself waits, for a lock of that kind too.
    """
    if backend() is None:
        with contextlib.suppress(RuntimeError):  # no thread to spare, or Python ends
            _thread.start_new_thread(_close_quietly, (provider,))
    else:
        _close_quietly(provider)


def _close_quietly(provider: object) -> None:
    def closed() -> Act[None]:
        if can(provider, "close"):
            yield Ability(provider, "close")()

    try:
        run(closed())
    except Exception as error:  # noqa: BLE001 - nobody is left to tell
        log = logger(__name__)
        log.debug("%s did not close: %s", type(provider).__qualname__, type(error).__name__)
