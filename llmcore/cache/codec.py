"""Values of the cache's users, as bytes and back, without pickle.

The law: what is kept comes back as itself. A value that would come back as something else (a tuple as a list, an
object as a dict) is refused when it is set, unless its type is told.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from llmcore.errors import CacheError

__all__ = ["Codec"]

_MAGIC: Final = b"v1\x00"
"""Says that the bytes are a value of a user's, in the first version of this encoding."""
_PLAIN: Final = (str, int, float, bool, bytes, type(None))


class Codec:
    """Encodes values of one type, or of any plain one: JSON types, bytes, aware datetimes."""

    def __init__(self, kind: Any = Any) -> None:
        self._kind = kind
        self._pydantic = hasattr(kind, "model_validate")
        self._decoder = msgspec.msgpack.Decoder(Any if self._pydantic else kind)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_dumped)

    def encode(self, value: object) -> bytes:
        """Return *value* as bytes.

        Raises:
            CacheError: It would not come back as itself.
        """
        cause = ""
        try:
            data = _MAGIC + self._encoder.encode(value)
            if type(value) in _PLAIN or self._decoded(data) == value:
                return data
            cause = f"it would come back as {type(self._decoded(data)).__name__}"
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            cause = str(error)
        raise CacheError(
            f"a value of type {type(value).__name__} cannot be kept: {cause}",
            code="LC701",
            expected="JSON types, bytes, or a dataclass, msgspec or pydantic model named by the annotation",
            fix="annotate what the cached function returns: def f(...) -> MyModel:",
        )

    def decode(self, data: bytes) -> tuple[bool, Any]:
        """Return (True, value), or (False, None) where *data* is not a value of this type."""
        if not data.startswith(_MAGIC):
            return False, None
        try:
            return True, self._decoded(data)
        except (ValueError, TypeError):  # msgspec's and pydantic's errors are ValueErrors
            return False, None

    def _decoded(self, data: bytes) -> Any:
        value = self._decoder.decode(memoryview(data)[len(_MAGIC) :])
        return self._kind.model_validate(value) if self._pydantic else value


def _dumped(value: Any) -> Any:
    """Return a pydantic model as JSON types; msgspec asks for what it does not know itself."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"objects of type {type(value).__name__} are not data")
