"""Read single fields leniently, and merge unknown fields of chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["SurrogateBuffer", "merge", "read_index", "read_text", "repair_texts"]

_ONCE: Final = frozenset({"format", "id", "index", "name", "object", "role", "type"})
"""Fields whose text is complete in one chunk. Some servers repeat such a text in every chunk, so `merge` does not
append it. The texts of all other fields come in pieces.
"""


def read_text(value: Any) -> str:
    """Return *value* if it is text, otherwise an empty text."""
    return value if isinstance(value, str) else ""


def read_index(value: Any) -> int | None:
    """Return *value* as an index; None if it is not a valid index."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value[:9])
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _join_surrogates(text: str) -> str:
    """Join surrogate pairs; a lone surrogate becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateBuffer:
    """Joins surrogate pairs: keeps a high surrogate until the next piece of the same text brings the low surrogate."""

    def __init__(self) -> None:
        self._held: dict[Any, str] = {}

    def take(self, text: Any, piece: str) -> str:
        """Return the complete characters of *piece*. *text* identifies the text that *piece* continues."""
        piece = self._held.pop(text, "") + piece
        if "\ud800" <= piece[-1:] <= "\udbff":
            self._held[text] = piece[-1]
            piece = piece[:-1]
        return _join_surrogates(piece)

    def end(self, text: Any) -> str:
        """Return the replacement for a delayed surrogate; "" if there is none."""
        return _join_surrogates(self._held.pop(text, ""))


def repair_texts(value: Any) -> Any:
    """Return the JSON value *value* with `_join_surrogates` applied to each text."""
    if isinstance(value, str):
        return _join_surrogates(value)
    if isinstance(value, list):
        return [repair_texts(each) for each in value]
    if isinstance(value, dict):
        return {repair_texts(name): repair_texts(each) for name, each in value.items()}
    return value


def merge(whole: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """Merge *piece*, an object from a chunk, into *whole*, the object from the earlier chunks."""
    for name, value in piece.items():
        old = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif isinstance(value, str) and isinstance(old, str):
            whole[name] = old if old and name in _ONCE else old + value
        elif isinstance(value, Mapping) and isinstance(old, dict):
            merge(old, value)
        elif isinstance(value, Mapping):
            whole[name] = _copy(value)
        elif isinstance(value, list):
            whole[name] = _merge_lists(old if isinstance(old, list) else [], value)
        else:
            whole[name] = value


def _merge_lists(old: list[Any], pieces: list[Any]) -> list[Any]:
    """Merge pieces with an `index` into the item with the same index; append all other pieces."""
    for piece in pieces:
        index = piece.get("index") if isinstance(piece, Mapping) else None
        known = None
        if index is not None:
            known = next(
                (each for each in old if isinstance(each, dict) and each.get("index") == index), None
            )
        if known is not None:
            merge(known, piece)
        else:
            old.append(_copy(piece) if isinstance(piece, Mapping) else piece)
    return old


def _copy(piece: Mapping[str, Any]) -> dict[str, Any]:
    fresh: dict[str, Any] = {}
    merge(fresh, piece)
    return fresh
