"""Find the faults that an edit of a configuration file would add: unknown names, and faults in the tables of plugins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from llmcore.config import sources
from llmcore.config.aliases import resolve
from llmcore.config.document import Document
from llmcore.config.keys import Path
from llmcore.config.layers import MISSING, BuiltIn, FileLayer, Layer, merge, merge_lists
from llmcore.config.names import check_names
from llmcore.config.settings import Settings
from llmcore.config.tables import find_table_faults
from llmcore.errors import ConfigError, LLMCoreError
from llmcore.plugins import Catalogue
from llmcore.support.user_folders import get_working_folder

__all__ = ["find_new_name_faults"]


def find_new_name_faults(before: Document, after: Document, key: Path) -> list[ConfigError]:
    """Return one error for each name that is wrong in *after* but not in *before*.

    The two documents must have no other faults. The user file and the profile of *key* are read too, because
    they may define instances. Providers of llmcore's own plugins need not be installed yet.
    """
    profile = key[1] if key[:1] == ("profiles",) and len(key) > 1 else None
    known = {(fault.code, fault.message) for fault in _find_faults(before, profile)}
    return [
        _make_config_error(fault)
        for fault in _find_faults(after, profile)
        if (fault.code, fault.message) not in known
    ]


def _find_faults(document: Document, profile: str | None) -> list[LLMCoreError]:
    layers = _make_layers(document, profile)
    tree: dict[str, Any] = {}
    for layer in layers:
        below, tree = tree, merge(tree, layer.tree)
        merge_lists(below, tree)
    tree.pop("profiles", None)

    def find_owner(path: Path) -> Layer:
        return next(layer for layer in reversed(layers) if layer.get(path) is not MISSING)

    models, _ = resolve(tree.get("models", {}), find_owner, str(tree["llm"].get("provider")))
    settings = Settings(layers, tree, models, os.environ)
    catalogue = Catalogue()
    return [
        *check_names(settings, catalogue, unused=True, installed=False),
        *find_table_faults(settings, catalogue, written=True),
    ]


def _make_layers(document: Document, profile: str | None) -> tuple[Layer, ...]:
    user = sources.get_user_file(os.environ)
    personal = user is not None and document.folder == user.parent and document.label.endswith(user.name)
    layers: list[Layer] = [BuiltIn()]
    if user is not None and not personal and sources.is_present(user):
        with suppress(ConfigError, OSError):  # the next load of the configuration reports this error
            layers.append(
                FileLayer("user file", sources.read(user, cwd=get_working_folder(), env=os.environ))
            )
    file = FileLayer("file", document, personal=personal)
    layers.append(file)
    if profile is not None and isinstance(file.get(("profiles", profile)), Mapping):
        layers.append(file.select_table(f"profile {profile}", ("profiles", profile)))
    return tuple(layers)


def _make_config_error(fault: LLMCoreError) -> ConfigError:
    if isinstance(fault, ConfigError):
        return fault
    return ConfigError(
        fault.message,
        code=fault.code,
        expected=fault.expected,
        suggestion=fault.suggestion,
        fix=fault.fix,
        notes=fault.notes,
    )
