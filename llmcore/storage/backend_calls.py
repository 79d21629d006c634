"""Call the backend, and check the arguments of storage methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import call_backend
from llmcore.calls.steps import Act
from llmcore.errors import StorageDenied, StorageError, StorageKeyError, StorageUnavailable
from llmcore.storage.failures import complete_server_error
from llmcore.support.errors import raise_unchained
from llmcore.types import FileInfo

__all__ = ["BackendCalls", "check_key", "check_number", "check_text", "to_bytes", "to_text"]


class BackendCalls:
    """The base class of the client. Its methods call the backend."""

    def __init__(self, opener: Callable[[], Backend]) -> None:
        self._opener = opener

    def _ask(self, method: str, key: str, *rest: Any) -> Act[Any]:
        check_key(key)
        backend = self._opener()
        try:
            return (yield from call_backend(backend, backend.require(method)(key, *rest), StorageError))
        except (StorageUnavailable, StorageDenied) as error:
            complete_server_error(error, backend)
            raise

    def _has(self, method: str) -> bool:
        return self._opener().find_ability(method) is not None

    def _get_info(self, key: str) -> Act[FileInfo]:
        if self._has("get_file_info"):
            info: FileInfo = yield from self._ask("get_file_info", key)
            return info
        size = yield from self._ask("get_file_size", key)
        modified = yield from self._ask("get_modified_time", key)
        return FileInfo(key=key, size_bytes=size, modified=modified)


def check_key(key: object) -> None:
    """Check that *key* is text. The backend checks the characters.

    Raises:
        StorageKeyError: *key* is not text.
    """
    if not isinstance(key, str):
        raise StorageKeyError(
            f"key must be text, got {key!r}",
            expected="a text such as 'reports/november.txt'",
            fix=f"str({key!r})",
        )


def check_text(name: str, value: object, example: str) -> None:
    """Check that the argument *name* is text.

    Raises:
        StorageError: *value* is not text.
    """
    if not isinstance(value, str):
        raise StorageError(
            f"{name} must be text, got {type(value).__name__}",
            where=f"argument {name}",
            expected=f"a text such as {example!r}",
        )


def check_number(name: str, value: object, least: int) -> None:
    """Check that the argument *name* is a whole number of at least *least*.

    Raises:
        StorageError: *value* is not such a number.
    """
    if not isinstance(value, int) or value < least:
        raise StorageError(
            f"{name} must be at least {least}, got {value!a}",
            where=f"argument {name}",
            expected=f"a whole number, {least} or more",
        )


def to_bytes(data: object) -> bytes:
    """Return *data* as bytes, text as UTF-8.

    Raises:
        StorageError: *data* is neither bytes nor text, or contains a lone surrogate.
    """
    if isinstance(data, str):
        return _encode_text(data)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise StorageError(
        f"data must be bytes or text, got {type(data).__name__}",
        expected="bytes or str",
        fix="save_json(key, data)",
    )


def _encode_text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise_unchained(
            StorageError(
                f"the text contains a lone surrogate U+{ord(text[error.start]):04X} at index {error.start}",
                where="the data to save",
                expected="text that can be encoded as UTF-8",
                fix='save(key, text.encode(errors="replace"))',
            )
        )


def to_text(key: str, data: bytes) -> str:
    """Decode *data*, the content of the file *key*, as UTF-8.

    Raises:
        StorageError: The file is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise_unchained(
            StorageError(
                f"the file {key!a} is not UTF-8: byte 0x{data[error.start]:02x} at index {error.start}",
                expected="text in UTF-8",
                fix="load(key) returns the bytes",
            )
        )
