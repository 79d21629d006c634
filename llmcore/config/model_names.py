"""The known names of models: names of [models], and the models that a provider or instance lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llmcore.config.settings import Settings
from llmcore.config.typos import find_typo
from llmcore.errors import PluginError
from llmcore.hookspecs import Provider
from llmcore.interrupts import is_interrupt
from llmcore.log import get_logger
from llmcore.missing_plugin import KNOWN
from llmcore.plugins import Catalogue

__all__ = ["ModelNames", "get_known_names", "to_list"]


_BUILT_IN: Final = "echo"
"""The provider that accepts any model name.

If this provider is configured and a model name is the name of another provider, the error suggests
`PROVIDER:MODEL`.
"""


def get_known_names(kind: str, catalogue: Catalogue) -> frozenset[str]:
    """Return the provider names of *kind* that are installed, or are reserved for plugins of this project."""
    ours = {name for of_kind, name in KNOWN if of_kind == kind}
    return catalogue.list_claimed_names(kind) | ours


def to_list(members: Sequence[str], index: int, meant: str) -> str:
    """Return *members* as a TOML list, with *meant* in place of the item at *index*."""
    return "[" + ", ".join(f'"{meant if at == index else each}"' for at, each in enumerate(members)) + "]"


class ModelNames:
    """Finds the correct name of a misspelt model in the plugins' lists of models, without asking a server."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._known: dict[tuple[str, str], frozenset[str] | None] = {}
        self.configured = frozenset(_iterate_models(settings))
        """The models that the configuration names together with a provider: `tiny` in `local:tiny`."""

    def list_providers(self) -> list[str]:
        """Return the names of the llm providers and instances, sorted."""
        return sorted({*self._catalogue.list_names("llm"), *self._settings.list_instances("llm")})

    def split(self, name: str) -> tuple[str, str]:
        """Return provider and model of *name*, which contains a colon.

        The part before the colon is the provider if it names an instance or a provider with a table in the
        configuration. Otherwise, the whole name may be a model of the configured provider, as `llama3.2:1b` is a model
        of Ollama. A name with a slash before the colon is always such a model, because the name of a provider contains
        no slash.
        """
        head, _, model = name.partition(":")
        own = self._settings.llm.provider
        if "/" in head:
            return own, name
        if head == own or head in self._settings.list_instances("llm"):
            return head, model
        is_configured = isinstance(self._settings.get(("llm", head)), Mapping)
        return (own, name) if not is_configured and self._has_model(own, name) else (head, model)

    def _has_model(self, provider: str, name: str) -> bool:
        used = self._settings.list_instances("llm").get(provider, provider)
        if self._catalogue.find_missing("llm", used) is not None:
            return False
        try:
            entry = self._catalogue.load_provider("llm", used)
        except PluginError:  # the error is raised again when the provider is used
            return False
        return entry.owns_model is not None and entry.owns_model(name)

    def find_typo(self, provider: str, model: str, kinds: Iterable[str] = ("llm",)) -> str | None:
        """Return the model of *provider* that *model* misspells.

        Return None if *model* is known, or if it may be the name of a new model. A plugin lists only the models of its
        vendor's server. For another server, which may have any models, the list is empty and the result is None.
        """
        lists = [found for kind in kinds if (found := self._get_models(kind, provider)) is not None]
        # If the models of one kind are unknown, *model* may be one of them. The kinds have separate lists, because the
        # language models and the voices of one provider may be on different servers.
        if not all(lists):
            return None
        known: frozenset[str] = frozenset().union(*lists)
        tail = model.rpartition("/")[2]
        if known and model not in known and tail in known:  # the form that gateways use: vendor/model
            return tail
        return find_typo(model, known)

    def find_alias_typo(self, name: str) -> str | None:
        """Return the alias or the provider that the user probably meant by *name*, which contains no provider.

        A provider is returned with a colon: "openai:". Return None if *name* may be a model.
        """
        own = self._settings.llm.provider
        if name == own or name in self.configured or name in (self._get_models("llm", own) or ()):
            return None
        # A server with unknown models may have a model that is named like a provider, as Ollama has `mistral`. So
        # suggest a provider only if the models are known.
        providers = self.list_providers() if self._get_models("llm", own) or own == _BUILT_IN else []
        if name in providers:
            return f"{name}:"
        found = find_typo(name, self._settings.models) or find_typo(name, providers)
        return f"{found}:" if found in providers else found

    def _get_models(self, kind: str, name: str) -> frozenset[str] | None:
        """Return the models that a provider or instance lists; None if the provider is not installed.

        An empty set means that the models are unknown.
        """
        if (kind, name) not in self._known:
            self._known[kind, name] = self._read_models(kind, name)
        return self._known[kind, name]

    def _read_models(self, kind: str, name: str) -> frozenset[str] | None:
        instance = self._settings.list_instances(kind).get(name)
        used = instance or name
        if self._catalogue.find_missing(kind, used) is not None:
            return None
        try:
            entry = self._catalogue.load_provider(kind, used)
        except PluginError:  # the error is raised again when the provider is used
            return frozenset()
        value = self._settings.get((kind, name if instance else entry.name))
        table: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        found = _get_known_models(entry, table)
        return frozenset((*found, *table.get("extra_models", ()))) if found else frozenset()


def _get_known_models(entry: Provider, table: Mapping[str, Any]) -> tuple[str, ...]:
    if entry.known_models is None:
        return ()
    try:
        return tuple(entry.known_models(table))
    except BaseException as error:
        if is_interrupt(error):
            raise
        get_logger(__name__).debug("%s does not list its models: %s", entry.name, type(error).__name__)
        return ()


def _iterate_models(settings: Settings) -> Iterable[str]:
    names = [*settings.prices, *settings.limits]
    for models in settings.models.values():
        names += models
    return [model for name in names if (model := name.partition(":")[2])]
