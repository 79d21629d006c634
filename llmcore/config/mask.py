"""Hide secrets in displayed text. Secrets are recognised by the key's name and by the form of the value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

__all__ = [
    "HIDDEN",
    "format_value",
    "is_reference",
    "is_secret_like",
    "is_secret_name",
    "mask_line",
    "mask_text",
    "mask_with_stars",
    "quote",
]

HIDDEN: Final = "…"
_LONGEST: Final = 72
"""Maximum length of a displayed value, in characters."""

# The patterns are strings, which are compiled when they are first used. A start without errors does not need them.
_TELLTALE_NAME = (
    r"(?i:(?:key|token|secret|passw(?:or)?d|passphrase|pwd|credential|authorization|auth|bearer)[\d_]*$"
    r"|(?:key|secret|password|credential)s$|^alert_(?:slack_)?url$)"
)
_REFERENCE = r"env:[A-Za-z_]\w*|file:.+|keyring:[^/]+/.+"
_TELLTALE_VALUE = r"""(?x)
      (?<![A-Za-z0-9])(?:sk|pk|rk|gsk|hf|ghp|gho|glpat|xox[abprs]|github_pat|whsec)[-_][A-Za-z0-9][\w-]{7,}
    | (?<![A-Za-z0-9])(?:AKIA|ASIA|AIza)[A-Za-z0-9_-]{12,}
    | (?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)*
    | (?<![A-Za-z0-9_])(?=[A-Za-z_]*\d)(?=[\d_]*[A-Za-z])[A-Za-z0-9_]{28,}
    | (?<=://)[^\s/"'@]*:[^\s/"']*(?=@)
    | (?<=[?&])[\w-]*(?:key|token|secret|password|sig)=[^&\s"']+
    """
_NAMED = r"""([\w.-]+|"[^"]*"|'[^']*')\s*=\s*"""
_QUOTED = r""""(?:\\.|[^"\\])*"|'[^']*'"""


def is_secret_name(name: str) -> bool:
    """Return whether a key with this name contains a secret, such as api_key, token or password."""
    return re.search(_TELLTALE_NAME, name.strip("\"' ")) is not None


def is_reference(value: object) -> bool:
    """Return whether the value is a reference to a secret, and not a secret itself."""
    if not isinstance(value, str) or re.fullmatch(_REFERENCE, value) is None:
        return False
    return not (value.startswith("env:") and is_secret_like(value[4:]))


def is_secret_like(text: str) -> bool:
    """Return whether some part of the text looks like an API key, or like a password in a URL."""
    return any(not _is_variable(match[0]) for match in re.finditer(_TELLTALE_VALUE, text))


def mask_text(text: str) -> str:
    """Return the text with an ellipsis in place of each part that looks like a secret."""
    return re.sub(_TELLTALE_VALUE, lambda match: match[0] if _is_variable(match[0]) else HIDDEN, text)


def format_value(name: str, value: Any, *, secret: bool = False) -> str:
    """Return a value as one line of text for display, shortened, with secrets hidden."""
    if isinstance(value, Mapping):
        inner = (f"{key} = {format_value(str(key), item, secret=secret)}" for key, item in value.items())
        return "{ " + ", ".join(inner) + " }" if value else "{}"
    if (secret or is_secret_name(name)) and not is_reference(value):
        return HIDDEN
    if isinstance(value, list | tuple):
        return _shorten("[" + ", ".join(format_value("", item) for item in value) + "]")
    if isinstance(value, bool):
        return str(value).lower()
    text = quote(value) if isinstance(value, str) else str(value)
    return _shorten(mask_text(text))


def quote(text: str) -> str:
    """Return the text in double quotes, valid in TOML and JSON."""
    return msgspec.json.encode(text.encode(errors="replace").decode()).decode()


def mask_line(line: str, *, broken: bool = False) -> str:
    """Return a line of a file with its secrets replaced by stars; the length is unchanged.

    *broken* means that the line is not valid TOML; everything after the name of a secret is then hidden.
    """
    for match in re.finditer(_NAMED, line):
        if is_secret_name(match[1]):
            match_quoted = None if broken else re.compile(_QUOTED).match(line, match.end())
            start, end = match_quoted.span() if match_quoted else (match.end(), len(line))
            if not is_reference(line[start + 1 : end - 1]):
                line = mask_with_stars(line, start, end)
    return re.sub(_TELLTALE_VALUE, lambda m: m[0] if _is_variable(m[0]) else "*" * len(m[0]), line)


def mask_with_stars(line: str, start: int, end: int) -> str:
    """Return the line with the characters from *start* to *end* replaced by stars. Quotes around a text are kept."""
    part = line[start:end]
    hidden = re.sub(r"[^\"']", "*", part) if re.fullmatch(_QUOTED, part) else "*" * len(part)
    return line[:start] + hidden + line[end:]


def _is_variable(text: str) -> bool:
    """Return whether *text* is the name of an environment variable, which may be as long as a secret."""
    return re.fullmatch(r"[A-Z][A-Z0-9_]*_[A-Z0-9_]*", text) is not None


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
