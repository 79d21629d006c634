"""The layers of a configuration: each knows its values, where they stand, and how to mend one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Final, Literal

from llmcore.config.document import Document
from llmcore.config.keys import Path, dotted, index_of
from llmcore.config.mask import mask_text, quoted
from llmcore.config.schema import BUILT_IN, LISTS, reader_of, wants_text
from llmcore.errors import ConfigError

__all__ = [
    "MISSING",
    "BuiltIn",
    "EnvLayer",
    "FileLayer",
    "GivenLayer",
    "Layer",
    "leaves",
    "lookup",
    "merge",
    "merge_lists",
    "tables_in",
]

MISSING: Final = object()
_PREFIX: Final = "LLMCORE__"


class Layer:
    """One source of settings."""

    keeps_secrets = True
    """Whether a secret may stand here in plain text; not in a file."""

    def __init__(self, name: str, tree: Mapping[str, Any]) -> None:
        self.name = name
        self.tree = tree

    @property
    def folder(self) -> FilePath | None:
        """Return what relative paths in references are relative to."""
        return None

    def get(self, path: Path) -> Any:
        """Return the value at *path*, or MISSING."""
        return lookup(self.tree, path)

    def raw(self, path: Path) -> str | None:
        """Return the text behind a value that was read as a number, where there is one."""
        del path
        return None

    def where(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """Return where the key stands, for a person to find."""
        del path, at
        return None

    def excerpt(self, path: Path, at: Literal["key", "value"], *, secret: bool) -> str | None:
        """Return the line at fault and a pointer into it."""
        del path, at, secret
        return None

    def to_set(self, path: Path, value: str) -> str | None:
        """Return a line to paste that sets the key to *value*."""
        return f'"{dotted(path)}": {quoted(value)}'

    def to_unset(self, path: Path) -> str | None:
        """Return a line to paste that takes the key away."""
        return f"take {dotted(path)} out"

    def to_rename(self, wrong: Path, right: Path, value: str) -> str | None:
        """Return a line to paste that gives a misspelt or misplaced key its right name."""
        del wrong
        return self.to_set(right, value)

    def fault(
        self,
        path: Path,
        message: str,
        *,
        code: str | None = None,
        at: Literal["key", "value"] = "value",
        expected: str | None = None,
        suggestion: str | None = None,
        fix: str | None = None,
        notes: tuple[str, ...] = (),
        secret: bool = False,
    ) -> ConfigError:
        """Return an error that points at the key or its value."""
        return ConfigError(
            mask_text(message),
            code=code,
            where=self.where(path, at),
            excerpt=self.excerpt(path, at, secret=secret),
            expected=expected,
            suggestion=suggestion,
            fix=None if fix is None else mask_text(fix),
            notes=notes,
        )


class BuiltIn(Layer):
    """What serves where nothing is said."""

    def __init__(self) -> None:
        super().__init__("built-in", BUILT_IN)


class GivenLayer(Layer):
    """What code handed over: a dict in the place of the project file, or arguments."""

    def where(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.where`."""
        del path, at
        return "argument"


