"""Remove secrets from recorded calls: configured keys, texts that look like a key, fields such as password."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from llmcore.config.mask import is_secret_name
from llmcore.content_log.redaction import REDACTED, Redaction

__all__ = ["Cleaner", "encode", "hide_fields"]

_SERVER_BYTES: Final = ("body", "raw")
"""Fields with the bytes of a server's answer. These bytes are cleaned as text. Other bytes are audio, which is left
unchanged."""
_TEXTS: Final = ("text", "reasoning", "refusal")


def encode(value: Any) -> Any:
    """Return *value* as a JSON value in which `bytes` stay `bytes`."""
    return msgspec.to_builtins(value, builtin_types=(bytes,))


def hide_fields(value: Any, *, is_secret: bool = False) -> Any:
    """Return the JSON *value* of a request. The values of secret fields, such as `password`, are redacted."""
    if isinstance(value, Mapping):
        return {
            name: hide_fields(item, is_secret=is_secret or is_secret_name(str(name)))
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [hide_fields(item, is_secret=is_secret) for item in value]
    return REDACTED if is_secret and isinstance(value, str | bytes) else value


class Cleaner:
    """Removes secrets: *keys*, which are the configured API keys, and texts that look like a key."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._redaction = Redaction((), keys)

    def clean(self, value: Any) -> Any:
        """Return the JSON *value* without secrets. The bodies of servers' answers are cleaned too."""
        if isinstance(value, Mapping):
            return {
                name: self._clean_bytes(item)
                if name in _SERVER_BYTES and isinstance(item, bytes)
                else self.clean(item)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.clean(item) for item in value]
        return self._redaction.clean_value(value)

    def clean_pieces(self, pieces: Sequence[Any]) -> list[Any]:
        """Return the *pieces* of a stream as JSON values without secrets.

        If a secret is divided between pieces, the first piece gets the joined text, and all pieces lose their
        `_SERVER_BYTES` and logprobs.
        """
        encoded = [encode(piece) for piece in pieces]
        texts: dict[tuple[Any, ...], list[tuple[dict[str, Any], str]]] = {}
        for piece in encoded:
            for key, holder, name in _list_texts(piece):
                texts.setdefault(key, []).append((holder, name))
        is_split = False
        for parts in texts.values():
            cleaned = self.clean("".join(holder[name] for holder, name in parts))
            if cleaned == "".join(self.clean(holder[name]) for holder, name in parts):
                continue
            is_split = True
            for number, (holder, name) in enumerate(parts):
                holder[name] = "" if number else cleaned
        if is_split:
            for piece in encoded:
                for name in (*_SERVER_BYTES, "logprobs"):
                    piece.pop(name, None)
        return [self.clean(piece) for piece in encoded]

    def _clean_bytes(self, data: bytes) -> bytes:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return b""
        return self._redaction.clean(text).encode()


def _list_texts(piece: Any) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], str]]:
    """Yield each text of a delta that other deltas may continue.

    Each item is a tuple (key, mapping, name). The text is `mapping[name]`. All pieces of one text have the same key.
    """
    if not isinstance(piece, dict):  # a piece of audio has no texts
        return
    choice = piece.get("choice", 0)
    for name in _TEXTS:
        if piece.get(name):
            yield (choice, name), piece, name
    for call in piece.get("tool_calls", ()):
        if call.get("arguments"):
            yield (choice, "arguments", call.get("index")), call, "arguments"
