"""Adapt the command `llmcore config set KEY VALUE` in the errors of plugins to the source of the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from llmcore.config.keys import Path, parse_key
from llmcore.errors import ConfigError

__all__ = ["adapt_commands"]

_COMMAND: Final = "llmcore config set "
_WORD: Final = r"""(?:'[^']*'|"[^"]*"|[^\s'"])+"""
_CALL: Final = re.compile(rf"{_COMMAND}({_WORD}) ({_WORD})")


def adapt_commands(text: str, format_set_line: Callable[[Path, str], str]) -> str:
    """Return *text*, a fix or a note, with each `llmcore config set KEY VALUE` adapted.

    A plugin writes this command because it does not know where its options come from: they may come from another file,
    the environment or a dict. *format_set_line* takes the key and the value, and returns the line that sets the key there.
    The command stays unchanged if that line is a `llmcore config set` command too.
    """
    if _COMMAND not in text:
        return text
    import shlex

    def adapt(found: re.Match[str]) -> str:
        try:
            key, value = (shlex.split(word)[0] for word in found.groups())
            line = format_set_line(parse_key(key), value)
        except (ConfigError, LookupError, ValueError):
            return found[0]
        return found[0] if not line or line.startswith(_COMMAND) else line

    return _CALL.sub(adapt, text)
