"""Changes one key of a configuration file and leaves its comments, order and everything else alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from llmcore.config import sources
from llmcore.config.aliases import resolve
from llmcore.config.check import check_layer
from llmcore.config.document import Document
from llmcore.config.example import EXAMPLE
from llmcore.config.keys import Path as Key
from llmcore.config.keys import dotted, index_of, nearest, split
from llmcore.config.layers import MISSING, FileLayer, lookup, scalar
from llmcore.config.mask import HIDDEN, is_reference, is_secret_name
from llmcore.config.money import check_budgets
from llmcore.config.references import FORMS
from llmcore.config.schema import BUDGETS_KEYS, keys_of, reader_of, wants_text
from llmcore.errors import ConfigError

__all__ = ["set_value", "unset", "write_example"]


def set_value(path: str | os.PathLike[str], key: str, text: str) -> None:
    """Set a key of the file, which is made where there is none.

    Takes the place of a misspelt key of the same table, so that the line that an error proposes mends it.

    Args:
        path: The file; in a `pyproject.toml` the key goes below [tool.llmcore].
        key: Dotted: `cache.ttl`, `prices."openai:gpt-6.1".input`.
        text: A number, true, false, quoted text or a list as TOML writes it; anything else is text itself.

    Raises:
        ConfigError: The file would not load, or a secret would stand in it. Nothing was changed.
    """
    parts = split(key)
    if is_secret_name(parts[-1]) and not is_reference(text) and reader_of(parts) is None:
        text = HIDDEN  # a crash report may show local variables
        raise ConfigError(
            f"a secret does not belong into a file: `{parts[-1]}`",
            code="LC109",
            expected=FORMS,
            fix=f"llmcore config set {dotted(parts)} env:{'_'.join(parts[-2:]).upper()}",
        )
    value = text if _is_text(parts, text) else scalar(text)

    def change(tree: MutableMapping[str, Any]) -> None:
        table = _table_for(tree, parts)
        wrong = None if parts[-1] in table else _misspelt(parts, table)
        if wrong is None:
            _put(table, parts[-1], value)
        else:
            _replace(table, wrong, parts[-1], value)

    if error := _edit(Path(path), parts, change):
        if is_secret_name(parts[-1]):
            text = value = HIDDEN
        raise error


def unset(path: str | os.PathLike[str], key: str) -> bool:
    """Take a key or a table out of the file; return whether it was there.

    Raises:
        ConfigError: The file cannot be read, or would not load without it. Nothing was changed.
    """
    parts = split(key)
    file = Path(path)
    if not file.exists() or lookup(_read(file).tree, parts) is MISSING:
        return False

    def change(tree: MutableMapping[str, Any]) -> None:
        table: Any = lookup(tree, parts[:-1])
        del table[int(parts[-1]) if isinstance(table, list) else parts[-1]]
        if table == [] and len(parts) > 1:  # the last entry of a list takes the list with it
            del lookup(tree, parts[:-2])[parts[-2]]

    if error := _edit(file, parts, change):
        raise error
    return True


def write_example(path: str | os.PathLike[str]) -> None:
    """Write a commented file to begin with.

    Raises:
        ConfigError: There is a file already, or none can be written here.
    """
    file = Path(path)
    if file.exists():
        raise ConfigError(
            f"there is a configuration already: {file}",
            expected="a place without one; it was left as it is",
            fix="llmcore config show",
        )
    _write(file, EXAMPLE, fresh=True)


def _is_text(parts: Key, text: str) -> bool:
    return wants_text(parts) and not text.startswith(('"', "'", "["))


def _edit(file: Path, parts: Key, change: Callable[[MutableMapping[str, Any]], None]) -> ConfigError | None:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    before = _read(file)
    wanted = _plain(before.tree)
    try:
        change(wanted)
    except IndexError:
        return _unchanged(file, parts, "the list has no such entry, nor is it the next one")
    document = tomlkit.parse(before.text)
    try:
        tree: Any = document
        for name in before.prefix:
            tree = tree.setdefault(name, tomlkit.table())
        change(tree)
        text = tomlkit.dumps(document)
    except (TOMLKitError, ValueError, TypeError, KeyError) as error:
        return _unchanged(file, parts, type(error).__name__)
    after = sources.parse(text.encode(), path=file, label=before.label)
    if _plain(after.tree) != wanted:  # tomlkit lost its way; better nothing than another file
        return _unchanged(file, parts, "the file's layout is too unusual")
    known = {(fault.code, fault.message) for fault in _faults(before)}
    new = [fault for fault in _faults(after) if (fault.code, fault.message) not in known]
    if new:
        for fault in new:
            fault.where, fault.excerpt = f"{before.label} (not changed)", None
        return ConfigError.of(new)
    if text != before.text:
        _write(file, text)
    return None


def _read(file: Path) -> Document:
    label = str(file)
    if file.exists():
        return sources.read(file, cwd=Path.cwd(), env=os.environ)
    return sources.parse(b"", path=file, label=label)


def _faults(document: Document) -> list[ConfigError]:
    layer = FileLayer("file", document)
    faults = check_layer(layer)
    models = document.tree.get("models")
    if isinstance(models, Mapping):
        faults += [fault for fault in resolve(models, lambda _: layer, "echo")[1] if fault.code == "LC105"]
    return faults + check_budgets(document.tree, lambda _: layer)


def _table_for(tree: MutableMapping[str, Any], parts: Key) -> MutableMapping[str, Any]:
    for depth, part in enumerate(parts[:-1]):
        if isinstance(tree.get(part), list):
            return _entry_for(tree[part], parts[depth + 1 :])
        if not isinstance(tree.get(part), MutableMapping):
            if keys_of(parts[: depth + 2]) is BUDGETS_KEYS:
                if parts[depth + 1] != "0":
                    raise IndexError
                tree[part] = [{}]  # tomlkit makes [[tables]] of a list that has one
                return _table_for(tree[part][0], parts[depth + 2 :])
            tree[part] = {}
        tree = tree[part]
    return tree


def _entry_for(entries: Any, parts: Key) -> MutableMapping[str, Any]:
    """Return the table within a list that *parts* begin with the index of; the next one is made.

    Raises:
        IndexError: There is no such entry, or it is no table.
    """
    index = index_of(parts[0])
    if index == len(entries):
        entries.append({})
    if index is None or len(parts) < 2 or not isinstance(lookup(entries, parts[:1]), MutableMapping):  # noqa: PLR2004
        raise IndexError
    return _table_for(entries[index], parts[1:])


def _put(table: MutableMapping[str, Any], name: str, value: Any) -> None:
    """Set a key; a new one stands behind the last that has a value, not behind comments that come after that."""
    container: Any = getattr(table, "value", None)
    above = [str(key) for key, item in table.items() if not isinstance(item, Mapping | list)]
    if name in table or not above or not hasattr(container, "_insert_after"):
        table[name] = value
        return
    import tomlkit

    container._insert_after(above[-1], name, tomlkit.item(value))  # noqa: SLF001 - tomlkit has no public way


def _misspelt(parts: Key, table: Mapping[str, Any]) -> str | None:
    """Return the key of *table* that a person who wrote it meant as the last of *parts*, where the check says so."""
    inner: dict[str, Any] = {}
    document_like = inner
    for part in reversed(parts[:-1]):
        document_like = {part: document_like}
    for name, value in table.items():
        if not isinstance(value, Mapping) and nearest(name, [parts[-1]]):
            inner[name] = value
            document = Document(document_like, text="", label="")
            if any(fault.suggestion == parts[-1] for fault in check_layer(FileLayer("file", document))):
                return str(name)
            del inner[name]
    return None


def _replace(table: MutableMapping[str, Any], wrong: str, right: str, value: Any) -> None:
    """Give a key another name and value in its place among the others."""
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


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _unchanged(file: Path, parts: Key, why: str) -> ConfigError:
    return ConfigError(
        f"{dotted(parts)} cannot be written by llmcore: {why}",
        where=str(file),
        expected="a change by hand; the file was left as it is",
    )


def _write(file: Path, text: str, *, fresh: bool = False) -> None:
    """Write the whole file or nothing. A new one is the person's own; an old one keeps its mode."""
    import tempfile

    file = file.resolve()  # a link to a file kept elsewhere stays a link
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = file.stat().st_mode & 0o7777 if file.exists() else 0o600
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(text.encode())
                out.flush()
                os.fsync(out.fileno())
            temporary.chmod(mode)
            if fresh and file.exists():  # somebody was quicker
                raise FileExistsError("there is a file already")
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the configuration file cannot be written: {error.strerror or type(error).__name__}",
            where=str(file),
        ) from None
