"""Check the table of a provider or plugin against its options, report all faults together, and resolve its secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from llmcore.config import references
from llmcore.config.check import make_unknown_key_fault
from llmcore.config.fields import Field, build, describe_expected, describe_type, get_fields, has_type
from llmcore.config.keys import Path, format_key
from llmcore.config.layers import MISSING, BuiltIn, Layer
from llmcore.config.mask import format_value, is_reference
from llmcore.config.money import LedgerSettings
from llmcore.config.paths import resolve_path
from llmcore.config.schema import HOST_KEYS, INSTANCE_KINDS, SHARED_KEYS, SHARED_LIMITS, get_reader
from llmcore.errors import ConfigError, PluginBroken
from llmcore.hookspecs import Provider, Table
from llmcore.interrupts import is_interrupt
from llmcore.types import Secret

__all__ = ["Stack", "check_options", "check_shared_limits", "check_table"]

_BOUND = r" (?:<=?|>=?|matching|of length) "
_AT = r" - at `\$(.*)`$"
_SHARING: Final = frozenset({"cache", "ledger"})
"""The sections whose keys are the defaults of options: `[cache] max_size` is the default of `max_size` in [cache.file]."""


class Stack(Protocol):
    """The merged layers of a configuration."""

    @property
    def ledger(self) -> LedgerSettings:
        """The table [ledger]."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """The environment variables for references."""
        ...

    def get(self, path: Path) -> Any:
        """Return the effective value, or MISSING."""
        ...

    def find_owner(self, path: Path) -> Layer:
        """Return the layer of the value, or of the innermost table around it."""
        ...

    def hide(self, path: Path) -> None:
        """Mark the value at *path* as a secret."""
        ...


class _Setting(NamedTuple):
    path: Path
    value: Any
    layer: Layer


def check_options(stack: Stack, kind: str, provider: Provider) -> object:
    """Return the provider's options.

    Raises:
        ConfigError: Some values are invalid; the attribute `faults` lists all errors.
        PluginBroken: The options are not a structure that the host can read.
    """
    return _finish(_Check(stack, (kind, provider.name), provider.options))


def check_table(stack: Stack, table: Table) -> object:
    """Return the options in a plugin's own table, such as [gateway]; see `check_options`."""
    return _finish(_Check(stack, (table.name,), table.options))


def check_shared_limits(stack: Stack, provider: Provider) -> object:
    """Return [limits.shared] as the options of a cache; see `check_options`.

    An option that [limits.shared] does not set has its value from [cache.NAME], except for the namespace.
    """
    return _finish(_SharedLimitsCheck(stack, provider))


def _finish(check: _Check) -> object:
    options = check.run()
    # The error is raised here and not in `run`, because a crash report may show the local variables of `run`, which
    # contain settings.
    if check.broken is not None:
        raise PluginBroken(check.broken)
    if check.faults:
        raise ConfigError.of(check.faults)
    return options


