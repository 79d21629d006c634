"""Finds and reads configuration files; whatever is wrong with one is told with its line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from llmcore.config.document import Document
from llmcore.config.mask import is_secret_name, looks_secret
from llmcore.errors import ConfigError

__all__ = ["MOST_BYTES", "given_path", "project_file", "read", "state_file", "user_file"]

MOST_BYTES: Final = 1_000_000
"""A configuration is far smaller; what is larger was named by mistake."""

_POSITION = r" \(at (?:line (\d+), column (\d+)|end of document)\)$"
_OUR_TABLE = rb"""(?m)^\s*\[+\s*tool\s*\.\s*["']?llmcore\b"""


def user_file(env: Mapping[str, str]) -> Path | None:
    """Return where the user's own file would be; None where *env* names no home."""
    base = env.get("XDG_CONFIG_HOME", "")
    if Path(base).is_absolute():
        return Path(base, "llmcore", "config.toml")
    if env is not os.environ:
        home = env.get("HOME")
        return Path(home, ".config", "llmcore", "config.toml") if home else None
    if sys.platform == "linux":
        return Path("~/.config/llmcore/config.toml").expanduser()
    import platformdirs

    return Path(platformdirs.user_config_dir("llmcore", appauthor=False), "config.toml")


def state_file(env: Mapping[str, str], name: str) -> Path | None:
    """Return where *name* would be in the user's state folder; None where *env* names no home."""
    base = env.get("XDG_STATE_HOME", "")
    if Path(base).is_absolute():
        return Path(base, "llmcore", name)
    if env is not os.environ:
        home = env.get("HOME")
        return Path(home, ".local/state/llmcore", name) if home else None
    if sys.platform == "linux":
        return Path("~/.local/state/llmcore", name).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("llmcore", appauthor=False), name)


def project_file(cwd: Path) -> Path | None:
    """Return the nearest `llmcore.toml`, or `pyproject.toml` with [tool.llmcore], going up from *cwd*."""
    for folder in (cwd, *cwd.parents):
        own = folder / "llmcore.toml"
        if own.is_file():
            return own
        shared = folder / "pyproject.toml"
        if shared.is_file() and _speaks_of_us(shared):
            return shared
    return None


def given_path(name: str | os.PathLike[str], cwd: Path, *, origin: str, env: Mapping[str, str]) -> Path:
    """Return the file that somebody named.

    Raises:
        ConfigError: There is no such file.
    """
    text = os.fspath(name)
    if text.startswith("~/") and env.get("HOME"):
        text = os.path.join(env["HOME"], text[2:])  # noqa: PTH118 - still text
    path = cwd / text
    if path.is_dir():
        raise ConfigError(
            f"a folder is no configuration file: {text}",
            code="LC107",
            where=origin,
            expected="the path of a TOML file",
            fix=str(Path(text, "llmcore.toml")) if (path / "llmcore.toml").is_file() else None,
        )
    if not path.exists():
        import shlex

        near = sorted(item.name for item in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise ConfigError(
            f"there is no configuration file {text}",
            code="LC107",
            where=origin,
            expected="the path of a TOML file that exists"
            + (f"; beside it: {', '.join(near[:5])}" if near else ""),
            fix=f"llmcore --config {shlex.quote(text)} config init",
        )
    return path


def read(path: Path, *, cwd: Path, env: Mapping[str, str]) -> Document:
    """Read and parse one file.

    Raises:
        ConfigError: It cannot be read, is too large, is not UTF-8 or not TOML (LC107).
    """
    label = _label(path, cwd, env)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"the configuration file cannot be read: {error.strerror or type(error).__name__}",
            code="LC107",
            where=label,
            fix=f"chmod u+r {label}" if isinstance(error, PermissionError) else None,
        ) from None
    if len(data) > MOST_BYTES:
        raise ConfigError(
            "the file is too large to be a configuration",
            code="LC107",
            where=label,
            expected=f"at most {MOST_BYTES:,} bytes",
        )
    return parse(data, path=path, label=label)


def parse(data: bytes, *, path: Path, label: str) -> Document:
    """Return the document that *data* holds. See `read`."""
    prefix = ("tool", "llmcore") if path.name == "pyproject.toml" else ()
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _not_utf8(data, error.start, label) from None
    import tomllib

    try:
        tree: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(str(error), Document({}, text=text, label=label)) from None
    except RecursionError:
        raise ConfigError("brackets are nested too deeply", code="LC107", where=label) from None
    for name in prefix:
        tree = tree.get(name, {}) if isinstance(tree, dict) else {}
    if not isinstance(tree, dict):
        raise ConfigError("[tool.llmcore] is not a table", code="LC104", where=label)
    return Document(tree, text=text, label=label, prefix=prefix, folder=path.parent)


def _not_utf8(data: bytes, at: int, label: str) -> ConfigError:
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


def _not_toml(message: str, document: Document) -> ConfigError:
    match = re.search(_POSITION, message)
    lines = document.lines
    if match is not None and match[1] and int(match[1]) <= len(lines):
        line, column = int(match[1]), int(match[2])
    else:
        line = max((n for n, text in enumerate(lines, 1) if text.strip()), default=1)
        column = len(lines[line - 1].rstrip()) + 1 if lines else 1
    what = message[: match.start()] if match else message
    words = lines[line - 1] if lines else ""
    return ConfigError(
        f"not TOML: {what[:1].lower()}{what[1:]}",
        code="LC107",
        where=f"{document.label}:{line}:{column}",
        excerpt=document.excerpt(line, column, 1, broken=True),
        expected='[section] or key = value; text stands in quotes: provider = "openai"',
        fix=_in_quotes(words),
    )


def _in_quotes(line: str) -> str | None:
    """Return the line with its value in quotes, where that is all it lacks and the value is no secret."""
    match = re.fullmatch(r"\s*([\w-]+)\s*=\s*([A-Za-z][\w.:/-]*)\s*", line)
    if match is None or is_secret_name(match[1]) or looks_secret(match[2]):
        return None
    return f'{match[1]} = "{match[2]}"'


def _speaks_of_us(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError:
        return False
    if b"llmcore" not in data:
        return False
    import tomllib

    try:
        tool = tomllib.loads(data.decode("utf-8-sig")).get("tool")
    except (ValueError, RecursionError):  # broken: its fault is ours to tell only where it means us
        return re.search(_OUR_TABLE, data) is not None
    return isinstance(tool, dict) and "llmcore" in tool


def _label(path: Path, cwd: Path, env: Mapping[str, str]) -> str:
    """Return the path as a person would write it here."""
    path = Path(os.path.normpath(path))
    if path.is_relative_to(cwd):
        return str(path.relative_to(cwd))
    home = env.get("HOME")
    if home and path.is_relative_to(home):
        return str(Path("~") / path.relative_to(home))
    return str(path)
