"""Find and read configuration files; errors show the faulty line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from llmcore.config.document import Document
from llmcore.config.keys import find_nearest
from llmcore.config.mask import is_secret_like, is_secret_name
from llmcore.errors import ConfigError
from llmcore.log import get_logger
from llmcore.support.errors import raise_unchained
from llmcore.support.home import find_home
from llmcore.support.path_kinds import PathKind, classify_path
from llmcore.support.text import describe_character, is_invisible
from llmcore.support.user_folders import get_user_folder

__all__ = [
    "MAX_BYTES",
    "find_given_file",
    "find_project_file",
    "get_state_file",
    "get_user_file",
    "is_present",
    "parse",
    "read",
]

MAX_BYTES: Final = 1_000_000
"""Maximum size of a file in bytes. A larger file is probably not a configuration."""

_POSITION = r" \(at (?:line (\d+), column (\d+)|end of document)\)$"
_OUR_TABLE = rb"""(?m)^\s*\[+\s*tool\s*\.\s*["']?llmcore\b"""


def get_user_file(env: Mapping[str, str]) -> Path | None:
    """Return the path of the user's configuration file; None if the user has no home. The file may not exist."""
    folder = get_user_folder("config", env)
    return None if folder is None else folder / "config.toml"


def get_state_file(env: Mapping[str, str], name: str) -> Path | None:
    """Return the path of *name* in the user's state folder; None if the user has no home."""
    folder = get_user_folder("state", env)
    return None if folder is None else folder / name


def find_project_file(cwd: Path) -> Path | None:
    """Return the nearest `llmcore.toml`, or `pyproject.toml` with [tool.llmcore], in *cwd* and the folders above it.

    An unreadable file is returned too, so that `read` reports the reason. If the file were skipped, its budgets would
    not apply.
    """
    for folder in (cwd, *cwd.parents):
        own = folder / "llmcore.toml"
        if is_present(own):
            return own
        shared = folder / "pyproject.toml"
        if is_present(shared) and _has_our_table(shared):
            return shared
    return None


def is_present(path: Path) -> bool:
    """Return whether *path* exists, readable or not.

    If the user has no right to enter the folder, the file counts as absent, and a warning is logged.
    """
    kind = classify_path(path)
    if kind is PathKind.NO_PERMISSION:
        get_logger(__name__).warning("%s cannot be read: it is %s", path, kind.value)
    return kind not in {PathKind.ABSENT, PathKind.NO_PERMISSION}


def find_given_file(name: str | os.PathLike[str], cwd: Path, *, origin: str, env: Mapping[str, str]) -> Path:
    """Return the path of a file that the user named.

    Raises:
        ConfigError: The file does not exist.
    """
    text = os.fspath(name)
    if text.startswith("~/") and (home := find_home(env)):
        text = str(home / text[2:])
    path = cwd / text
    kind = classify_path(path)
    if kind is PathKind.DIRECTORY:
        inside = classify_path(path / "llmcore.toml") is PathKind.FILE
        raise ConfigError(
            f"the configuration file must be a file, got a directory: {text}",
            code="LC107",
            where=origin,
            expected="the path of a TOML file",
            fix=str(Path(text, "llmcore.toml")) if inside else None,
        )
    if kind is PathKind.ABSENT:
        import shlex

        near: list[str] = []
        with suppress(OSError):  # the user may have the right to enter the folder, but not to list it
            near = sorted(name for name in os.listdir(path.parent) if name.endswith(".toml"))  # noqa: PTH208 - only the names are needed
        found = find_nearest(path.name, near)
        meant = None if found is None else str(Path(text).with_name(found))
        raise ConfigError(
            f"there is no configuration file {text}",
            code="LC107",
            where=origin,
            expected="the path of a TOML file that exists"
            + (f"; in the same folder: {', '.join(near[:5])}" if near else ""),
            suggestion=meant,
            fix=_name_file(meant, origin) if meant else f"llmcore --config {shlex.quote(text)} config init",
        )
    return path


def _name_file(name: str, origin: str) -> str:
    """Return the line that passes the file *name* in place of the missing file."""
    import shlex

    return f'load("{name}")' if origin == "argument" else f"export {origin}={shlex.quote(name)}"


def read(path: Path, *, cwd: Path, env: Mapping[str, str]) -> Document:
    """Read and parse one file.

    Raises:
        ConfigError: The file cannot be read, is too large, or is not TOML in UTF-8 (LC107).
    """
    label = _make_label(path, cwd, env)
    kind = classify_path(path)
    if kind is not PathKind.FILE and not _is_device(path, kind):
        raise ConfigError(
            f"the configuration file cannot be read: it is {kind.value}",
            code="LC107",
            where=label,
            expected="a TOML file, or nothing at this path",
            fix=_fix_for(kind, label),
        )
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise_unchained(
            ConfigError(
                f"the configuration file cannot be read: {error.strerror or type(error).__name__}",
                code="LC107",
                where=label,
                fix=f"chmod u+r {label}" if isinstance(error, PermissionError) else None,
            )
        )
    if len(data) > MAX_BYTES:
        raise ConfigError(
            "the file is too large to be a configuration",
            code="LC107",
            where=label,
            expected=f"at most {MAX_BYTES:,} bytes",
        )
    return parse(data, path=path, label=label)


def _is_device(path: Path, kind: PathKind) -> bool:
    """Return whether *path* is a device, such as /dev/null, or a shell's `<(command)`, which can be read like a file."""
    return kind is PathKind.OTHER and path.is_absolute() and path.parts[1:2] in {("dev",), ("proc",)}


def _fix_for(kind: PathKind, label: str) -> str | None:
    import shlex

    if kind is PathKind.DIRECTORY:
        return f"rmdir {shlex.quote(label)}"
    if kind in {PathKind.BROKEN_LINK, PathKind.CIRCULAR_LINK, PathKind.OTHER}:
        return f"rm {shlex.quote(label)}"
    return None


def parse(data: bytes, *, path: Path, label: str) -> Document:
    """Return *data* as a document. See `read`."""
    prefix = ("tool", "llmcore") if path.name == "pyproject.toml" else ()
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise_unchained(_make_encoding_error(data, error.start, label))
    import tomllib

    try:
        tree: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise_unchained(_make_syntax_error(str(error), Document({}, text=text, label=label)))
    except RecursionError:
        raise_unchained(ConfigError("brackets are nested too deeply", code="LC107", where=label))
    for name in prefix:
        tree = tree.get(name, {}) if isinstance(tree, dict) else {}
    if not isinstance(tree, dict):
        raise ConfigError("[tool.llmcore] must be a table", code="LC104", where=label)
    return Document(tree, text=text, label=label, prefix=prefix, folder=path.parent, data=data)


def _make_encoding_error(data: bytes, at: int, label: str) -> ConfigError:
    line = data.count(b"\n", 0, at) + 1
    column = at - (data.rfind(b"\n", 0, at) + 1) + 1
    wide = data[:2] in {b"\xff\xfe", b"\xfe\xff"}
    return ConfigError(
        "the file is not UTF-8" + (", but UTF-16" if wide else f": byte 0x{data[at]:02x}"),
        code="LC107",
        where=f"{label}:{line}:{column}",
        expected="TOML in UTF-8",
        fix=f"iconv -f {'UTF-16' if wide else 'ISO-8859-1'} -t UTF-8 {label} > utf8.toml && mv utf8.toml {label}",
    )


def _make_syntax_error(message: str, document: Document) -> ConfigError:
    match = re.search(_POSITION, message)
    lines = document.lines
    if match is not None and match[1] and int(match[1]) <= len(lines):
        line, column = int(match[1]), int(match[2])
    else:
        line = max((n for n, text in enumerate(lines, 1) if text.strip()), default=1)
        column = len(lines[line - 1].rstrip()) + 1 if lines else 1
    what = message[: match.start()] if match else message
    words = lines[line - 1] if lines else ""
    if (found := _find_invisible(words, column)) is not None:
        return _make_invisible_error(words[found], document, line, found + 1)
    return ConfigError(
        f"not TOML: {what[:1].lower()}{what[1:]}",
        code="LC107",
        where=f"{document.label}:{line}:{column}",
        excerpt=document.format_excerpt(line, column, 1, broken=True),
        expected='[section] or key = value, with text in quotes: provider = "openai"',
        fix=_add_quotes(words),
    )


def _find_invisible(line: str, column: int) -> int | None:
    """Return the index of an invisible character that breaks *line*.

    This is the character at *column*, where the parser stopped, or else the first invisible character of the line.
    """
    found = [index for index, character in enumerate(line) if is_invisible(character)]
    return column - 1 if column - 1 in found else min(found, default=None)


def _make_invisible_error(character: str, document: Document, line: int, column: int) -> ConfigError:
    import shlex

    blank = " " if character.isspace() else ""
    edit = f"s/\\x{{{ord(character):04X}}}/{blank}/g if $. == {line}"
    return ConfigError(
        f"not TOML: line {line} contains the invisible character {describe_character(character)}",
        code="LC107",
        where=f"{document.label}:{line}:{column}",
        excerpt=document.format_excerpt(line, column, 1, broken=True),
        expected="only spaces and tabs as blanks outside of quotes; pasted text may contain others",
        fix=f"perl -CSD -pi -e '{edit}' {shlex.quote(document.label)}",
    )


def _add_quotes(line: str) -> str | None:
    """Return the line with its header closed or its value in quotes.

    The result is None if the line has another fault, or the value may be a secret.
    """
    header = re.fullmatch(r"\s*(\[\[?)([\w.-]+)\s*\]?\s*", line)
    if header is not None:
        return f"{header[1]}{header[2]}{']' * len(header[1])}"
    match = re.fullmatch(r"\s*([\w-]+)\s*=\s*([A-Za-z][\w.:/-]*)\s*", line)
    if match is None or is_secret_name(match[1]) or is_secret_like(match[2]):
        return None
    return f'{match[1]} = "{match[2]}"'


def _has_our_table(path: Path) -> bool:
    """Return whether a `pyproject.toml` has our table, or cannot be read and therefore may have it."""
    if classify_path(path) is not PathKind.FILE:
        return True
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return True  # the file may have the table; `read` reports why the file cannot be read
    if b"llmcore" not in data:
        return False
    import tomllib

    try:
        tool = tomllib.loads(data.decode("utf-8-sig")).get("tool")
    except (ValueError, RecursionError):  # the file is not valid TOML: report this only if it has our table
        return re.search(_OUR_TABLE, data) is not None
    return isinstance(tool, dict) and "llmcore" in tool


def _make_label(path: Path, cwd: Path, env: Mapping[str, str]) -> str:
    """Return the path for display.

    Inside the working directory or the home folder, the path is relative to that folder.
    """
    path = Path(os.path.normpath(path))
    if path.is_relative_to(cwd):
        return str(path.relative_to(cwd))
    home = find_home(env)
    if home and path.is_relative_to(home):
        return str(Path("~") / path.relative_to(home))
    return str(path)
