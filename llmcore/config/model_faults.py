"""Find names of models in a configuration that are unknown or misspelt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from llmcore.config.keys import Path, format_key
from llmcore.config.layers import get_tables
from llmcore.config.model_names import ModelNames, get_known_names, to_list
from llmcore.config.schema import SECTIONS
from llmcore.config.settings import Settings
from llmcore.config.typos import find_typo
from llmcore.errors import ConfigError, LLMCoreError
from llmcore.plugins import Catalogue

__all__ = ["NOT_FOUND", "find_model_faults"]

NOT_FOUND: Final = "LC103"
_BILLED: Final = ("llm", "voice")
"""The kinds to which budgets, limits and prices apply."""
_ALIAS: Final = "budgets, limits and prices apply to models, not to names of [models]"
_COLON: Final = "a model name that contains a colon needs the provider in front"


class _Name(NamedTuple):
    """A name of a model in the configuration."""

    path: Path
    name: str
    kinds: tuple[str, ...] = ("llm",)
    is_key: bool = False
    """True if the name is a key of [limits] or [prices]."""
    among: tuple[str, ...] = ()
    """The whole list that contains the name; empty if the name is not in a list."""

    @property
    def what(self) -> str:
        """The key for display."""
        if self.is_key:
            return f"a name in [{format_key(self.path[:-1])}]"
        return format_key(self.path[:-1] if self.among else self.path)


def find_model_faults(
    settings: Settings, catalogue: Catalogue, names: ModelNames, *, unused: bool, installed: bool
) -> list[LLMCoreError]:
    """Return one error for each unknown or misspelt name; see `check_names`."""
    finder = _Finder(settings, catalogue, names, unused=unused, installed=installed)
    found = [finder.find_default(), *map(finder.find, _iterate_names(settings))]
    return [fault for fault in found if fault is not None]


def _iterate_names(settings: Settings) -> Iterator[_Name]:
    """Yield every name in [models], [[budgets]], [limits] and [prices] that names a provider: "openai:gpt-6", "openai"."""
    aliases = settings.get(("models",))
    for alias, value in aliases.items() if isinstance(aliases, Mapping) else ():
        members = (value,) if isinstance(value, str) else tuple(value)
        for at, member in enumerate(members):
            path = ("models", alias) if isinstance(value, str) else ("models", alias, str(at))
            if ":" in member:
                yield _Name(path, member, among=() if isinstance(value, str) else members)
    for index, budget in get_tables(settings.get(("budgets",))).items():
        if "model" in budget:
            yield _Name(("budgets", index, "model"), budget["model"], _BILLED)
    for section in ("limits", "prices"):
        table = settings.get((section,))
        for name in table if isinstance(table, Mapping) else ():
            if section == "prices" or name not in SECTIONS["limits"]:
                yield _Name((section, name), name, _BILLED, is_key=True)


class _Finder:
    def __init__(
        self, settings: Settings, catalogue: Catalogue, names: ModelNames, *, unused: bool, installed: bool
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._names = names
        self._unused = unused
        self._must_be_installed = unused and installed

    def find_default(self) -> LLMCoreError | None:
        """Return the error of [llm] model, if any."""
        name, provider = self._settings.llm.model, self._settings.llm.provider
        if name is None or name in self._settings.models:
            return None
        item = _Name(("llm", "model"), name)
        if ":" in name:
            return self.find(item)
        meant = self._names.find_alias_typo(name)
        if meant is not None:
            return self._make_fault(
                item,
                "must be a name of [models] or a model",
                f'a name of [models], or a model; for a model with exactly this name "{provider}:{name}"',
                f"{meant}MODEL" if meant.endswith(":") else meant,
            )
        found = self._names.find_typo(provider, name)
        return None if found is None else self._make_typo_fault(item, provider, name, found)

    def find(self, item: _Name) -> LLMCoreError | None:
        """Return the error of a name that starts with a provider, if any."""
        if self._is_whole(item):
            return None
        provider, colon, model = item.name.partition(":")
        known = frozenset().union(*(get_known_names(kind, self._catalogue) for kind in item.kinds))
        installed = {name for kind in item.kinds for name in self._list_installed(kind)}
        if provider not in known | installed:
            return self._make_provider_fault(item, sorted(installed))
        if provider not in installed and item.path[0] == "models":
            return self._make_missing_fault(item, provider)
        found = self._names.find_typo(provider, model, item.kinds) if model else None
        return (
            None
            if found is None
            else self._make_typo_fault(item, provider, model, f"{provider}{colon}{found}")
        )

    def _is_whole(self, item: _Name) -> bool:
        """Return whether *item*, a name in [llm] or [models], is a model name that contains a colon, without a provider."""
        if item.path[0] not in {"llm", "models"} or ":" not in item.name:
            return False
        return self._names.split(item.name)[1] == item.name

    def _list_installed(self, kind: str) -> list[str]:
        return [*self._catalogue.list_names(kind), *self._settings.list_instances(kind)]

    def _make_provider_fault(self, item: _Name, installed: list[str]) -> LLMCoreError | None:
        provider, colon, model = item.name.partition(":")
        meant = find_typo(provider, installed)
        notes: tuple[str, ...] = ()
        if item.name in self._settings.models and item.path[0] != "models":
            meant, notes = next(iter(self._settings.models[item.name]), None), (_ALIAS,)
        elif meant is not None:
            meant = f"{meant}{colon}{model}"
        elif item.path[0] == "models" and not self._unused:
            return None
        elif item.path[0] in {"llm", "models"}:
            meant, notes = f"{self._settings.llm.provider}:{item.name}", (_COLON,)
        return self._make_fault(
            item,
            "must start with the name of an installed provider or instance",
            f'{", ".join(installed)}; or an instance: a table [llm.NAME] with use = "PROVIDER"',
            meant,
            notes,
        )

    def _make_missing_fault(self, item: _Name, provider: str) -> LLMCoreError | None:
        error = self._catalogue.find_missing("llm", provider) if self._must_be_installed else None
        if error is not None:
            fault = self._settings.make_error(item.path, error.message)
            error.where, error.excerpt = fault.where, fault.excerpt
        return error

    def _make_typo_fault(self, item: _Name, provider: str, model: str, meant: str) -> ConfigError:
        add = self._settings.find_owner(("llm", provider)).format_set_fix(
            ("llm", provider, "extra_models"), f'["{model}"]'
        )
        notes = (f"if the server has `{model}`: {add}",)
        what = f"a model of `{provider}`"
        return self._make_fault(
            item, f"must be {what}", f"{what}, or a name that is not similar to one", meant, notes
        )

    def _make_fault(
        self, item: _Name, must: str, expected: str, meant: str | None, notes: tuple[str, ...] = ()
    ) -> ConfigError:
        path = item.path
        key = path[:-1] if item.among else path
        owner = self._settings.find_owner(key)
        if meant is None:
            fix = owner.format_unset_fix(key if item.is_key or path[0] != "budgets" else path[:-1])
        elif item.is_key:
            fix = owner.format_open_fix((*path[:-1], meant))
        else:
            fix = owner.format_set_fix(
                key, to_list(item.among, int(path[-1]), meant) if item.among else meant
            )
        return self._settings.make_error(
            path,
            f"{item.what} {must}, got `{item.name}`",
            code=NOT_FOUND,
            at="key" if item.is_key else "value",
            expected=expected,
            suggestion=meant,
            fix=fix,
            notes=notes,
        )
