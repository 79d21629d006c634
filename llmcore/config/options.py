"""Checks a provider's table against the provider's own options, every fault at once, and resolves its secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple, Protocol

import msgspec

from llmcore.config import references
from llmcore.config.check import unknown_key
from llmcore.config.fields import Field, build, expected, fields_of, mentions, noun
from llmcore.config.keys import Path, dotted
from llmcore.config.layers import MISSING, BuiltIn, Layer
from llmcore.config.mask import is_reference, shown
from llmcore.config.paths import located
from llmcore.config.schema import reader_of
from llmcore.errors import ConfigError, PluginBroken
from llmcore.hookspecs import Provider
from llmcore.types import Secret

__all__ = ["Stack", "check_options"]

_BOUND = r" (?:<=?|>=?|matching|of length) "
_AT = r" - at `\$(.*)`$"


class Stack(Protocol):
    """The layers of a configuration, put together."""

    @property
    def env(self) -> Mapping[str, str]:
        """The variables that references see."""
        ...

    def get(self, path: Path) -> Any:
        """Return the winning value, or MISSING."""
        ...

    def owner(self, path: Path) -> Layer:
        """Return the layer that the value comes from, or the one nearest around it."""
        ...

    def hide(self, path: Path) -> None:
        """Remember that a secret stands at *path*."""
        ...


class _Given(NamedTuple):
    path: Path
    value: Any
    layer: Layer


def check_options(stack: Stack, kind: str, provider: Provider) -> object:
    """Return the provider's options.

    Raises:
        ConfigError: Something does not fit; all of it is told.
        PluginBroken: The options are no structure that the host can read.
    """
    check = _Check(stack, kind, provider)
    options = check.run()
    # Raised here, where no local variable holds a value: a crash report may show them all.
    if check.broken is not None:
        raise PluginBroken(check.broken)
    if check.faults:
        raise ConfigError.of(check.faults)
    return options


class _Check:
    def __init__(self, stack: Stack, kind: str, provider: Provider) -> None:
        self.stack = stack
        self.kind = kind
        self.provider = provider
        self.table: Path = (kind, provider.name)
        self.fields = fields_of(provider.options)
        self.faults: list[ConfigError] = []
        self.broken: str | None = None
        """What the plugin's author did wrong, if anything."""

    def run(self) -> object:
        for key, field in self.fields.items():
            if mentions(field.type, Secret):
                self.stack.hide((*self.table, key))
        self._unknown()
        values = {}
        for field in self.fields.values():
            given = self._given(field)
            if given is not None:
                values[field.name] = self._convert(field, given)
            elif field.required:
                self._missing(field)
        if self.faults or self.broken:
            return None
        try:
            return build(self.provider.options, values)
        except Exception as error:  # noqa: BLE001 - a stranger's `__post_init__`
            text = "they do not fit together" if self._holds_secret() else str(error)
            layer = self.stack.owner(self.table)
            self.faults.append(
                layer.fault(self.table, f"[{dotted(self.table)}]: {text}", code="LC104", at="key")
            )
            return None

    def _unknown(self) -> None:
        table = self.stack.get(self.table)
        secrets = frozenset(key for key, field in self.fields.items() if mentions(field.type, Secret))
        for key, value in table.items() if isinstance(table, Mapping) else ():
            if key not in self.fields:
                path = (*self.table, key)
                self.stack.hide(path)
                self.faults.append(
                    unknown_key(self.stack.owner(path), path, value, self.fields, secrets=secrets)
                )

    def _given(self, field: Field) -> _Given | None:
        path = (*self.table, field.key)
        value = self.stack.get(path)
        if value is not MISSING:
            return _Given(path, value, self.stack.owner(path))
        shared = (self.kind, field.key)
        layer = self.stack.owner(shared)
        if self.kind != "cache" or field.key == "provider" or isinstance(layer, BuiltIn):
            return None
        reader, value = reader_of(shared), self.stack.get(shared)
        if reader is None or value is MISSING:
            return None
        return _Given(shared, reader.read(value), layer)

    def _convert(self, field: Field, given: _Given) -> Any:
        value = given.value
        try:
            try:
                return self._read(field.type, value, given)
            except msgspec.ValidationError:
                text = given.layer.raw(given.path)
                if text is None or text == value:
                    raise
                return self._read(field.type, text, given)  # a variable's 123 for a field of text
        except msgspec.ValidationError as error:
            self.faults.append(self._misfit(field, given, str(error)))
        except references.Unresolved as error:
            self.faults.append(self._unresolved(field, given, error))
        except TypeError as error:
            self.broken = (
                f"the option `{field.key}` of {self.kind} provider `{self.provider.name}` has a type that "
                f"cannot be read: {error}"
            )
        return None

    def _read(self, hint: Any, value: Any, given: _Given) -> Any:
        def custom(wanted: type, item: Any) -> Any:
            if wanted is Secret:
                return self._secret(item, given.layer)
            if wanted is FilePath:
                return _path(item, env=self.stack.env, folder=folder)
            parse = getattr(wanted, "parse", None)
            if parse is None:
                raise TypeError(f"`{wanted.__name__}` has no `parse`")
            try:
                return parse(item)
            except Exception as error:  # noqa: BLE001 - a stranger's parser; msgspec passes on ValueError alone
                raise ValueError(str(error)) from None

        folder = given.layer.folder
        if not mentions(hint, Secret) and (mentions(hint, str) or mentions(hint, FilePath)):
            followed = self._followed(value, given.layer)
            # What a variable says counts from the working directory, whoever asked it.
            folder = folder if followed == value else None
            value = followed
        return msgspec.convert(value, hint, dec_hook=custom)

    def _secret(self, value: Any, layer: Layer) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str) or not value.strip():
            raise ValueError("a secret is text")
        if is_reference(value) or value in {"env:", "file:", "keyring:"}:
            return Secret(references.resolve(value, env=self.stack.env, folder=layer.folder))
        if not layer.keeps_secrets:
            raise references.Unresolved("literal", code="LC109")
        return Secret(value.strip())

    def _followed(self, value: Any, layer: Layer) -> Any:
        """Return the value with `env:NAME` in it, however deep, replaced by what the variable holds."""
        if isinstance(value, str) and value.startswith("env:") and is_reference(value):
            return references.resolve(value, env=self.stack.env, folder=layer.folder)
        if isinstance(value, Mapping):
            return {key: self._followed(item, layer) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._followed(item, layer) for item in value]
        return value

    def _misfit(self, field: Field, given: _Given, error: str) -> ConfigError:
        inner = re.search(_AT, error)
        path = (*given.path, *re.findall(r"\w+", inner[1])) if inner else given.path
        secret = mentions(field.type, Secret)
        if secret:
            message = f"`{field.key}` in [{dotted(given.path[:-1])}] is not a reference to a secret"
            what: str | None = references.FORMS
        else:
            called = None if inner or re.search(_BOUND, error) else noun(field.type)
            text = shown(field.key, given.value)
            message = (
                f"`{field.key}` is not {called}: {text}" if called else f"`{field.key}` does not fit: {text}"
            )
            what = expected(field.type) or self._in_words(error, given)
        return given.layer.fault(path, message, code="LC104", expected=what, secret=secret)

    def _in_words(self, error: str, given: _Given) -> str | None:
        """Return msgspec's own text where it speaks of types alone; other texts may repeat the value."""
        del given
        return error.removeprefix("Expected ").replace("`", "") if error.startswith("Expected ") else None

    def _unresolved(self, field: Field, given: _Given, error: references.Unresolved) -> ConfigError:
        table = dotted(given.path[:-1])
        if error.code == "LC109":
            return given.layer.fault(
                given.path,
                f"a secret stands in the file: `{field.key}` in [{table}]",
                code="LC109",
                expected=references.FORMS,
                fix=given.layer.to_set(given.path, f"env:{self._variable(field)}"),
                secret=True,
            )
        return given.layer.fault(
            given.path,
            f"no `{field.key}` for provider `{self.provider.name}`: {error.message}",
            code=error.code,
            expected=error.expected,
            suggestion=error.suggestion,
            fix=error.fix,
            secret=mentions(field.type, Secret) and not is_reference(given.value),
        )

    def _missing(self, field: Field) -> None:
        layer = self.stack.owner(self.table)
        secret = mentions(field.type, Secret)
        path = (*self.table, field.key)
        self.faults.append(
            layer.fault(
                self.table,
                f"`{field.key}` is missing in [{dotted(self.table)}]",
                code="LC201" if secret else "LC112",
                at="key",
                expected=references.FORMS if secret else expected(field.type),
                fix=layer.to_set(path, f"env:{self._variable(field)}" if secret else "…"),
            )
        )

    def _variable(self, field: Field) -> str:
        return f"{self.provider.name}_{field.key}".upper()

    def _holds_secret(self) -> bool:
        return any(mentions(field.type, Secret) for field in self.fields.values())


def _path(item: Any, *, env: Mapping[str, str], folder: FilePath | None) -> FilePath:
    """Return the path that an option says. A ValueError tells the user, a TypeError would blame the plugin."""
    text = str(item) if isinstance(item, FilePath) else item
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError("a path is text, and not empty")
    return located(text, env=env, folder=folder)
