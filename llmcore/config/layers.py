"""The configuration layers: the defaults, a file, a profile, the environment.

For errors, each layer also knows the position of each value, and the line that a user pastes to change it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, Final, Literal

from llmcore.config.document import Document
from llmcore.config.keys import Path, format_key, parse_index
from llmcore.config.mask import mask_text
from llmcore.config.schema import BUILT_IN, LISTS, SECTIONS, get_reader, is_text_wanted
from llmcore.errors import ConfigError
from llmcore.support.text import describe_invisible

__all__ = [
    "MISSING",
    "SETTING_PREFIX",
    "BuiltIn",
    "EnvLayer",
    "FileLayer",
    "Layer",
    "get_tables",
    "get_variable_name",
    "iterate_leaves",
    "lookup",
    "merge",
    "merge_lists",
    "parse_scalar",
]

MISSING: Final = object()
SETTING_PREFIX: Final = "LLMCORE__"
"""The prefix of variables that hold a setting, such as LLMCORE__CACHE__PROVIDER."""


class Layer:
    """One source of settings."""

    keeps_secrets = True
    """True if the layer may contain secrets in plain text; False for files."""

    def __init__(self, name: str, tree: Mapping[str, Any]) -> None:
        self.name = name
        self.tree = tree

    @property
    def folder(self) -> FilePath | None:
        """The folder to which relative paths of the layer are relative, such as `file:key.txt`; None means the working directory."""
        return None

    def get(self, path: Path) -> Any:
        """Return the value at *path*, or MISSING."""
        return lookup(self.tree, path)

    def get_text(self, path: Path) -> str | None:
        """Return the original text of the value; None if the values of this layer are not parsed from text."""
        del path
        return None

    def find_position(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """Return the position of the key or its value for display, such as `file:line:column`."""
        del path, at
        return None

    def format_excerpt(self, path: Path, at: Literal["key", "value"], *, secret: bool) -> str | None:
        """Return the line at fault, and a second line that underlines the fault; None if the layer has no lines."""
        del path, at, secret
        return None

    def format_set_fix(self, path: Path, value: str) -> str | None:
        """Return a line to paste that sets the key to *value*."""
        return f"llmcore config set {_quote_for_shell(format_key(path))} {_quote_for_shell(value)}"

    def format_command(self, words: str) -> str:
        """Return the command line that runs the command *words* with the same configuration."""
        return f"llmcore {words}"

    def format_unset_fix(self, path: Path) -> str | None:
        """Return a line to paste that removes the key."""
        del path
        return None

    def format_open_fix(self, path: Path) -> str | None:
        """Return a line to paste that opens the table at *path*.

        If the name of a table is wrong, the user pastes this line over the header of the table.
        """
        del path
        return None

    def format_rename_fix(self, wrong: Path, right: Path, value: str) -> str | None:
        """Return a line to paste that renames a misspelt or misplaced key."""
        del wrong
        return self.format_set_fix(right, value)

    def make_error(
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
        """Return an error at the position of the key or its value."""
        return ConfigError(
            mask_text(message),
            code=code,
            where=self.find_position(path, at),
            excerpt=self.format_excerpt(path, at, secret=secret),
            expected=expected,
            suggestion=suggestion,
            fix=None if fix is None else self._mask_fix(fix),
            notes=(*notes, *describe_invisible(_join_texts(self.get(path) if at == "value" else path[-1:]))),
        )

    def _mask_fix(self, fix: str) -> str:
        """Return *fix* without the parts that look like a secret."""
        return mask_text(fix)


class BuiltIn(Layer):
    """The layer of the defaults."""

    def __init__(self) -> None:
        super().__init__("built-in", BUILT_IN)


class FileLayer(Layer):
    """A file, or one profile of a file."""

    keeps_secrets = False

    def __init__(
        self,
        name: str,
        document: Document,
        *,
        inside: Path = (),
        personal: bool = False,
        named: str | None = None,
    ) -> None:
        super().__init__(name, lookup(document.tree, inside))
        self.document = document
        self.named = named
        """The path of the file if the caller or LLMCORE_CONFIG named it; commands then need `--config`."""
        self._inside = inside
        self._personal = personal
        self._user = " --user" if personal else ""

    @property
    def _command(self) -> str:
        return "llmcore" if self.named is None else f"llmcore --config {_quote_for_shell(self.named)}"

    def select_table(self, name: str, path: Path) -> FileLayer:
        """Return one table of the file, such as a profile, as a separate layer."""
        return FileLayer(name, self.document, inside=path, personal=self._personal, named=self.named)

    @property
    def folder(self) -> FilePath | None:
        """See `Layer.folder`."""
        return self.document.folder

    def find_position(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.find_position`."""
        place = self.document.find_place(self._inside + path)
        if place is None:
            return self.document.label
        span = getattr(place, at)
        return f"{self.document.label}:{span.line}:{span.column}"

    def format_excerpt(self, path: Path, at: Literal["key", "value"], *, secret: bool) -> str | None:
        """See `Layer.format_excerpt`."""
        place = self.document.find_place(self._inside + path)
        if place is None:
            return None
        span = getattr(place, at)
        if secret and at == "key" and place.value.line == span.line:
            span = span._replace(length=place.value.column + place.value.length - span.column)
        return self.document.format_excerpt(*span, secret=secret)

    def format_set_fix(self, path: Path, value: str) -> str | None:
        """See `Layer.format_set_fix`."""
        return f"{self._command} config set{self._user} {_quote_for_shell(format_key(self._inside + path))} {_quote_for_shell(value)}"

    def format_command(self, words: str) -> str:
        """See `Layer.format_command`."""
        return f"{self._command} {words}"

    def _mask_fix(self, fix: str) -> str:
        # the command is not masked: the path after `--config` may look like an API key
        return self._command.join(map(mask_text, fix.split(self._command)))

    def format_unset_fix(self, path: Path) -> str | None:
        """See `Layer.format_unset_fix`."""
        return f"{self._command} config unset{self._user} {_quote_for_shell(format_key(self._inside + path))}"

    def format_open_fix(self, path: Path) -> str | None:
        """See `Layer.format_open_fix`."""
        return f"[{format_key(self._inside + path)}]"

    def format_rename_fix(self, wrong: Path, right: Path, value: str) -> str | None:
        """See `Layer.format_rename_fix`."""
        is_key_of_table = len(right) == 2 and right[0] not in SECTIONS  # noqa: PLR2004 - two parts: a plugin's table, and a key
        if wrong[:-1] == right[:-1] and (get_reader(right) or is_key_of_table):
            return self.format_set_fix(right, value)  # replaces the misspelt key, see `set_value`
        return f"{self.format_unset_fix(wrong)} && {self.format_set_fix(right, value)}"


