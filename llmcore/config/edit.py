"""Change one key of a configuration file, and keep the comments and the order of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from llmcore.config import sources
from llmcore.config.aliases import resolve
from llmcore.config.check import check_layer
from llmcore.config.document import Document
from llmcore.config.edit_names import find_new_name_faults
from llmcore.config.example import EXAMPLE
from llmcore.config.keys import Path as Key
from llmcore.config.keys import find_nearest, format_key, parse_index, parse_key
from llmcore.config.layers import MISSING, FileLayer, lookup, parse_scalar
from llmcore.config.line_endings import keep_line_endings
from llmcore.config.mask import HIDDEN, is_reference, is_secret_name
from llmcore.config.money import check_budgets
from llmcore.config.references import FORMS
from llmcore.config.schema import BUDGETS_KEYS, SECTIONS, get_keys, get_reader, is_text_wanted
from llmcore.errors import ConfigError
from llmcore.support.errors import raise_unchained
from llmcore.support.path_kinds import PathKind, classify_path
from llmcore.support.user_folders import get_working_folder

__all__ = ["check_absent", "set_value", "unset", "write_example", "write_first"]


def set_value(path: str | os.PathLike[str], key: str, text: str) -> None:
    """Set a key in the file. Create a missing file.

    If the table contains a misspelling of the key, replace the misspelt key. So the fix of the error about a misspelt
    key is a plain `llmcore config set`.

    Args:
        path: The file; in a `pyproject.toml` the key goes below [tool.llmcore].
        key: A dotted key: `cache.ttl`, `prices."openai:gpt-6.1".input`.
        text: The value in TOML: a number, true, false, quoted text or a list. An entry of [prices] may also be an
            inline table. Any other *text* is stored as text.

    Raises:
        ConfigError: The file would not load, or would contain a secret. Nothing was changed.
    """
    parts = parse_key(key)
    if is_secret_name(parts[-1]) and not is_reference(text) and get_reader(parts) is None:
        text = HIDDEN  # remove the secret from the local variables, which a crash report may show
        raise ConfigError(
            f"`{parts[-1]}` must be a reference to a secret, got a literal value",
            code="LC109",
            expected=FORMS,
            fix=f"llmcore config set {format_key(parts)} env:{'_'.join(parts[-2:]).upper()}",
        )
    value = text if _is_text(parts, text) else _parse_value(parts, text)

    def change(tree: MutableMapping[str, Any]) -> None:
        table = _get_table(tree, parts)
        wrong = None if parts[-1] in table else _find_misspelt_key(parts, table)
        if wrong is None:
            _put(table, parts[-1], value)
        else:
            _replace(table, wrong, parts[-1], value)

    if error := _edit(Path(path), parts, change):
        if is_secret_name(parts[-1]):
            text = value = HIDDEN
        raise error


def unset(path: str | os.PathLike[str], key: str) -> bool:
    """Remove a key or a table from the file; return whether it was there.

    Raises:
        ConfigError: The file cannot be read, or would not load without the key. Nothing was changed.
    """
    parts = parse_key(key)
    file = Path(path)
    if classify_path(file) is PathKind.ABSENT or lookup(_read(file).tree, parts) is MISSING:
        return False

    def change(tree: MutableMapping[str, Any]) -> None:
        table: Any = lookup(tree, parts[:-1])
        del table[int(parts[-1]) if isinstance(table, list) else parts[-1]]
        if table == [] and len(parts) > 1:  # the last entry was removed, so remove the empty list too
            del lookup(tree, parts[:-2])[parts[-2]]

    if error := _edit(file, parts, change):
        raise error
    return True


def write_example(path: str | os.PathLike[str]) -> None:
    """Write an example configuration with comments; see `write_first`."""
    write_first(path, EXAMPLE)


def write_first(path: str | os.PathLike[str], text: str) -> None:
    """Write a new configuration.

    Raises:
        ConfigError: The file already exists, or cannot be written.
    """
    check_absent(path)
    _write(Path(path), text.encode(), fresh=True)


def check_absent(path: str | os.PathLike[str]) -> None:
    """Raise a `ConfigError` if the configuration file already exists."""
    file = Path(path)
    if classify_path(file) not in {PathKind.ABSENT, PathKind.NO_PERMISSION}:
        raise ConfigError(
            f"the configuration file already exists: {file}",
            expected="a path without a file; the existing file was not changed",
            fix="llmcore config show",
        )


def _parse_value(parts: Key, text: str) -> Any:
    """Return the value of *text*.

    An entry of [prices] may be an inline table, because a price needs several keys to be valid.
    """
    inner = parts[2:] if parts[:1] == ("profiles",) else parts
    if len(inner) == 2 and inner[0] == "prices" and text.startswith("{"):  # noqa: PLR2004 - a path of two parts: [prices] and a name
        import tomllib

        try:
            return tomllib.loads(f"value = {text}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            return text
    return parse_scalar(text)


def _is_text(parts: Key, text: str) -> bool:
    return is_text_wanted(parts) and not text.startswith(('"', "'", "["))


def _edit(file: Path, parts: Key, change: Callable[[MutableMapping[str, Any]], None]) -> ConfigError | None:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    before = _read(file)
    wanted = _to_plain(before.tree)
    try:
        change(wanted)
    except IndexError:
        return _make_unchanged_error(file, parts, "the list is too short: this entry would leave a gap")
    document = tomlkit.parse(before.text)
    try:
        tree: Any = document
        for name in before.prefix:
            tree = tree.setdefault(name, tomlkit.table())
        change(tree)
        text = tomlkit.dumps(document)
    except (TOMLKitError, ValueError, TypeError, KeyError) as error:
        return _make_unchanged_error(file, parts, type(error).__name__)
    after = sources.parse(text.encode(), path=file, label=before.label)
    if _to_plain(after.tree) != wanted:  # tomlkit failed to edit this file correctly
        return _make_unchanged_error(file, parts, "the layout of the file is not supported")
    old, remaining = _find_faults(before), _find_faults(after)
    known = {(fault.code, fault.message) for fault in old}
    new = [fault for fault in remaining if (fault.code, fault.message) not in known]
    if not old and not remaining:  # the check of names needs a file without other faults
        new = find_new_name_faults(before, after, parts)
    if new:
        for fault in new:
            fault.where, fault.excerpt = f"{before.label} (not changed)", None
        return ConfigError.of(new)
    if text != before.text:
        _write(file, keep_line_endings(before.data, text))
    return None


def _read(file: Path) -> Document:
    label = str(file)
    if classify_path(file) is not PathKind.ABSENT:
        return sources.read(file, cwd=get_working_folder(), env=os.environ)
    return sources.parse(b"", path=file, label=label)


def _find_faults(document: Document) -> list[ConfigError]:
    layer = FileLayer("file", document)
    faults = check_layer(layer)
    models = document.tree.get("models")
    if isinstance(models, Mapping):
        faults += [fault for fault in resolve(models, lambda _: layer, "echo")[1] if fault.code == "LC105"]
    return faults + check_budgets(document.tree, lambda _: layer)


def _get_table(tree: MutableMapping[str, Any], parts: Key) -> MutableMapping[str, Any]:
    for depth, part in enumerate(parts[:-1]):
        if isinstance(tree.get(part), list):
            return _get_entry(tree[part], parts[depth + 1 :])
        if not isinstance(tree.get(part), MutableMapping):
            if get_keys(parts[: depth + 2]) is BUDGETS_KEYS:
                if parts[depth + 1] != "0":
                    raise IndexError
                tree[part] = [{}]  # tomlkit writes a list with a table as [[tables]]
                return _get_table(tree[part][0], parts[depth + 2 :])
            tree[part] = {}
        tree = tree[part]
    return tree


def _get_entry(entries: Any, parts: Key) -> MutableMapping[str, Any]:
    """Return the table for *parts*, whose first item is an index of *entries*.

    The index that follows the last entry appends a new entry.

    Raises:
        IndexError: The index is higher than the next one, or the entry is not a table.
    """
    index = parse_index(parts[0])
    if index == len(entries):
        entries.append({})
    if index is None or len(parts) < 2 or not isinstance(lookup(entries, parts[:1]), MutableMapping):  # noqa: PLR2004
        raise IndexError
    return _get_table(entries[index], parts[1:])


def _put(table: MutableMapping[str, Any], name: str, value: Any) -> None:
    """Set a key.

    A new key is inserted directly after the last key whose value is neither a table nor a list. A comment after that
    key thus stays below the new key. If the table has no such key, the new key is appended.
    """
    container: Any = getattr(table, "value", None)
    above = [str(key) for key, item in table.items() if not isinstance(item, Mapping | list)]
    if name in table or not above or not hasattr(container, "_insert_after"):
        table[name] = value
        return
    import tomlkit

    container._insert_after(above[-1], name, tomlkit.item(value))  # noqa: SLF001 - tomlkit has no public API for this


def _find_misspelt_key(parts: Key, table: Mapping[str, Any]) -> str | None:
    """Return the key in *table* that looks like a misspelling of `parts[-1]`; None if there is none."""
    if len(parts) == 2 and parts[0] not in SECTIONS:  # noqa: PLR2004 - two parts: a plugin's table, and a key
        from llmcore.config.tables import list_table_keys

        known = list_table_keys(parts[0])
        wrong = [name for name in table if name not in known and find_nearest(name, known) == parts[1]]
        return wrong[0] if wrong else None
    inner: dict[str, Any] = {}
    document_like = inner
    for part in reversed(parts[:-1]):
        document_like = {part: document_like}
    for name, value in table.items():
        if not isinstance(value, Mapping) and find_nearest(name, [parts[-1]]):
            inner[name] = value
            document = Document(document_like, text="", label="")
            if any(fault.suggestion == parts[-1] for fault in check_layer(FileLayer("file", document))):
                return str(name)
            del inner[name]
    return None


def _replace(table: MutableMapping[str, Any], wrong: str, right: str, value: Any) -> None:
    """Replace the name and the value of a key, and keep its position."""
    container = getattr(table, "value", table)
    if hasattr(container, "_replace"):
        import tomlkit

        item = tomlkit.item(value)
        item.trivia.comment_ws, item.trivia.comment = (
            table[wrong].trivia.comment_ws,
            table[wrong].trivia.comment,
        )
        container._replace(wrong, right, item)
    else:
        del table[wrong]
        table[right] = value


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    return [_to_plain(item) for item in value] if isinstance(value, list) else value


def _make_unchanged_error(file: Path, parts: Key, why: str) -> ConfigError:
    return ConfigError(
        f"llmcore cannot write {format_key(parts)}: {why}",
        where=str(file),
        expected="an edit by hand; the file was not changed",
    )


def _write(file: Path, data: bytes, *, fresh: bool = False) -> None:
    """Write the file atomically. A new file has mode 0600; the mode of an existing file is preserved."""
    import tempfile

    try:
        file = file.resolve()  # write to the target of a symbolic link
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = file.stat().st_mode & 0o7777 if file.exists() else 0o600
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            temporary.chmod(mode)
            if fresh and file.exists():  # another process created the file in the meantime
                raise FileExistsError("the file already exists")
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise_unchained(
            ConfigError(
                f"the configuration file cannot be written: {error.strerror or type(error).__name__}",
                where=str(file),
            )
        )
