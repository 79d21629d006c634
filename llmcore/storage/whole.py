"""Whole values: bytes, text and JSON, and saves under a condition."""

from __future__ import annotations

import math
import re
from typing import Any, Final, TypeVar, overload

from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.errors import StorageError
from llmcore.storage.asking import Asking, as_bytes, as_text

__all__ = ["WholeFiles"]

T = TypeVar("T")

_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""How MessagePack writes such a number, and now and then something else: a look that costs little beside a walk."""


class WholeFiles(Asking):
    """What is saved and loaded in one piece."""

    def save(self, key: str, data: bytes | str) -> None:
        """Keep *data*, a text as UTF-8, in place of what was there: wholly or not at all."""
        run(self._ask("save", key, as_bytes(data)))

    async def asave(self, key: str, data: bytes | str) -> None:
        """See `save`."""
        await arun(self._ask("save", key, as_bytes(data)))

    def load(self, key: str) -> bytes:
        """Return what was saved."""
        return bytes(run(self._ask("load", key)))

    async def aload(self, key: str) -> bytes:
        """See `load`."""
        return bytes(await arun(self._ask("load", key)))

    def save_text(self, key: str, text: str) -> None:
        """Keep *text* as UTF-8; see `save`."""
        run(self._ask("save", key, _text(text)))

    async def asave_text(self, key: str, text: str) -> None:
        """See `save_text`."""
        await arun(self._ask("save", key, _text(text)))

    def load_text(self, key: str) -> str:
        """Return what was saved, read as UTF-8.

        Raises:
            StorageError: It is not UTF-8.
        """
        return as_text(key, self.load(key))

    async def aload_text(self, key: str) -> str:
        """See `load_text`."""
        return as_text(key, await self.aload(key))

    def save_json(self, key: str, value: Any) -> None:
        """Keep *value* as JSON: what JSON has, dates, dataclasses, msgspec structures; see `save`."""
        run(self._ask("save", key, _encoded(value)))

    async def asave_json(self, key: str, value: Any) -> None:
        """See `save_json`."""
        await arun(self._ask("save", key, _encoded(value)))

    @overload
    def load_json(self, key: str) -> Any: ...
    @overload
    def load_json(self, key: str, type: type[T]) -> T: ...
    def load_json(self, key: str, type: Any = Any) -> Any:  # noqa: A002
        """Return the JSON value that was saved, as an instance of *type* where one is given.

        Raises:
            StorageError: It is no JSON, or does not fit *type*.
        """
        return _decoded(key, self.load(key), type)

    @overload
    async def aload_json(self, key: str) -> Any: ...
    @overload
    async def aload_json(self, key: str, type: type[T]) -> T: ...
    async def aload_json(self, key: str, type: Any = Any) -> Any:  # noqa: A002
        """See `load_json`."""
        return _decoded(key, await self.aload(key), type)

    def load_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return what was saved and its etag, for `save_if_match`."""
        return run(self._tagged(key))

    async def aload_with_etag(self, key: str) -> tuple[bytes, str]:
        """See `load_with_etag`."""
        return await arun(self._tagged(key))

    def save_if_absent(self, key: str, data: bytes | str) -> str:
        """Keep *data* if nothing is stored under *key*, and return its etag; of several writers one wins.

        Raises:
            StorageExists: Something is.
            StorageError: The backend or its server cannot hold a condition; nothing was saved.
        """
        return str(run(self._ask("save_if_absent", key, as_bytes(data))))

    async def asave_if_absent(self, key: str, data: bytes | str) -> str:
        """See `save_if_absent`."""
        return str(await arun(self._ask("save_if_absent", key, as_bytes(data))))

    def save_if_match(self, key: str, data: bytes | str, etag: str) -> str:
        """Keep *data* if what is stored has the *etag*, and return the new one; of several writers one wins.

        Raises:
            StorageChanged: It has another, or nothing is stored.
            StorageError: The backend or its server cannot hold a condition; nothing was saved.
        """
        return str(run(self._matched(key, data, etag)))

    async def asave_if_match(self, key: str, data: bytes | str, etag: str) -> str:
        """See `save_if_match`."""
        return str(await arun(self._matched(key, data, etag)))

    def _matched(self, key: str, data: bytes | str, etag: str) -> Act[Any]:
        if not isinstance(etag, str):
            raise StorageError(
                f"etag is text, got {type(etag).__name__}",
                where="argument etag",
                expected="the etag that load_with_etag() returned",
                fix="save_if_absent(key, data)" if etag is None else None,
            )
        return (yield from self._ask("save_if_match", key, as_bytes(data), etag))

    def _tagged(self, key: str) -> Act[tuple[bytes, str]]:
        data, etag = yield from self._ask("load_with_etag", key)
        return bytes(data), etag


def _text(text: object) -> bytes:
    if isinstance(text, str):
        return as_bytes(text)
    raise StorageError(
        f"save_text takes a text, got {type(text).__name__}", expected="a str", fix="save(key, data)"
    )


def _encoded(value: Any) -> bytes:
    import msgspec

    try:
        encoded = msgspec.json.encode(value)
        # What JSON has no number for is written as null: only where one stands, one may have been meant.
        strange = _not_finite(value) if b"null" in encoded else None
    except (TypeError, ValueError, RecursionError) as error:
        fault = f"a {type(value).__name__} cannot be saved as JSON: {error}"
    else:
        if strange is None:
            return encoded
        fault = f"a {type(value).__name__} cannot be saved as JSON: JSON has no {strange}"
    raise StorageError(
        fault, expected="what JSON has, dates, dataclasses or msgspec structures; each number finite, or None"
    )


def _not_finite(value: Any) -> float | None:
    """Return a number that is infinite or none at all, anywhere in *value*."""
    import msgspec

    try:
        if _NOT_FINITE.search(msgspec.msgpack.encode(value)) is None:
            return None
    except (TypeError, ValueError, OverflowError):  # MessagePack has no number beyond 64 bits
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


def _decoded(key: str, data: bytes, wanted: Any) -> Any:
    import msgspec

    unreadable = ""
    try:
        value = msgspec.json.decode(data, type=wanted)
    except msgspec.ValidationError as error:
        fault = f"what is stored under {key!a} does not fit {getattr(wanted, '__name__', wanted)}: {error}"
    except msgspec.DecodeError as error:
        fault = f"what is stored under {key!a} is no JSON: {error}"
    except TypeError as error:
        unreadable = f"nothing can be read as {wanted!r}: {error}"
    else:
        return value
    if unreadable:
        raise StorageError(unreadable, where="argument type", expected="a type such as dict, or a dataclass")
    raise StorageError(fault, expected="JSON as save_json() writes it", fix="load(key) returns the bytes")