class EnvLayer(Layer):
    """Environment variables such as LLMCORE__CACHE__PROVIDER."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._texts: dict[Path, str] = {}
        self._names: dict[Path, str] = {}
        self.faults: list[ConfigError] = []
        """Errors for variables that do not name a key, or that name a key inside another variable's value."""
        super().__init__("environment", {})
        tree: dict[str, Any] = {}
        for name in sorted(name for name in env if name.upper().startswith(SETTING_PREFIX)):
            if env[name]:  # an empty variable counts as not set
                self._take(tree, name, env[name])
        self.tree = tree

    def _take(self, tree: dict[str, Any], name: str, text: str) -> None:
        path = tuple(name[len(SETTING_PREFIX) :].lower().split("__"))
        if not all(path):
            self.faults.append(_make_name_fault(name, "names no key"))
            return
        for part in path[:-1]:
            tree = tree.setdefault(part, {})
            if not isinstance(tree, dict):
                self.faults.append(_make_name_fault(name, "names a key inside another variable's value"))
                return
        tree[path[-1]] = text if is_text_wanted(path) else parse_scalar(text)
        self._texts[path] = text
        for depth in range(1, len(path) + 1):
            self._names.setdefault(path[:depth], name)

    def get_text(self, path: Path) -> str | None:
        """See `Layer.get_text`."""
        return self._texts.get(path)

    def find_position(self, path: Path, at: Literal["key", "value"] = "key") -> str | None:
        """See `Layer.find_position`."""
        del at
        return self._names.get(path)

    def format_set_fix(self, path: Path, value: str) -> str | None:
        """See `Layer.format_set_fix`."""
        return f"export {get_variable_name(path)}={_quote_for_shell(value)}"

    def format_unset_fix(self, path: Path) -> str | None:
        """See `Layer.format_unset_fix`."""
        return f"unset {self._names.get(path, get_variable_name(path))}"

    def format_open_fix(self, path: Path) -> str | None:
        """See `Layer.format_open_fix`."""
        return f"{get_variable_name(path)}__KEY"

    def format_rename_fix(self, wrong: Path, right: Path, value: str) -> str | None:
        """See `Layer.format_rename_fix`."""
        return f"{self.format_unset_fix(wrong)}; {self.format_set_fix(right, value)}"


