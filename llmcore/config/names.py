"""Check the names of providers, instances and models in a configuration against the installed plugins.

The check reads the metadata of plugins and their tables in the configuration. It imports a plugin only to find a
misspelt model name: the plugin of the provider of `[llm] model`, and the plugins of the providers that the names in
[models], [[budgets]], [limits] and [prices] contain. It creates no provider and resolves no reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from llmcore.config.keys import Path, find_nearest, format_key
from llmcore.config.model_faults import NOT_FOUND, find_model_faults
from llmcore.config.model_names import ModelNames, get_known_names, to_list
from llmcore.config.schema import OPTION_KINDS
from llmcore.config.settings import Settings
from llmcore.errors import ConfigError, LLMCoreError, PluginNotFound
from llmcore.hookspecs import KINDS
from llmcore.missing_plugin import DEFAULTS, get_noun
from llmcore.plugins import Catalogue

__all__ = ["check_names", "require_names"]

_MOST_USED: Final = {
    "llm": "openai",
    "voice": "openai",
    "cache": "redis",
    "storage": "s3",
    "ledger": "postgres",
    "engines": "dask",
}
"""Kind -> the provider that instances most often use. The fix for a table of an unknown provider suggests it."""


def require_names(settings: Settings, catalogue: Catalogue) -> None:
    """Check the names in the configuration.

    Raises:
        PluginNotFound: A selected provider is not installed.
        ConfigError: Names are unknown or misspelt; the attribute `faults` lists all errors.
    """
    faults = check_names(settings, catalogue)
    if faults and isinstance(faults[0], PluginNotFound):
        raise faults[0]
    if faults:
        raise ConfigError.of([fault for fault in faults if isinstance(fault, ConfigError)])


def check_names(
    settings: Settings, catalogue: Catalogue, *, unused: bool = False, installed: bool = True
) -> list[LLMCoreError]:
    """Return one error for each unknown or misspelt name; selected providers come first.

    Args:
        settings: The configuration.
        catalogue: The installed plugins.
        unused: True to report a model in [models] whose provider is not installed. If False, only a misspelt provider
            is reported, because the file may be shared with a machine that has the plugin. On this machine, the model
            is refused at its first use.
        installed: True to report llmcore's own plugins that are not installed, and unused tables. If False, only
            unknown names are reported, because a file may be written before its plugins are installed.
    """
    check = _Check(settings, catalogue, installed=installed)
    check.run()
    return [
        *check.missing,
        *check.faults,
        *find_model_faults(
            settings, catalogue, ModelNames(settings, catalogue), unused=unused, installed=installed
        ),
    ]


class _Check:
    """Checks the names of providers and of tables."""

    def __init__(self, settings: Settings, catalogue: Catalogue, *, installed: bool) -> None:
        self.missing: list[PluginNotFound] = []
        """Selected providers that are not available."""
        self.faults: list[ConfigError] = []
        self._settings = settings
        self._catalogue = catalogue
        self._installed = installed

    def run(self) -> None:
        for kind in KINDS:
            for name, used in self._settings.list_instances(kind).items():
                self._check_use(kind, name, used)
            chosen = getattr(self._settings, kind).provider
            if chosen is not None:
                self._check_provider(
                    kind, ("batch", "engine") if kind == "engines" else (kind, "provider"), chosen
                )
        for kind, key, names in (
            ("voice", "fallback", self._settings.voice.fallback),
            ("observers", "use", self._settings.observers),
        ):
            for index, name in enumerate(names):
                self._check_provider(kind, (kind, key, str(index)), name, names)
        shared = self._settings.shared_limits
        if shared is not None:
            self._check_provider("cache", shared.path, shared.name)
        for kind in sorted(OPTION_KINDS) if self._installed else ():
            for name in self._settings.list_tables(kind):
                self._check_table(kind, name)

    def _check_use(self, kind: str, name: str, used: str) -> None:
        """Check that *used*, the provider of the instance *name*, is installed and is not an instance itself."""
        instances = self._settings.list_instances(kind)
        error = self._find_missing(kind, used)
        if error is None:
            return
        if used not in instances:
            self._add_missing(error, (kind, name, "use"))
            return
        self.faults.append(
            self._settings.make_error(
                (kind, name, "use"),
                f"`use` of [{format_key((kind, name))}] must be an installed provider, got the instance `{used}`",
                code=NOT_FOUND,
                expected=", ".join(self._catalogue.list_names(kind)),
                suggestion=instances[used],
            )
        )

    def _check_provider(self, kind: str, path: Path, name: str, among: tuple[str, ...] = ()) -> None:
        instances = self._settings.list_instances(kind)
        if name in instances:
            return
        error = self._find_missing(kind, name, instances)
        if error is not None:
            self._add_missing(error, path, among)

    def _find_missing(self, kind: str, name: str, instances: Iterable[str] = ()) -> PluginNotFound | None:
        if not self._installed and name in get_known_names(kind, self._catalogue):
            return None
        return self._catalogue.find_missing(kind, name, instances)

    def _add_missing(self, error: PluginNotFound, path: Path, among: tuple[str, ...] = ()) -> None:
        """Set the position and the fix of *error*, and add the error to `missing`.

        Args:
            error: The error of the missing provider.
            path: The path of the name, or of its entry in a list.
            among: All values of that list.
        """
        fault = self._settings.make_error(path, error.message)
        error.where, error.excerpt = fault.where, fault.excerpt
        default = DEFAULTS.get(path[0]) if path[1:] == ("provider",) and not error.notes else None
        if path == ("batch", "engine") and not error.notes:
            default = DEFAULTS["engines"]
        if (chosen := error.suggestion or default) is not None:
            key, value = path, chosen
            if among:
                key, value = path[:-1], to_list(among, int(path[-1]), chosen)
            error.fix = self._settings.format_set_line(key, value)
        self.missing.append(error)

    def _check_table(self, kind: str, name: str) -> None:
        """Report the table [kind.name] if *name* is neither a provider nor an instance: such a table has no effect."""
        path = (kind, name)
        known = get_known_names(kind, self._catalogue) | self._settings.list_instances(kind).keys()
        if name in known or not isinstance(self._settings.get(path), Mapping):
            return
        owner = self._settings.find_owner(path)
        names = [*self._catalogue.list_names(kind), *self._settings.list_instances(kind)]
        meant, used = find_nearest(name, names), _MOST_USED.get(kind)
        if meant is not None:
            fix = owner.format_open_fix((kind, meant))
        elif used in names:
            fix = owner.format_set_fix((*path, "use"), str(used))
        else:
            fix = owner.format_unset_fix(path)
        instance = f'; or use = "PROVIDER" in [{format_key(path)}], which makes it an instance'
        self.faults.append(
            self._settings.make_error(
                path,
                f"[{format_key(path)}] must be the table of an installed {get_noun(kind)}, got `{name}`, which is not installed",
                code=NOT_FOUND,
                at="key",
                expected=", ".join(names) + (instance if kind in KINDS else ""),
                suggestion=meant,
                fix=fix,
            )
        )
