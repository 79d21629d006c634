"""One configured backend of any kind, created at its first use."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from llmcore.calls.bridges import Ability, Source, can
from llmcore.errors import LLMCoreError, PluginBroken, PluginError
from llmcore.hookspecs import Provider

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
        self._abilities: dict[str, Ability | None] = {}

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
                    self._provider = self._created()
        return self._provider

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

    def source(self, name: str, *args: Any) -> Source:
        """Return the pieces of the provider's streaming method *name*."""
        return Source(self.provider, name, *args)

    def closing(self) -> Ability | None:
        """Return how to close the provider; None where it was never created or holds nothing."""
        if self._provider is None:
            return None
        return Ability(self._provider, "close") if can(self._provider, "close") else None

    def _created(self) -> object:
        options = self.options
        cause = ""
        try:
            return self.entry.create(options)
        except LLMCoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's code
            cause = f"{type(error).__name__}: {error}"
        raise PluginBroken(
            f"the {self.kind} provider `{self.name}` could not be created: {cause}",
            expected="its `create` to return the provider",
            fix=f"llmcore plugins check {self.name}",
        )