class _Check:
    def __init__(self, stack: Stack, table: Path, options: type) -> None:
        self.stack = stack
        self.kind = table[0]
        self.table = table
        self.options = options
        self.fields = get_fields(options)
        self.host_keys = HOST_KEYS.keys() if self.kind in INSTANCE_KINDS else frozenset[str]()
        self.faults: list[ConfigError] = []
        self.broken: str | None = None
        """The message of a fault in the plugin itself; None if there is none."""

    def run(self) -> object:
        for key, field in self.fields.items():
            if has_type(field.type, Secret):
                self.stack.hide((*self.table, key))
        self._check_unknown()
        values = {}
        for field in self.fields.values():
            setting = self._find_value(field)
            if setting is not None:
                values[field.name] = self._convert(field, setting)
            elif field.required:
                self._add_missing(field)
        if self.faults or self.broken:
            return None
        try:
            return build(self.options, values)
        except BaseException as error:
            if is_interrupt(error):
                raise
            text = "the options are invalid in this combination" if self._has_secret() else str(error)
            layer = self.stack.find_owner(self.table)
            self.faults.append(
                layer.make_error(self.table, f"[{format_key(self.table)}]: {text}", code="LC104", at="key")
            )
            return None

    def _check_unknown(self) -> None:
        table = self.stack.get(self.table)
        secrets = frozenset(key for key, field in self.fields.items() if has_type(field.type, Secret))
        for key, value in table.items() if isinstance(table, Mapping) else ():
            if key not in self.fields and key not in self.host_keys:
                path = (*self.table, key)
                self.stack.hide(path)
                self.faults.append(
                    make_unknown_key_fault(
                        self.stack.find_owner(path), path, value, self._list_keys(), secrets=secrets
                    )
                )

    def _list_keys(self) -> list[str]:
        """Return the known keys, for the error about an unknown key."""
        return list(self.fields)

    def _find_value(self, field: Field) -> _Setting | None:
        path = (*self.table, field.key)
        value = self.stack.get(path)
        if value is not MISSING:
            return _Setting(path, value, self.stack.find_owner(path))
        shared = (self.kind, field.key)
        layer = self.stack.find_owner(shared)
        if shared == ("ledger", "path"):  # the default is a file in the user's state folder
            file = self.stack.ledger.path
            return None if file is None else _Setting(shared, file, layer)
        if self.kind not in _SHARING or field.key == "provider" or isinstance(layer, BuiltIn):
            return None
        reader, value = get_reader(shared), self.stack.get(shared)
        if reader is None or value is MISSING:
            return None
        return _Setting(shared, reader.read(value), layer)

    def _convert(self, field: Field, setting: _Setting) -> Any:
        value = setting.value
        try:
            try:
                return self._read(field.type, value, setting)
            except msgspec.ValidationError:
                text = setting.layer.get_text(setting.path)
                if text is None or text == value:
                    raise
                # for example, the variable has the text 123, which was parsed as a number, but the field is a text
                return self._read(field.type, text, setting)
        except msgspec.ValidationError as error:
            self.faults.append(self._make_type_fault(field, setting, str(error)))
        except references.Unresolved as error:
            self.faults.append(self._make_reference_fault(field, setting, error))
        except TypeError as error:
            self.broken = f"the option `{field.key}` of {self._get_owner()} has an unsupported type: {error}"
        return None

    def _read(self, hint: Any, value: Any, setting: _Setting) -> Any:
        def decode(wanted: type, item: Any) -> Any:
            if wanted is Secret:
                return self._read_secret(item, setting.layer)
            if wanted is FilePath:
                return _read_path(item, env=self.stack.env, folder=folder)
            parse = getattr(wanted, "parse", None)
            if parse is None:
                raise TypeError(f"`{wanted.__name__}` has no `parse`")
            try:
                return parse(item)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                raise ValueError(str(error)) from None

        folder = setting.layer.folder
        if not has_type(hint, Secret) and (has_type(hint, str) or has_type(hint, FilePath)):
            resolved = self._follow(value, setting.layer)
            # A path from an environment variable is relative to the working directory, not to the file.
            folder = folder if resolved == value else None
            value = resolved
        return msgspec.convert(value, hint, dec_hook=decode)

    def _read_secret(self, value: Any, layer: Layer) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str) or not value.strip():
            raise ValueError("a secret must be text")
        if is_reference(value) or value in {"env:", "file:", "keyring:"}:
            return Secret(references.resolve(value, env=self.stack.env, folder=layer.folder))
        if not layer.keeps_secrets:
            raise references.Unresolved("literal", code="LC109")
        return Secret(value.strip())

    def _follow(self, value: Any, layer: Layer) -> Any:
        """Return *value* with each `env:NAME` in it, at any depth, replaced by the value of the variable NAME."""
        if isinstance(value, str) and value.startswith("env:") and is_reference(value):
            return references.resolve(value, env=self.stack.env, folder=layer.folder)
        if isinstance(value, Mapping):
            return {key: self._follow(item, layer) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._follow(item, layer) for item in value]
        return value

    def _make_type_fault(self, field: Field, setting: _Setting, error: str) -> ConfigError:
        inner = re.search(_AT, error)
        path = (*setting.path, *re.findall(r"\w+", inner[1])) if inner else setting.path
        secret = has_type(field.type, Secret)
        if secret:
            message = f"`{field.key}` in [{format_key(setting.path[:-1])}] must be a reference to a secret"
            what: str | None = references.FORMS
        else:
            called = None if inner or re.search(_BOUND, error) else describe_type(field.type)
            text = format_value(field.key, setting.value)
            message = (
                f"`{field.key}` must be {called}, got {text}"
                if called
                else f"`{field.key}` has an invalid value: {text}"
            )
            what = describe_expected(field.type) or _find_type(error)
        return setting.layer.make_error(path, message, code="LC104", expected=what, secret=secret)

    def _make_reference_fault(
        self, field: Field, setting: _Setting, error: references.Unresolved
    ) -> ConfigError:
        table = format_key(setting.path[:-1])
        if error.code == "LC109":
            return setting.layer.make_error(
                setting.path,
                f"`{field.key}` in [{table}] must be a reference to a secret, got a literal value",
                code="LC109",
                expected=references.FORMS,
                fix=setting.layer.format_set_fix(setting.path, f"env:{self._get_variable_name(field)}"),
                secret=True,
            )
        return setting.layer.make_error(
            setting.path,
            f"no `{field.key}` for {self._get_owner().removeprefix(f'{self.kind} ')}: {error.message}",
            code=error.code,
            expected=error.expected,
            suggestion=error.suggestion,
            fix=error.fix,
            secret=has_type(field.type, Secret) and not is_reference(setting.value),
        )

    def _add_missing(self, field: Field) -> None:
        layer = self.stack.find_owner(self.table)
        secret = has_type(field.type, Secret)
        path = (*self.table, field.key)
        self.faults.append(
            layer.make_error(
                self.table,
                f"`{field.key}` is missing in [{format_key(self.table)}]",
                code="LC201" if secret else "LC112",
                at="key",
                expected=references.FORMS if secret else describe_expected(field.type),
                fix=layer.format_set_fix(path, f"env:{self._get_variable_name(field)}" if secret else "…"),
            )
        )

    def _get_variable_name(self, field: Field) -> str:
        return f"{self.table[-1]}_{field.key}".upper()

    def _get_owner(self) -> str:
        return (
            f"{self.kind} provider `{self.table[1]}`" if len(self.table) > 1 else f"the table [{self.kind}]"
        )

    def _has_secret(self) -> bool:
        return any(has_type(field.type, Secret) for field in self.fields.values())


