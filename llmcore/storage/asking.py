"""How every call to a storage is made: the backend's own ability, or what can stand in for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmcore.calls.asking import asked
from llmcore.calls.backend import Backend
from llmcore.calls.steps import Act
from llmcore.errors import StorageError, StorageKeyError
from llmcore.types import FileInfo

__all__ = ["Asking", "as_bytes", "as_text", "checked_key", "checked_number", "checked_text"]


class Asking:
    """A client's way to its backend."""

    def __init__(self, opener: Callable[[], Backend]) -> None:
        self._opener = opener

    def _ask(self, method: str, key: str, *rest: Any) -> Act[Any]:
        checked_key(key)
        backend = self._opener()
        return (yield from asked(backend, backend.must(method)(key, *rest), StorageError))

    def _has(self, method: str) -> bool:
        return self._opener().ability(method) is not None

    def _info(self, key: str) -> Act[FileInfo]:
        if self._has("get_file_info"):
            info: FileInfo = yield from self._ask("get_file_info", key)
            return info
        size = yield from self._ask("get_file_size", key)
        modified = yield from self._ask("get_modified_time", key)
        return FileInfo(key=key, size_bytes=size, modified=modified)


def checked_key(key: object) -> None:
    """Check that *key* is a text; the rest is the backend's to judge.

    Raises:
        StorageKeyError: It is not.
    """
    if not isinstance(key, str):
        raise StorageKeyError(
            f"not a key: {key!r}", expected="a text such as 'reports/november.txt'", fix=f"str({key!r})"
        )


def checked_text(name: str, value: object, example: str) -> None:
    """Check that the argument *name* is a text.

    Raises:
        StorageError: It is not.
    """
    if not isinstance(value, str):
        raise StorageError(
            f"{name} is text, got {type(value).__name__}",
            where=f"argument {name}",
            expected=f"a text such as {example!r}",
        )


def checked_number(name: str, value: object, least: int, fault: str) -> None:
    """Check that the argument *name* is a whole number of at least *least*.

    Raises:
        StorageError: It is not, which *fault* says.
    """
    if not isinstance(value, int) or value < least:
        raise StorageError(
            f"{fault}: {value!a}", where=f"argument {name}", expected=f"a whole number, {least} or more"
        )


def as_bytes(data: object) -> bytes:
    """Return *data* as bytes, a text as UTF-8.

    Raises:
        StorageError: It is neither, or a text with half a character in it.
    """
    if isinstance(data, str):
        return _encoded(data)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise StorageError(
        f"a {type(data).__name__} cannot be saved as it is",
        expected="bytes or str",
        fix="save_json(key, data)",
    )


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        fault = (
            f"the text cannot be written as UTF-8: {text[error.start]!a} at {error.start} is half a character"
        )
    raise StorageError(
        fault,
        where="the data to save",
        expected="text that UTF-8 can write",
        fix='save(key, text.encode(errors="replace"))',
    )


def as_text(key: str, data: bytes) -> str:
    """Return *data*, which is stored under *key*, as text.

    Raises:
        StorageError: It is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        fault = f"what is stored under {key!a} is no text: byte 0x{data[error.start]:02x} at {error.start}"
    raise StorageError(fault, expected="text in UTF-8", fix="load(key) returns the bytes")
