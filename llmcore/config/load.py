"""Puts the layers together and checks them: one call from nothing, a path or a dict to settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmcore.config import sources
from llmcore.config.aliases import resolve
from llmcore.config.check import check_layer
from llmcore.config.keys import Path as Key
from llmcore.config.keys import nearest
from llmcore.config.layers import (
    MISSING,
    BuiltIn,
    EnvLayer,
    FileLayer,
    GivenLayer,
    Layer,
    lookup,
    merge,
    merge_lists,
)
from llmcore.config.money import check_budgets
from llmcore.config.settings import Settings
from llmcore.errors import ConfigError

__all__ = ["load_settings"]

_BUILT_IN = BuiltIn()


def load_settings(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    profile: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the configuration, checked.

    Args:
        source: A file, or a dict of the same shape in its place; None looks for `llmcore.toml`, or a `pyproject.toml`
            with [tool.llmcore], going up from *cwd*.
        profile: Name of a table [profiles.NAME]; None takes LLMCORE_PROFILE.
        env: Variables in place of the process's own.
        cwd: Folder in place of the working one.
        arguments: A dict of the same shape that wins over everything.

    Raises:
        ConfigError: Something is wrong; `faults` holds all that is.
    """
    loader = _Loader(os.environ if env is None else env, Path(cwd) if cwd is not None else None)
    settings = loader.load(source, profile, arguments)
    if settings is None:
        raise loader.error()  # raised here, where no local variable holds what a file says
    return settings


class _Loader:
    def __init__(self, env: Mapping[str, str], cwd: Path | None) -> None:
        self.env = env
        self._cwd = cwd
        self.faults: list[ConfigError] = []

    @property
    def cwd(self) -> Path:
        if self._cwd is None or not self._cwd.is_absolute():
            self._cwd = Path.cwd() / (self._cwd or "")
        return self._cwd

    def load(
        self,
        source: str | os.PathLike[str] | Mapping[str, Any] | None,
        profile: str | None,
        arguments: Mapping[str, Any] | None,
    ) -> Settings | None:
        files = [layer for layer in (self._user(), self._project(source)) if layer is not None]
        env_layer = EnvLayer(self.env)
        self.faults += env_layer.faults
        layers: list[Layer] = [_BUILT_IN, *files, *self._profile(files, profile)]
        if env_layer.tree:
            layers.append(env_layer)
        if arguments and (layer := self._given("arguments", arguments)):
            layers.append(layer)
        for layer in layers[1:]:
            if not layer.name.startswith("profile "):  # checked with its file
                self.faults += check_layer(layer)
        tree: dict[str, Any] = {}
        for layer in layers:
            below, tree = tree, merge(tree, layer.tree)
            self.faults += [_gap(layer, path, below) for path in merge_lists(below, tree)]
        tree.pop("profiles", None)
        return self._settled(tuple(layers), tree)

    def error(self) -> ConfigError:
        """Return all faults as one error, without the frames in which they were found: these hold the values."""
        for fault in self.faults:
            fault.__traceback__ = fault.__context__ = None
        return ConfigError.of(self.faults)

    def _settled(self, layers: tuple[Layer, ...], tree: dict[str, Any]) -> Settings | None:
        def owner(path: tuple[str, ...]) -> Layer:
            return next(layer for layer in reversed(layers) if layer.get(path) is not MISSING)

        self.faults += check_budgets(tree, owner)
        models: dict[str, tuple[str, ...]] = {}
        if isinstance(tree.get("models", {}), Mapping):
            provider = lookup(tree, ("llm", "provider"))
            models, faults = resolve(tree.get("models", {}), owner, str(provider))
            self.faults += faults
        return None if self.faults else Settings(layers, tree, models, self.env)

    def _user(self) -> Layer | None:
        path = sources.user_file(self.env)
        if path is None or not path.exists():
            return None
        return self._file("user file", path, personal=True)

    def _project(self, source: str | os.PathLike[str] | Mapping[str, Any] | None) -> Layer | None:
        if isinstance(source, Mapping):
            return self._given("given", source)
        if source is not None and not isinstance(source, str | os.PathLike):
            raise ConfigError(
                f"a configuration is not a {type(source).__name__}", expected="a path, a dict, or nothing"
            )
        named = source if source is not None else self.env.get("LLMCORE_CONFIG") or None
        if named is None:
            path = sources.project_file(self.cwd)
            return None if path is None else self._file("project file", path)
        try:
            path = sources.given_path(
                named, self.cwd, origin="argument" if source is not None else "LLMCORE_CONFIG", env=self.env
            )
        except ConfigError as error:
            self.faults.append(error)
            return None
        return self._file("project file", path)

    def _given(self, name: str, tree: Mapping[str, Any]) -> Layer | None:
        try:
            return GivenLayer(name, _copied(tree))
        except ConfigError as error:
            self.faults.append(error)
            return None

    def _file(self, name: str, path: Path, *, personal: bool = False) -> FileLayer | None:
        try:
            document = sources.read(path, cwd=self.cwd, env=self.env)
        except ConfigError as error:
            self.faults.append(error)
            return None
        return FileLayer(name, document, personal=personal)

    def _profile(self, files: list[Layer], argument: str | None) -> list[Layer]:
        name = argument or self.env.get("LLMCORE_PROFILE") or None
        if name is None:
            return []
        found: list[Layer] = []
        known: dict[str, None] = {}
        for layer in files:
            profiles = layer.get(("profiles",))
            if isinstance(profiles, Mapping):
                known |= dict.fromkeys(profiles)
            tree = layer.get(("profiles", name))
            if isinstance(tree, Mapping):
                found.append(_view(layer, name, tree))
        if not found and not self.faults:
            self.faults.append(_no_profile(name, list(known), argument))
        return found


def _view(layer: Layer, profile: str, tree: Mapping[str, Any]) -> Layer:
    name = f"profile {profile}"
    if isinstance(layer, FileLayer):
        return layer.inside(name, ("profiles", profile))
    return GivenLayer(name, tree)


def _gap(layer: Layer, path: Key, below: Mapping[str, Any]) -> ConfigError:
    under = below.get(path[0])
    last = len(under) if isinstance(under, list) else 0
    return layer.fault(
        path,
        f"[[{path[0]}]] has no entry {path[1]}, nor is it the next one",
        code="LC102",
        at="key",
        expected=f"a number from 0 to {last}, which is the next entry",
        fix=layer.to_unset(path),
    )


def _no_profile(name: str, known: list[str], argument: str | None) -> ConfigError:
    meant = nearest(name, known)
    fix = None
    if meant:
        fix = f'profile="{meant}"' if argument else f"export LLMCORE_PROFILE={meant}"
    return ConfigError(
        f"there is no profile `{name}`",
        code="LC108",
        where="argument" if argument else "LLMCORE_PROFILE",
        expected=", ".join(sorted(known)) or f"a table [profiles.{name}.SECTION] in a configuration file",
        suggestion=meant,
        fix=fix,
    )


def _copied(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the caller's dict as our own, so that what he changes later changes nothing here."""
    copied: dict[str, Any] = {}
    for key, value in tree.items():
        if not isinstance(key, str):
            raise ConfigError(
                f"a key of the configuration is not text: {key!r}", code="LC102", where="argument"
            )
        copied[key] = _copied_value(value)
    return copied


def _copied_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _copied(value)
    return [_copied_value(item) for item in value] if isinstance(value, list | tuple) else value