class _SharedLimitsCheck(_Check):
    """Checks [limits.shared]: the options of a cache that shares rate limits."""

    def __init__(self, stack: Stack, provider: Provider) -> None:
        super().__init__(stack, SHARED_LIMITS, provider.options)
        self.host_keys = SHARED_KEYS.keys()
        self._below = ("cache", provider.name)
        for key, field in self.fields.items():
            if has_type(field.type, Secret):
                stack.hide((*self._below, key))

    def _list_keys(self) -> list[str]:
        return [*self.fields, *self.host_keys]

    def _find_value(self, field: Field) -> _Setting | None:
        for table in (self.table, self._below):
            path = (*table, field.key)
            # All applications share the limit of a vendor, so the namespace of their cache entries does not apply here.
            if field.key == "namespace" and table == self._below:
                continue
            value = self.stack.get(path)
            if value is not MISSING:
                return _Setting(path, value, self.stack.find_owner(path))
        return None

    def _get_owner(self) -> str:
        return f"[{format_key(self.table)}]"


def _find_type(error: str) -> str | None:
    """Return the expected type that msgspec names in its message *error*.

    Return None for other errors, because their texts may contain the value.
    """
    return error.removeprefix("Expected ").replace("`", "") if error.startswith("Expected ") else None


def _read_path(item: Any, *, env: Mapping[str, str], folder: FilePath | None) -> FilePath:
    """Return the path of an option.

    Raise ValueError for faults of the user, because a TypeError would be reported as a fault of the plugin.
    """
    text = str(item) if isinstance(item, FilePath) else item
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError("a path must be text that is not empty")
    return resolve_path(text, env=env, folder=folder)
