"""Remove API keys and all matches of `[log] redact` from texts before the log stores them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from llmcore.config.layers import iterate_leaves
from llmcore.config.mask import is_reference, is_secret_name, mask_text

if TYPE_CHECKING:
    from llmcore.config import Settings

__all__ = ["REDACTED", "Redaction", "find_keys"]

REDACTED: Final = "[redacted]"
_SHORTEST_KEY: Final = 6
"""Minimum length of a key. A shorter value may be an ordinary word, so it is not removed from texts."""
_DATA: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=]{64,}")


class Redaction:
    """Removes keys and matches of patterns."""

    def __init__(self, patterns: Iterable[str] = (), keys: Iterable[str] = ()) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._keys = sorted((key for key in keys if len(key) >= _SHORTEST_KEY), key=len, reverse=True)

    def clean(self, text: str) -> str:
        """Return *text* without secrets, and with the length of each attached file in place of its content."""
        text = _DATA.sub(lambda found: f"{found[0].partition(',')[0]},... ({len(found[0])} characters)", text)
        for key in self._keys:
            text = text.replace(key, REDACTED)
        for pattern in self._patterns:
            text = pattern.sub(REDACTED, text)
        return mask_text(text)

    def clean_value(self, value: Any) -> Any:
        """Return the JSON *value* with all its texts cleaned."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, Mapping):
            return {key: self.clean_value(item) for key, item in value.items()}
        return [self.clean_value(item) for item in value] if isinstance(value, list | tuple) else value


def find_keys(settings: Settings) -> list[str]:
    """Return the secrets of the configuration: literal values, and values of references that can be resolved."""
    from llmcore.config.references import Unresolved, resolve

    found = []
    for path, value in iterate_leaves(
        {kind: settings.get((kind,)) for kind in ("llm", "cache", "storage", "voice")}
    ):
        if not is_secret_name(path[-1]) or not isinstance(value, str):
            continue
        if not is_reference(value):
            found.append(value)
            continue
        try:
            found.append(resolve(value, env=settings.env, folder=settings.find_owner(path).folder))
        except Unresolved:
            continue
    return found