class FileLayer(Layer):
    """A file, or one profile of it."""

    keeps_secrets = False

    def __init__(self, name: str, document: Document, *, inside: Path = (), personal: bool = False) -> None:
        super().__init__(name, lookup(document.tree, inside))
        self.document = document
        self._inside = inside
        self._personal = personal
        self._set = "llmcore config set --user" if personal else "llmcore config set"
        self._unset = self._set.replace("config set", "config unset")

    def inside(self, name: str, path: Path) -> FileLayer:
        """Return one table of the file, a profile, as a layer of its own."""
        return FileLayer(name, self.document, inside=path, personal=self._personal)

    @property
    def folder(self) -> FilePath | None:
        """See `Layer.folder`."""
        return self.document.folder

    def where(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.where`."""
        place = self.document.place(self._inside + path)
        if place is None:
            return self.document.label
        span = getattr(place, at)
        return f"{self.document.label}:{span.line}:{span.column}"

    def excerpt(self, path: Path, at: Literal["key", "value"], *, secret: bool) -> str | None:
        """See `Layer.excerpt`."""
        place = self.document.place(self._inside + path)
        if place is None:
            return None
        span = getattr(place, at)
        if secret and at == "key" and place.value.line == span.line:
            span = span._replace(length=place.value.column + place.value.length - span.column)
        return self.document.excerpt(*span, secret=secret)

    def to_set(self, path: Path, value: str) -> str | None:
        """See `Layer.to_set`."""
        return f"{self._set} {_shell(dotted(self._inside + path))} {_shell(value)}"

    def to_unset(self, path: Path) -> str | None:
        """See `Layer.to_unset`."""
        return f"{self._unset} {_shell(dotted(self._inside + path))}"

    def to_rename(self, wrong: Path, right: Path, value: str) -> str | None:
        """See `Layer.to_rename`."""
        if wrong[:-1] == right[:-1] and reader_of(right):
            return self.to_set(right, value)  # takes the misspelt key's place, see `set_value`
        return f"{self.to_unset(wrong)} && {self.to_set(right, value)}"


class EnvLayer(Layer):
    """Variables such as LLMCORE__CACHE__PROVIDER."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._texts: dict[Path, str] = {}
        self._names: dict[Path, str] = {}
        self.faults: list[ConfigError] = []
        """Variables that name no key, or one inside another's value."""
        super().__init__("environment", {})
        tree: dict[str, Any] = {}
        for name in sorted(name for name in env if name.upper().startswith(_PREFIX)):
            if env[name]:  # empty is how a shell says "not this one"
                self._take(tree, name, env[name])
        self.tree = tree

    def _take(self, tree: dict[str, Any], name: str, text: str) -> None:
        path = tuple(name[len(_PREFIX) :].lower().split("__"))
        if not all(path):
            self.faults.append(_misnamed(name, "names no key"))
            return
        for part in path[:-1]:
            tree = tree.setdefault(part, {})
            if not isinstance(tree, dict):
                self.faults.append(_misnamed(name, "stands inside another variable's value"))
                return
        tree[path[-1]] = text if wants_text(path) else scalar(text)
        self._texts[path] = text
        for depth in range(1, len(path) + 1):
            self._names.setdefault(path[:depth], name)

    def raw(self, path: Path) -> str | None:
        """See `Layer.raw`."""
        return self._texts.get(path)

    def where(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.where`."""
        del at
        return self._names.get(path)

    def to_set(self, path: Path, value: str) -> str | None:
        """See `Layer.to_set`."""
        return f"export {variable(path)}={_shell(value)}"

    def to_unset(self, path: Path) -> str | None:
        """See `Layer.to_unset`."""
        return f"unset {self._names.get(path, variable(path))}"

    def to_rename(self, wrong: Path, right: Path, value: str) -> str | None:
        """See `Layer.to_rename`."""
        return f"{self.to_unset(wrong)}; {self.to_set(right, value)}"


def variable(path: Path) -> str:
    """Return the environment variable that sets the key."""
    return _PREFIX + "__".join(path).upper()


def scalar(text: str) -> Any:
    """Return *text* as the TOML number, boolean, quoted text or list that it is, else as itself."""
    if text[:1] not in "0123456789+-.tfni\"'[":
        return text
    import tomllib

    try:
        tree = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    value = tree.get("value")
    return value if len(tree) == 1 and isinstance(value, str | int | float | list) else text


def lookup(tree: Any, path: Path) -> Any:
    """Return the value at *path* in nested tables and lists, or MISSING."""
    for part in path:
        if isinstance(tree, list):
            index = index_of(part)
            if index is None or index >= len(tree):
                return MISSING
            tree = tree[index]
        elif isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        else:
            return MISSING
    return tree


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, *above* winning, table by table; the arguments are left as they are."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping):
            value = merge(under if isinstance(under, Mapping) else {}, value)  # noqa: PLW2901 - copied on the way
        merged[key] = value
    return merged


def merge_lists(below: Mapping[str, Any], tree: dict[str, Any]) -> list[Path]:
    """Put single entries of `LISTS`, which *tree* holds by index, into the lists of *below*.

    Returns:
        Paths of entries that are neither in their list nor the next one.
    """
    gaps: list[Path] = []
    for name in LISTS & tree.keys():
        changes, under = tree[name], below.get(name)
        if not isinstance(changes, Mapping):
            continue
        entries = list(under) if isinstance(under, list) else []
        numbered = {index: entry for part, entry in changes.items() if (index := index_of(part)) is not None}
        for index, entry in sorted(numbered.items()):
            if index > len(entries):
                gaps.append((name, str(index)))
            elif index == len(entries):
                entries.append(entry)
            elif isinstance(entries[index], Mapping) and isinstance(entry, Mapping):
                entries[index] = merge(entries[index], entry)
        tree[name] = entries
    return gaps


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value that is no table and no list of tables, with its path."""
    for key, value in tables_in(tree).items():
        if tables_in(value):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def tables_in(value: Any) -> Mapping[str, Any]:
    """Return a table as it is, a list of tables by index, and of anything else nothing."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return {str(index): item for index, item in enumerate(value)}
    return {}


def _misnamed(name: str, what: str) -> ConfigError:
    return ConfigError(
        f"the variable {name} {what}",
        code="LC102",
        where=name,
        expected=f"{_PREFIX}SECTION__KEY, such as {_PREFIX}CACHE__PROVIDER",
        fix=f"unset {name}",
    )


def _shell(text: str) -> str:
    import shlex

    return shlex.quote(text)