def get_variable_name(path: Path) -> str:
    """Return the environment variable that sets the key."""
    return SETTING_PREFIX + "__".join(path).upper()


def parse_scalar(text: str) -> Any:
    """Return the value of *text* if it is a TOML number, boolean, quoted text or list; otherwise *text*."""
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
            index = parse_index(part)
            if index is None or index >= len(tree):
                return MISSING
            tree = tree[index]
        elif isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        else:
            return MISSING
    return tree


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge both tables recursively; values of *above* take precedence. The arguments are not changed."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, Mapping):
            value = merge(under if isinstance(under, Mapping) else {}, value)  # noqa: PLW2901 - `above` is not changed
        merged[key] = value
    return merged


def merge_lists(below: Mapping[str, Any], tree: dict[str, Any]) -> list[Path]:
    """Replace tables of changed entries in *tree* by whole lists.

    A layer such as the environment changes single entries of a list. The value of a key of `LISTS` in *tree* is then not a
    list, but a dict: index of an entry -> its changes. Replace this dict by the list in *below* with the changes applied.

    Returns:
        The paths of entries that were not added, because their index would leave a gap after the end of the list.
    """
    gaps: list[Path] = []
    for name in LISTS & tree.keys():
        changes, under = tree[name], below.get(name)
        if not isinstance(changes, Mapping):
            continue
        entries = list(under) if isinstance(under, list) else []
        numbered = {
            index: entry for part, entry in changes.items() if (index := parse_index(part)) is not None
        }
        for index, entry in sorted(numbered.items()):
            if index > len(entries):
                gaps.append((name, str(index)))
            elif index == len(entries):
                entries.append(entry)
            elif isinstance(entries[index], Mapping) and isinstance(entry, Mapping):
                entries[index] = merge(entries[index], entry)
        tree[name] = entries
    return gaps


def iterate_leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value that is neither a table nor a list of tables, with its path."""
    for key, value in get_tables(tree).items():
        if get_tables(value):
            yield from iterate_leaves(value, (*path, key))
        else:
            yield (*path, key), value


def get_tables(value: Any) -> Mapping[str, Any]:
    """Return a table unchanged, a list of tables as a dict from the index to the table, and {} for any other value."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return {str(index): item for index, item in enumerate(value)}
    return {}


def _join_texts(given: object) -> str:
    """Return a text unchanged, the texts of a list joined, and "" for any other value."""
    return (
        "".join(map(str, given))
        if isinstance(given, list | tuple)
        else given
        if isinstance(given, str)
        else ""
    )


def _make_name_fault(name: str, what: str) -> ConfigError:
    return ConfigError(
        f"the variable {name} {what}",
        code="LC102",
        where=name,
        expected=f"{SETTING_PREFIX}SECTION__KEY, such as {SETTING_PREFIX}CACHE__PROVIDER",
        fix=f"unset {name}",
    )


def _quote_for_shell(text: str) -> str:
    import shlex

    return shlex.quote(text)
