"""Encode values as bytes and decode them, without pickle.

A decoded value equals the original and has the same type. This holds for plain data at any depth. An object of a
class (a dataclass, an Enum, a msgspec or pydantic model) needs an annotation that names the class. The method
`set` of a cache rejects any other value.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from llmcore.cache.plain_data import NotPlainError, decode, wrap
from llmcore.errors import CacheError
from llmcore.support.errors import raise_unchained

__all__ = ["IMMUTABLE", "Codec"]

_PLAIN: Final = b"v1\x00"
"""The header of plain data in version 1 of the encoding."""
_TYPED: Final = b"v1\x01"
"""The header of a value that must be decoded with the annotated type."""
IMMUTABLE: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""Types whose values are immutable, so that several callers can share one value."""


class Codec:
    """Encodes plain data and objects of the type *kind*.

    Raises:
        TypeError: *kind* is ambiguous for decoding, such as a union of two dataclasses.
    """

    def __init__(self, kind: Any = Any) -> None:
        self._typed = None if kind is Any else msgspec.msgpack.Decoder(kind, dec_hook=_load_model)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_dump_model)

    def encode(self, value: object) -> bytes:
        """Return *value* as bytes.

        Raises:
            CacheError: The decoded value would differ.
        """
        cause = ""
        try:
            return _PLAIN + self._encoder.encode(wrap(value))
        except NotPlainError as error:
            cause = str(error)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise_unchained(_make_error(value, str(error)))
        return self._encode_typed(value, cause)

    def decode(self, data: bytes) -> tuple[bool, Any]:
        """Return (True, value), or (False, None) if *data* is invalid or contains a value of another type."""
        head, body = data[: len(_PLAIN)], memoryview(data)[len(_PLAIN) :]
        try:
            if head == _PLAIN:
                return True, decode(body)
            if head == _TYPED and self._typed is not None:
                return True, self._typed.decode(body)
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            return False, None  # msgspec's and pydantic's errors are ValueErrors
        return False, None

    def _encode_typed(self, value: object, cause: str) -> bytes:
        if self._typed is None:
            raise _make_error(value, cause)
        try:
            body = self._encoder.encode(value)
            back = self._typed.decode(body)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise_unchained(_make_error(value, str(error)))
        if type(back) is not type(value) or back != value:
            raise _make_error(value, f"it decodes to a different {type(back).__name__}")
        return _TYPED + body


def _make_error(value: object, cause: str) -> CacheError:
    return CacheError(
        f"a value of type {type(value).__name__} cannot be cached: {cause}",
        code="LC701",
        expected="plain data, or a dataclass, Enum, msgspec or pydantic model named by the annotation",
        fix="annotate the return type of the cached function: def f(...) -> MyModel:",
    )


def _dump_model(value: Any) -> Any:
    """Return a pydantic model as JSON; msgspec calls this function for types that msgspec does not support."""
    if hasattr(value, "model_dump_json"):
        return value.model_dump_json()
    raise TypeError(f"objects of type {type(value).__name__} are not data")


def _load_model(kind: Any, text: Any) -> Any:
    if hasattr(kind, "model_validate_json"):
        return kind.model_validate_json(text)
    raise TypeError(f"objects of type {kind!r} are not data")
