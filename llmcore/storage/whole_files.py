"""Save and load whole files: bytes, text and JSON; conditional saves."""

from __future__ import annotations

import math
import re
from typing import Any, Final, Literal, TypeVar, overload

from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import StorageError
from llmcore.storage.backend_calls import BackendCalls, to_bytes, to_text

__all__ = ["WholeFiles"]

T = TypeVar("T")

_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""The MessagePack encoding of an infinite number or NaN.

Other data may match too, so this is only a fast check before the complete check.
"""


class WholeFiles(BackendCalls):
    """Methods that save and load files in one piece."""

    def save(self, key: str, data: bytes | str) -> Literal[True]:
        """Store *data* atomically, text as UTF-8. Replace an existing file. Return True."""
        run(self._ask("save", key, to_bytes(data)))
        return True

    async def asave(self, key: str, data: bytes | str) -> Literal[True]:
        """See `save`."""
        await arun(self._ask("save", key, to_bytes(data)))
        return True

    def load(self, key: str) -> bytes:
        """Return the stored bytes."""
        return bytes(run(self._ask("load", key)))

    async def aload(self, key: str) -> bytes:
        """See `load`."""
        return bytes(await arun(self._ask("load", key)))

    def save_text(self, key: str, text: str) -> None:
        """Store *text* as UTF-8; see `save`."""
        run(self._ask("save", key, _encode_text(text)))

    async def asave_text(self, key: str, text: str) -> None:
        """See `save_text`."""
        await arun(self._ask("save", key, _encode_text(text)))

    def load_text(self, key: str) -> str:
        """Return the stored file, decoded as UTF-8.

        Raises:
            StorageError: The file is not UTF-8.
        """
        return to_text(key, self.load(key))

    async def aload_text(self, key: str) -> str:
        """See `load_text`."""
        return to_text(key, await self.aload(key))

    def save_json(self, key: str, value: Any) -> None:
        """Store *value* as JSON; see `save`. *value* may consist of JSON types, dates, dataclasses and msgspec structures."""
        run(self._ask("save", key, _encode_json(value)))

    async def asave_json(self, key: str, value: Any) -> None:
        """See `save_json`."""
        await arun(self._ask("save", key, _encode_json(value)))

    @overload
    def load_json(self, key: str) -> Any: ...
    @overload
    def load_json(self, key: str, type: type[T]) -> T: ...
    def load_json(self, key: str, type: Any = Any) -> Any:  # noqa: A002
        """Return the stored JSON value, converted to *type* if one is passed.

        Raises:
            StorageError: The file is not JSON, or does not match *type*.
        """
        return _decode_json(key, self.load(key), type)

    @overload
    async def aload_json(self, key: str) -> Any: ...
    @overload
    async def aload_json(self, key: str, type: type[T]) -> T: ...
    async def aload_json(self, key: str, type: Any = Any) -> Any:  # noqa: A002
        """See `load_json`."""
        return _decode_json(key, await self.aload(key), type)

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return the stored bytes and their ETag, for `save_if_match`."""
        return run(self._load_with_etag(key))

    async def aload_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `load_with_etag`."""
        return await arun(self._load_with_etag(key))

    def save_if_absent(self, key: str, data: bytes | str) -> str:
        """Store *data* if no file is stored under *key*, and return the ETag of the new file.

        Among concurrent writers, exactly one succeeds.

        Raises:
            StorageExists: A file is stored under *key*.
            StorageError: The server does not support conditional saves; nothing was saved.
        """
        return str(run(self._ask("save_if_absent", key, to_bytes(data))))

    async def asave_if_absent(self, key: str, data: bytes | str) -> str:
        """See `save_if_absent`."""
        return str(await arun(self._ask("save_if_absent", key, to_bytes(data))))

    def save_if_match(self, key: str, data: bytes | str, etag: str) -> str:
        """Store *data* if the stored file has the ETag *etag*, and return the new ETag.

        Among concurrent writers, exactly one succeeds.

        Raises:
            StorageChanged: The file has another ETag, or no file is stored.
            StorageError: The server does not support conditional saves; nothing was saved.
        """
        return str(run(self._save_if_match(key, data, etag)))

    async def asave_if_match(self, key: str, data: bytes | str, etag: str) -> str:
        """See `save_if_match`."""
        return str(await arun(self._save_if_match(key, data, etag)))

    def _save_if_match(self, key: str, data: bytes | str, etag: str) -> Act[Any]:
        if not isinstance(etag, str):
            raise StorageError(
                f"etag must be text, got {type(etag).__name__}",
                where="argument etag",
                expected="the etag that load_with_etag() returned",
                fix="save_if_absent(key, data)" if etag is None else None,
            )
        return (yield from self._ask("save_if_match", key, to_bytes(data), etag))

    def _load_with_etag(self, key: str) -> Act[tuple[bytes, str]]:
        data, etag = yield from self._ask("load_with_etag", key)
        return bytes(data), etag


def _encode_text(text: object) -> bytes:
    if isinstance(text, str):
        return to_bytes(text)
    raise StorageError(
        f"text must be a str, got {type(text).__name__}", expected="a str", fix="save(key, data)"
    )


def _encode_json(value: Any) -> bytes:
    import msgspec

    try:
        encoded = msgspec.json.encode(value)
        # msgspec writes an infinite number or NaN as null. Search for such a number only if the JSON contains null.
        number = _find_non_finite(value) if b"null" in encoded else None
    except (TypeError, ValueError, RecursionError) as error:
        fault = f"a {type(value).__name__} cannot be saved as JSON: {error}"
    else:
        if number is None:
            return encoded
        fault = f"a {type(value).__name__} cannot be saved as JSON: JSON has no {number}"
    raise StorageError(
        fault, expected="JSON types, dates, dataclasses or msgspec structures; None for NaN or infinity"
    )


def _find_non_finite(value: Any) -> float | None:
    """Return an infinite number or NaN that *value* contains; None if every number is finite."""
    import msgspec

    try:
        if _NOT_FINITE.search(msgspec.msgpack.encode(value)) is None:
            return None
    except (TypeError, ValueError, OverflowError):  # MessagePack has no integers of more than 64 bits
        pass
    left = [msgspec.to_builtins(value)]
    while left:
        item = left.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return item
        elif isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            left.extend(item)
    return None


def _decode_json(key: str, data: bytes, wanted: Any) -> Any:
    import msgspec

    unreadable = ""
    try:
        value = msgspec.json.decode(data, type=wanted)
    except msgspec.ValidationError as error:
        fault = f"the file {key!a} does not match {getattr(wanted, '__name__', wanted)}: {error}"
    except msgspec.DecodeError as error:
        fault = f"the file {key!a} is not JSON: {error}"
    except TypeError as error:
        unreadable = f"type must be a type that JSON can be converted to, got {wanted!r}: {error}"
    else:
        return value
    if unreadable:
        raise StorageError(unreadable, where="argument type", expected="a type such as dict, or a dataclass")
    raise StorageError(fault, expected="JSON, as written by save_json()", fix="load(key) returns the bytes")
