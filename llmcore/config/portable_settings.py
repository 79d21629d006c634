"""Write a configuration as one dict that another process can load, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Final, Literal

from llmcore.config import references
from llmcore.config.dict_layer import DictLayer, copy_tree
from llmcore.config.fields import Field, get_fields, has_type
from llmcore.config.keys import Path, format_key
from llmcore.config.layers import SETTING_PREFIX, Layer
from llmcore.config.load import load_settings
from llmcore.config.mask import is_reference
from llmcore.config.money import Budget
from llmcore.config.paths import resolve_path
from llmcore.config.settings import Settings
from llmcore.errors import PluginError
from llmcore.plugins import Catalogue
from llmcore.types import Secret

__all__ = ["load_portable", "make_portable"]

_SECTIONS: Final = (
    "llm", "models", "cache", "budget", "budgets", "prices", "limits", "ledger", "retry", "observers", "log", "smtp",
)  # fmt: skip
"""The sections that requests to a language model use."""
_KINDS: Final = ("llm", "cache", "ledger", "observers")


def make_portable(settings: Settings, catalogue: Catalogue) -> dict[str, Any]:
    """Return the settings that requests to a language model use, as one dict.

    Relative paths become absolute. References to secrets stay references.

    Raises:
        ConfigError: A secret is not a reference, so the secret itself would be sent over the network.
    """
    tree = copy_tree(
        {name: settings.get((name,)) for name in _SECTIONS if settings.find_position((name,)) is not None}
    )
    for path, field in _list_options(settings, catalogue):
        table = _find_table(tree, path[:-1])
        if table is None or path[-1] not in table:
            continue
        value, owner = table[path[-1]], settings.find_owner(path)
        if has_type(field.type, Secret) and not is_reference(value):
            raise settings.make_error(
                path,
                f"`{path[-1]}` in [{format_key(path[:-1])}] must be a reference to a secret: the configuration is sent "
                "to the workers of the engine, and a secret must not be in it",
                code="LC109",
                expected=references.FORMS,
                fix=settings.format_set_line(
                    path, f"env:{'_'.join(part for part in path[1:] if not part.isdecimal()).upper()}"
                ),
            )
        if isinstance(value, str | FilePath) and has_type(field.type, FilePath) and not is_reference(value):
            table[path[-1]] = str(
                resolve_path(str(value), env=settings.env, folder=owner.folder or FilePath.cwd())
            )
        elif isinstance(value, str) and value.startswith("file:") and owner.folder is not None:
            table[path[-1]] = f"file:{resolve_path(value[5:], env=settings.env, folder=owner.folder)}"
    if settings.ledger.path is not None and settings.ledger.provider == "sqlite":
        tree.setdefault("ledger", {})["path"] = str(FilePath(settings.ledger.path).absolute())
    return tree


def load_portable(tree: Mapping[str, Any], env: Mapping[str, str]) -> Settings:
    """Return the settings of *tree*. Environment variables such as LLMCORE__CACHE__PROVIDER are ignored.

    `env:` references are resolved with the environment variables of this process.

    Raises:
        ConfigError: A reference cannot be resolved in this process.
    """
    own = {name: value for name, value in env.items() if not name.startswith(SETTING_PREFIX)}
    own.pop("LLMCORE_PROFILE", None)
    return load_settings({}, env=own, arguments=_SentLayer("arguments", tree))


class _SentLayer(DictLayer):
    """The configuration that another process has sent. The fixes of errors change the configuration file of that process."""

    def find_position(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.find_position`."""
        del at
        return f"[{format_key(path[:-1])}] {path[-1]}" if path[1:] else f"[{format_key(path)}]"

    def format_set_fix(self, path: Path, value: str) -> str | None:
        """See `Layer.format_set_fix`."""
        return Layer.format_set_fix(self, path, value)


def _list_options(settings: Settings, catalogue: Catalogue) -> Iterator[tuple[Path, Field]]:
    """Yield the path and the field of each option in the tables of installed plugins."""
    for kind in _KINDS:
        instances = settings.list_instances(kind)
        for name in settings.list_tables(kind):
            try:
                options = catalogue.load_provider(kind, instances.get(name, name)).options
                fields = get_fields(options)
            except PluginError:  # the table is for a plugin that is not installed here
                continue
            for field in fields.values():
                yield (kind, name, field.key), field
    for name in ("log", "smtp"):
        try:
            fields = get_fields(catalogue.load_table(name).options)
        except PluginError:
            continue
        for field in fields.values():
            yield (name, field.key), field
    for path in (("budget",), *(("budgets", name) for name in _list_budgets(settings))):
        for field in get_fields(Budget).values():
            yield (*path, field.key), field


def _list_budgets(settings: Settings) -> list[str]:
    """Return the names of the tables [budgets.NAME], or the indexes of the tables [[budgets]]."""
    budgets = settings.get(("budgets",))
    if isinstance(budgets, list):
        return [str(index) for index in range(len(budgets))]
    return list(budgets) if isinstance(budgets, Mapping) else []


def _find_table(tree: dict[str, Any], path: Path) -> dict[str, Any] | None:
    table: Any = tree
    for part in path:
        if isinstance(table, list):  # a list of tables, such as [[budgets]]
            table = table[int(part)]
        else:
            table = table.get(part) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None
