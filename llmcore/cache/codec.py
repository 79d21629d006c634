"""Values of the cache's users, as bytes and back, without pickle.

The law: what is kept comes back as itself. Plain data of any depth is kept with its exact types; an object of a class
(a dataclass, an Enum, a msgspec or pydantic model) only where the annotation tells the class. Everything else is
refused when it is set.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from llmcore.cache.plain import NotPlain, read, wrapped
from llmcore.errors import CacheError

__all__ = ["IMMUTABLE", "Codec"]

_PLAIN: Final = b"v1\x00"
"""Says that the bytes are a value of plain data, in the first version of this encoding."""
_TYPED: Final = b"v1\x01"
"""Says that they are a value of the annotated type."""
IMMUTABLE: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""Types whose values several callers may share."""


class Codec:
    """Encodes plain data, and objects of the type that is told.

    Raises:
        TypeError: Values of *kind* cannot be told apart when they are read.
    """

    def __init__(self, kind: Any = Any) -> None:
        self._typed = None if kind is Any else msgspec.msgpack.Decoder(kind, dec_hook=_loaded)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_dumped)

    def encode(self, value: object) -> bytes:
        """Return *value* as bytes.

        Raises:
            CacheError: It would not come back as itself.
        """
        cause = ""
        try:
            return _PLAIN + self._encoder.encode(wrapped(value))
        except NotPlain as error:
            cause = str(error)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _refused(value, str(error)) from None
        return self._as_typed(value, cause)

    def decode(self, data: bytes) -> tuple[bool, Any]:
        """Return (True, value), or (False, None) where *data* is not a value of this type."""
        head, body = data[: len(_PLAIN)], memoryview(data)[len(_PLAIN) :]
        try:
            if head == _PLAIN:
                return True, read(body)
            if head == _TYPED and self._typed is not None:
                return True, self._typed.decode(body)
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            return False, None  # msgspec's and pydantic's errors are ValueErrors
        return False, None

    def _as_typed(self, value: object, cause: str) -> bytes:
        if self._typed is None:
            raise _refused(value, cause)
        try:
            body = self._encoder.encode(value)
            back = self._typed.decode(body)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _refused(value, str(error)) from None
        if type(back) is not type(value) or back != value:
            raise _refused(value, f"it would come back as {type(back).__name__}, and not equal")
        return _TYPED + body


def _refused(value: object, cause: str) -> CacheError:
    return CacheError(
        f"a value of type {type(value).__name__} cannot be kept: {cause}",
        code="LC701",
        expected="plain data, or a dataclass, Enum, msgspec or pydantic model named by the annotation",
        fix="annotate what the cached function returns: def f(...) -> MyModel:",
    )


def _dumped(value: Any) -> Any:
    """Return a pydantic model as text; msgspec asks for what it does not know itself."""
    if hasattr(value, "model_dump_json"):
        return value.model_dump_json()
    raise TypeError(f"objects of type {type(value).__name__} are not data")


def _loaded(kind: Any, told: Any) -> Any:
    if hasattr(kind, "model_validate_json"):
        return kind.model_validate_json(told)
    raise TypeError(f"objects of type {kind!r} are not data")
